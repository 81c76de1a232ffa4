//! Copies of a store that is open.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use leveret_store::{
    Backlog, BackupDamage, BackupError, Batch, Definition, Disk, Lsn, MemDisk, OpenError,
    Recovered, Store, StoreOptions, Table,
    offline::{self, Definitions},
    simulation::{Misread, Operation, SimDisk},
};

use crate::support::{block_on::block_on, messages};

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 16 << 10,
        first_segment_bytes: 4 << 10,
        lazy_sync: Duration::from_millis(1),
        apply_definitions: Duration::from_millis(2),
        on_fatal: Arc::new(|_| {}),
        ..StoreOptions::default()
    }
}

fn open(disk: &Arc<dyn Disk>, dir: &str) -> (Store, Recovered) {
    Store::open(Arc::clone(disk), Path::new(dir), options()).expect("opens")
}

fn put(key: u64) -> Definition {
    let key = key.to_le_bytes().to_vec();
    Definition::Put { table: Table::Queues, key, value: b"queue".to_vec() }
}

/// The numbers in the bodies of what was recovered.
fn bodies(store: &Store, recovered: &Recovered) -> Vec<u64> {
    let body = |payload: &[u8]| payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let found = messages::messages(store, recovered).expect("reads");
    found.iter().filter_map(|message| body(&message.payload)).collect()
}

/// How many messages were recovered.
fn count(recovered: &Recovered) -> u64 {
    recovered.backlogs.iter().map(Backlog::len).sum()
}

/// Ends the publisher also when a check fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_is_the_store_at_one_moment_while_it_goes_on() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
    let (store, _) = open(&disk, "/data");
    let stop = AtomicBool::new(false);
    // Of each number a definition and a message; only the last hundred messages stay.
    let confirmed = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut batch = Batch::new();
            let mut waiting: Vec<Lsn> = Vec::new();
            for number in 1.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                batch.define(&[put(number)]);
                let mut body = number.to_le_bytes().to_vec();
                body.resize(500, 0);
                batch.message(&[1], &[&body]);
                if waiting.len() == 100 {
                    batch.ack(1, &[waiting.remove(0)]);
                }
                let last = store.append(&mut batch).first;
                waiting.push(Lsn(last.0 + 1));
                block_on(store.durable(waiting.last().copied().unwrap_or_default()));
                confirmed.store(number, Ordering::SeqCst);
            }
        });
        let _stop = Stop(&stop);
        for round in 0..5 {
            let goal = confirmed.load(Ordering::SeqCst) + 300;
            while confirmed.load(Ordering::SeqCst) < goal {
                thread::yield_now();
            }
            let dir = format!("/backup{round}");
            let before = confirmed.load(Ordering::SeqCst);
            let report = store.backup(Path::new(&dir)).expect("copies");
            let after = confirmed.load(Ordering::SeqCst);
            assert!(report.segments > 0 && report.bytes > 0, "{report:?}");

            let checked = offline::check(&*disk, Path::new(&dir)).expect("is data");
            assert!(checked.damages.is_empty(), "{:?}", checked.damages);
            let (copy, recovered) = open(&disk, &dir);
            let bodies = bodies(&copy, &recovered);
            let last = *bodies.last().expect("has messages");
            assert!((before..=after + 1).contains(&last), "{before} {last} {after}");
            assert!(bodies.iter().copied().eq(last - 99..=last), "{bodies:?}");
            assert_eq!(recovered.definitions.len() as u64, last);
            // It is a store like any other.
            let mut batch = Batch::new();
            batch.message(&[1], &[b"another"]);
            block_on(copy.durable(copy.append(&mut batch).last));
            copy.close();
            let (_, recovered) = open(&disk, &dir);
            assert!(recovered.report.clean_stop);
            assert_eq!(count(&recovered), 101);
        }
    });
    // What was kept for the backups goes.
    let mut batch = Batch::new();
    while store.stats().segments > 8 {
        batch.drop_queue(7);
        block_on(store.durable(store.append(&mut batch).last));
    }
}

