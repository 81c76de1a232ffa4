//! Messages that the system cannot read. A disk may be away for a moment: they are worth waiting for,
//! but not for ever, since all behind them waits as well.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Since when each of them has failed to be read.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    since: Mutex<BTreeMap<u64, Instant>>,
    has_any: AtomicBool,
}

impl Unreadable {
    /// This message could not be read. Whether that has gone on for longer than `patience`.
    pub(crate) fn failed(&self, lsn: u64, patience: Duration) -> bool {
        let mut all = self.since.lock();
        self.has_any.store(true, Relaxed);
        if all.len() >= MOST && !all.contains_key(&lsn) {
            all.pop_first();
        }
        all.entry(lsn).or_insert_with(Instant::now).elapsed() >= patience
    }

    /// These, which ascend, could be read.
    pub(crate) fn succeeded(&self, lsns: &[u64]) {
        if !self.has_any.load(Relaxed) {
            return;
        }
        let mut all = self.since.lock();
        for lsn in lsns {
            all.remove(lsn);
        }
        self.has_any.store(!all.is_empty(), Relaxed);
    }
}

/// Messages that are remembered: far more than are read at a time.
const MOST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_again_is_waited_for_anew() {
        let unreadable = Unreadable::default();
        assert!(!unreadable.failed(7, Duration::MAX));
        assert!(unreadable.failed(7, Duration::ZERO));
        let first = unreadable.since.lock()[&7];
        unreadable.succeeded(&[6, 8]);
        assert!(!unreadable.failed(7, Duration::MAX));
        assert_eq!(unreadable.since.lock()[&7], first);
        unreadable.succeeded(&[6, 7]);
        assert!(unreadable.since.lock().is_empty() && !unreadable.has_any.load(Relaxed));
    }

    #[test]
    fn not_more_are_remembered_than_there_is_memory_for() {
        let unreadable = Unreadable::default();
        for lsn in 0..MOST as u64 + 10 {
            assert!(!unreadable.failed(lsn, Duration::MAX));
        }
        assert_eq!(unreadable.since.lock().len(), MOST);
    }
}
