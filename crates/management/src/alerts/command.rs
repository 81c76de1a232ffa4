//! A program that is told on its standard input.

use std::io;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::courier::Undelivered;
use super::notice::Telling;

/// Runs the program, without a shell. It has to end with 0, and is killed when it takes too long.
pub(super) async fn run(words: &[String], telling: &Telling) -> Result<(), Undelivered> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("LEVERET_ALERT_RULE", &telling.rule)
        .env("LEVERET_ALERT_STATUS", telling.status)
        .env("LEVERET_ALERT_SUMMARY", &telling.summary)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(telling.json.as_bytes()).await {
            // It need not read what it is told.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
    }
    let status = child.wait().await?;
    if status.success() { Ok(()) } else { Err(Undelivered::Command(status)) }
}
