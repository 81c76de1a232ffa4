//! What an opened store found.

use std::time::Duration;

use crate::{Backlog, Lsn, Outline, Table};

/// All that survived.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The full state of the definitions, `(table, key, value)`, ordered by table and key.
    pub definitions: Vec<(Table, Vec<u8>, Vec<u8>)>,
    /// The messages that still wait in queues, by queue.
    pub backlogs: Vec<Backlog>,
    /// The highest number of a queue that a message in the journal was routed to, settled or not; 0 without one.
    /// Were a queue to have it again, and what settled those messages to get lost, they would be that queue's.
    pub last_queue: u64,
    /// How the recovery went.
    pub report: RecoveryReport,
}

/// A message that still waits in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredMessage {
    /// Its identity, as given by [`Store::append`](crate::Store::append) when it was published, by
    /// which [`Store::read`](crate::Store::read) finds it.
    pub lsn: Lsn,
    /// What is known of it without reading it.
    pub outline: Outline,
    /// What the last [`Batch::returned`](crate::Batch::returned) said, else 0.
    pub deliveries: u32,
    /// Whether it was returned, or may have been delivered by a process that ended without closing
    /// the store.
    pub redelivered: bool,
    /// What [`Batch::delayed`](crate::Batch::delayed) said since the last return, else 0.
    pub delayed_until: u64,
}

/// A message's place in one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveredPlace {
    /// The queue.
    pub queue: u64,
    /// What the last [`Batch::returned`](crate::Batch::returned) said, else 0.
    pub deliveries: u32,
    /// Whether it was returned, or may have been delivered by a process that ended without closing
    /// the store.
    pub redelivered: bool,
    /// What [`Batch::delayed`](crate::Batch::delayed) said since the last return, else 0.
    pub delayed_until: u64,
}

/// How the recovery went, for the log.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// Nothing was there before: a new store.
    pub fresh: bool,
    /// The last process closed the store.
    pub clean_stop: bool,
    /// Bytes of unacknowledged, incompletely written records at the end that were cut.
    pub torn_bytes: u64,
    /// Segment files found.
    pub segments: usize,
    /// Those of them that were taken by their summaries and not read.
    pub summaries: usize,
    /// Records found.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The last LSN in the journal.
    pub last_lsn: Lsn,
    /// Definition changes found in the journal only and folded in.
    pub folded_definitions: u64,
    /// Time from the call of open to its return.
    pub took: Duration,
}
