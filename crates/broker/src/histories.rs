//! What recent history exchanges keep in memory, all of them together.
//!
//! It stays there, as they repeat it as a whole. So what they may keep is bounded: above that each may have an even
//! share, and lets go of its oldest messages.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much there may be, and is.
pub(crate) struct Histories {
    max: u64,
    memory: AtomicU64,
    /// Exchanges that keep anything.
    exchanges: AtomicU64,
}

impl Histories {
    /// None yet. Together they may take about `max` bytes, and twice that at most.
    pub(crate) fn new(max: u64) -> Self {
        Self { max, memory: AtomicU64::new(0), exchanges: AtomicU64::new(0) }
    }

    /// One takes so many bytes now, instead of what it did.
    pub(crate) fn changed(&self, before: u64, now: u64) {
        self.memory.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        let exchange = u64::from(now > 0).wrapping_sub(u64::from(before > 0));
        self.exchanges.fetch_add(exchange, Ordering::Relaxed);
    }

    /// Whether one that takes `memory` bytes has to let go of some.
    pub(crate) fn is_too_much(&self, memory: u64) -> bool {
        self.memory.load(Ordering::Relaxed) > self.max
            && memory > self.max / self.exchanges.load(Ordering::Relaxed).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_bound_each_may_have_an_even_share() {
        let histories = Histories::new(100);
        histories.changed(0, 90);
        histories.changed(0, 10);
        assert!(!histories.is_too_much(90));
        histories.changed(10, 11);
        assert!(histories.is_too_much(90) && histories.is_too_much(51));
        assert!(!histories.is_too_much(50) && !histories.is_too_much(11));
        histories.changed(90, 50);
        assert!(!histories.is_too_much(51));
        histories.changed(11, 0);
        histories.changed(50, 101);
        assert!(histories.is_too_much(101) && !histories.is_too_much(100), "it has all to itself");
    }
}
