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

/// Bytes in memory; the zeros after the last byte written take none.
#[derive(Default)]
struct MemFile(RwLock<Content>);

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    len: u64,
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
        let stored = content.bytes.get(to_usize(offset)?..).unwrap_or_default();
        let (from_stored, zeros) = buffer.split_at_mut(stored.len().min(buffer.len()));
        from_stored.copy_from_slice(stored.get(..from_stored.len()).unwrap_or_default());
        zeros.fill(0);
        Ok(())
    }

    fn write_all_at(&self, slices: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut content = self.0.write();
        let mut at = to_usize(offset)?;
        for slice in slices {
            let end = at + slice.len();
            if content.bytes.len() < end {
                content.bytes.resize(end, 0);
            }
            if let Some(target) = content.bytes.get_mut(at..end) {
                target.copy_from_slice(slice);
            }
            at = end;
        }
        content.len = content.len.max(at as u64);
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
        content.bytes.truncate(to_usize(len)?);
        content.len = len;
        Ok(())
    }

    /// It keeps the space: what has no name any more is soon gone as a whole.
    fn discard(&self, from: u64, to: u64) -> io::Result<()> {
        let mut content = self.0.write();
        let end = to_usize(to)?.min(content.bytes.len());
        if let Some(discarded) = content.bytes.get_mut(to_usize(from)?..end) {
            discarded.fill(0);
        }
        Ok(())
    }
}

fn to_usize(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
