//! Figures of a running store.

use std::time::Duration;

/// A reading of the store's counters. Counters start at 0 when the store is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Syncs of the journal.
    pub syncs: u64,
    /// Vectored writes to the journal.
    pub writes: u64,
    /// Records appended.
    pub records: u64,
    /// Bytes appended to the journal, headers included.
    pub bytes: u64,
    /// Duration of the last sync.
    pub last_sync: Duration,
    /// Time spent in syncs.
    pub total_sync: Duration,
    /// Segments in use, spares not counted.
    pub segments: u64,
    /// Bytes of the segments in use, as allocated.
    pub segment_bytes: u64,
    /// Places of messages (one for each queue a message is in) not yet settled.
    pub live_places: u64,
    /// About how many bytes of records the unsettled messages take.
    pub live_bytes: u64,
    /// The next segments could not be made because the disk is full. Publishers must be held back; settling goes on.
    pub no_space: bool,
}