#[test]
fn nothing_is_written_over() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
    let (store, _) = open(&disk, "/data");
    let mut batch = Batch::new();
    batch.message(&[1], &[b"one"]);
    block_on(store.durable(store.append(&mut batch).last));
    store.backup(Path::new("/backup")).expect("copies");
    for dir in ["/backup", "/data"] {
        let refused = store.backup(Path::new(dir)).expect_err("is refused");
        assert!(matches!(refused, BackupError::NotEmpty { .. }), "{refused}");
        assert!(refused.to_string().contains(dir), "{refused}");
    }
    store.close();
    let refused = store.backup(Path::new("/other")).expect_err("is refused");
    assert!(matches!(refused, BackupError::Stopping), "{refused}");
}

/// The files in the folders of a backup.
fn files_of(disk: &SimDisk, dir: &Path) -> Vec<String> {
    let folders = [dir.to_owned(), dir.join("journal")];
    folders.iter().flat_map(|folder| disk.list(folder).expect("lists")).collect()
}

#[test]
fn a_backup_that_fails_leaves_nothing_of_it() {
    let target = Path::new("/backup");
    let mut failures = 0;
    for (at, operation) in (0..25).flat_map(|at| {
        [Operation::Name, Operation::SyncDir, Operation::Write, Operation::Sync]
            .map(|operation| (at, operation))
    }) {
        let disk = SimDisk::new(at);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (store, _) = open(&shared, "/data");
        let mut batch = Batch::new();
        batch.define(&[put(1)]);
        batch.message(&[1], &[&[7; 3000]]);
        block_on(store.durable(store.append(&mut batch).last));
        while disk.open(Path::new("/data/definitions.redb")).is_err() {
            thread::yield_now();
        }
        disk.fail_after(operation, at);
        let made = store.backup(target);
        store.close();
        let left = files_of(&disk, target);
        if made.is_err() && left.is_empty() {
            failures += 1;
            continue;
        }
        // All was done but for the last sync.
        let opened = Store::open(Arc::new(disk.restart()), target, options());
        let is_whole = opened.is_ok_and(|(_, recovered)| count(&recovered) == 1);
        assert!(is_whole, "{operation:?} {at}: {made:?} {left:?}");
    }
    assert!(failures > 14, "{failures}");
}

#[test]
fn a_backup_that_fills_the_disk_gives_the_space_back() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (store, _) = open(&shared, "/data");
    let mut batch = Batch::new();
    for number in 0..60_u64 {
        batch.define(&[put(number)]);
        batch.message(&[1], &[&number.to_le_bytes(), &[7; 992]]);
        block_on(store.durable(store.append(&mut batch).last));
    }
    for free in (0..).step_by(8 << 10) {
        disk.set_capacity(Some(disk.used() + free));
        match store.backup(Path::new("/backup")) {
            Ok(_) => {
                assert!(free > 60 << 10, "{free}");
                break;
            }
            Err(error) => {
                let text = error.to_string();
                let is_told = text.contains("/backup") && text.contains("no storage space");
                assert!(is_told || matches!(error, BackupError::NoSpace), "{text}");
            }
        }
        assert_eq!(files_of(&disk, Path::new("/backup")), [""; 0]);
    }
}

#[test]
fn what_cannot_be_removed_is_named_and_refused() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (store, _) = open(&shared, "/data");
    let mut batch = Batch::new();
    batch.message(&[1], &[&[7; 3000]]);
    block_on(store.durable(store.append(&mut batch).last));
    // The folders of the copy when it is whole, and of what is left when that is removed.
    for count in [1, 2] {
        disk.fail_after(Operation::SyncDir, count);
    }
    let error = store.backup(Path::new("/backup")).expect_err("fails").to_string();
    assert!(error.contains("; what was copied to /backup has to be removed by hand: "), "{error}");
    let opened = Store::open(shared, Path::new("/backup"), options());
    assert!(matches!(opened, Err(OpenError::UnfinishedBackup { .. })));
}

