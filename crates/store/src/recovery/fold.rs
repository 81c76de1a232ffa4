//! Takes from the records what [`Live`] does not: what messages are like, and definitions.

use ahash::AHashMap;

use super::backlog::{Backlog, Known};
use crate::{Outline, live::Live, record::Entry, tables::Change};

/// What the records seen so far say.
pub(crate) struct Fold {
    queues: AHashMap<u64, Known>,
    /// Definition changes above `applied`.
    pub(crate) changes: Vec<Change>,
    applied: u64,
    /// The last LSN before a process ended without closing the journal.
    pub(crate) crashed_at: u64,
}

impl Fold {
    pub(crate) fn new(applied: u64) -> Self {
        Self { queues: AHashMap::new(), changes: Vec::new(), applied, crashed_at: 0 }
    }

    /// The process that wrote the units up to `last` ended without closing the journal: what it had
    /// delivered is unknown, so every message it held may have been.
    pub(crate) fn crashed(&mut self, last: u64) {
        self.crashed_at = self.crashed_at.max(last);
    }

    /// The highest number of a queue that a message was routed to.
    pub(crate) fn last_queue(&self) -> u64 {
        self.queues.keys().copied().max().unwrap_or_default()
    }

    /// The messages still waiting somewhere, by queue.
    pub(crate) fn finish(self, live: &Live) -> Vec<Backlog> {
        let Self { queues, crashed_at, .. } = self;
        let mut queues: Vec<(u64, Known)> = queues.into_iter().collect();
        queues.sort_unstable_by_key(|(queue, _)| *queue);
        let backlogs =
            queues.into_iter().map(|(queue, known)| Backlog::of(queue, known, live, crashed_at));
        backlogs.filter(|backlog| !backlog.is_empty()).collect()
    }

    /// Takes a message of `queue`, perhaps of others as well.
    pub(crate) fn message(&mut self, lsn: u64, queue: u64, outline: &Outline) {
        self.queues.entry(queue).or_default().write(lsn, outline);
    }

    /// Takes a record; `outline` is what its message is like.
    pub(crate) fn record(&mut self, lsn: u64, entry: Entry<'_>, outline: &Outline) {
        match entry {
            Entry::Message { queues, .. } => {
                for queue in queues {
                    self.message(lsn, queue, outline);
                }
            }
            Entry::Moved { lsn, places, .. } => {
                for place in places {
                    self.queues.entry(place.queue).or_default().find_moved(lsn, outline);
                }
            }
            Entry::Define { payload } => {
                if lsn > self.applied {
                    self.changes.push((lsn, payload.to_vec()));
                }
            }
            Entry::Ack { .. }
            | Entry::Returned { .. }
            | Entry::Delayed { .. }
            | Entry::DropQueue { .. } => {}
        }
    }
}
