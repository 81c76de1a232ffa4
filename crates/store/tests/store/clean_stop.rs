//! What the mark of a clean stop says, and that it says neither too much nor too little.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use leveret_store::{
    Batch, Disk, Lsn, OpenError, Recovered, Store, StoreOptions,
    offline::{self, Damage, Definitions, Lost},
    simulation::{Operation, SimDisk},
};

use crate::support::block_on::block_on;

const SEGMENT: u64 = 256 << 10;

/// Nothing is written but what is asked for.
fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: SEGMENT,
        first_segment_bytes: SEGMENT,
        idle_mark: Duration::from_secs(3600),
        on_fatal: Arc::new(|_| {}),
        ..StoreOptions::default()
    }
}

fn open_with(disk: &SimDisk, options: StoreOptions) -> Result<(Store, Recovered), OpenError> {
    Store::open(Arc::new(disk.clone()), Path::new("/data"), options)
}

fn open(disk: &SimDisk) -> (Store, Recovered) {
    open_with(disk, options()).expect("opens")
}

fn publish(store: &Store, body: &[u8]) -> Lsn {
    let mut batch = Batch::new();
    batch.message(&[1], &[body]);
    let last = store.append(&mut batch).last;
    block_on(store.durable(last));
    last
}

/// The messages of queue 1, and whether they may have been delivered.
fn found(recovered: &Recovered) -> Vec<(Lsn, bool)> {
    let backlogs = recovered.backlogs.iter();
    let messages = backlogs.flat_map(|backlog| backlog.messages());
    messages.map(|message| (message.lsn, message.redelivered)).collect()
}

fn segment() -> PathBuf {
    PathBuf::from("/data/journal/0000000000000001.seg")
}

fn read(disk: &SimDisk) -> Vec<u8> {
    let file = disk.open(&segment()).expect("is there");
    let mut bytes = vec![0; usize::try_from(file.len().expect("measures")).expect("small")];
    file.read_exact_at(&mut bytes, 0).expect("reads");
    bytes
}

fn overwrite(disk: &SimDisk, at: usize, bytes: &[u8]) {
    let file = disk.open(&segment()).expect("is there");
    file.write_all_at(&[bytes], at as u64).expect("writes");
}

/// Where two states of a file begin to differ.
fn first_change(old: &[u8], new: &[u8]) -> usize {
    old.iter().zip(new).position(|(old, new)| old != new).expect("something was written")
}

/// Where the segment has no room for another mark the next takes the place of a clean stop's, which may have
/// been all that told of a crash before.
#[test]
fn a_crash_before_clean_stops_is_not_forgotten() {
    for summary_from_bytes in [0, u64::MAX] {
        let options =
            || StoreOptions { first_segment_bytes: 1 << 10, summary_from_bytes, ..options() };
        let disk = SimDisk::new(1);
        let (store, _) = open_with(&disk, options()).expect("opens");
        let last = publish(&store, &[5; 3000]);
        let disk = disk.restart();
        drop(store);
        for start in 1..5 {
            let (store, recovered) = open_with(&disk, options()).expect("opens");
            assert_eq!(recovered.report.clean_stop, start > 1);
            assert_eq!(found(&recovered), [(last, true)], "at start {start}");
            store.close();
        }
    }
}

/// The same without a crash: nothing tells of one.
#[test]
fn clean_stops_in_a_full_segment_are_no_crash() {
    let options = || StoreOptions { first_segment_bytes: 1 << 10, ..options() };
    let disk = SimDisk::new(1);
    let (store, _) = open_with(&disk, options()).expect("opens");
    let last = publish(&store, &[5; 3000]);
    store.close();
    for start in 1..5 {
        let (store, recovered) = open_with(&disk, options()).expect("opens");
        assert_eq!(found(&recovered), [(last, false)], "at start {start}");
        store.close();
    }
}

/// What came after it was confirmed, though nothing says so.
#[test]
fn a_damaged_mark_behind_a_clean_stop_is_refused_and_repaired() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let first = publish(&store, b"first");
    store.close();
    let stopped = read(&disk);
    let (store, _) = open(&disk);
    let second = publish(&store, b"second");
    let disk = disk.restart();
    drop(store);
    let mark = first_change(&stopped, &read(&disk));
    overwrite(&disk, mark + 20, &[0xff]);

    let refused = open_with(&disk, options()).map(drop).expect_err("it is damaged");
    let offset = mark as u64;
    assert!(
        matches!(&refused, OpenError::DamagedMark { path, offset: at } if *path == segment() && *at == offset),
        "{refused}"
    );
    let damages = offline::check(&disk, Path::new("/data")).expect("can be checked").damages;
    assert_eq!(damages.iter().map(|damage| damage.offset).collect::<Vec<_>>(), [offset]);
    offline::repair(&disk, Path::new("/data"), Definitions::Optional).expect("can be repaired");
    for _ in 0..2 {
        let (store, recovered) = open(&disk);
        assert_eq!(found(&recovered), [(first, true), (second, true)]);
        store.close();
    }
}

