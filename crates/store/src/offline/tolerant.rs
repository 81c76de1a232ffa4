//! A file of which some blocks can't be read.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use crate::{DiskFile, disk::read_around};

/// Reads zeros where the disk gives an error. Takes no changes.
pub(super) struct Tolerant {
    pub(super) file: Arc<dyn DiskFile>,
    /// Where it gave one first.
    pub(super) unreadable: Arc<OnceLock<u64>>,
}

impl DiskFile for Tolerant {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some((at, _)) = read_around(&*self.file, buffer, offset) {
            self.unreadable.get_or_init(|| at);
        }
        Ok(())
    }

    fn write_all_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}
