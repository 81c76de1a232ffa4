//! The promises of the store across losses of power, on a simulated disk.
//!
//! Each seed lives through several crashes. After each, what was recovered must be the state after
//! some number of whole appends, in order, and at least those that were durable.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/messages.rs"]
mod messages;
#[path = "support/model.rs"]
mod model;

use std::{
    cell::Cell,
    env,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use leveret_store::{
    Appended, Batch, Disk, Lsn, OpenError, Recovered, Store, StoreOptions, SyncPolicy,
    offline::{self, OfflineError},
    simulation::{Operation, SimDisk},
};
use model::{State, Workload};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

fn dir() -> &'static Path {
    Path::new("/data")
}

fn options(fatal: &Arc<AtomicBool>) -> StoreOptions {
    let fatal = Arc::clone(fatal);
    StoreOptions {
        segment_bytes: 4 << 10,
        first_segment_bytes: 1 << 10,
        lazy_sync: Duration::from_millis(1),
        idle_mark: Duration::from_micros(200),
        max_lazy_bytes: 2 << 10,
        apply_definitions: Duration::from_micros(300),
        on_fatal: Arc::new(move |_| fatal.store(true, Ordering::SeqCst)),
        ..StoreOptions::default()
    }
}

/// Everything appended since the last successful recovery.
struct History {
    base: State,
    /// Each append with the state after it.
    appends: Vec<(Appended, State)>,
    durable: Lsn,
}

impl History {
    /// Takes what was recovered if it is a state the journal may be in.
    fn check(&mut self, store: &Store, recovered: &Recovered, disk: &SimDisk) {
        let Some(found) = State::recovered(store, recovered) else {
            assert!(disk.is_down(), "a message cannot be read");
            return;
        };
        let last = recovered.report.last_lsn;
        let kept = self.appends.iter().take_while(|(appended, _)| appended.last <= last).count();
        let durable =
            self.appends.iter().take_while(|(appended, _)| appended.last <= self.durable).count();
        assert!(kept >= durable, "durable up to {}, recovered up to {last}", self.durable);
        // Numbers between two appends are those of messages that were moved.
        if let Some((next, _)) = self.appends.get(kept) {
            assert!(next.first > last, "part of an append was recovered");
        }
        let last_kept = kept.checked_sub(1).and_then(|at| self.appends.get(at));
        let mut expected = last_kept.map_or_else(|| self.base.clone(), |(_, state)| state.clone());
        if !recovered.report.clean_stop {
            expected.crash();
        }
        assert!(
            found == expected,
            "after {kept} of {} appends ({durable} durable)\nfound    {found:?}\nexpected {expected:?}",
            self.appends.len()
        );
        *self = Self { base: expected, appends: Vec::new(), durable: last };
    }
}

fn run_seed(seed: u64) {
    live_through(seed, |_, _, _| {});
}

