//! The promises of the store across losses of power, kills and faults, on a simulated disk.
//!
//! Each seed lives through several ends. After each, what was recovered must be the state after
//! some number of whole appends, in order, and at least those that were durable.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use leveret_store::{
    Batch, Definition, Disk, Lsn, Store, StoreOptions, SyncPolicy, Table, offline,
    simulation::{Operation, SimDisk},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::support::{
    lives::{History, Trouble, check_reads, dir, each_seed, live_through, options, wait_durable},
    messages,
    model::Step,
};

fn run(trouble: Trouble) -> impl Fn(u64) + Sync {
    move |seed| live_through(seed, trouble, |_, _, _| {})
}

#[test]
fn promises_hold_across_crashes() {
    each_seed(0..120, run(Trouble::Crashes));
}

#[test]
fn what_was_recovered_can_be_read_back() {
    each_seed(700..860, |seed| live_through(seed, Trouble::Crashes, check_reads));
}

#[test]
fn promises_hold_across_more_crashes() {
    each_seed(1_000_000..1_000_120, run(Trouble::Crashes));
}

#[test]
fn promises_hold_across_errors_and_nothing_is_tried_again() {
    each_seed(2_000_000..2_000_600, run(Trouble::Errors));
}

#[test]
fn promises_hold_while_the_disk_is_full_and_all_goes_on_when_it_is_not() {
    each_seed(3_000_000..3_000_500, run(Trouble::FullDisks));
}

#[test]
fn what_is_misread_is_found_and_never_taken_for_good() {
    each_seed(4_000_000..4_000_500, run(Trouble::Misreads));
}

/// Always the same appends: messages, most of which are settled later, so that what is left of old
/// segments is moved, and definitions, which go to their tables.
fn live_fixed(store: &Store, disk: &SimDisk, history: &mut History) {
    let mut batch = Batch::new();
    let mut state = history.base.clone();
    for round in 0..80 {
        let definition =
            Definition::Put { table: Table::Queues, key: vec![round % 3], value: vec![round; 40] };
        let mut steps = vec![
            Step::Message { queues: vec![1, 2], payload: vec![round; 300] },
            Step::Define(vec![definition]),
        ];
        let waiting = state.in_queue(1);
        if let Some(&settled) = waiting.get(usize::from(round / 8))
            && round % 8 > 0
        {
            steps.extend([1, 2].map(|queue| Step::Ack { queue, lsns: vec![settled] }));
        }
        for (index, step) in steps.iter().enumerate() {
            step.add_to(&mut batch, index);
        }
        let appended = store.append(&mut batch);
        state.apply(&steps, appended.first);
        history.appends.push((appended, state.clone()));
        if round % 3 == 0 {
            wait_durable(store, disk, appended.last);
        }
    }
}

#[test]
fn promises_hold_wherever_the_same_life_is_cut_off() {
    let is_whole = AtomicBool::new(false);
    // The number of writes and syncs before the end, until there are no more to be cut off.
    each_seed(0..100_000, |count| {
        for is_power_lost in [true, false] {
            if is_whole.load(Ordering::Relaxed) {
                return;
            }
            let disk = SimDisk::new(count);
            disk.crash_after(count);
            let fatal = Arc::new(AtomicBool::new(false));
            let mut history = History::new();
            if let Ok((store, recovered)) =
                Store::open(Arc::new(disk.clone()), dir(), options(&fatal))
            {
                assert!(history.check(&store, &recovered, &disk));
                live_fixed(&store, &disk, &mut history);
                store.close();
                if !disk.is_down() {
                    assert!(store.stats().moved_bytes > 0, "{:?}", store.stats());
                    is_whole.store(true, Ordering::Relaxed);
                }
                history.end(store.durable_lsn(), true, is_power_lost);
            } else {
                assert!(disk.is_down());
            }
            let disk = if is_power_lost { disk.reboot() } else { disk.restart() };
            let fatal = Arc::new(AtomicBool::new(false));
            let (store, recovered) =
                Store::open(Arc::new(disk.clone()), dir(), options(&fatal)).expect("opens");
            assert!(history.check(&store, &recovered, &disk));
            check_reads(&store, &recovered, &disk);
        }
    });
}

