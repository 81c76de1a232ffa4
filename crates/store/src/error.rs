//! Why a store could not be opened, or read.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{Lsn, upkeep::is_no_space};

/// Why a store could not be opened. Each text is one line for the operator: what, where, and what
/// to do.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("data directory {dir} is in use by another process{}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), dir = .dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The other process, if its lock file says.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("cannot {operation} {path}: {source}{}", hint(operation, source), path = .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Written by a newer release.
    #[error("{path} has format version {found}, this release reads up to {supported}: start the release that wrote it, or a newer one", path = .path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest this code knows.
        supported: u32,
    },
    /// A newer release has written to it.
    #[error("{path} holds {what} that only newer releases know: start the release that wrote it, or a newer one", path = .path.display())]
    NewerContent {
        /// The file.
        path: PathBuf,
        /// What is unknown in it.
        what: &'static str,
    },
    /// A copy of a store that was not finished.
    #[error("{dir} is a backup that was not finished: make another, and remove this one", dir = .dir.display())]
    UnfinishedBackup {
        /// The folder.
        dir: PathBuf,
    },
    /// A repair began to replace files and did not end.
    #[error(
        "a repair of {dir} was cut off: run `leveret store repair` again, or restore the data directory from a backup",
        dir = .dir.display()
    )]
    UnfinishedRepair {
        /// The folder.
        dir: PathBuf,
    },
    /// A segment between the oldest and the newest is not there.
    #[error(
        "segment file {path} is missing: put it back from where it was moved, restore the data directory from a backup, \
         or go on without what it held: `leveret store check` shows what is lost, `leveret store repair` keeps the rest",
        path = .path.display()
    )]
    MissingSegment {
        /// The file that should be there.
        path: PathBuf,
    },
    /// Acknowledged data is damaged.
    #[error(
        "{path} is damaged at byte {offset}: records after LSN {after} were acknowledged up to LSN {durable} but cannot be read; \
         restore the data directory from a backup, or go on without them: `leveret store check` shows what is lost, \
         `leveret store repair` keeps the rest",
        path = .path.display()
    )]
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// Where the first unreadable record starts.
        offset: u64,
        /// The last record that could be read.
        after: Lsn,
        /// How far the journal was known to be durable.
        durable: Lsn,
    },
    /// What a process wrote first behind a clean stop is damaged, what it wrote then is there.
    #[error(
        "{path} is damaged at byte {offset}: more was written there after a clean stop, whose beginning cannot be read; \
         restore the data directory from a backup, or `leveret store repair` keeps all that can be read",
        path = .path.display()
    )]
    DamagedMark {
        /// The segment file.
        path: PathBuf,
        /// Where the clean stop ends.
        offset: u64,
    },
    /// A segment whose header is damaged.
    #[error(
        "{path} does not start with a valid segment header ({reason}): restore the data directory from a backup, \
         or go on without what is damaged: `leveret store check` shows what is lost, `leveret store repair` keeps the rest",
        path = .path.display()
    )]
    BadSegment {
        /// The segment file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Tables of definitions were there, and are not.
    #[error(
        "{path} is missing: put it back from where it was moved, restore the data directory from a backup, or go on \
         without the queues, exchanges, bindings and users it held, and the messages of those queues: \
         `leveret store repair --drop-definitions`",
        path = .path.display()
    )]
    MissingDefinitions {
        /// The file that should be there.
        path: PathBuf,
    },
    /// The tables of definitions cannot be used.
    #[error(
        "cannot read the definitions in {path}: {source}; restore the data directory from a backup, \
         or see `leveret store repair --help`",
        path = .path.display()
    )]
    Definitions {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
}

/// What to do if the system refuses this.
fn hint(operation: &str, source: &io::Error) -> &'static str {
    match operation {
        _ if is_no_space(source) => "; free some space there, or choose another data directory",
        "read" => {
            "; if the disk fails, go on on another with a copy of the data directory: `leveret store check` \
             shows what is lost, `leveret store repair` keeps the rest"
        }
        _ => "",
    }
}

/// Messages could not be read back because the system refused.
#[derive(Debug, Error)]
#[error("cannot read {path}: {source}", path = .path.display())]
pub struct ReadError {
    /// The segment file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}
