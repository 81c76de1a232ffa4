//! A disk that loses power, for tests.
//!
//! [`SimDisk`] keeps for each file what a reader sees and what a loss of power would leave, in
//! blocks of 512 bytes. Everything not synced may or may not survive, each block and each name by
//! itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{Disk, DiskFile, DiskLock, LockError};

/// A disk whose losses come from a seed. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Reading a file.
    Read,
    /// Writing, growing or cutting a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Creating, renaming or removing a file.
    Name,
    /// Syncing a folder.
    SyncDir,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { random: Random(seed), ..State::default() })))
    }

    /// Loses power just before the `count`-th change or sync from now, counted from 0.
    pub fn crash_after(&self, count: u64) {
        let mut state = self.0.lock();
        state.crash_at = Some(state.changes.saturating_add(count));
    }

    /// Whether the power is off. Everything fails then.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.0.lock().down
    }

    /// Changes and syncs so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// Makes the `count`-th operation of this kind from now fail with an I/O error, counted from 0.
    pub fn fail_after(&self, operation: Operation, count: u64) {
        let mut state = self.0.lock();
        let at = state.done.get(&operation).copied().unwrap_or_default() + count;
        state.failing.insert((operation, at));
    }

    /// Limits the bytes all files may have together; `None` for no limit.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.0.lock().capacity = capacity;
    }

    /// Flips one bit of what is on the disk. Answers whether there is such a bit.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let mut state = self.0.lock();
        let Ok(at) = usize::try_from(offset) else { return false };
        let Some(id) = state.names.get(path).copied() else { return false };
        let Some(file) = state.files.get_mut(id) else { return false };
        let mut flipped = false;
        for bytes in [&mut file.live, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit & 7);
                flipped = true;
            }
        }
        flipped
    }

    /// Cuts the power and returns the disk as it comes back: every synced byte and name is there,
    /// of the others any. Handles of this disk fail from now on.
    #[must_use]
    pub fn reboot(&self) -> Self {
        let mut old = self.0.lock();
        old.down = true;
        let seed = old.random.next();
        let keep = Keep::any(&mut old.random);
        let mut names = old.durable_names.clone();
        for change in std::mem::take(&mut old.unsynced_names) {
            if keep.decide(&mut old.random) {
                change.apply(&mut names);
            }
        }
        let mut new = State { random: Random(seed), ..State::default() };
        for (path, id) in names {
            let State { files, random, .. } = &mut *old;
            if let Some(file) = files.get(id) {
                let left = file.after_crash(keep, random);
                let file = File { durable: left.clone(), live: left, dirty: BTreeSet::new() };
                new.durable_names.insert(path.clone(), new.files.len());
                new.names.insert(path, new.files.len());
                new.files.push(file);
            }
        }
        new.capacity = old.capacity;
        Self(Arc::new(Mutex::new(new)))
    }

    fn handle(&self, id: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: Arc::clone(&self.0), id })
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.0.lock();
        state.alive()?;
        let id = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        Ok(self.handle(id))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.start(Operation::Name)?;
        let id = if let Some(id) = state.names.get(path).copied() {
            if let Some(file) = state.files.get_mut(id) {
                file.set_len(0);
            }
            id
        } else {
            let id = state.files.len();
            state.files.push(File::default());
            state.change_name(NameChange::Create(path.to_owned(), id));
            id
        };
        drop(state);
        Ok(self.handle(id))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        state.alive()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        self.0.lock().alive()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.start(Operation::Name)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.start(Operation::Name)?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.start(Operation::SyncDir)?;
        let State { unsynced_names, durable_names, .. } = &mut *state;
        unsynced_names.retain(|change| {
            let here = change.dir() == Some(dir);
            if here {
                change.apply(durable_names);
            }
            !here
        });
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        state.alive()?;
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }

    fn lock(&self, path: &Path) -> Result<DiskLock, LockError> {
        let mut state = self.0.lock();
        state.alive().map_err(|source| LockError::Io { path: path.to_owned(), source })?;
        if !state.locks.insert(path.to_owned()) {
            return Err(LockError::Held { pid: None });
        }
        drop(state);
        Ok(DiskLock::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.0.lock().locks.remove(&self.path);
    }
}

struct SimFile {
    disk: Arc<Mutex<State>>,
    id: usize,
}

