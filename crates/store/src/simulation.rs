//! A disk that loses power, fails and fills up, for tests.
//!
//! [`SimDisk`] keeps for each file what a reader sees and what a loss of power would leave, in
//! blocks of 512 bytes. Everything not synced may or may not survive, each block and each name by
//! itself. After a failed sync some blocks count as synced without being so, as in Linux: readers see
//! them until the power goes.

mod contents;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use self::contents::{BLOCK, File, Keep, NameChange, Random};
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

/// What is wrong with what a read gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misread {
    /// It ends early.
    Short,
    /// One bit of it is another.
    FlippedBit,
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

    /// Makes the `count`-th operation of this kind from now fail with `EIO`, counted from 0. Of a write
    /// the first part is done all the same.
    pub fn fail_after(&self, operation: Operation, count: u64) {
        self.0.lock().fail_at(operation, count, EIO);
    }

    /// Makes it fail with `ENOSPC`.
    pub fn refuse_after(&self, operation: Operation, count: u64) {
        self.0.lock().fail_at(operation, count, ENOSPC);
    }

    /// Makes the `count`-th read from now, counted from 0, give something else than what is there.
    pub fn misread_after(&self, count: u64, misread: Misread) {
        let mut state = self.0.lock();
        let at = state.done.get(&Operation::Read).copied().unwrap_or_default() + count;
        state.misreads.insert(at, misread);
    }

    /// Whether something has failed, or was misread, because a test wanted it.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        !self.0.lock().failed.is_empty()
    }

    /// Whether a change or a sync has.
    #[must_use]
    pub fn has_failed_to_write(&self) -> bool {
        self.0.lock().failed.iter().any(|operation| *operation != Operation::Read)
    }

    /// Writes to and syncs of files for which one has failed, by the same process.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.0.lock().retries
    }

    /// Bytes all files have together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// Lets nothing of what the present process asks for be done any more.
    pub fn end_process(&self) {
        self.0.lock().down = true;
    }

    /// Ends the process and returns the disk as the next one finds it: with all that was written, synced
    /// or not, and without the faults to come. Handles of this disk fail from now on.
    #[must_use]
    pub fn restart(&self) -> Self {
        let mut old = self.0.lock();
        let mut new = std::mem::take(&mut *old);
        *old = State { down: true, retries: new.retries, ..State::default() };
        new.files.iter_mut().for_each(|file| file.has_failed = false);
        new.locks.clear();
        new.failing.clear();
        new.misreads.clear();
        new.crash_at = None;
        new.failed.clear();
        (new.down, new.retries) = (false, 0);
        Self(Arc::new(Mutex::new(new)))
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

    /// Makes the block of a file with this byte unreadable, until it is mended. Answers whether there is such
    /// a file.
    pub fn break_block(&self, path: &Path, offset: u64) -> bool {
        self.change_block(path, offset, |file, block| file.bad.insert(block))
    }

    /// Makes a block readable again. Answers whether it was not.
    pub fn mend_block(&self, path: &Path, offset: u64) -> bool {
        self.change_block(path, offset, |file, block| file.bad.remove(&block))
    }

    fn change_block(
        &self,
        path: &Path,
        offset: u64,
        change: impl FnOnce(&mut File, usize) -> bool,
    ) -> bool {
        let mut state = self.0.lock();
        let Ok(at) = usize::try_from(offset) else { return false };
        let Some(id) = state.names.get(path).copied() else { return false };
        state.files.get_mut(id).is_some_and(|file| change(file, at / BLOCK))
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
                let bad = file.bad.clone();
                let file = File { durable: left.clone(), live: left, bad, ..File::default() };
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

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
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

/// What a full disk leaves of what was to be added to a file.
#[derive(Clone, Copy)]
enum Grow {
    /// All or nothing.
    Whole,
    /// As much as there is space for.
    Part,
}

struct SimFile {
    disk: Arc<Mutex<State>>,
    id: usize,
}

impl SimFile {
    /// Changes the file, if it is not to fail and there is space for it.
    fn change(
        &self,
        grow: Grow,
        change: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.disk.lock();
        self.note_retry(&mut state);
        let failure = state.start(Operation::Write).err();
        if state.down {
            return failure.map_or(Ok(()), Err);
        }
        let free = state.capacity.map(|capacity| capacity.saturating_sub(state.used()));
        let State { files, random, .. } = &mut *state;
        let file = files.get_mut(self.id).ok_or(io::ErrorKind::NotFound)?;
        let before = file.live.len();
        if let Some(failure) = failure {
            // Of what was to be written some is.
            let mut tried = File { live: file.live.clone(), ..File::default() };
            change(&mut tried)?;
            for block in tried.dirty.into_iter().filter(|_| random.next() % 2 == 0) {
                let range = block * BLOCK..((block + 1) * BLOCK).min(tried.live.len()).min(before);
                file.write(range.start, tried.live.get(range).unwrap_or_default());
            }
            file.has_failed = true;
            return Err(failure);
        }
        change(file)?;
        let grown = file.live.len().saturating_sub(before) as u64;
        if let Some(free) = free.filter(|free| grown > *free) {
            let part = match grow {
                Grow::Whole => 0,
                Grow::Part => usize::try_from(free).map_err(io::Error::other)?,
            };
            file.live.truncate(before + part);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn note_retry(&self, state: &mut State) {
        if !state.down && state.files.get(self.id).is_some_and(|file| file.has_failed) {
            state.retries += 1;
        }
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
        let misread = state.start_read()?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let file = state.files.get(self.id).ok_or(io::ErrorKind::NotFound)?;
        let end = start + buffer.len();
        if file.bad.range(start / BLOCK..end.div_ceil(BLOCK)).next().is_some() {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let bytes = file.live.get(start..end);
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        match misread {
            None => Ok(()),
            Some(Misread::Short) => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(Misread::FlippedBit) => {
                let random = state.random.next();
                let at = (random >> 3) % (buffer.len() as u64).max(1);
                if let Some(byte) = usize::try_from(at).ok().and_then(|at| buffer.get_mut(at)) {
                    *byte ^= 1 << (random & 7);
                }
                Ok(())
            }
        }
    }

    fn write_all_at(&self, slices: &[&[u8]], offset: u64) -> io::Result<()> {
        self.change(Grow::Part, |file| {
            let mut at = usize::try_from(offset).map_err(io::Error::other)?;
            for slice in slices {
                file.write(at, slice);
                at += slice.len();
            }
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        self.note_retry(&mut state);
        let failure = state.start(Operation::Sync).err();
        if state.down {
            return failure.map_or(Ok(()), Err);
        }
        let State { files, random, .. } = &mut *state;
        let file = files.get_mut(self.id).ok_or(io::ErrorKind::NotFound)?;
        if let Some(failure) = failure {
            file.dirty.retain(|_| random.next() % 2 == 0);
            file.has_failed = true;
            return Err(failure);
        }
        let File { live, durable, dirty, .. } = file;
        durable.resize(live.len(), 0);
        for block in std::mem::take(dirty) {
            let range = block * BLOCK..((block + 1) * BLOCK).min(live.len());
            if let (Some(to), Some(from)) = (durable.get_mut(range.clone()), live.get(range)) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(Grow::Part, |file| {
            let len = usize::try_from(len).map_err(io::Error::other)?;
            let zeros = vec![0; len.saturating_sub(file.live.len())];
            file.write(file.live.len(), &zeros);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Grow::Whole, |file| {
            file.set_len(usize::try_from(len).map_err(io::Error::other)?);
            Ok(())
        })
    }

    fn discard(&self, from: u64, to: u64) -> io::Result<()> {
        self.change(Grow::Part, |file| {
            let from = usize::try_from(from).map_err(io::Error::other)?;
            let to = usize::try_from(to).map_err(io::Error::other)?.min(file.live.len());
            file.write(from, &vec![0; to.saturating_sub(from)]);
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
    /// With which error.
    failing: BTreeMap<(Operation, u64), i32>,
    misreads: BTreeMap<u64, Misread>,
    /// What has failed because a test wanted it.
    failed: BTreeSet<Operation>,
    retries: u64,
    capacity: Option<u64>,
}

impl State {
    fn fail_at(&mut self, operation: Operation, count: u64, error: i32) {
        let at = self.done.get(&operation).copied().unwrap_or_default() + count;
        self.failing.insert((operation, at), error);
    }

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
        if let Some(error) = failing {
            self.failed.insert(operation);
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(())
    }

    /// As [`start`](Self::start), for a read; answers how it goes wrong without failing.
    fn start_read(&mut self) -> io::Result<Option<Misread>> {
        let number = self.done.get(&Operation::Read).copied().unwrap_or_default();
        self.start(Operation::Read)?;
        let misread = self.misreads.remove(&number);
        self.failed.extend(misread.map(|_| Operation::Read));
        Ok(misread)
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

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

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
