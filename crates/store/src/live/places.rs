//! The unsettled places of one queue in an area.

use ahash::AHashMap;
use smallvec::SmallVec;

use super::lsn_set::LsnSet;
use crate::RecoveredPlace;

/// Unsettled places of one queue, and what they have seen.
///
/// The sizes of messages are not kept one by one, and what settles a message does not tell. So those of
/// a like size are kept together, and each counts as their average: a queue that settles its large messages
/// and keeps its small ones is left with few bytes.
#[derive(Default)]
pub(super) struct Places {
    /// Ordered by nothing. None is empty.
    sizes: SmallVec<[Alike; 1]>,
    /// What few places have.
    seen: Option<Box<Seen>>,
}

/// Places whose messages are of a like size.
pub(super) struct Alike {
    pub(super) lsns: LsnSet,
    count: u64,
    /// About how many bytes of the journal they take.
    pub(super) bytes: u64,
}

#[derive(Default)]
struct Seen {
    redelivered: LsnSet,
    /// Delivery counts and delays that are not 0.
    noted: AHashMap<u64, (u32, u64)>,
}

/// Places and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) places: u64,
    pub(super) bytes: u64,
}

/// Those of a like size have the same: none of them is twice as large as another.
pub(super) const fn like_size(bytes: u64) -> u32 {
    (bytes | 1).ilog2()
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.places += other.places;
        self.bytes += other.bytes;
    }
}

impl Alike {
    /// Messages that take `bytes` together.
    pub(super) fn new(lsns: LsnSet, bytes: u64) -> Self {
        let count = lsns.iter().count() as u64;
        Self { lsns, count, bytes }
    }

    const fn like_size(&self) -> u32 {
        // None is empty.
        like_size(self.bytes / if self.count == 0 { 1 } else { self.count })
    }

    /// Settles what is there of the `count` messages from `start` on.
    fn settle(&mut self, start: u64, count: u64) -> Amount {
        let places = self.lsns.remove(start, count);
        let bytes = if places >= self.count {
            self.bytes
        } else {
            let bytes = u128::from(self.bytes) * u128::from(places) / u128::from(self.count);
            u64::try_from(bytes).unwrap_or(self.bytes)
        };
        self.count = self.count.saturating_sub(places);
        self.bytes -= bytes;
        Amount { places, bytes }
    }
}

impl Places {
    /// Those of which nothing is known but where they are.
    pub(super) fn unseen(sizes: impl Iterator<Item = Alike>) -> Self {
        Self { sizes: sizes.collect(), seen: None }
    }

    /// They, if nothing has happened to any of them and there are few.
    pub(super) fn quiet(&self) -> Option<&[Alike]> {
        let are_few = self.sizes.iter().all(|alike| alike.lsns.is_short());
        (self.seen.is_none() && are_few).then_some(&self.sizes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// How many there are, if nothing more is known of any of them.
    pub(super) fn plain(&self) -> Option<u64> {
        let counts = self.sizes.iter().map(|alike| alike.count);
        self.seen.is_none().then(|| counts.sum())
    }

    /// Adds the `count` messages from `first` on, of a like size, that take `bytes` together.
    pub(super) fn add(&mut self, first: u64, count: u64, bytes: u64) {
        let size = like_size(bytes / count.max(1));
        if let Some(alike) = self.sizes.iter_mut().find(|alike| alike.like_size() == size) {
            alike.lsns.insert(first, count);
            alike.count += count;
            alike.bytes += bytes;
            return;
        }
        let mut lsns = LsnSet::default();
        lsns.insert(first, count);
        self.sizes.push(Alike { lsns, count, bytes });
    }

    /// Settles what is there of the `count` messages from `start` on.
    pub(super) fn settle(&mut self, start: u64, count: u64) -> Amount {
        let mut settled = Amount::default();
        for alike in &mut self.sizes {
            settled.add(alike.settle(start, count));
            if settled.places >= count {
                break;
            }
        }
        self.sizes.retain(|alike| alike.count > 0);
        if let Some(seen) = &mut self.seen {
            seen.redelivered.remove(start, count);
            if !seen.noted.is_empty() {
                for lsn in start..start.saturating_add(count) {
                    seen.noted.remove(&lsn);
                }
            }
        }
        settled
    }

    /// All of them.
    pub(super) fn amount(&self) -> Amount {
        let mut all = Amount::default();
        for alike in &self.sizes {
            all.add(Amount { places: alike.count, bytes: alike.bytes });
        }
        all
    }

    pub(super) fn contains(&self, lsn: u64) -> bool {
        self.sizes.iter().any(|alike| alike.lsns.contains(lsn))
    }

    /// The LSNs, ascending for each size.
    pub(super) fn lsns(&self) -> impl Iterator<Item = Vec<u64>> {
        self.sizes.iter().map(|alike| alike.lsns.iter().collect())
    }

    /// Adds the LSNs to others.
    pub(super) fn add_to(&self, lsns: &mut LsnSet) {
        self.sizes.iter().for_each(|alike| lsns.insert_all(&alike.lsns));
    }

    /// What is known of one of them.
    pub(super) fn place(&self, queue: u64, lsn: u64) -> RecoveredPlace {
        let seen = self.seen.as_ref();
        let noted = seen.and_then(|seen| seen.noted.get(&lsn));
        let (deliveries, delayed_until) = noted.copied().unwrap_or_default();
        let redelivered = seen.is_some_and(|seen| seen.redelivered.contains(lsn));
        RecoveredPlace { queue, deliveries, redelivered, delayed_until }
    }

    /// Notes what one of them has seen.
    pub(super) fn note(&mut self, lsn: u64, new: RecoveredPlace) {
        let seen = self.seen.get_or_insert_default();
        if new.redelivered {
            seen.redelivered.insert(lsn, 1);
        }
        match (new.deliveries, new.delayed_until) {
            (0, 0) => drop(seen.noted.remove(&lsn)),
            noted => drop(seen.noted.insert(lsn, noted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_takes_the_bytes_of_its_size_with_it() {
        let mut places = Places::default();
        for lsn in 0..100 {
            places.add(lsn, 1, if lsn % 10 == 0 { 1 << 20 } else { 100 + lsn % 7 });
        }
        assert_eq!(places.amount().places, 100);
        for lsn in (0..100).step_by(10) {
            assert_eq!(places.settle(lsn, 1), Amount { places: 1, bytes: 1 << 20 });
        }
        let left = places.amount();
        assert!(left.places == 90 && (9_000..=9_540).contains(&left.bytes), "{left:?}");
        assert_eq!(places.settle(0, 100), left);
        assert!(places.is_empty());
    }
}