/// Also where the segment before had no room for it.
#[test]
fn a_check_counts_what_a_start_cuts() {
    let disk = SimDisk::new(1);
    let options = || StoreOptions {
        segment_bytes: 4096,
        first_segment_bytes: 4096,
        // Nothing vouches for the last message.
        idle_mark: Duration::from_secs(3600),
        on_fatal: Arc::new(|_| {}),
        ..StoreOptions::default()
    };
    let (store, _) = Store::open(Arc::new(disk.clone()), dir(), options()).expect("opens");
    let mut batch = Batch::new();
    for _ in 0..2 {
        batch.message(&[1], &[&[7; 3000]]);
        let last = store.append(&mut batch).last;
        wait_durable(&store, &disk, last);
    }
    let disk = disk.restart();
    drop(store);
    assert!(disk.flip_bit(&dir().join("journal/0000000000000002.seg"), 1000, 3));
    let checked = offline::check(&disk, dir()).expect("can be checked");
    assert_eq!(checked.damages, []);
    let (_, recovered) = Store::open(Arc::new(disk), dir(), options()).expect("opens");
    let torn_bytes = recovered.report.torn_bytes;
    assert!((3000..4096).contains(&torn_bytes), "{torn_bytes}");
    assert_eq!(checked.torn_bytes, torn_bytes);
}

#[test]
fn a_failed_sync_ends_the_store_and_promises_nothing_more() {
    each_seed(0..60, |seed| {
        let disk = SimDisk::new(seed);
        let mut rng = SmallRng::seed_from_u64(seed);
        let fatal = Arc::new(AtomicBool::new(false));
        let (store, _) =
            Store::open(Arc::new(disk.clone()), dir(), options(&fatal)).expect("opens");
        let operation = if seed % 2 == 0 { Operation::Sync } else { Operation::Write };
        disk.fail_after(operation, rng.random_range(0..12));
        let mut batch = Batch::new();
        let mut last = Lsn::ZERO;
        let start = Instant::now();
        while !fatal.load(Ordering::SeqCst) {
            assert!(start.elapsed() < Duration::from_secs(20), "the failure goes unnoticed");
            batch.message(&[1], &[&[5; 300]]);
            last = store.append(&mut batch).last;
            thread::sleep(Duration::from_micros(50));
        }
        let durable = store.durable_lsn();
        assert!(durable < last || store.append(&mut batch).last == last);
        batch.message(&[1], &[b"after the failure"]);
        let after = store.append(&mut batch).last;
        thread::sleep(Duration::from_millis(3));
        assert!(store.durable_lsn() < after);
        drop(store);
    });
}

/// The next process reads it, but it need not be on the disk, and no sync would bring it there.
#[test]
fn a_clean_stop_that_could_not_be_synced_leaves_no_hole_before_what_follows() {
    // The mark is everywhere in a block.
    for size in (0..512).step_by(8) {
        for seed in 0..8 {
            let mut disk = SimDisk::new(seed);
            let fatal = Arc::new(AtomicBool::new(false));
            let mut last = Lsn::ZERO;
            for life in 0..2 {
                let idle_mark = Duration::from_secs(3600);
                let first_segment_bytes = 4 << 10;
                let options = StoreOptions { idle_mark, first_segment_bytes, ..options(&fatal) };
                let (store, recovered) =
                    Store::open(Arc::new(disk.clone()), dir(), options).expect("opens");
                assert_eq!(recovered.report.clean_stop, life == 1);
                let mut batch = Batch::new();
                batch.message(&[1], &[&vec![5; size]]);
                last = store.append(&mut batch).last;
                wait_durable(&store, &disk, last);
                if life == 0 {
                    disk.fail_after(Operation::Sync, 0);
                    store.close();
                    assert!(fatal.load(Ordering::SeqCst), "the mark was to fail");
                    disk = disk.restart();
                } else {
                    disk = disk.reboot();
                }
            }
            let opened = Store::open(Arc::new(disk), dir(), options(&fatal));
            let (_, recovered) =
                opened.map_err(|error| format!("{size}, {seed}: {error}")).unwrap();
            assert_eq!(recovered.report.last_lsn, last, "{size}, {seed}");
        }
    }
}

#[test]
fn a_full_disk_is_waited_out() {
    let disk = SimDisk::new(1);
    let fatal = Arc::new(AtomicBool::new(false));
    let (store, _) = Store::open(Arc::new(disk.clone()), dir(), options(&fatal)).expect("opens");
    disk.set_capacity(Some(6 << 10));
    let mut batch = Batch::new();
    let mut last = Lsn::ZERO;
    for _ in 0..20 {
        batch.message(&[1], &[&[5; 1000]]);
        last = store.append(&mut batch).last;
    }
    let start = Instant::now();
    while !store.stats().no_space {
        assert!(start.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(1));
    }
    assert!(store.durable_lsn() < last && store.buffered_bytes() > 0);
    disk.set_capacity(None);
    wait_durable(&store, &disk, last);
    assert!(!store.stats().no_space && !fatal.load(Ordering::SeqCst));
}

