//! How values are distributed, counted as they come.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How values are distributed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Bounds, ascending, each with the number of values up to it.
    pub up_to: Vec<(u64, u64)>,
    /// How many values there were.
    pub count: u64,
    /// What they add up to.
    pub sum: u64,
}

/// Counts values by the least bound that they don't exceed.
pub(crate) struct Distributing<const N: usize> {
    bounds: [u64; N],
    counts: [AtomicU64; N],
    count: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Distributing<N> {
    /// Nothing is counted yet. The bounds ascend.
    pub(crate) fn new(bounds: [u64; N]) -> Self {
        let counts = [const { AtomicU64::new(0) }; N];
        Self { bounds, counts, count: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, value: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(index) {
            count.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Distribution {
        let mut total = 0;
        let up_to = self.bounds.iter().zip(&self.counts).map(|(bound, count)| {
            total += count.load(Relaxed);
            (*bound, total)
        });
        let up_to: Vec<(u64, u64)> = up_to.collect();
        // Values that are being added must not make a part larger than the whole.
        let count = self.count.load(Relaxed).max(total);
        Distribution { up_to, count, sum: self.sum.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_count_up_to_each_bound() {
        let values = Distributing::new([10, 20, 30]);
        for value in [0, 10, 11, 20, 31, 1000] {
            values.add(value);
        }
        let expected = Distribution { up_to: vec![(10, 2), (20, 4), (30, 4)], count: 6, sum: 1072 };
        assert_eq!(values.read(), expected);
    }
}