impl SimFile {
    fn change(
        &self,
        operation: Operation,
        change: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.start(operation)?;
        let free = state.capacity.map(|capacity| capacity.saturating_sub(state.used()));
        let file = state.files.get_mut(self.id).ok_or(io::ErrorKind::NotFound)?;
        let before = file.live.len() as u64;
        change(file)?;
        if free.is_some_and(|free| (file.live.len() as u64).saturating_sub(before) > free) {
            file.live.truncate(usize::try_from(before).map_err(io::Error::other)?);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        state.alive()?;
        Ok(state.files.get(self.id).map_or(0, |file| file.live.len() as u64))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.start(Operation::Read)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let file = state.files.get(self.id).ok_or(io::ErrorKind::NotFound)?;
        let bytes = file.live.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, slices: &[&[u8]], offset: u64) -> io::Result<()> {
        self.change(Operation::Write, |file| {
            let mut at = usize::try_from(offset).map_err(io::Error::other)?;
            for slice in slices {
                file.write(at, slice);
                at += slice.len();
            }
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Operation::Sync, |file| {
            let File { live, durable, dirty } = file;
            durable.resize(live.len(), 0);
            for block in std::mem::take(dirty) {
                let range = block * BLOCK..((block + 1) * BLOCK).min(live.len());
                if let (Some(to), Some(from)) = (durable.get_mut(range.clone()), live.get(range)) {
                    to.copy_from_slice(from);
                }
            }
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(Operation::Write, |file| {
            let len = usize::try_from(len).map_err(io::Error::other)?;
            let zeros = vec![0; len.saturating_sub(file.live.len())];
            file.write(file.live.len(), &zeros);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Operation::Write, |file| {
            file.set_len(usize::try_from(len).map_err(io::Error::other)?);
            Ok(())
        })
    }
}

#[derive(Default)]
struct State {
    random: Random,
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    changes: u64,
    crash_at: Option<u64>,
    down: bool,
    done: BTreeMap<Operation, u64>,
    failing: BTreeSet<(Operation, u64)>,
    capacity: Option<u64>,
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.down { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn start(&mut self, operation: Operation) -> io::Result<()> {
        if operation != Operation::Read {
            self.down |= self.crash_at.is_some_and(|at| self.changes >= at);
            self.changes += 1;
        }
        self.alive()?;
        let done = self.done.entry(operation).or_default();
        let failing = self.failing.remove(&(operation, *done));
        *done += 1;
        if failing { Err(io::Error::other("injected I/O error")) } else { Ok(()) }
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn used(&self) -> u64 {
        let live = self.names.values().filter_map(|id| self.files.get(*id));
        live.map(|file| file.live.len() as u64).sum()
    }
}

#[derive(Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Numbers of the blocks of `live` that were written since the last sync.
    dirty: BTreeSet<usize>,
}

impl File {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        if let Some(target) = self.live.get_mut(at..end) {
            target.copy_from_slice(bytes);
        }
        self.dirty.extend(at / BLOCK..end.div_ceil(BLOCK));
    }

    fn set_len(&mut self, len: usize) {
        if len < self.live.len() {
            // What comes there later is not what was there before.
            self.dirty.extend(len / BLOCK..self.live.len().div_ceil(BLOCK));
        }
        self.live.resize(len, 0);
    }

    fn after_crash(&self, keep: Keep, random: &mut Random) -> Vec<u8> {
        let mut left = self.durable.clone();
        if self.live.len() != left.len() && keep.decide(random) {
            left.resize(self.live.len(), 0);
        }
        for block in &self.dirty {
            let start = block * BLOCK;
            let end = (start + BLOCK).min(self.live.len()).min(left.len());
            if start < end
                && keep.decide(random)
                && let (Some(to), Some(from)) =
                    (left.get_mut(start..end), self.live.get(start..end))
            {
                to.copy_from_slice(from);
            }
        }
        left
    }
}

enum NameChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Rename(_, path) | Self::Remove(path) => path.parent(),
        }
    }

    /// Makes the change if it is possible: those before it may not have survived.
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, id) => drop(names.insert(path.clone(), *id)),
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Remove(path) => drop(names.remove(path)),
        }
    }
}

/// How much of what was not synced survives.
#[derive(Clone, Copy)]
enum Keep {
    Nothing,
    Everything,
    /// Out of 256.
    Some(u64),
}

impl Keep {
    fn any(random: &mut Random) -> Self {
        match random.next() % 8 {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::Some(250),
            3 => Self::Some(6),
            _ => Self::Some(random.next() % 256),
        }
    }

    fn decide(self, random: &mut Random) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Some(share) => random.next() % 256 < share,
        }
    }
}

/// `SplitMix64`.
#[derive(Default)]
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

const BLOCK: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synced_bytes_and_names_survive_and_others_may_not() {
        let dir = Path::new("/d");
        let path = dir.join("file");
        let mut lost = 0;
        for seed in 0..64 {
            let disk = SimDisk::new(seed);
            let file = disk.create(&path).unwrap();
            file.write_all_at(&[&[1; 700], &[2; 324]], 0).unwrap();
            file.sync_data().unwrap();
            disk.sync_dir(dir).unwrap();
            file.write_all_at(&[&[3; 512]], 512).unwrap();
            disk.rename(&path, &dir.join("other")).unwrap();

            let after = disk.reboot();
            assert!(disk.is_down() && file.len().is_err());
            let names = after.list(dir).unwrap();
            assert_eq!(names.len(), 1);
            let file = after.open(&dir.join(&names[0])).unwrap();
            let mut bytes = [0; 1024];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(bytes[..512], [1; 512]);
            assert!(bytes[512..] == [3; 512] || bytes[512..700] == [1; 188]);
            lost += usize::from(bytes[512] == 1);
        }
        assert!((10..54).contains(&lost), "{lost}");
    }

    #[test]
    fn faults_come_when_told() {
        let disk = SimDisk::new(1);
        let file = disk.create(Path::new("/d/file")).unwrap();
        disk.fail_after(Operation::Sync, 1);
        disk.set_capacity(Some(100));
        assert!(file.sync_data().is_ok());
        assert!(file.sync_data().is_err());
        assert!(file.sync_data().is_ok());
        assert_eq!(file.allocate(101).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(file.allocate(100).is_ok());
        disk.crash_after(1);
        assert!(file.sync_data().is_ok());
        assert!(file.sync_data().is_err());
        assert!(disk.is_down());
    }
}
