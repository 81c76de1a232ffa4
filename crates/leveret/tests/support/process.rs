//! The binary as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) fn leveret(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    let settings = std::env::vars_os().map(|(name, _)| name);
    for name in settings.filter(|name| name.to_string_lossy().starts_with("LEVERET_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// Runs what ends by itself, and ends what does not.
pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut child =
        leveret(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
        if begun.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
        }
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A broker that has said it is ready.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) ready: String,
}

impl Running {
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut child = leveret(&[
            "--management=none",
            "--metrics=none",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
        ])
        .arg(data)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let mut ready = String::new();
        let stdout = BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready);
        assert!(stdout.unwrap() > 0, "{}", Self { child, ready }.end(Signal::KILL).1);
        Self { child, ready }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let (_, rest) = self.ready.split_once("AMQP on ").unwrap();
        rest.split_once([' ', ';']).unwrap().0.parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal, and gives the exit status, what was on stderr, and the rest of stdout.
    pub(crate) fn end(mut self, signal: Signal) -> (ExitStatus, String, String) {
        self.signal(signal);
        let (mut stderr, mut stdout) = (String::new(), String::new());
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        (self.child.wait().unwrap(), stderr, stdout)
    }
}

/// A failed test leaves no broker behind.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