/// Before anything is written: what is there may have been delivered.
#[test]
fn a_backup_is_never_taken_for_a_clean_stop() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
    let (store, _) = open(&disk, "/data");
    let mut batch = Batch::new();
    batch.message(&[1], &[&7_u64.to_le_bytes()]);
    let last = store.append(&mut batch).last;
    block_on(store.durable(last));
    drop(store);
    let (store, recovered) = open(&disk, "/data");
    assert!(recovered.report.clean_stop);
    store.backup(Path::new("/copy")).expect("copies");
    let (copy, recovered) = open(&disk, "/copy");
    assert!(!recovered.report.clean_stop);
    assert_eq!(bodies(&copy, &recovered), [7]);
}

#[test]
fn a_loss_of_power_leaves_a_whole_backup_or_one_that_is_refused() {
    let copy = Path::new("/copy");
    let mut refusals = 0;
    for count in 0.. {
        let disk = SimDisk::new(count);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (store, _) = open(&shared, "/data");
        let mut batch = Batch::new();
        for number in 0..60_u64 {
            batch.define(&[put(number)]);
            batch.message(&[1], &[&number.to_le_bytes(), &[0; 500]]);
            block_on(store.durable(store.append(&mut batch).last));
        }
        disk.crash_after(count);
        let is_whole = store.backup(copy).is_ok();
        let disk = disk.reboot();
        drop(store);
        let folders = [copy.to_owned(), copy.join("journal")];
        let is_empty = folders.iter().all(|dir| disk.list(dir).expect("lists").is_empty());
        match Store::open(Arc::new(disk), copy, options()) {
            // There was not even a file yet.
            Ok(_) if is_empty => assert!(!is_whole),
            Ok((store, recovered)) => {
                assert!(bodies(&store, &recovered).into_iter().eq(0..60));
                assert_eq!(recovered.definitions.len(), 60);
            }
            Err(OpenError::UnfinishedBackup { .. }) => {
                assert!(!is_whole);
                refusals += 1;
            }
            Err(error) => panic!("{error}"),
        }
        if is_whole {
            break;
        }
    }
    assert!(refusals > 10, "{refusals}");
}

/// What a disk has lost of a store shows in a backup, not when that is needed.
#[test]
fn what_a_backup_cannot_copy_whole_is_named_and_the_rest_is_in_it() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (store, _) = open(&shared, "/data");
    let mut batch = Batch::new();
    for number in 0..60_u64 {
        batch.message(&[1], &[&number.to_le_bytes(), &[7; 992]]);
        block_on(store.durable(store.append(&mut batch).last));
    }
    let journal = Path::new("/data/journal");
    let mut files = disk.list(journal).expect("lists");
    files.sort();
    let files: Vec<PathBuf> = files.iter().map(|name| journal.join(name)).collect();
    let unit = 64 + 16 + 16 + 1000;
    let [flipped, broken] = [1, 2].map(|index| BackupDamage {
        path: files.get(index).expect("there are more").clone(),
        offset: 64 + 5 * unit,
    });
    disk.misread_after(3, Misread::FlippedBit);
    let report = store.backup(Path::new("/first")).expect("copies");
    assert!(disk.has_failed());
    assert_eq!(report.damages, [], "it was read wrongly once");
    assert!(disk.flip_bit(&flipped.path, flipped.offset + 500, 2));
    assert!(disk.break_block(&broken.path, broken.offset + 500));

    let report = store.backup(Path::new("/second")).expect("copies");
    assert_eq!(report.damages, [flipped.clone(), broken]);
    let text = format!("{} is damaged at byte {}", flipped.path.display(), flipped.offset);
    assert_eq!(report.damages.first().map(ToString::to_string), Some(text));
    let refused = Store::open(Arc::clone(&shared), Path::new("/second"), options()).map(drop);
    assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{refused:?}");
    let repaired = offline::repair(&disk, Path::new("/second"), Definitions::Optional);
    assert_eq!(repaired.expect("is repaired").damages.len(), 2);
    for (dir, kept) in [("/first", 60), ("/second", 58)] {
        let (copy, recovered) = open(&shared, dir);
        assert_eq!(bodies(&copy, &recovered).len(), kept, "{dir}");
    }
}
