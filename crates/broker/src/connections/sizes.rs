//! How large messages are.

use super::count::{Count, Sum};

/// Upper bounds of the classes messages are counted in, in bytes; there is one more for what is
/// larger. RabbitMQ's.
pub const SIZE_CLASSES: [u64; 8] =
    [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

/// Counts the published messages of a connection by their size.
#[derive(Debug, Default)]
pub struct MessageSizes {
    classes: [Count; 9],
    bytes: Count,
}

/// A reading of [`MessageSizes`], or the sum of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeTotals {
    /// Messages of each class that are in none before it.
    pub classes: [u64; 9],
    /// Bytes of all bodies.
    pub bytes: u64,
}

/// What connections that are closed have counted.
#[derive(Debug, Default)]
pub(crate) struct PastSizes {
    classes: [Sum; 9],
    bytes: Sum,
}

impl MessageSizes {
    /// Counts a message of so many bytes.
    #[inline]
    pub fn count(&self, bytes: usize) {
        let bytes = bytes as u64;
        let class = SIZE_CLASSES.iter().position(|bound| bytes <= *bound);
        if let Some(count) = self.classes.get(class.unwrap_or(SIZE_CLASSES.len())) {
            count.add(1);
        }
        self.bytes.add(bytes);
    }

    /// The numbers at this moment.
    pub fn read(&self) -> SizeTotals {
        SizeTotals { classes: self.classes.each_ref().map(Count::get), bytes: self.bytes.get() }
    }
}

impl SizeTotals {
    /// Adds another reading.
    pub fn add(&mut self, other: &Self) {
        self.classes.iter_mut().zip(other.classes).for_each(|(own, more)| *own += more);
        self.bytes += other.bytes;
    }
}

impl PastSizes {
    pub(crate) fn add(&self, more: &SizeTotals) {
        self.classes.iter().zip(more.classes).for_each(|(own, more)| own.add(more));
        self.bytes.add(more.bytes);
    }

    pub(crate) fn read(&self) -> SizeTotals {
        SizeTotals { classes: self.classes.each_ref().map(Sum::get), bytes: self.bytes.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_class() {
        let sizes = MessageSizes::default();
        for bytes in [0, 100, 101, 100_000_000, 100_000_001] {
            sizes.count(bytes);
        }
        assert_eq!(sizes.read().classes, [2, 1, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(sizes.read().bytes, 200_000_202);
    }
}