/// A few lives on one disk, most of which end in a crash; `each` sees what every one begins with.
fn live_through(seed: u64, each: impl Fn(&Store, &Recovered, &SimDisk)) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut disk = SimDisk::new(seed);
    let mut history = History { base: State::default(), appends: Vec::new(), durable: Lsn::ZERO };
    let mut workload = Workload::new(&mut rng);
    for _ in 0..rng.random_range(2..7) {
        let end = match rng.random_range(0..10) {
            0 => End::Close,
            1 => End::Anytime,
            _ => End::Crash,
        };
        if end == End::Crash {
            disk.crash_after(rng.random_range(0..120));
        }
        let fatal = Arc::new(AtomicBool::new(false));
        let max_lazy_bytes = if rng.random_range(0..2) == 0 { 64 } else { 2 << 10 };
        let lazy_sync = Duration::from_micros(rng.random_range(0..3000));
        let options = StoreOptions { max_lazy_bytes, lazy_sync, ..options(&fatal) };
        match Store::open(Arc::new(disk.clone()), dir(), options) {
            Ok((store, recovered)) => {
                history.check(&store, &recovered, &disk);
                if !disk.is_down() {
                    each(&store, &recovered, &disk);
                }
                workload.continue_from(&history.base);
                live(&mut rng, &store, &disk, &mut history, &mut workload);
                match end {
                    End::Close => store.close(),
                    End::Anytime => disk = reboot(&disk, &store, &mut history),
                    End::Crash => {}
                }
                if end != End::Anytime {
                    drop(store_durable(store, &mut history));
                }
            }
            Err(error) => assert!(disk.is_down(), "{error}"),
        }
        assert!(disk.is_down() || !fatal.load(Ordering::SeqCst) || end == End::Anytime);
        if disk.is_down() {
            disk = disk.reboot();
        }
    }
    disk.crash_after(u64::MAX);
    match offline::check(&disk, dir()) {
        Ok(report) => assert!(report.damages.is_empty(), "no damage: {:?}", report.damages),
        // Every life ended before the first segment had its name for good.
        Err(OfflineError::NoData { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    let fatal = Arc::new(AtomicBool::new(false));
    let (store, recovered) =
        Store::open(Arc::new(disk.clone()), dir(), options(&fatal)).expect("opens at the end");
    history.check(&store, &recovered, &disk);
    drop(store);
}

/// What was recovered can be read back, wherever it was moved, and is counted.
fn check_reads(store: &Store, recovered: &Recovered, disk: &SimDisk) {
    assert!(messages::messages(store, recovered).is_some() || disk.is_down());
    let places: u64 = recovered.backlogs.iter().map(|backlog| backlog.len()).sum();
    assert_eq!(store.stats().live_places, places);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// At a chosen write or sync.
    Crash,
    /// While the threads do whatever they do.
    Anytime,
    Close,
}

fn store_durable(store: Store, history: &mut History) -> Store {
    store.close();
    history.durable = history.durable.max(store.durable_lsn());
    store
}

fn reboot(disk: &SimDisk, store: &Store, history: &mut History) -> SimDisk {
    // What is published before the power goes is promised.
    history.durable = history.durable.max(store.durable_lsn());
    disk.reboot()
}

/// Appends until the power goes or enough is done.
fn live(
    rng: &mut SmallRng,
    store: &Store,
    disk: &SimDisk,
    history: &mut History,
    workload: &mut Workload,
) {
    let mut batch = Batch::new();
    let mut state = history.base.clone();
    for _ in 0..rng.random_range(1..120) {
        if disk.is_down() {
            break;
        }
        if rng.random_range(0..8) == 0 {
            store.reserve(rng.random_range(1..5));
        }
        let steps = workload.batch(rng, &state, &mut batch);
        if batch.is_empty() {
            continue;
        }
        let appended = store.append(&mut batch);
        state.apply(&steps, appended.first);
        history.appends.push((appended, state.clone()));
        match rng.random_range(0..6) {
            0 | 1 => wait_durable(store, disk, appended.last),
            2 => thread::sleep(Duration::from_micros(rng.random_range(0..800))),
            _ => {}
        }
    }
}

fn wait_durable(store: &Store, disk: &SimDisk, lsn: Lsn) {
    let start = Instant::now();
    while store.durable_lsn() < lsn && !disk.is_down() {
        assert!(start.elapsed() < Duration::from_secs(20), "{lsn} does not become durable");
        thread::yield_now();
    }
}

/// Runs the seeds given in `LEVERET_SEEDS` as `from..to`, else `default`, naming those that fail.
fn each_seed(default: std::ops::Range<u64>, run: impl Fn(u64)) {
    let given = env::var("LEVERET_SEEDS").ok();
    let seeds = given.map_or(default, |given| {
        let (from, to) = given.split_once("..").expect("from..to");
        from.parse().expect("a number")..to.parse().expect("a number")
    });
    for seed in seeds {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed)));
        if let Err(panic) = outcome {
            eprintln!("failing seed: LEVERET_SEEDS={seed}..{}", seed + 1);
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn promises_hold_across_crashes() {
    each_seed(0..120, run_seed);
}

#[test]
fn what_was_recovered_can_be_read_back() {
    each_seed(700..860, |seed| live_through(seed, check_reads));
}

#[test]
fn promises_hold_across_more_crashes() {
    each_seed(1_000_000..1_000_120, run_seed);
}

/// A journal with a few units, closed; returns the state it holds.
fn written(seed: u64, disk: &SimDisk) -> State {
    let mut rng = SmallRng::seed_from_u64(seed);
    let fatal = Arc::new(AtomicBool::new(false));
    let (store, recovered) =
        Store::open(Arc::new(disk.clone()), dir(), options(&fatal)).expect("opens");
    let mut history = History { base: State::default(), appends: Vec::new(), durable: Lsn::ZERO };
    history.check(&store, &recovered, disk);
    let mut workload = Workload::new(&mut rng);
    live(&mut rng, &store, disk, &mut history, &mut workload);
    store.close();
    history.appends.pop().map_or(history.base, |(_, state)| state)
}

fn journal_files(disk: &SimDisk) -> Vec<PathBuf> {
    let journal = dir().join("journal");
    let mut names = disk.list(&journal).expect("lists");
    names.sort();
    names.iter().map(|name| journal.join(name)).collect()
}

#[test]
fn a_flipped_bit_is_harmless_or_refused_but_never_overlooked() {
    let (tried, refused) = (Cell::new(0), Cell::new(0));
    each_seed(0..200, |seed| {
        tried.set(tried.get() + 1);
        let disk = SimDisk::new(seed);
        let mut state = written(seed, &disk);
        let mut rng = SmallRng::seed_from_u64(seed);
        let files = journal_files(&disk);
        let path = &files[rng.random_range(0..files.len())];
        let len = disk.open(path).and_then(|file| file.len()).expect("has a length");
        assert!(disk.flip_bit(path, rng.random_range(0..len), rng.random_range(0..8)));
        let fatal = Arc::new(AtomicBool::new(false));
        match Store::open(Arc::new(disk), dir(), options(&fatal)) {
            Ok((store, recovered)) => {
                if !recovered.report.clean_stop {
                    // The bit was in the mark of the clean stop: nothing is lost with it but the
                    // certainty that nothing was delivered afterwards.
                    state.crash();
                }
                assert!(State::recovered(&store, &recovered) == Some(state));
            }
            Err(OpenError::Damaged { .. } | OpenError::BadSegment { .. }) => {
                refused.set(refused.get() + 1);
            }
            Err(error) => panic!("{error}"),
        }
    });
    // A single seed, as given to replay a failure, proves nothing about how many are refused.
    assert!(refused.get() * 7 > tried.get() || tried.get() < 100, "{refused:?} of {tried:?}");
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
