//! Lines of the log that strangers cause: one a minute at most, or they would fill the disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two lines.
const PERIOD: Duration = Duration::from_secs(60);

/// How often something has happened, and when the log was told last.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    count: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Seldom {
    /// It has happened again: how often by now, if that is to be told.
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock();
        if told.is_some_and(|told| now.duration_since(told) < PERIOD) {
            return None;
        }
        *told = Some(now);
        Some(count)
    }

    /// How often it has happened.
    pub(crate) fn counted(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_minute_is_told_with_the_number_of_all() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.count(now), Some(1));
        assert!((0..1000).all(|_| seldom.count(now).is_none()));
        assert_eq!(seldom.count(now + PERIOD), Some(1002));
        assert_eq!(seldom.counted(), 1002);
    }
}
