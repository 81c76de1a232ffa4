//! A set of LSNs that takes little memory whether it has few or many.

use roaring::RoaringTreemap;
use smallvec::SmallVec;

/// Ascending while there are few, compressed bitmaps beyond.
#[derive(Debug)]
pub(crate) enum LsnSet {
    Few(SmallVec<[u64; 2]>),
    Many(Box<RoaringTreemap>),
}

impl Default for LsnSet {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl LsnSet {
    /// Adds the `count` numbers from `first` on.
    pub(crate) fn insert(&mut self, first: u64, count: u64) {
        let end = first.saturating_add(count);
        if let Self::Few(few) = self {
            if few.len() as u64 + count <= FEW {
                for lsn in first..end {
                    if let Err(at) = few.binary_search(&lsn) {
                        few.insert(at, lsn);
                    }
                }
                return;
            }
            *self = Self::Many(Box::new(few.iter().copied().collect()));
        }
        if let Self::Many(many) = self {
            if count == 1 {
                many.insert(first);
            } else {
                many.insert_range(first..end);
            }
        }
    }

    /// Adds those of another set.
    pub(crate) fn insert_all(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Many(many), Self::Many(other)) => **many |= &**other,
            _ => other.iter().for_each(|lsn| self.insert(lsn, 1)),
        }
    }

    /// Removes what it has of the `count` numbers from `start` on, and says how many these were.
    pub(crate) fn remove(&mut self, start: u64, count: u64) -> u64 {
        let end = start.saturating_add(count);
        match self {
            Self::Few(few) => {
                let before = few.len();
                few.retain(|lsn| *lsn < start || *lsn >= end);
                (before - few.len()) as u64
            }
            Self::Many(many) if count == 1 => u64::from(many.remove(start)),
            Self::Many(many) => many.remove_range(start..end),
        }
    }

    pub(crate) fn contains(&self, lsn: u64) -> bool {
        match self {
            Self::Few(few) => few.binary_search(&lsn).is_ok(),
            Self::Many(many) => many.contains(lsn),
        }
    }

    /// The first from `lsn` on.
    pub(crate) fn first_from(&self, lsn: u64) -> Option<u64> {
        match self {
            Self::Few(few) => few.get(few.partition_point(|other| *other < lsn)).copied(),
            Self::Many(many) => {
                let mut lsns = many.iter();
                lsns.advance_to(lsn);
                lsns.next()
            }
        }
    }

    /// The numbers, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few.iter().copied()), None),
            Self::Many(many) => (None, Some(many.iter())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    /// Bytes it takes, about.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Few(few) => few.len() * size_of::<u64>(),
            Self::Many(many) => many.serialized_size(),
        }
    }

    /// Whether it has so few that their list is shorter than a bitmap.
    pub(super) const fn is_short(&self) -> bool {
        matches!(self, Self::Few(_))
    }
}

const FEW: u64 = 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_plain_set_holds(
            inserted in vec((0..200_u64, prop_oneof![4 => Just(1), 1 => 0..30_u64]), 0..100),
            removed in vec((0..200_u64, 1..20_u64), 0..20),
        ) {
            let mut set = LsnSet::default();
            let mut plain = BTreeSet::new();
            for (first, count) in inserted {
                set.insert(first, count);
                plain.extend(first..first + count);
            }
            for (start, count) in removed {
                let before = plain.len();
                plain.retain(|lsn| !(start..start + count).contains(lsn));
                prop_assert_eq!(set.remove(start, count), (before - plain.len()) as u64);
            }
            for lsn in 0..230 {
                prop_assert_eq!(set.contains(lsn), plain.contains(&lsn));
                prop_assert_eq!(set.first_from(lsn), plain.range(lsn..).next().copied());
            }
            prop_assert!(set.iter().eq(plain));
        }

        #[test]
        fn it_holds_what_was_in_either(
            one in vec(0..200_u64, 0..40),
            other in vec(0..200_u64, 0..40),
        ) {
            let set = |lsns: &[u64]| {
                let mut set = LsnSet::default();
                lsns.iter().for_each(|lsn| set.insert(*lsn, 1));
                set
            };
            let mut both = set(&one);
            both.insert_all(&set(&other));
            let plain: BTreeSet<u64> = one.into_iter().chain(other).collect();
            prop_assert!(both.iter().eq(plain));
        }
    }
}
