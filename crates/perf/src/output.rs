//! What is said on the standard streams. A reader may hang up at any time, as `head` does, which is
//! no error of ours.

use std::fmt::Display;
use std::io::{self, Write};

use crate::error::PerfError;

/// Writes a result to the standard output.
pub(crate) fn show(text: impl Display) -> Result<(), PerfError> {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(PerfError::Output { path: "the standard output".into(), source: error })
        }
        _ => Ok(()),
    }
}

/// Writes a line of progress to the standard error; with nobody there it has to do without.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
