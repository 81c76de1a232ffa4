//! Payloads that are in no journal, kept on disk while memory is short.
//!
//! They are written one block behind the other to files without a name, which the system gives back when
//! nothing needs them any more or the process ends. What a file has of blocks that nobody needs is given
//! back before that, once it is more than what is needed. The more files there are, the longer the next one
//! gets: so many bytes take few descriptors, whatever of them stays. They are never synced, and a failure
//! costs nobody but them.

use std::{
    collections::BTreeMap,
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
    current: Mutex<Option<Arc<SpillFile>>>,
    /// Each file has one of these.
    open: Arc<()>,
}

struct SpillFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    space: Mutex<Space>,
    /// Given back when the file is closed.
    _open: Arc<()>,
}

/// What of a file is needed.
#[derive(Default)]
struct Space {
    /// Where blocks are, and where they end.
    blocks: BTreeMap<u64, u64>,
    /// What these [weigh](weight).
    needed: u64,
    /// What those weigh, and others that have not been given back.
    kept: u64,
    /// Where the next block begins.
    end: u64,
}

/// A block of payloads on disk. When it is dropped its space is free, or soon will be.
pub struct SpilledBlock {
    file: Arc<SpillFile>,
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
        let payloads = payloads.map(|(lsn, [first, second])| {
            let length = (first.len() + second.len()) as u64;
            ([lsn.0, length].map(u64::to_le_bytes), first, second)
        });
        let payloads: Vec<_> = payloads.collect();
        // Written from where they lie: a copy would want memory from the system again and again.
        let pieces: Vec<&[u8]> = payloads
            .iter()
            .flat_map(|(head, first, second)| [head.as_flattened(), first, second])
            .collect();
        let (mut length, mut crc) = (0, crc32fast::Hasher::new());
        for piece in &pieces {
            length += piece.len();
            crc.update(piece);
        }
        let mut current = self.current.lock();
        let length_max = self.length_max();
        let file = match &*current {
            Some(file) if file.space.lock().has_room(length_max) => Arc::clone(file),
            _ => Arc::clone(current.insert(self.begin(disk, dir)?)),
        };
        let at = file.space.lock().take(length as u64);
        drop(current);
        let block = SpilledBlock { file, at, length, crc: crc.finalize() };
        block.file.file.write_all_at(&pieces, at)?;
        Ok(block)
    }

    fn begin(&self, disk: &dyn Disk, dir: &Path) -> io::Result<Arc<SpillFile>> {
        let path = dir.join(FILE);
        let file = disk.create(&path)?;
        disk.remove(&path)?;
        let open = Arc::clone(&self.open);
        Ok(Arc::new(SpillFile { file, path, space: Mutex::default(), _open: open }))
    }

    /// How long the file that is written to may get before another is begun: twice as long with each that
    /// is open beside it, since every one of these may be kept by a single block.
    fn length_max(&self) -> u64 {
        let others = Arc::strong_count(&self.open).saturating_sub(2);
        FILE_BYTES << others.min(DOUBLINGS_MAX)
    }
}

impl Space {
    /// Whether another block may be added to a file that should not get much longer than that.
    fn has_room(&self, length_max: u64) -> bool {
        self.blocks.is_empty() || self.end < length_max
    }

    /// Where a new block of this length lies.
    fn take(&mut self, length: u64) -> u64 {
        if self.blocks.is_empty() {
            self.end = 0;
        }
        let (at, end) = (self.end, self.end + length);
        self.blocks.insert(at, end);
        self.needed += weight(at, end);
        self.kept += weight(at, end);
        self.end = end;
        at
    }

    /// A block is not needed any more. Whether so much is not that it should be given back: not with each
    /// block, for mostly all of them go one after the other, and the file with them.
    fn release(&mut self, at: u64) -> bool {
        if let Some(end) = self.blocks.remove(&at) {
            self.needed -= weight(at, end);
        }
        self.needed == 0 || self.kept / 2 > self.needed
    }

