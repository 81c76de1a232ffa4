//! The file of the definitions as their database sees it.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use redb::StorageBackend;

use crate::{DiskFile, upkeep::is_no_space};

/// Shows redb a [`DiskFile`].
pub(super) struct Backend {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) notes: Arc<Notes>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

impl Backend {
    fn change(&self, change: impl FnOnce(&dyn DiskFile) -> io::Result<()>) -> io::Result<()> {
        self.notes.note(change(&*self.file))
    }
}

/// Writes what is in a file once more, as it is. A process that could not sync it has ended, and the system
/// may take for written what it was told to sync then. It would not write that at the next sync, which the
/// database relies on.
pub(super) fn settle(file: &dyn DiskFile) -> io::Result<()> {
    let end = file.len()?;
    let mut at = 0;
    while at < end {
        let length = usize::try_from((end - at).min(PIECE)).map_err(io::Error::other)?;
        let mut pieces = [vec![0; length], vec![0; length]];
        for piece in &mut pieces {
            file.read_exact_at(piece, at)?;
        }
        let [piece, again] = &pieces;
        if piece != again {
            return Err(io::Error::other("it was read twice, and differently"));
        }
        file.write_all_at(&[piece], at)?;
        at += length as u64;
    }
    file.sync_data()
}

/// Writes zeros.
fn fill(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; usize::try_from(to.saturating_sub(from).min(PIECE)).unwrap_or_default()];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&[zeros.get(..length).unwrap_or_default()], at)?;
        at += length as u64;
    }
    Ok(())
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|file| {
            let before = file.len()?;
            file.set_len(len)?;
            // Here, and not when the pages are written, it turns out whether there is space for them. The
            // length is never another than redb wants: it would not open such a file.
            let done = fill(file, before, len);
            if done.as_ref().is_err_and(is_no_space) {
                file.set_len(before)?;
            }
            done
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        // A full disk is no reason to sync again either.
        self.change(|file| file.sync_data().map_err(io::Error::other))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|file| file.write_all_at(&[data], offset))
    }
}

/// What a database was refused, which it may keep to itself.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The disk is full.
    pub(super) is_full: AtomicBool,
    /// The disk has failed.
    pub(super) has_failed: AtomicBool,
}

impl Notes {
    /// Notes what became of a change.
    pub(super) fn note<T>(&self, changed: io::Result<T>) -> io::Result<T> {
        changed.inspect_err(|error| {
            let note = if is_no_space(error) { &self.is_full } else { &self.has_failed };
            note.store(true, Relaxed);
        })
    }
}

/// Bytes read or written at a time.
const PIECE: u64 = 256 << 10;
