//! How many messages died, and what became of them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Reason;

/// Messages that died, since the start of the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterCounts {
    /// In queues with a dead-letter exchange: given to it.
    pub dead_lettered: DeathsByReason,
    /// In queues without one: gone.
    pub discarded: DeathsByReason,
    /// Given to a dead-letter exchange that didn't exist or had no queue for them: gone as well.
    pub unroutable: u64,
    /// Given to a dead-letter exchange in vain, and kept by their queues to try again (strategy
    /// at-least-once).
    pub kept: u64,
}

/// Messages by why they died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeathsByReason {
    /// A consumer rejected them for good.
    pub rejected: u64,
    /// Their time was over.
    pub expired: u64,
    /// The queue was full.
    pub max_length: u64,
    /// They had come back too often.
    pub delivery_limit: u64,
}

impl DeathsByReason {
    pub(crate) const fn count(&mut self, reason: Reason, deaths: u64) {
        *match reason {
            Reason::Rejected => &mut self.rejected,
            Reason::Expired => &mut self.expired,
            Reason::MaxLength => &mut self.max_length,
            Reason::DeliveryLimit => &mut self.delivery_limit,
        } += deaths;
    }
}

/// The counts as everyone adds to them.
#[derive(Default)]
pub(crate) struct Counters {
    dead_lettered: Tally,
    discarded: Tally,
    unroutable: AtomicU64,
    kept: AtomicU64,
}

#[derive(Default)]
struct Tally {
    rejected: AtomicU64,
    expired: AtomicU64,
    max_length: AtomicU64,
    delivery_limit: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, counts: &DeadLetterCounts) {
        self.dead_lettered.add(&counts.dead_lettered);
        self.discarded.add(&counts.discarded);
        self.unroutable.fetch_add(counts.unroutable, Ordering::Relaxed);
        self.kept.fetch_add(counts.kept, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> DeadLetterCounts {
        DeadLetterCounts {
            dead_lettered: self.dead_lettered.read(),
            discarded: self.discarded.read(),
            unroutable: self.unroutable.load(Ordering::Relaxed),
            kept: self.kept.load(Ordering::Relaxed),
        }
    }
}

impl Tally {
    fn add(&self, deaths: &DeathsByReason) {
        let DeathsByReason { rejected, expired, max_length, delivery_limit } = *deaths;
        self.rejected.fetch_add(rejected, Ordering::Relaxed);
        self.expired.fetch_add(expired, Ordering::Relaxed);
        self.max_length.fetch_add(max_length, Ordering::Relaxed);
        self.delivery_limit.fetch_add(delivery_limit, Ordering::Relaxed);
    }

    fn read(&self) -> DeathsByReason {
        DeathsByReason {
            rejected: self.rejected.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            max_length: self.max_length.load(Ordering::Relaxed),
            delivery_limit: self.delivery_limit.load(Ordering::Relaxed),
        }
    }
}