    /// What lies between the blocks, as far as it consists of whole blocks of the disk.
    fn gaps(&self) -> impl Iterator<Item = (u64, u64)> {
        let starts = std::iter::once(0).chain(self.blocks.values().copied());
        let ends = self.blocks.keys().copied().chain(std::iter::once(self.end));
        let whole = |(start, end): (u64, u64)| {
            (start.next_multiple_of(DISK_BLOCK), end / DISK_BLOCK * DISK_BLOCK)
        };
        starts.zip(ends).map(whole).filter(|(start, end)| start < end)
    }
}

/// What a block may keep of the disk by itself. Since that is never little, those that stay are few for what has
/// to be released before all of them are looked at: one in 4 KiB.
fn weight(at: u64, end: u64) -> u64 {
    (end - at).max(DISK_BLOCK)
}

impl SpillFile {
    /// A block is not needed any more, nor the file, if it `is_closed` by that.
    fn release(&self, at: u64, is_closed: bool) {
        let mut space = self.space.lock();
        if !space.release(at) || is_closed {
            return;
        }
        space.kept = space.needed;
        for (from, to) in space.gaps() {
            if let Err(error) = self.file.discard(from, to) {
                tracing::warn!("space is not given back before a whole file can go: {error}");
                return;
            }
        }
    }
}

impl Drop for SpilledBlock {
    fn drop(&mut self) {
        // Nor is it written to any more, or that would hold it.
        let is_closed = Arc::strong_count(&self.file) == 1;
        self.file.release(self.at, is_closed);
    }
}

