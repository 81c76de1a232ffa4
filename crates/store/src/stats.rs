//! Figures of a running store.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::distribution::{Distributing, Distribution};

/// A reading of the store's counters. Counters start at 0 when the store is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Syncs of the journal.
    pub syncs: u64,
    /// Vectored writes to the journal.
    pub writes: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written to the journal, headers included.
    pub bytes: u64,
    /// Duration of the last sync.
    pub last_sync: Duration,
    /// Segments in use, spares not counted.
    pub segments: u64,
    /// Bytes of the segments in use, as allocated.
    pub segment_bytes: u64,
    /// Places of messages (one for each queue a message is in) not yet settled.
    pub live_places: u64,
    /// About how many bytes of the journal the unsettled messages take.
    pub live_bytes: u64,
    /// Bytes of messages that were written again to free the segment they were in.
    pub moved_bytes: u64,
    /// The next segment could not be made, or definitions could not reach their tables, because the disk
    /// is full. Publishers must be held back; settling goes on.
    pub no_space: bool,
}

/// How the journal was synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syncs {
    /// How long each took, in nanoseconds.
    pub nanos: Distribution,
    /// How many records each made durable: what the group commit gathers.
    pub records: Distribution,
}

const fn micros(micros: u64) -> u64 {
    micros * 1000
}

/// In nanoseconds: from a fast drive with a cache that survives to a disk in trouble.
const SYNC_BOUNDS: [u64; 15] = [
    micros(50),
    micros(100),
    micros(250),
    micros(500),
    micros(1_000),
    micros(2_500),
    micros(5_000),
    micros(10_000),
    micros(25_000),
    micros(50_000),
    micros(100_000),
    micros(250_000),
    micros(500_000),
    micros(1_000_000),
    micros(5_000_000),
];
const RECORD_BOUNDS: [u64; 10] = [1, 2, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536];

pub(crate) struct Counters {
    pub(crate) syncs: AtomicU64,
    sync_nanos: Distributing<15>,
    sync_records: Distributing<10>,
    pub(crate) writes: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) last_sync_nanos: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) segment_bytes: AtomicU64,
    pub(crate) live_places: AtomicU64,
    pub(crate) live_bytes: AtomicU64,
    pub(crate) moved_bytes: AtomicU64,
    /// The next segment could not be made.
    pub(crate) no_space: AtomicBool,
    /// A message that is larger than segments waits for space.
    pub(crate) large_waits: AtomicBool,
    /// Definitions wait for their tables to have space.
    pub(crate) tables_wait: AtomicBool,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            syncs: AtomicU64::default(),
            sync_nanos: Distributing::new(SYNC_BOUNDS),
            sync_records: Distributing::new(RECORD_BOUNDS),
            writes: AtomicU64::default(),
            records: AtomicU64::default(),
            bytes: AtomicU64::default(),
            last_sync_nanos: AtomicU64::default(),
            segments: AtomicU64::default(),
            segment_bytes: AtomicU64::default(),
            live_places: AtomicU64::default(),
            live_bytes: AtomicU64::default(),
            moved_bytes: AtomicU64::default(),
            no_space: AtomicBool::default(),
            large_waits: AtomicBool::default(),
            tables_wait: AtomicBool::default(),
        }
    }
}

impl Counters {
    pub(crate) fn read_syncs(&self) -> Syncs {
        Syncs { nanos: self.sync_nanos.read(), records: self.sync_records.read() }
    }

    pub(crate) fn read(&self) -> StoreStats {
        StoreStats {
            syncs: self.syncs.load(Relaxed),
            writes: self.writes.load(Relaxed),
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            last_sync: Duration::from_nanos(self.last_sync_nanos.load(Relaxed)),
            segments: self.segments.load(Relaxed),
            segment_bytes: self.segment_bytes.load(Relaxed),
            live_places: self.live_places.load(Relaxed),
            live_bytes: self.live_bytes.load(Relaxed),
            moved_bytes: self.moved_bytes.load(Relaxed),
            no_space: self.is_full(),
        }
    }

    /// Whether the disk refused something because it is full.
    pub(crate) fn is_full(&self) -> bool {
        [&self.no_space, &self.large_waits, &self.tables_wait]
            .into_iter()
            .any(|one| one.load(Relaxed))
    }

    pub(crate) fn synced(&self, took: Duration, records: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.syncs.fetch_add(1, Relaxed);
        self.last_sync_nanos.store(nanos, Relaxed);
        self.sync_nanos.add(nanos);
        self.sync_records.add(records);
    }
}
