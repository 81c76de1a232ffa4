//! Payloads that are in no journal, kept on disk while memory is short.
//!
//! They are written one block behind the other to files without a name, which the system gives back when
//! nothing needs them any more or the process ends. They are never synced, and a failure costs nobody
//! but them.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Disk, DiskFile, Lsn, ReadError, encoding::Reader};

/// The file that blocks are written to at present.
#[derive(Default)]
pub(crate) struct Spill {
    current: Mutex<Option<Current>>,
}

struct Current {
    file: Arc<dyn DiskFile>,
    end: u64,
}

/// A block of payloads on disk. When it is dropped, and all others of its file, their space is free.
pub struct SpilledBlock {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    at: u64,
    length: usize,
    crc: u32,
}

impl Spill {
    /// Writes payloads, each in two pieces, to a file in `dir`.
    ///
    /// # Errors
    /// When the disk is full or fails. Nothing is kept then.
    pub(crate) fn write<'a>(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        payloads: impl Iterator<Item = (Lsn, [&'a [u8]; 2])>,
    ) -> io::Result<SpilledBlock> {
        let mut bytes = Vec::new();
        for (lsn, [first, second]) in payloads {
            let length = (first.len() + second.len()) as u64;
            bytes.extend_from_slice(&lsn.0.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(first);
            bytes.extend_from_slice(second);
        }
        let path = dir.join(FILE);
        let mut current = self.current.lock();
        let Current { file, end } = match &mut *current {
            Some(current) => current,
            none => {
                let file = disk.create(&path)?;
                disk.remove(&path)?;
                none.insert(Current { file, end: 0 })
            }
        };
        let block = SpilledBlock {
            file: Arc::clone(file),
            path,
            at: *end,
            length: bytes.len(),
            crc: crc32fast::hash(&bytes),
        };
        *end += bytes.len() as u64;
        if *end >= FILE_BYTES {
            *current = None;
        }
        drop(current);
        block.file.write_all_at(&[&bytes], block.at)?;
        Ok(block)
    }
}

impl SpilledBlock {
    /// Reads its payloads, in the order in which they were written.
    ///
    /// # Errors
    /// When the system cannot read, or what it reads is not what was written.
    pub fn read(&self) -> Result<Vec<(Lsn, Bytes)>, ReadError> {
        let failed = |source| ReadError { path: self.path.clone(), source };
        let mut bytes = vec![0; self.length];
        self.file.read_exact_at(&mut bytes, self.at).map_err(failed)?;
        if crc32fast::hash(&bytes) != self.crc {
            return Err(failed(io::Error::other("wrong checksum")));
        }
        let bytes = Bytes::from(bytes);
        let mut reader = Reader(&bytes);
        let mut payloads = Vec::new();
        while let Some(lsn) = reader.u64()
            && let Some(length) = reader.u64()
            && let Some(payload) = reader.bytes(length)
        {
            payloads.push((Lsn(lsn), bytes.slice_ref(payload)));
        }
        Ok(payloads)
    }
}

/// The name a file has for a moment.
const FILE: &str = "spill";
/// When another file is begun: old messages keep those they are in.
const FILE_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        MemDisk,
        simulation::{Misread, Operation, SimDisk},
    };

    fn write(
        spill: &Spill,
        disk: &dyn Disk,
        numbers: std::ops::Range<u64>,
    ) -> io::Result<SpilledBlock> {
        let payloads: Vec<_> = numbers.map(|n| (Lsn(n), n.to_le_bytes(), vec![7; 5000])).collect();
        let pieces = payloads.iter().map(|(lsn, first, second)| (*lsn, [&first[..], &second[..]]));
        spill.write(disk, Path::new("/data"), pieces)
    }

    #[test]
    fn blocks_come_back_and_leave_no_names() {
        let (spill, disk) = (Spill::default(), MemDisk::new());
        let blocks: Vec<_> = (0..100)
            .map(|block| write(&spill, &disk, block * 50..block * 50 + 50).unwrap())
            .collect();
        for (number, block) in (0..).zip(&blocks) {
            let read = block.read().unwrap();
            assert_eq!(read.len(), 50);
            for (n, (lsn, payload)) in (number * 50..).zip(read) {
                assert!(lsn == Lsn(n) && payload[..8] == n.to_le_bytes() && payload.len() == 5008);
            }
        }
        assert!(disk.list(Path::new("/data")).unwrap().is_empty());
        // More than one file, and no more than that takes.
        assert!(blocks.iter().filter(|block| block.at == 0).count() > 1);
        assert!(blocks.iter().all(|block| block.at < FILE_BYTES));
    }

    #[test]
    fn what_is_misread_or_not_written_is_an_error() {
        let (spill, disk) = (Spill::default(), SimDisk::new(1));
        let block = write(&spill, &disk, 0..10).unwrap();
        for misread in [Misread::FlippedBit, Misread::Short] {
            disk.misread_after(0, misread);
            assert!(block.read().is_err());
            assert_eq!(block.read().unwrap().len(), 10);
        }
        disk.fail_after(Operation::Write, 0);
        assert!(write(&spill, &disk, 0..10).is_err());
        let after = write(&spill, &disk, 10..20).unwrap();
        assert_eq!(after.read().unwrap()[0].0, Lsn(10));
    }
}