impl SpilledBlock {
    /// Reads its payloads, in the order in which they were written.
    ///
    /// # Errors
    /// When the system cannot read, or what it reads is not what was written.
    pub fn read(&self) -> Result<Vec<(Lsn, Bytes)>, ReadError> {
        let SpillFile { file, path, .. } = &*self.file;
        let failed = |source| ReadError { path: path.clone(), source };
        let mut bytes = vec![0; self.length];
        file.read_exact_at(&mut bytes, self.at).map_err(failed)?;
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
/// When a second file is begun.
const FILE_BYTES: u64 = 16 << 20;
/// How often that is doubled at most: to 1 TiB, since file systems have limits as well.
const DOUBLINGS_MAX: usize = 16;
/// What file systems give back at a time, at least.
const DISK_BLOCK: u64 = 4096;

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

    /// The open files that `dir` had, and that have no name any more.
    #[cfg(target_os = "linux")]
    fn nameless(dir: &Path) -> Vec<std::fs::Metadata> {
        use std::fs;

        let opened = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
        let nameless = opened.filter(|fd| {
            fs::read_link(fd).is_ok_and(|target| target.starts_with(dir) && !target.exists())
        });
        nameless.filter_map(|fd| fs::metadata(fd).ok()).collect()
    }

    /// What these take on disk.
    #[cfg(target_os = "linux")]
    fn taken(dir: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt;

        nameless(dir).iter().map(|file| file.blocks() * 512).sum()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_few_old_blocks_do_not_keep_what_was_written_around_them() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let (spill, disk) = (Spill::default(), crate::RealDisk::new());
        let write = |block: u64| {
            let numbers: Vec<_> = (block * 50..block * 50 + 50).map(u64::to_le_bytes).collect();
            let payload = [7; 5000];
            let lsns = (block * 50..).map(Lsn);
            let pieces = numbers.iter().map(|number| [&number[..], &payload[..]]);
            spill.write(&disk, &dir, lsns.zip(pieces)).unwrap()
        };
        let mut blocks: Vec<_> = (0..200).map(write).collect();
        let all = taken(&dir);
        assert!(all >= 200 * 50 * 5000, "{all}");
        let length = blocks[0].length as u64;
        // What goes in turn goes by halves, what stays is whole.
        for left in (0..200_usize).rev() {
            if left % 40 != 0 {
                blocks.remove(left);
            }
            let (live, taken) = (blocks.len() as u64 * length, taken(&dir));
            assert!(taken <= 2 * live + 16 * DISK_BLOCK, "{taken} for {live}");
        }
        for (number, block) in (0..).zip(&blocks) {
            let read = block.read().unwrap();
            assert_eq!(read[0].0, Lsn(number * 40 * 50));
            assert!(read.iter().all(|(lsn, payload)| payload[..8] == lsn.0.to_le_bytes()));
        }
        blocks.clear();
        let left = taken(&dir);
        assert!(left <= 2 * length + 16 * DISK_BLOCK, "{left}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_file_that_is_written_to_does_not_keep_what_nobody_needs() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let (spill, disk) = (Spill::default(), crate::RealDisk::new());
        let payload = vec![7; 100_000];
        let write = || spill.write(&disk, &dir, [(Lsn(1), [&payload[..], &[]])].into_iter());
        let blocks: Vec<_> = (0..20).map(|_| write().unwrap()).collect();
        assert!(taken(&dir) >= 20 * 100_000);
        drop(blocks);
        let left = taken(&dir);
        assert!(left <= 2 * DISK_BLOCK, "{left}");
        assert_eq!(write().unwrap().read().unwrap()[0].1, payload);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn old_blocks_among_very_many_keep_few_files() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let (spill, disk) = (Spill::default(), crate::RealDisk::new());
        let payload = vec![7; 128 << 10];
        let write = |block: u64| {
            let number = block.to_le_bytes();
            let pieces = [&number[..], &payload[..]];
            spill.write(&disk, &dir, [(Lsn(block), pieces)].into_iter()).unwrap()
        };
        let (mut old, mut young) = (Vec::new(), std::collections::VecDeque::new());
        for block in 0..3000 {
            // In each 16 MiB there is one that stays.
            if block % 100 == 0 {
                old.push(write(block));
            } else {
                young.push_back(write(block));
            }
            if young.len() > 100 {
                young.pop_front();
            }
        }
        let files = nameless(&dir).len();
        assert!((2..=6).contains(&files), "{files} files");
        young.clear();
        let (live, taken_by_old) = (old.len() * payload.len(), taken(&dir));
        assert!(taken_by_old <= 2 * live as u64 + 64 * DISK_BLOCK, "{taken_by_old} for {live}");
        for (number, block) in (0..).zip(&old) {
            let read = block.read().unwrap();
            assert_eq!((read.len(), read[0].0), (1, Lsn(number * 100)));
            assert_eq!(read[0].1[..8], (number * 100).to_le_bytes());
        }
        // Those are closed that are not written to, and that one is as good as new.
        old.clear();
        assert_eq!(nameless(&dir).len(), 1);
        assert!(taken(&dir) <= DISK_BLOCK);
        assert_eq!(write(0).at, 0);
    }

    #[test]
    fn a_file_begins_anew_where_nothing_of_it_is_needed() {
        let (spill, disk) = (Spill::default(), MemDisk::new());
        for block in 0..200 {
            assert_eq!(write(&spill, &disk, block * 50..block * 50 + 50).unwrap().at, 0);
        }
    }

    #[test]
    fn many_small_blocks_are_not_looked_at_whenever_a_large_one_goes() {
        let (small, large) = (100, 256 << 10);
        let mut space = Space::default();
        let mut looked_at = 0;
        let mut released = 0;
        let mut release = |space: &mut Space, at| {
            if space.release(at) {
                space.kept = space.needed;
                looked_at += space.blocks.len() as u64;
            }
            released += large;
        };
        for _ in 0..1000 {
            space.take(small);
            let at = space.take(large);
            release(&mut space, at);
        }
        for _ in 0..10_000 {
            let at = space.take(large);
            release(&mut space, at);
        }
        assert!(looked_at > 0 && looked_at <= released / DISK_BLOCK, "{looked_at}");
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
