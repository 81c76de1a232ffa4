//! Queues of which little waits in an area, and to which nothing more has happened, in a few bytes
//! each: there can be thousands of them in every segment.

use super::lsn_set::LsnSet;

/// Queues, each with the LSNs that wait in it and about how many bytes they take. Once made it is
/// only taken from.
#[derive(Default)]
pub(super) struct Quiet {
    /// No LSN is below.
    base: u64,
    /// Ascending by queue.
    rows: Vec<Row>,
    /// The LSNs of one queue after the other, ascending for each, less the base.
    offsets: Vec<u32>,
}

struct Row {
    queue: u64,
    /// Where its offsets end.
    end: u32,
    /// [`TAKEN`] when it has been taken.
    bytes: u32,
}

const TAKEN: u32 = u32::MAX;

/// What waits in one queue.
#[derive(Clone, Copy)]
pub(super) struct Waiting<'a> {
    base: u64,
    offsets: &'a [u32],
    pub(super) bytes: u64,
}

impl<'a> Waiting<'a> {
    pub(super) const fn count(self) -> u64 {
        self.offsets.len() as u64
    }

    pub(super) fn contains(self, lsn: u64) -> bool {
        let offset = lsn.checked_sub(self.base).and_then(|offset| u32::try_from(offset).ok());
        offset.is_some_and(|offset| self.offsets.binary_search(&offset).is_ok())
    }

    /// The LSNs, ascending.
    pub(super) fn lsns(self) -> impl Iterator<Item = u64> + use<'a> {
        self.offsets.iter().map(move |offset| self.base.saturating_add(u64::from(*offset)))
    }
}

impl Quiet {
    /// To be filled with [`push`](Self::push). None of the LSNs will be below `base`.
    pub(super) const fn above(base: u64) -> Self {
        Self { base, rows: Vec::new(), offsets: Vec::new() }
    }

    /// Adds a queue above those it has, unless it takes more than has room here: answers false then.
    pub(super) fn push(&mut self, queue: u64, lsns: &LsnSet, bytes: u64) -> bool {
        let Some(bytes) = u32::try_from(bytes).ok().filter(|bytes| *bytes != TAKEN) else {
            return false;
        };
        let before = self.offsets.len();
        for lsn in lsns.iter() {
            let offset = lsn.checked_sub(self.base).and_then(|offset| u32::try_from(offset).ok());
            let Some(offset) = offset else {
                self.offsets.truncate(before);
                return false;
            };
            self.offsets.push(offset);
        }
        let Ok(end) = u32::try_from(self.offsets.len()) else {
            self.offsets.truncate(before);
            return false;
        };
        self.rows.push(Row { queue, end, bytes });
        true
    }

    /// Lets go of room for more.
    pub(super) fn seal(&mut self) {
        self.rows.shrink_to_fit();
        self.offsets.shrink_to_fit();
    }

    /// What waits in a queue, unless it was taken.
    pub(super) fn get(&self, queue: u64) -> Option<Waiting<'_>> {
        self.waiting(self.find(queue)?)
    }

    /// What waits in all queues that were not taken, ascending.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Waiting<'_>)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(at, row)| Some((row.queue, self.waiting(at)?)))
    }

    /// Takes a queue: it isn't here any more.
    pub(super) fn take(&mut self, queue: u64) -> Option<(LsnSet, u64)> {
        let at = self.find(queue)?;
        let waiting = self.waiting(at)?;
        let mut lsns = LsnSet::default();
        waiting.lsns().for_each(|lsn| lsns.insert(lsn, 1));
        let bytes = waiting.bytes;
        self.rows.get_mut(at)?.bytes = TAKEN;
        Some((lsns, bytes))
    }

    fn find(&self, queue: u64) -> Option<usize> {
        self.rows.binary_search_by_key(&queue, |row| row.queue).ok()
    }

    fn waiting(&self, at: usize) -> Option<Waiting<'_>> {
        let row = self.rows.get(at).filter(|row| row.bytes != TAKEN)?;
        let before = at.checked_sub(1).and_then(|before| self.rows.get(before));
        let start = before.map_or(0, |before| before.end as usize);
        let offsets = self.offsets.get(start..row.end as usize)?;
        Some(Waiting { base: self.base, offsets, bytes: row.bytes.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_not_taken_is_there(
            queues in btree_map(0..40_u64, btree_set(100..400_u64, 1..9), 0..20),
            taken in vec(0..40_u64, 0..20),
        ) {
            let mut quiet = Quiet::above(100);
            for (queue, lsns) in &queues {
                let mut set = LsnSet::default();
                lsns.iter().for_each(|lsn| set.insert(*lsn, 1));
                prop_assert!(quiet.push(*queue, &set, queue * 3));
            }
            quiet.seal();
            let mut plain: BTreeMap<u64, BTreeSet<u64>> = queues;
            for queue in taken {
                let expected = plain.remove(&queue);
                let got = quiet.take(queue);
                prop_assert_eq!(got.as_ref().map(|(_, bytes)| *bytes), expected.as_ref().map(|_| queue * 3));
                prop_assert_eq!(got.map(|(lsns, _)| lsns.iter().collect()), expected);
            }
            let all = quiet.all().map(|(queue, waiting)| (queue, waiting.lsns().collect()));
            prop_assert_eq!(&all.collect::<BTreeMap<u64, BTreeSet<u64>>>(), &plain);
            for queue in 0..40 {
                let waiting = quiet.get(queue);
                let there = |waiting: Waiting<'_>| waiting.lsns().collect::<BTreeSet<_>>();
                prop_assert_eq!(waiting.map(there), plain.get(&queue).cloned());
                let Some(waiting) = waiting else { continue };
                prop_assert_eq!(waiting.count(), there(waiting).len() as u64);
                prop_assert!((0..500).all(|lsn| waiting.contains(lsn) == there(waiting).contains(&lsn)));
            }
        }
    }

    #[test]
    fn what_has_no_room_is_not_added() {
        let mut quiet = Quiet::above(100);
        let set = |lsns: &[u64]| {
            let mut set = LsnSet::default();
            lsns.iter().for_each(|lsn| set.insert(*lsn, 1));
            set
        };
        assert!(!quiet.push(1, &set(&[99, 101]), 1));
        assert!(!quiet.push(1, &set(&[101, 101 + (1 << 32)]), 1));
        assert!(!quiet.push(1, &set(&[101]), u64::from(TAKEN)));
        assert!(quiet.push(1, &set(&[101]), 7));
        assert!(quiet.get(1).is_some_and(|waiting| waiting.lsns().eq([101])));
    }
}
