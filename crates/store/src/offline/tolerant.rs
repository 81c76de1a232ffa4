//! A file of which some blocks can't be read.

use std::{io, sync::Arc};

use crate::DiskFile;

/// Reads zeros where the disk gives an error: checksums tell them from what was there. Takes no
/// changes.
pub(super) struct Tolerant(pub(super) Arc<dyn DiskFile>);

impl DiskFile for Tolerant {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.0.read_exact_at(buffer, offset).is_ok() {
            return Ok(());
        }
        let mut at = offset;
        for block in buffer.chunks_mut(BLOCK) {
            if self.0.read_exact_at(block, at).is_err() {
                block.fill(0);
            }
            at += block.len() as u64;
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

/// What disks lose at a time, at least.
const BLOCK: usize = 512;
