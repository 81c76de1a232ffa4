//! Files in memory, for brokers that keep nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};

use super::{Disk, DiskFile, DiskLock, LockError};

/// A file system in memory: never loses anything while the process lives. Clones share the files.
#[derive(Clone, Default)]
pub struct MemDisk {
    files: Arc<Mutex<BTreeMap<PathBuf, Arc<MemFile>>>>,
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl MemDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Disk for MemDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.files.lock().get(path) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn DiskFile>),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(MemFile::default());
        self.files.lock().insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let files = self.files.lock();
        let inside = files.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn lock(&self, path: &Path) -> Result<DiskLock, LockError> {
        if !self.locks.lock().insert(path.to_owned()) {
            return Err(LockError::Held { pid: None });
        }
        Ok(DiskLock::new(MemLock { locks: Arc::clone(&self.locks), path: path.to_owned() }))
    }
}

struct MemLock {
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
    path: PathBuf,
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.locks.lock().remove(&self.path);
    }
}

/// Bytes in memory, in blocks. Those that were never written or were discarded read as zeros and take none.
#[derive(Default)]
struct MemFile(RwLock<Content>);

#[derive(Default)]
struct Content {
    /// By their numbers.
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
    len: u64,
}

impl Content {
    /// Makes what lies between two offsets zeros.
    fn clear(&mut self, from: u64, to: u64) {
        let first = from / BLOCK as u64;
        let touched = first..to.div_ceil(BLOCK as u64).max(first);
        let is_cleared = |number: &u64, block: &mut Box<[u8; BLOCK]>| {
            let start = number * BLOCK as u64;
            if from <= start && start + BLOCK as u64 <= to {
                return true;
            }
            let bytes = (start..).zip(block.iter_mut());
            bytes.filter(|(at, _)| (from..to).contains(at)).for_each(|(_, byte)| *byte = 0);
            false
        };
        self.blocks.extract_if(touched, is_cleared).for_each(drop);
    }
}

impl DiskFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().len)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.0.read();
        if offset.saturating_add(buffer.len() as u64) > content.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut rest, mut at) = (buffer, offset);
        while !rest.is_empty() {
            let (number, start) = place(at);
            let (piece, after) = rest.split_at_mut(rest.len().min(BLOCK - start));
            let block = content.blocks.get(&number);
            match block.and_then(|block| block.get(start..start + piece.len())) {
                Some(stored) => piece.copy_from_slice(stored),
                None => piece.fill(0),
            }
            at += piece.len() as u64;
            rest = after;
        }
        Ok(())
    }

    fn write_all_at(&self, slices: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut content = self.0.write();
        let mut at = offset;
        for slice in slices {
            let mut rest = *slice;
            while !rest.is_empty() {
                let (number, start) = place(at);
                let (piece, after) = rest.split_at(rest.len().min(BLOCK - start));
                let block = content.blocks.entry(number).or_insert_with(|| Box::new([0; BLOCK]));
                if let Some(target) = block.get_mut(start..start + piece.len()) {
                    target.copy_from_slice(piece);
                }
                at += piece.len() as u64;
                rest = after;
            }
        }
        content.len = content.len.max(at);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut content = self.0.write();
        content.len = content.len.max(len);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.0.write();
        content.clear(len, u64::MAX);
        content.len = len;
        Ok(())
    }

    fn discard(&self, from: u64, to: u64) -> io::Result<()> {
        self.0.write().clear(from, to);
        Ok(())
    }
}

/// What is kept, and given back, as a whole, in bytes.
const BLOCK: usize = 4096;

/// The number of the block an offset is in, and where it is there.
fn place(offset: u64) -> (u64, usize) {
    let block = BLOCK as u64;
    (offset / block, usize::try_from(offset % block).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_discarded_or_cut_off_takes_no_memory_and_reads_as_zeros() {
        let file = MemFile::default();
        let blocks = || file.0.read().blocks.len();
        let read = |from: u64, to: u64| {
            let mut bytes = vec![1; usize::try_from(to - from).unwrap()];
            file.read_exact_at(&mut bytes, from).unwrap();
            bytes
        };
        let block = BLOCK as u64;
        file.write_all_at(&[&[7; 3 * BLOCK], &[8; 7 * BLOCK]], 100).unwrap();
        assert_eq!((file.len().unwrap(), blocks()), (10 * block + 100, 11));
        file.discard(2 * block - 1, 8 * block + 1).unwrap();
        assert_eq!((file.len().unwrap(), blocks()), (10 * block + 100, 5));
        assert_eq!(read(0, 100), [0; 100]);
        assert_eq!(read(100, 2 * block - 1), vec![7; 2 * BLOCK - 101]);
        assert_eq!(read(2 * block - 1, 8 * block + 1), vec![0; 6 * BLOCK + 2]);
        assert_eq!(read(8 * block + 1, 10 * block + 100), vec![8; 2 * BLOCK + 99]);
        file.discard(110, 120).unwrap();
        assert_eq!(read(109, 121), [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        file.set_len(110).unwrap();
        assert_eq!(blocks(), 1);
        file.set_len(3 * block).unwrap();
        assert_eq!((read(100, 110), read(110, 3 * block)), (vec![7; 10], vec![0; 3 * BLOCK - 110]));
        file.discard(0, 3 * block).unwrap();
        assert_eq!(blocks(), 0);
    }
}
