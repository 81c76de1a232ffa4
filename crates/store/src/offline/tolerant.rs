//! A file of which some blocks can't be read.

use std::{io, sync::Arc};

use crate::{DiskFile, disk::read_around};

/// Reads zeros where the disk gives an error. Takes no changes.
pub(super) struct Tolerant(pub(super) Arc<dyn DiskFile>);

impl DiskFile for Tolerant {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        // What is missing shows.
        let _ = read_around(&*self.0, buffer, offset);
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
