//! What the store asks of a disk. Everything durable goes through these traits, so that a test can
//! own the disk.

mod memory;
mod real;

pub use memory::MemDisk;
pub use real::RealDisk;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

/// A file system.
pub trait Disk: Send + Sync + 'static {
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates an empty file, emptying one which has this name. Its name is durable after
    /// [`Disk::sync_dir`] on its folder.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of the files in `dir`, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates `dir` and what is missing above it. An existing folder is fine.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file another name, replacing a file which has it. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes the file system of `dir` can still take.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;

    /// Takes the lock file at `path` for this process, until the returned guard is dropped.
    fn lock(&self, path: &Path) -> Result<DiskLock, LockError>;
}

/// An open file. Methods take offsets, hold no position, and may be called from any thread.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset`; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all `slices`, one after the other, from `offset`. Grows the file if needed.
    fn write_all_at(&self, slices: &[&[u8]], offset: u64) -> io::Result<()>;

    /// Makes all that was written durable, with the metadata needed to read it back.
    fn sync_data(&self) -> io::Result<()>;

    /// Allocates and zero-fills the file from its present end up to `len`, so that later writes
    /// need no metadata.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts or extends (with zeros, not allocated) to `len`.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Gives back the space between two offsets, as far as the file system can. What is read there
    /// afterwards is open; the file keeps its length.
    fn discard(&self, from: u64, to: u64) -> io::Result<()>;
}

/// Fills `buffer` from `offset`, with zeros where the disk gives an error: checksums tell them from what was
/// there. Answers where the first of these is, and what the system said of it.
pub(crate) fn read_around(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    offset: u64,
) -> Option<(u64, io::Error)> {
    file.read_exact_at(buffer, offset).err()?;
    let mut first = None;
    let mut at = offset;
    let mut rest = buffer;
    while !rest.is_empty() {
        let length =
            usize::try_from(BLOCK - at % BLOCK).map_or(rest.len(), |to| to.min(rest.len()));
        let (block, after) = rest.split_at_mut(length);
        if let Err(source) = file.read_exact_at(block, at) {
            block.fill(0);
            first.get_or_insert((at, source));
        }
        at += length as u64;
        rest = after;
    }
    first
}

/// What disks lose at a time, at least.
const BLOCK: u64 = 512;

/// Holds a lock until dropped.
pub struct DiskLock(#[expect(dead_code, reason = "kept for its drop")] Box<dyn Send + Sync>);

impl DiskLock {
    /// A lock given back when `guard` is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

/// Why a lock was not given.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process (or another store in this one) has it.
    #[error("held by {}", .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Held {
        /// Its process id as the lock file says.
        pid: Option<u32>,
    },
    /// The lock file could not be used.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
