//! What an operator does with a data directory while no broker runs on it: look at it, check it,
//! repair it.
//!
//! Read first: `survey`, which reads a journal in spite of damage.

mod check;
mod damage;
mod definitions;
mod dump;
mod new_segment;
mod repair;
mod survey;
mod tolerant;
mod tombstones;
mod unfinished;
mod usage;

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub(crate) use self::unfinished::is_unfinished;
pub use self::{
    check::{CheckReport, check},
    damage::{Damage, Lost},
    dump::{DumpedRecord, dump},
    repair::{Definitions, RepairReport, Repaired, repair, repair_with_streams},
    unfinished::SetAside,
    usage::{Pin, QueueUsage, SegmentUsage, StoreUsage, usage},
};
use crate::{
    Disk, DiskLock, LockError, OpenError, backup,
    recovery::refused,
    store::{JOURNAL, LOCK},
};

/// Why a data directory could not be worked on. Each text is one line for the operator.
#[derive(Debug, Error)]
pub enum OfflineError {
    /// Not there, in use, of a newer format, or the system refused.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no journal.
    #[error("{dir} holds no data of a broker", dir = .dir.display())]
    NoData {
        /// The folder.
        dir: PathBuf,
    },
    /// The definitions are damaged and nothing was said about losing them.
    #[error(
        "{path} cannot be read: {reason}; put it back from a backup, or let the repair set it aside, \
         with which queues, exchanges, bindings and users are lost, and the messages of those queues",
        path = .path.display()
    )]
    Definitions {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What was to be told could not be.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}

/// Takes the lock of a data directory that is there, to look at it.
fn lock_to_read(disk: &dyn Disk, dir: &Path) -> Result<DiskLock, OfflineError> {
    let lock = lock(disk, dir)?;
    if is_unfinished(disk, dir)? {
        return Err(OpenError::UnfinishedRepair { dir: dir.to_owned() }.into());
    }
    Ok(lock)
}

/// Takes the lock of a data directory that is there.
fn lock(disk: &dyn Disk, dir: &Path) -> Result<DiskLock, OfflineError> {
    let journal = dir.join(JOURNAL);
    let names = match disk.list(&journal) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => {
            return Err(OpenError::Io { operation: "list", path: journal, source }.into());
        }
    };
    if names.is_empty() && !definitions::are_there(disk, dir)? {
        return Err(OfflineError::NoData { dir: dir.to_owned() });
    }
    if backup::is_unfinished(disk, dir)? {
        return Err(OpenError::UnfinishedBackup { dir: dir.to_owned() }.into());
    }
    disk.lock(&dir.join(LOCK)).map_err(|error| {
        OfflineError::Open(match error {
            LockError::Held { pid } => OpenError::InUse { dir: dir.to_owned(), pid },
            LockError::Io { path, source } => OpenError::Io { operation: "lock", path, source },
        })
    })
}

pub(crate) fn is_there(disk: &dyn Disk, path: &Path) -> Result<bool, OpenError> {
    match disk.open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(refused("open", path)(error)),
    }
}