/// The next header that is left may be far behind it.
#[test]
fn a_damaged_mark_before_a_large_message_is_refused() {
    let large = 33 << 20;
    let options =
        || StoreOptions { segment_bytes: 40 << 20, first_segment_bytes: 40 << 20, ..options() };
    let disk = SimDisk::new(1);
    let (store, _) = open_with(&disk, options()).expect("opens");
    publish(&store, b"first");
    store.close();
    let stopped = read(&disk);
    let (store, _) = open_with(&disk, options()).expect("opens");
    publish(&store, &vec![7; large]);
    publish(&store, b"last");
    let disk = disk.restart();
    drop(store);
    let mark = first_change(&stopped, &read(&disk));
    // And the header of the large one.
    overwrite(&disk, mark, &[0xff; 128]);

    let refused = open_with(&disk, options()).map(drop).expect_err("it is damaged");
    let offset = mark as u64;
    assert!(matches!(refused, OpenError::Damaged { offset: at, .. } if at == offset), "{refused}");
    let damages = offline::check(&disk, Path::new("/data")).expect("can be checked").damages;
    assert_eq!(damages.first().map(|damage| damage.offset), Some(offset));
}

/// What could not be synced may be gone any time, also if a process has come and gone since.
#[test]
fn a_clean_stop_that_could_not_be_synced_is_written_again_by_who_writes_next() {
    // The mark is everywhere in a block.
    for size in (0..512).step_by(8) {
        for seed in 0..4 {
            let disk = SimDisk::new(seed);
            let (store, _) = open(&disk);
            let last = publish(&store, &vec![5; size]);
            let mut batch = Batch::new();
            batch.ack(1, &[last]);
            batch.set_durable();
            let last = store.append(&mut batch).last;
            block_on(store.durable(last));
            disk.fail_after(Operation::Sync, 0);
            store.close();
            let disk = disk.restart();
            // Nothing waits, so that nothing need be written.
            let (store, recovered) = open(&disk);
            assert!(recovered.report.clean_stop);
            store.close();
            let (store, recovered) = open(&disk);
            assert!(recovered.report.clean_stop);
            let last = publish(&store, b"confirmed");
            let disk = disk.reboot();
            drop(store);
            let (_, recovered) = open_with(&disk, options())
                .unwrap_or_else(|error| panic!("{size}, {seed}: {error}"));
            assert_eq!(found(&recovered), [(last, true)], "{size}, {seed}");
        }
    }
}

/// Disks lose blocks in which nothing is.
#[test]
fn a_bad_block_behind_the_end_keeps_nobody_from_starting() {
    for is_clean in [true, false] {
        let disk = SimDisk::new(1);
        let (store, _) = open(&disk);
        let last = publish(&store, b"message");
        if is_clean {
            store.close();
        }
        let disk = disk.restart();
        assert!(disk.break_block(&segment(), 128 << 10));
        let (store, recovered) = open(&disk);
        assert_eq!(recovered.report.clean_stop, is_clean);
        assert_eq!(found(&recovered), [(last, !is_clean)]);
        assert_eq!(store.read(&[last]).expect("reads").len(), 1);
        store.close();
        drop(store);
        replace_bad_block(&disk, 128 << 10);
        let (_, recovered) = open(&disk);
        // A repair is no clean stop.
        assert_eq!(found(&recovered), [(last, true)]);
    }
}

/// A check names the block, and a repair puts another file in the place of the one with it.
fn replace_bad_block(disk: &SimDisk, at: u64) {
    let check = || offline::check(disk, Path::new("/data")).expect("can be checked").damages;
    let lost = Lost::Nothing { what: "a block cannot be read" };
    let damages = [Damage { path: segment(), offset: at, lost }];
    assert_eq!(check(), damages);
    let report =
        offline::repair(disk, Path::new("/data"), Definitions::Optional).expect("is repaired");
    assert_eq!(report.damages, damages);
    assert_eq!(report.files.len(), 1, "{report:?}");
    assert_eq!(check(), []);
}

/// So they do where nothing but the summary of a segment is, which is not needed.
#[test]
fn a_bad_block_in_a_summary_keeps_nobody_from_starting() {
    let disk = SimDisk::new(1);
    let options = || StoreOptions { summary_from_bytes: 0, ..options() };
    let (store, _) = open_with(&disk, options()).expect("opens");
    let lsns: Vec<Lsn> = (0..5).map(|_| publish(&store, &[5; 100 << 10])).collect();
    store.close();
    let disk = disk.restart();
    let end = disk.open(&segment()).expect("is there").len().expect("measures");
    assert!(disk.break_block(&segment(), end - 512));
    let (store, recovered) = open_with(&disk, options()).expect("opens");
    assert_eq!(found(&recovered).len(), lsns.len());
    store.close();
    drop(store);
    replace_bad_block(&disk, end - 512);
    assert!(
        recovered.report.segments > 1 && recovered.report.summaries < recovered.report.segments - 1
    );
}

/// Without it what was written last could be damaged and taken for a torn end.
#[test]
fn what_is_found_after_a_crash_is_vouched_for_before_anything_is_written() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    publish(&store, b"message");
    let disk = disk.reboot();
    drop(store);
    let vouching = StoreOptions { idle_mark: Duration::from_millis(1), ..options() };
    let (store, recovered) = open_with(&disk, vouching).expect("opens");
    assert_eq!(found(&recovered).len(), 1);
    let begun = Instant::now();
    while store.stats().syncs == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "no mark is written");
        thread::yield_now();
    }
    let disk = disk.restart();
    assert!(disk.flip_bit(&segment(), 64 + 64 + 20, 3));
    let refused = open_with(&disk, options()).map(drop).expect_err("it is damaged");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}
