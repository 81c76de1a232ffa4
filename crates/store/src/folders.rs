//! Folders that a loss of power leaves where they are.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::Disk;

/// Creates `dir` and what is missing above it, durably.
pub(crate) fn create(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let missing = missing(disk, dir);
    disk.create_dir_all(dir)?;
    missing.iter().try_for_each(|made| sync_name(disk, made))
}

/// What is not there of `dir` and the folders above it, the innermost first.
pub(crate) fn missing(disk: &dyn Disk, dir: &Path) -> Vec<PathBuf> {
    let is_missing =
        |dir: &&Path| disk.list(dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    dir.ancestors().take_while(is_missing).map(Path::to_owned).collect()
}

/// Makes the name of `dir` durable, which is in the folder above it.
pub(crate) fn sync_name(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let parent = match dir.parent() {
        None => return Ok(()),
        Some(here) if here.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    match disk.sync_dir(parent) {
        // Someone else's folder may be unreadable, or none that can be synced, which is no reason not to go on.
        Err(error) if NOT_OURS.contains(&error.kind()) => Ok(()),
        synced => synced,
    }
}

const NOT_OURS: [io::ErrorKind; 3] =
    [io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

    use parking_lot::Mutex;

    use super::*;
    use crate::{DiskFile, DiskLock, LockError, MemDisk, Store, StoreOptions};

    /// Knows which folders there are, and notes which are synced.
    #[derive(Default)]
    struct Folders {
        files: MemDisk,
        there: Mutex<BTreeSet<PathBuf>>,
        synced: Mutex<BTreeSet<PathBuf>>,
    }

    impl Disk for Folders {
        fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            self.files.open(path)
        }

        fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            self.files.create(path)
        }

        fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
            if !self.there.lock().contains(dir) {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.files.list(dir)
        }

        fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
            self.there.lock().extend(dir.ancestors().map(Path::to_owned));
            Ok(())
        }

        fn remove_dir(&self, dir: &Path) -> io::Result<()> {
            let mut there = self.there.lock();
            let is_empty = self.files.list(dir)?.is_empty()
                && !there.iter().any(|other| other.parent() == Some(dir));
            if !is_empty {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            there.remove(dir).then_some(()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.files.rename(from, to)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.files.remove(path)
        }

        fn sync_dir(&self, dir: &Path) -> io::Result<()> {
            self.synced.lock().insert(dir.to_owned());
            Ok(())
        }

        fn free_space(&self, dir: &Path) -> io::Result<u64> {
            self.files.free_space(dir)
        }

        fn lock(&self, path: &Path) -> Result<DiskLock, LockError> {
            self.files.lock(path)
        }
    }

    #[test]
    fn each_folder_that_is_made_has_a_durable_name() {
        let disk = Arc::new(Folders::default());
        disk.create_dir_all(Path::new("/srv")).unwrap();
        let dir = Path::new("/srv/brokers/one/data");
        let (store, _) =
            Store::open(Arc::clone(&disk) as Arc<dyn Disk>, dir, StoreOptions::default()).unwrap();
        let with_names = |of: &[&str]| {
            let synced = std::mem::take(&mut *disk.synced.lock());
            let missing: Vec<_> =
                of.iter().filter(|dir| !synced.contains(Path::new(dir))).collect();
            assert!(missing.is_empty(), "{missing:?} of {synced:?}");
        };
        with_names(&["/srv", "/srv/brokers", "/srv/brokers/one", "/srv/brokers/one/data"]);
        store.backup(Path::new("/srv/copies/of/it")).unwrap();
        with_names(&["/srv", "/srv/copies", "/srv/copies/of", "/srv/copies/of/it"]);
    }

    #[test]
    fn folders_made_for_a_backup_that_fails_do_not_stay() {
        let disk = Arc::new(Folders::default());
        disk.create_dir_all(Path::new("/srv/taken")).unwrap();
        disk.create_dir_all(Path::new("/srv/empty")).unwrap();
        disk.create(Path::new("/srv/taken/file")).unwrap();
        let dir = Path::new("/srv/data");
        let (store, _) =
            Store::open(Arc::clone(&disk) as Arc<dyn Disk>, dir, StoreOptions::default()).unwrap();
        let before = disk.there.lock().clone();
        store.backup(Path::new("/srv/taken")).unwrap_err();
        store.close();
        for target in ["/srv/empty", "/srv/copies/of/it"] {
            store.backup(Path::new(target)).unwrap_err();
        }
        assert_eq!(*disk.there.lock(), before);
        assert_eq!(disk.list(Path::new("/srv/taken")).unwrap(), ["file"]);
    }
}
