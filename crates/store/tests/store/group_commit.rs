//! One sync is for all that gathered while the last one ran, and what can wait has none of its own.

use std::{io, path::Path, sync::Arc, thread, time::Duration};

use leveret_store::{
    Batch, Disk, DiskFile, DiskLock, LockError, Lsn, MemDisk, Store, StoreOptions,
};
use parking_lot::{Condvar, Mutex};

use crate::support::block_on::block_on;

/// A disk whose syncs wait while it is held.
#[derive(Clone, Default)]
struct HeldDisk {
    files: MemDisk,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    is_held: bool,
    waiting: usize,
}

impl Gate {
    fn hold(&self, is_held: bool) {
        self.state.lock().is_held = is_held;
        self.changed.notify_all();
    }

    /// Waits until a sync is held up.
    fn await_sync(&self) {
        self.changed.wait_while(&mut self.state.lock(), |state| state.waiting == 0);
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| state.is_held);
        state.waiting -= 1;
    }
}

struct HeldFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl HeldDisk {
    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(HeldFile { file, gate: Arc::clone(&self.gate) })
    }
}

impl Disk for HeldDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.files.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.files.create(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.files.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir_all(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.sync_dir(dir)
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.files.free_space(dir)
    }

    fn lock(&self, path: &Path) -> Result<DiskLock, LockError> {
        self.files.lock(path)
    }
}

impl DiskFile for HeldFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, slices: &[&[u8]], offset: u64) -> io::Result<()> {
        self.file.write_all_at(slices, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn discard(&self, from: u64, to: u64) -> io::Result<()> {
        self.file.discard(from, to)
    }
}

/// A store that has synced once and does nothing by itself, unless for `lazy_sync`.
fn quiet(disk: &HeldDisk, lazy_sync: Duration) -> Store {
    let idle_mark = Duration::from_secs(3600);
    let options = StoreOptions { lazy_sync, idle_mark, ..StoreOptions::default() };
    let (store, _) =
        Store::open(Arc::new(disk.clone()), Path::new("/data"), options).expect("opens");
    block_on(store.durable(publish(&store)));
    store
}

fn publish(store: &Store) -> Lsn {
    let mut batch = Batch::new();
    batch.message(&[1], &[b"payload"]);
    store.append(&mut batch).last
}

fn acknowledge(store: &Store, message: Lsn) -> Lsn {
    let mut batch = Batch::new();
    batch.ack(1, &[message]);
    store.append(&mut batch).last
}

#[test]
fn what_is_appended_during_a_sync_is_made_durable_by_the_next() {
    let disk = HeldDisk::default();
    let store = quiet(&disk, Duration::from_secs(3600));
    let before = store.stats().syncs;
    disk.gate.hold(true);
    let first = publish(&store);
    disk.gate.await_sync();
    let others: Vec<Lsn> = (0..100).map(|_| publish(&store)).collect();
    assert!(store.durable_lsn() < first, "it is being synced");
    disk.gate.hold(false);
    block_on(store.durable(first));
    for other in others {
        block_on(store.durable(other));
    }
    assert_eq!(store.stats().syncs, before + 2);
}

#[test]
fn an_acknowledgement_alone_is_written_and_synced_with_the_next_that_must_be() {
    let disk = HeldDisk::default();
    let store = quiet(&disk, Duration::from_secs(3600));
    let message = publish(&store);
    block_on(store.durable(message));
    let before = store.stats();
    let settled = acknowledge(&store, message);
    // What can be read back is written.
    while store.readable_lsn() < settled {
        thread::yield_now();
    }
    let written = store.stats();
    assert_eq!((written.writes, written.syncs), (before.writes + 1, before.syncs));
    assert!(store.durable_lsn() < settled);

    block_on(store.durable(publish(&store)));
    assert!(store.durable_lsn() > settled);
    assert_eq!(store.stats().syncs, before.syncs + 1);
}

#[test]
fn an_acknowledgement_alone_is_synced_by_itself_after_a_while() {
    let disk = HeldDisk::default();
    let store = quiet(&disk, Duration::from_millis(200));
    let message = publish(&store);
    block_on(store.durable(message));
    let before = store.stats().syncs;
    let settled = acknowledge(&store, message);
    // Nothing else is appended.
    block_on(store.durable(settled));
    assert_eq!(store.stats().syncs, before + 1);
}
