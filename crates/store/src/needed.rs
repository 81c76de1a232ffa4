//! Which messages of a segment that is emptied are to be written again.

use std::collections::BTreeMap;

use ahash::AHashMap;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::{
    Batch, RecoveredPlace,
    compaction::Stretch,
    encoding::Reader,
    live::Live,
    record::{Entry, Record},
};

/// Adds those messages of a stretch to `batch` that are not settled and lie nowhere else. One that is passed
/// over, as it cannot be read or was lost in a repair, may have been moved by a process before, and is added if
/// `copy` finds it. Answers false if it had to end before another: where one that is needed, and precedes it in
/// its area, is in neither place.
pub(crate) fn collect(
    live: &Live,
    stretch: &Stretch,
    batch: &mut Batch,
    copy: impl Fn(u64) -> Option<Bytes>,
) -> bool {
    let mut needed = Needed::of(live, stretch, batch, copy);
    for (first, records) in &stretch.runs {
        let mut reader = Reader(records);
        let mut own = *first;
        while let Some(record) = Record::read_own(&mut reader) {
            let (lsn, places, payload) = match record.entry() {
                Some(Entry::Message { queues, payload }) => {
                    (own, live.places(stretch.segment, own, queues), payload)
                }
                Some(Entry::Moved { lsn, places, payload, .. }) => {
                    let queues = places.map(|place| place.queue);
                    (lsn, live.places(stretch.segment, lsn, queues), payload)
                }
                _ => (own, SmallVec::new(), &[][..]),
            };
            if !places.is_empty() {
                if !needed.add_passed(lsn) {
                    return false;
                }
                needed.add(lsn, &places, payload);
            }
            own += 1;
        }
    }
    if stretch.is_last {
        needed.add_rest();
    }
    true
}

struct Needed<'a, C> {
    live: &'a Live,
    segment: u64,
    batch: &'a mut Batch,
    copy: C,
    /// What is not settled of the segment, with the queues, if some of it may be in none of its stretches.
    unsettled: BTreeMap<u64, SmallVec<[u64; 1]>>,
    /// The message added last of each area.
    last: AHashMap<u64, u64>,
}

impl<'a, C: Fn(u64) -> Option<Bytes>> Needed<'a, C> {
    fn of(live: &'a Live, stretch: &Stretch, batch: &'a mut Batch, copy: C) -> Self {
        let mut unsettled: BTreeMap<u64, SmallVec<[u64; 1]>> = BTreeMap::new();
        if stretch.has_gaps || live.lacks_some(stretch.segment) {
            for (queue, lsns) in live.unsettled_in(stretch.segment) {
                lsns.into_iter().for_each(|lsn| unsettled.entry(lsn).or_default().push(queue));
            }
        }
        let segment = stretch.segment;
        Self { live, segment, batch, copy, unsettled, last: AHashMap::new() }
    }

    /// Adds a message, the next of its area.
    fn add(&mut self, lsn: u64, places: &[RecoveredPlace], payload: &[u8]) {
        let Some((area, below)) = self.live.below(lsn) else { return };
        let before = self.last.insert(area, lsn);
        debug_assert!(before.is_none_or(|before| before < lsn), "ascending");
        // The ones before it in its area have been added, or are settled.
        self.batch.moved(before.map_or(below, |before| before + 1), lsn, places, payload);
    }

    /// Adds those that precede `lsn` in its area. Answers false before the first that is not there.
    fn add_passed(&mut self, lsn: u64) -> bool {
        if self.unsettled.is_empty() {
            return true;
        }
        let mut next = self.next_of_area(lsn);
        while let Some((&passed, _)) = self.unsettled.range(next..lsn).next() {
            if !self.add_copy(passed) {
                return false;
            }
            next = passed + 1;
        }
        true
    }

    /// Adds those behind the last ones, of each area up to the first that is not there.
    fn add_rest(&mut self) {
        let all: Vec<u64> = self.unsettled.keys().copied().collect();
        let mut ended = None;
        for lsn in all {
            let area = self.live.below(lsn).map(|(area, _)| area);
            if ended != area && lsn >= self.next_of_area(lsn) && !self.add_copy(lsn) {
                ended = area;
            }
        }
    }

    /// The number behind that of the last message which was added of the area of `lsn`.
    fn next_of_area(&self, lsn: u64) -> u64 {
        let area = self.live.below(lsn).map_or(lsn, |(area, _)| area);
        self.last.get(&area).map_or(area, |last| last + 1)
    }

    fn add_copy(&mut self, lsn: u64) -> bool {
        let Some(payload) = (self.copy)(lsn) else { return false };
        let queues = self.unsettled.get(&lsn).into_iter().flatten().copied();
        let places = self.live.places(self.segment, lsn, queues);
        self.add(lsn, &places, &payload);
        true
    }
}
