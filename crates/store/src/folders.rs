//! Folders that a loss of power leaves where they are.

use std::{io, path::Path};

use crate::Disk;

/// Creates `dir` and what is missing above it, durably.
pub(crate) fn create(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let is_missing =
        |dir: &&Path| disk.list(dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    disk.create_dir_all(dir)?;
    missing.into_iter().try_for_each(|made| sync_name(disk, made))
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
}
