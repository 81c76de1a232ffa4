//! Queues of which little waits in an area, and to which nothing more has happened, in a few bytes
//! each: there can be thousands of them in every segment.

use std::ops::Range;

use super::lsn_set::LsnSet;
use super::places::Alike;

/// Queues, each with the LSNs that wait in it and about how many bytes they take, once for each size of
/// messages. Once made it is only taken from.
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

/// What waits in one queue, of a like size.
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
    pub(super) fn push(&mut self, queue: u64, sizes: &[Alike]) -> bool {
        let (rows, offsets) = (self.rows.len(), self.offsets.len());
        let has_room = sizes.iter().all(|alike| self.push_row(queue, alike).is_some());
        if !has_room {
            self.rows.truncate(rows);
            self.offsets.truncate(offsets);
        }
        has_room
    }

    fn push_row(&mut self, queue: u64, alike: &Alike) -> Option<()> {
        let bytes = u32::try_from(alike.bytes).ok().filter(|bytes| *bytes != TAKEN)?;
        for lsn in alike.lsns.iter() {
            let offset = lsn.checked_sub(self.base)?;
            self.offsets.push(u32::try_from(offset).ok()?);
        }
        let end = u32::try_from(self.offsets.len()).ok()?;
        self.rows.push(Row { queue, end, bytes });
        Some(())
    }

    /// Lets go of room for more.
    pub(super) fn seal(&mut self) {
        self.rows.shrink_to_fit();
        self.offsets.shrink_to_fit();
    }

    /// What waits in a queue, unless it was taken.
    pub(super) fn get(&self, queue: u64) -> impl Iterator<Item = Waiting<'_>> {
        self.find(queue).filter_map(|at| self.waiting(at))
    }

    /// What waits in all queues that were not taken, by queue.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Waiting<'_>)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(at, row)| Some((row.queue, self.waiting(at)?)))
    }

    /// Takes a queue: it isn't here any more.
    pub(super) fn take(&mut self, queue: u64) -> impl Iterator<Item = Alike> {
        self.find(queue).filter_map(|at| {
            let waiting = self.waiting(at)?;
            let mut lsns = LsnSet::default();
            waiting.lsns().for_each(|lsn| lsns.insert(lsn, 1));
            let alike = Alike::new(lsns, waiting.bytes);
            self.rows.get_mut(at)?.bytes = TAKEN;
            Some(alike)
        })
    }

    /// Where the queue is.
    fn find(&self, queue: u64) -> Range<usize> {
        let start = self.rows.partition_point(|row| row.queue < queue);
        let rows = self.rows.get(start..).unwrap_or_default();
        start..start + rows.iter().take_while(|row| row.queue == queue).count()
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

    fn alike(lsns: impl IntoIterator<Item = u64>, bytes: u64) -> Alike {
        let mut set = LsnSet::default();
        lsns.into_iter().for_each(|lsn| set.insert(lsn, 1));
        Alike::new(set, bytes)
    }

    proptest! {
        #[test]
        fn what_is_not_taken_is_there(
            queues in btree_map(0..40_u64, btree_set(100..400_u64, 1..9), 0..20),
            taken in vec(0..40_u64, 0..20),
        ) {
            let mut quiet = Quiet::above(100);
            for (queue, lsns) in &queues {
                // Of two sizes, unless all are odd or even.
                let (even, odd): (Vec<u64>, Vec<u64>) = lsns.iter().partition(|lsn| *lsn % 2 == 0);
                let sizes = [alike(even, queue * 3), alike(odd, queue * 5)];
                prop_assert!(quiet.push(*queue, &sizes));
            }
            quiet.seal();
            let mut plain: BTreeMap<u64, BTreeSet<u64>> = queues;
            for queue in taken {
                let expected = plain.remove(&queue);
                let got: Vec<Alike> = quiet.take(queue).collect();
                let bytes: Vec<u64> = got.iter().map(|alike| alike.bytes).collect();
                let expected_bytes = expected.iter().flat_map(|_| [queue * 3, queue * 5]);
                prop_assert_eq!(bytes, expected_bytes.collect::<Vec<u64>>());
                let got: BTreeSet<u64> = got.iter().flat_map(|alike| alike.lsns.iter()).collect();
                prop_assert_eq!(got, expected.unwrap_or_default());
            }
            let mut all: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
            quiet.all().for_each(|(queue, waiting)| all.entry(queue).or_default().extend(waiting.lsns()));
            prop_assert_eq!(&all, &plain);
            for queue in 0..40 {
                let there: BTreeSet<u64> = quiet.get(queue).flat_map(Waiting::lsns).collect();
                prop_assert_eq!(&there, &plain.remove(&queue).unwrap_or_default());
                let count: u64 = quiet.get(queue).map(Waiting::count).sum();
                prop_assert_eq!(count, there.len() as u64);
                let contains = |lsn| quiet.get(queue).any(|waiting| waiting.contains(lsn));
                prop_assert!((0..500).all(|lsn| contains(lsn) == there.contains(&lsn)));
            }
        }
    }

    #[test]
    fn what_has_no_room_is_not_added() {
        let mut quiet = Quiet::above(100);
        assert!(!quiet.push(1, &[alike([99, 101], 1)]));
        assert!(!quiet.push(1, &[alike([101, 101 + (1 << 32)], 1)]));
        assert!(!quiet.push(1, &[alike([102], 1), alike([101], u64::from(TAKEN))]));
        assert!(quiet.push(1, &[alike([101], 7)]));
        assert!(quiet.get(1).flat_map(Waiting::lsns).eq([101]));
    }
}
