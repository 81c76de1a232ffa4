use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::Nanos;

/// Collects latencies from a tenth of a microsecond to minutes, to three digits.
///
/// Corrected for coordinated omission by what it is fed: the time from when a message was *due*, not
/// from when it could be sent. A broker that stalls makes all messages late that were due meanwhile,
/// and all of them count.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    histogram: Histogram<u64>,
}

/// Latencies in nanoseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// Half are at most this.
    pub p50: u64,
    /// 90 % are at most this.
    pub p90: u64,
    /// 99 % are at most this.
    pub p99: u64,
    /// 99.9 % are at most this.
    pub p99_9: u64,
    /// 99.99 % are at most this.
    pub p99_99: u64,
    /// The longest.
    pub max: u64,
    /// The average.
    pub mean: f64,
}

impl Recorder {
    const LEAST: u64 = 100;
    const MOST: u64 = 600_000_000_000;

    pub(crate) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "fails for other constants than these only")]
        let histogram =
            Histogram::new_with_bounds(Self::LEAST, Self::MOST, 3).expect("sound bounds");
        Self { histogram }
    }

    /// Takes a latency; one beyond the bounds counts as the bound.
    #[inline]
    pub(crate) fn record(&mut self, latency: Nanos) {
        self.histogram.saturating_record(latency.0);
    }

    /// Takes over what another one has collected.
    pub(crate) fn absorb(&mut self, other: &Self) {
        // Fails for bounds that differ only.
        let _ = self.histogram.add(&other.histogram);
    }

    /// The result; `None` if there was nothing to measure.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let histogram = &self.histogram;
        if histogram.is_empty() {
            return None;
        }
        Some(Percentiles {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            p99_99: histogram.value_at_quantile(0.9999),
            max: histogram.max(),
            mean: histogram.mean(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Pace;

    const MS: u64 = 1_000_000;

    fn is_about(value: u64, expected: u64) -> bool {
        value.abs_diff(expected) <= expected / 100
    }

    /// A broker answers in 1 ms, but stalls for the second half of two seconds. At 1000 msg/s the
    /// publisher sends the messages that were due meanwhile all at once when it is over.
    #[test]
    fn a_stall_counts_for_every_message_that_was_due() {
        let pace = Pace::new(Nanos(0), 1000);
        let stall = 1000 * MS..2000 * MS;
        let (mut corrected, mut naive) = (Recorder::new(), Recorder::new());
        for sequence in 0..2000 {
            let due = pace.due_at(sequence);
            let sent = if stall.contains(&due.0) { Nanos(stall.end) } else { due };
            let arrived = Nanos(sent.0 + MS);
            corrected.record(arrived.since(due));
            naive.record(arrived.since(sent));
        }
        let (corrected, naive) = (corrected.percentiles().unwrap(), naive.percentiles().unwrap());
        assert!(is_about(naive.p99, MS), "the naive figure hides the stall: {naive:?}");
        assert!(is_about(corrected.p50, MS), "{corrected:?}");
        assert!(is_about(corrected.p90, 801 * MS), "{corrected:?}");
        assert!(is_about(corrected.p99, 981 * MS), "{corrected:?}");
        assert!(is_about(corrected.max, 1001 * MS), "{corrected:?}");
    }

    #[test]
    fn recorders_are_added() {
        let (mut sum, mut other) = (Recorder::new(), Recorder::new());
        sum.record(Nanos(MS));
        other.record(Nanos(3 * MS));
        sum.absorb(&other);
        let percentiles = sum.percentiles().unwrap();
        assert_eq!(percentiles.count, 2);
        assert!(is_about(percentiles.max, 3 * MS) && is_about(percentiles.p50, MS));
    }

    #[test]
    fn nothing_has_no_percentiles() {
        assert_eq!(Recorder::new().percentiles(), None);
    }

    #[test]
    fn what_is_out_of_bounds_counts_as_the_bound() {
        let mut recorder = Recorder::new();
        recorder.record(Nanos(0));
        recorder.record(Nanos(u64::MAX));
        let percentiles = recorder.percentiles().unwrap();
        assert_eq!(percentiles.count, 2);
        assert!(is_about(percentiles.max, Recorder::MOST));
    }
}
