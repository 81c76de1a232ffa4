//! Memory that many take, and that does not leave it: above a bound each may have an even share only.
//!
//! Recent history exchanges, which repeat what they keep as a whole, and what deduplicates.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much there may be, and is.
pub(crate) struct EvenShares {
    max: u64,
    taken: AtomicU64,
    /// Those that take anything.
    takers: AtomicU64,
}

impl EvenShares {
    /// None is taken yet. Together they may take about `max` bytes, and twice that at most.
    pub(crate) fn new(max: u64) -> Self {
        Self { max, taken: AtomicU64::new(0), takers: AtomicU64::new(0) }
    }

    /// What they take now, in bytes.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether they take twice what they may.
    pub(crate) fn is_doubled(&self) -> bool {
        self.taken() > self.max.saturating_mul(2)
    }

    /// One takes so many bytes now, instead of what it did.
    pub(crate) fn changed(&self, before: u64, now: u64) {
        self.taken.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        let taker = u64::from(now > 0).wrapping_sub(u64::from(before > 0));
        self.takers.fetch_add(taker, Ordering::Relaxed);
    }

    /// What each may take, if they take too much.
    pub(crate) fn share(&self) -> Option<u64> {
        let takers = self.takers.load(Ordering::Relaxed).max(1);
        (self.taken() > self.max).then(|| self.max / takers)
    }

    /// Whether one that takes `own` bytes has to let go of some.
    pub(crate) fn is_too_much(&self, own: u64) -> bool {
        self.share().is_some_and(|share| own > share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_bound_each_may_have_an_even_share() {
        let shares = EvenShares::new(100);
        shares.changed(0, 90);
        shares.changed(0, 10);
        assert!(!shares.is_too_much(90));
        shares.changed(10, 11);
        assert!(shares.is_too_much(90) && shares.is_too_much(51));
        assert!(!shares.is_too_much(50) && !shares.is_too_much(11));
        shares.changed(90, 50);
        assert!(!shares.is_too_much(51));
        shares.changed(11, 0);
        shares.changed(50, 101);
        assert!(shares.is_too_much(101) && !shares.is_too_much(100), "it has all to itself");
    }
}