/// It is a bad place of an old file, not a disk that cannot be relied on for what is written.
#[test]
fn a_segment_that_cannot_be_read_stays_and_nothing_else_suffers() {
    let disk = SimDisk::new(1);
    let fatal = Arc::new(AtomicBool::new(false));
    let (store, _) = Store::open(Arc::new(disk.clone()), dir(), options(&fatal)).expect("opens");
    // The first to read anything is who wants to empty the segment of this message.
    disk.fail_after(Operation::Read, 0);
    let mut batch = Batch::new();
    batch.message(&[2], &[&[5; 100]]);
    let old = store.append(&mut batch).last;
    let publish_and_acknowledge = |batch: &mut Batch| {
        batch.message(&[1], &[&[5; 1000]]);
        let last = store.append(batch).last;
        wait_durable(&store, &disk, last);
        batch.ack(1, &[last]);
        store.append(batch);
    };
    let start = Instant::now();
    while !disk.has_failed() {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody wants to empty it");
        publish_and_acknowledge(&mut batch);
    }
    (0..100).for_each(|_| publish_and_acknowledge(&mut batch));
    assert!(!fatal.load(Ordering::SeqCst));
    drop(store);
    let disk = disk.restart();
    let (store, recovered) = Store::open(Arc::new(disk), dir(), options(&fatal)).expect("opens");
    let found = messages::messages(&store, &recovered).expect("reads");
    assert!(found.iter().any(|message| message.lsn == old));
}

/// So it takes what was confirmed in the last interval, and while the last sync ran.
#[test]
fn in_interval_mode_a_loss_of_power_takes_nothing_that_a_whole_sync_followed() {
    each_seed(0..40, |seed| {
        let disk = SimDisk::new(seed);
        let fatal = Arc::new(AtomicBool::new(false));
        let sync = SyncPolicy::Interval(Duration::from_micros(seed * 100));
        let (store, _) =
            Store::open(Arc::new(disk.clone()), dir(), StoreOptions { sync, ..options(&fatal) })
                .expect("opens");
        let mut batch = Batch::new();
        let mut publish = || {
            batch.message(&[1], &[&[5; 100]]);
            let last = store.append(&mut batch).last;
            wait_durable(&store, &disk, last);
            last
        };
        let safe = publish();
        // The first may have begun before.
        let syncs = store.stats().syncs + 2;
        let mut last = safe;
        while store.stats().syncs < syncs {
            last = publish();
        }
        let disk = disk.reboot();
        drop(store);
        let opened = Store::open(Arc::new(disk), dir(), options(&fatal)).expect("opens");
        let found = opened.1.report.last_lsn;
        assert!((safe..=last).contains(&found), "{safe} to {last}: {found}");
    });
}

#[test]
fn a_message_that_can_never_be_read_is_given_up_and_its_segment_kept() {
    let disk = SimDisk::new(1);
    let fatal = Arc::new(AtomicBool::new(false));
    let read_patience = Duration::from_millis(1);
    let options = StoreOptions { read_patience, ..options(&fatal) };
    let (store, _) = Store::open(Arc::new(disk.clone()), dir(), options.clone()).expect("opens");
    let mut batch = Batch::new();
    let old = [1000, 100].map(|size| {
        batch.message(&[2], &[&vec![5; size]]);
        store.append(&mut batch).last
    });
    wait_durable(&store, &disk, old[1]);
    let journal = dir().join("journal");
    assert!(disk.break_block(&journal.join("0000000000000001.seg"), 64 + 64 + 500));
    let kept = "0000000000000001.seg.damaged".to_owned();
    let start = Instant::now();
    while !disk.list(&journal).expect("lists").contains(&kept) {
        assert!(start.elapsed() < Duration::from_secs(20), "it stays");
        batch.message(&[1], &[&[5; 1000]]);
        let last = store.append(&mut batch).last;
        wait_durable(&store, &disk, last);
        batch.ack(1, &[last]);
        store.append(&mut batch);
    }
    assert!(!fatal.load(Ordering::SeqCst));
    drop(store);
    let disk = disk.restart();
    let (store, recovered) = Store::open(Arc::new(disk), dir(), options).expect("opens");
    let found = messages::messages(&store, &recovered).expect("reads");
    let found: Vec<Lsn> = found
        .iter()
        .filter(|message| message.places.contains_key(&2))
        .map(|message| message.lsn)
        .collect();
    assert_eq!(found, [old[1]]);
}

#[test]
fn in_interval_mode_written_is_enough_and_syncs_follow() {
    let disk = SimDisk::new(1);
    let fatal = Arc::new(AtomicBool::new(false));
    let sync = SyncPolicy::Interval(Duration::from_millis(5));
    let options = StoreOptions { sync, ..options(&fatal) };
    let (store, _) = Store::open(Arc::new(disk.clone()), dir(), options).expect("opens");
    let mut batch = Batch::new();
    for _ in 0..100 {
        batch.message(&[1], &[b"x"]);
        let last = store.append(&mut batch).last;
        wait_durable(&store, &disk, last);
    }
    thread::sleep(Duration::from_millis(50));
    let stats = store.stats();
    assert!(stats.writes >= 20, "{stats:?}");
    assert!((1..stats.writes).contains(&stats.syncs), "{stats:?}");
}
