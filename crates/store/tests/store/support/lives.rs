//! Lives of a store on a simulated disk, at random: what it is asked to do, what goes wrong meanwhile, how
//! each ends, and whether what the next one finds is what was promised.

use std::{
    env,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use leveret_store::{
    Appended, Batch, Disk, Lsn, OpenError, Recovered, Store, StoreOptions, SyncPolicy,
    offline::{self, OfflineError},
    simulation::{Misread, Operation, SimDisk},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    messages,
    model::{State, Workload},
};

pub(crate) fn dir() -> &'static Path {
    Path::new("/data")
}

/// Options under which much happens in little time. What ends the process is noted in `fatal`.
pub(crate) fn options(fatal: &Arc<AtomicBool>) -> StoreOptions {
    let fatal = Arc::clone(fatal);
    StoreOptions {
        segment_bytes: 4 << 10,
        first_segment_bytes: 1 << 10,
        summary_from_bytes: 0,
        lazy_sync: Duration::from_millis(1),
        idle_mark: Duration::from_micros(200),
        max_lazy_bytes: 2 << 10,
        apply_definitions: Duration::from_micros(300),
        full_disk_retry: Duration::from_micros(500),
        on_fatal: Arc::new(move |_| fatal.store(true, Ordering::SeqCst)),
        ..StoreOptions::default()
    }
}

/// What may go wrong in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The power goes, or the process ends.
    Crashes,
    /// Besides, an operation of the disk fails.
    Errors,
    /// Besides, the disk is full for a while.
    FullDisks,
    /// Besides, what is read is not what is there.
    Misreads,
}

/// How a life ends if nothing ends it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The power goes at a chosen write or sync.
    Crash,
    /// The power goes while the threads do whatever they do.
    Anytime,
    /// The process does.
    Killed,
    Close,
}

/// Everything appended since the last successful recovery.
pub(crate) struct History {
    pub(crate) base: State,
    /// Each append with the state after it.
    pub(crate) appends: Vec<(Appended, State)>,
    /// What no loss of power may undo.
    durable: Lsn,
    /// What no end of the process may undo: what was only handed to the system as well.
    written: Lsn,
    /// The last start misread the mark of a clean stop and took it for a crash, as which the next one need not
    /// see it: it is not known which messages count as redelivered.
    is_doubtful: bool,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            base: State::default(),
            appends: Vec::new(),
            durable: Lsn::ZERO,
            written: Lsn::ZERO,
            is_doubtful: false,
        }
    }

    /// A life is over in which the store called all up to `promised` durable, and had synced it if it
    /// says so.
    pub(crate) fn end(&mut self, promised: Lsn, is_synced: bool, is_power_lost: bool) {
        self.written = self.written.max(promised);
        if is_synced {
            self.durable = self.durable.max(promised);
        }
        if is_power_lost {
            self.written = self.durable;
        }
    }

    /// Takes what was recovered if it is a state the journal may be in. Answers false if it cannot be
    /// read.
    pub(crate) fn check(&mut self, store: &Store, recovered: &Recovered, disk: &SimDisk) -> bool {
        let last = recovered.report.last_lsn;
        let kept = self.appends.iter().take_while(|(appended, _)| appended.last <= last).count();
        let durable =
            self.appends.iter().take_while(|(appended, _)| appended.last <= self.written).count();
        assert!(kept >= durable, "durable up to {}, recovered up to {last}", self.written);
        // Numbers between two appends are those of messages that were moved.
        if let Some((next, _)) = self.appends.get(kept) {
            assert!(next.first > last, "part of an append was recovered");
        }
        let tried = self.appends.len();
        // Of the others the numbers are given out again.
        self.appends.truncate(kept);
        if !recovered.report.clean_stop {
            let appended = self.appends.iter_mut().map(|(_, state)| state);
            appended.chain([&mut self.base]).for_each(State::crash);
        }
        // What a start finds it makes durable.
        self.durable = self.durable.max(last);
        self.written = self.durable;
        let Some(found) = State::recovered(store, recovered) else {
            assert!(disk.is_down() || disk.has_failed(), "a message cannot be read");
            return false;
        };
        let expected = self.appends.pop().map_or_else(|| self.base.clone(), |(_, state)| state);
        let is_but_for_redelivery = || {
            let (mut found, mut expected) = (found.clone(), expected.clone());
            found.crash();
            expected.crash();
            found == expected
        };
        assert!(
            found == expected || (self.is_doubtful && is_but_for_redelivery()),
            "after {kept} of {tried} appends ({durable} durable)\nfound    {found:?}\nexpected {expected:?}"
        );
        *self = Self { base: found, appends: Vec::new(), durable: last, written: last, ..*self };
        true
    }
}

/// A few lives on one disk, most of which end in a crash; `each` sees what every one begins with.
pub(crate) fn live_through(
    seed: u64,
    trouble: Trouble,
    each: impl Fn(&Store, &Recovered, &SimDisk),
) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut disk = SimDisk::new(seed);
    let mut history = History::new();
    let mut workload = Workload::new(&mut rng);
    let mut was_closed = false;
    for _ in 0..rng.random_range(2..7) {
        let end = match rng.random_range(0..10) {
            0 => End::Close,
            1 => End::Anytime,
            2 | 3 if trouble != Trouble::Crashes => End::Killed,
            4 if trouble == Trouble::Misreads => End::Close,
            _ => End::Crash,
        };
        let ends_clean = trouble == Trouble::Misreads
            && offline::check(&disk, dir()).is_ok_and(|report| report.clean_stop);
        if end == End::Crash {
            disk.crash_after(rng.random_range(0..120));
        }
        let is_early = rng.random_range(0..3) == 0;
        if is_early {
            make_trouble(trouble, &mut rng, &disk, was_closed);
        }
        let fatal = Arc::new(AtomicBool::new(false));
        let max_lazy_bytes = if rng.random_range(0..2) == 0 { 64 } else { 2 << 10 };
        let lazy_sync = Duration::from_micros(rng.random_range(0..3000));
        let sync = match rng.random_range(0..3) {
            0 => SyncPolicy::Interval(Duration::from_micros(rng.random_range(0..3000))),
            _ => SyncPolicy::Always,
        };
        // A life may write no summaries and find those of another.
        let summary_from_bytes = if rng.random_range(0..4) == 0 { u64::MAX } else { 0 };
        let mut options =
            StoreOptions { max_lazy_bytes, lazy_sync, summary_from_bytes, sync, ..options(&fatal) };
        let ending = disk.clone();
        let note = Arc::clone(&options.on_fatal);
        options.on_fatal = Arc::new(move |error| {
            note(error);
            ending.end_process();
        });
        was_closed = false;
        let journal = disk.list(&dir().join("journal")).unwrap_or_default();
        let is_new = !journal.iter().any(|name| name.ends_with(".seg"));
        let mut is_lost = false;
        // What the store says is durable in the end.
        let mut promised = Lsn::ZERO;
        match Store::open(Arc::new(disk.clone()), dir(), options) {
            Ok((store, recovered)) => {
                let is_known = history.check(&store, &recovered, &disk);
                let is_misread = ends_clean && !recovered.report.clean_stop;
                history.is_doubtful = is_misread || (history.is_doubtful && !is_known);
                if is_known {
                    if !disk.is_down() {
                        each(&store, &recovered, &disk);
                    }
                    if !is_early {
                        make_trouble(trouble, &mut rng, &disk, true);
                    }
                    workload.continue_from(&history.base);
                    live(&mut rng, &store, &disk, &mut history, &mut workload);
                }
                let had_failed = disk.has_failed_to_write();
                match end {
                    // What is published before the power goes is promised.
                    End::Anytime | End::Killed => {
                        promised = store.durable_lsn();
                        is_lost = end == End::Anytime;
                        disk = if is_lost { disk.reboot() } else { disk.restart() };
                        drop(store);
                    }
                    End::Close | End::Crash => {
                        store.close();
                        promised = store.durable_lsn();
                        was_closed = !disk.is_down() && end == End::Close;
                        if had_failed && trouble == Trouble::Errors && !recovered.report.fresh {
                            let is_over = fatal.load(Ordering::SeqCst) || disk.is_down();
                            assert!(is_over || !is_known, "an error went unnoticed");
                        }
                    }
                }
            }
            Err(error) => {
                let is_io = matches!(error, OpenError::Io { .. } | OpenError::Definitions { .. });
                let is_told = trouble == Trouble::Misreads || is_io || disk.is_down();
                let is_reason = disk.is_down() || disk.has_failed() || is_new;
                assert!(is_told && is_reason, "{error}");
                disk.end_process();
            }
        }
        let is_fatal = fatal.load(Ordering::SeqCst);
        assert!(
            !is_fatal || disk.is_down() || matches!(end, End::Anytime | End::Killed),
            "a store gave up, and its disk is well"
        );
        assert_eq!(disk.retries(), 0, "what failed was tried again");
        disk.set_capacity(None);
        if disk.is_down() {
            is_lost = rng.random_range(0..3) > 0;
            disk = if is_lost { disk.reboot() } else { disk.restart() };
        } else if !is_lost {
            disk = disk.restart();
        }
        history.end(promised, sync == SyncPolicy::Always || was_closed, is_lost);
    }
    disk.crash_after(u64::MAX);
    if rng.random_range(0..2) == 0 {
        match offline::check(&disk, dir()) {
            Ok(report) => assert!(report.damages.is_empty(), "no damage: {:?}", report.damages),
            // Every life ended before the first segment had its name for good.
            Err(OfflineError::NoData { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let fatal = Arc::new(AtomicBool::new(false));
    let (store, recovered) =
        Store::open(Arc::new(disk.clone()), dir(), options(&fatal)).expect("opens at the end");
    assert!(history.check(&store, &recovered, &disk));
    drop(store);
}

/// Prepares what goes wrong in a life. `is_safe` says that a start would find damage.
fn make_trouble(trouble: Trouble, rng: &mut SmallRng, disk: &SimDisk, is_safe: bool) {
    match trouble {
        Trouble::Crashes => {}
        Trouble::Errors => {
            let all = [Operation::Write, Operation::Sync, Operation::Name, Operation::SyncDir];
            let operation = all[rng.random_range(0..all.len())];
            disk.fail_after(operation, rng.random_range(0..30));
            if rng.random_range(0..4) == 0 {
                disk.fail_after(Operation::Read, rng.random_range(0..60));
            }
        }
        Trouble::FullDisks => {
            disk.set_capacity(Some(disk.used() + rng.random_range(0..40_000)));
        }
        Trouble::Misreads => {
            for _ in 0..rng.random_range(1..4) {
                let is_short = !is_safe || rng.random_range(0..3) == 0;
                let misread = if is_short { Misread::Short } else { Misread::FlippedBit };
                disk.misread_after(rng.random_range(0..60), misread);
            }
        }
    }
}

/// Appends until the power goes or enough is done.
pub(crate) fn live(
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
        let pen = if rng.random_bool(0.3) { store.pen() } else { None };
        let appended = store.append(&mut batch);
        state.apply(&steps, appended.first);
        history.appends.push((appended, state.clone()));
        let writes = rng.random_bool(0.8);
        if let Some(mut pen) = pen
            && writes
        {
            pen.write();
        }
        match rng.random_range(0..7) {
            0 | 1 => wait_durable(store, disk, appended.last),
            2 => thread::sleep(Duration::from_micros(rng.random_range(0..800))),
            3 => read_some(rng, store, disk, &state),
            _ => {}
        }
    }
}

/// What is read is what was written, or is said to be missing.
fn read_some(rng: &mut SmallRng, store: &Store, disk: &SimDisk, state: &State) {
    let readable = store.readable_lsn();
    let mut expected = state.payloads();
    expected.retain(|(lsn, _)| *lsn <= readable && rng.random_range(0..2) == 0);
    let lsns: Vec<Lsn> = expected.iter().map(|(lsn, _)| *lsn).collect();
    match store.read(&lsns) {
        Ok(mut found) => {
            // What was misread is missing, and only that.
            if disk.has_failed() {
                expected.retain(|(lsn, _)| found.iter().any(|(other, _)| lsn == other));
            }
            let found = found.drain(..).map(|(lsn, payload)| (lsn, payload.to_vec()));
            let found: Vec<(Lsn, Vec<u8>)> = found.collect();
            let lacking = |all: &[(Lsn, Vec<u8>)], some: &[(Lsn, Vec<u8>)]| -> Vec<Lsn> {
                all.iter().filter(|one| !some.contains(one)).map(|(lsn, _)| *lsn).collect()
            };
            assert!(
                found == expected,
                "something else was read up to {readable}: {:?} instead of {:?}",
                lacking(&found, &expected),
                lacking(&expected, &found),
            );
        }
        Err(error) => assert!(disk.is_down() || disk.has_failed(), "{error}"),
    }
}

/// Waits until `lsn` is durable. A full disk that has been said to be full gets its space back.
pub(crate) fn wait_durable(store: &Store, disk: &SimDisk, lsn: Lsn) {
    let start = Instant::now();
    while store.durable_lsn() < lsn && !disk.is_down() {
        if store.stats().no_space {
            disk.set_capacity(None);
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{lsn} does not become durable");
        thread::yield_now();
    }
}

/// What was recovered can be read back, wherever it was moved, and is counted.
pub(crate) fn check_reads(store: &Store, recovered: &Recovered, disk: &SimDisk) {
    assert!(messages::messages(store, recovered).is_some() || disk.is_down());
    let places: u64 = recovered.backlogs.iter().map(|backlog| backlog.len()).sum();
    assert_eq!(store.stats().live_places, places);
}

/// Runs the seeds given in `LEVERET_SEEDS` as `from..to`, else `default`, some at once, naming those
/// that fail.
pub(crate) fn each_seed(default: std::ops::Range<u64>, run: impl Fn(u64) + Sync) {
    let given = env::var("LEVERET_SEEDS").ok();
    let seeds = given.map_or(default, |given| {
        let (from, to) = given.split_once("..").expect("from..to");
        from.parse().expect("a number")..to.parse().expect("a number")
    });
    let next = AtomicU64::new(seeds.start);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let run = std::panic::AssertUnwindSafe(|| run(seed));
            if let Err(panic) = std::panic::catch_unwind(run) {
                eprintln!("failing seed: LEVERET_SEEDS={seed}..{}", seed + 1);
                next.store(seeds.end, Ordering::Relaxed);
                std::panic::resume_unwind(panic);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
}

/// Seeds that run at a time: they wait more than they work.
const AT_ONCE: usize = 4;
