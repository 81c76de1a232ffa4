//! Which messages of a segment that is emptied are to be written again.

use ahash::AHashMap;
use bytes::Bytes;

use crate::{
    Batch, RecoveredPlace,
    compaction::Stretch,
    encoding::Reader,
    live::{Live, LsnSet},
    record::{Entry, Record},
};

/// A segment that is being emptied.
pub(crate) struct Emptying {
    /// The segment's number.
    pub(crate) segment: u64,
    /// Its unsettled messages that have not been met, if some of them may be in none of its stretches. Those that
    /// are settled later stay.
    missed: Option<LsnSet>,
    /// Behind those of [`missed`](Self::missed) that were looked for at the end.
    sought: u64,
}

/// How much of what is needed of a stretch has been collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collected {
    /// All of it.
    All,
    /// As much as is written at once; the rest can be once this has been.
    Part,
    /// What comes before a message that is needed, and precedes it in its area, but is not there.
    Blocked,
}

impl Emptying {
    pub(crate) const fn new(segment: u64) -> Self {
        Self { segment, missed: None, sought: 0 }
    }

    /// Adds those messages of a stretch to `batch` that are not settled and lie nowhere else, and takes their records out
    /// of the stretch. One that is passed over, as it cannot be read or was lost in a repair, may have been moved by a
    /// process before, and is added if `copy` finds it.
    pub(crate) fn collect(
        &mut self,
        live: &Live,
        stretch: &mut Stretch,
        batch: &mut Batch,
        copy: impl Fn(u64) -> Option<Bytes>,
    ) -> Collected {
        if stretch.has_gaps || live.lacks_some(stretch.segment) {
            self.missed.get_or_insert_with(|| live.unsettled_of(stretch.segment));
        }
        let last = AHashMap::new();
        let (copies, bytes) = (MOST_COPIES, MOST_BYTES);
        let mut needed = Needed { emptying: self, live, batch, copy, last, copies, bytes };
        match needed.add_all(stretch) {
            Collected::All if stretch.is_last => needed.add_rest(),
            collected => collected,
        }
    }
}

struct Needed<'a, C> {
    emptying: &'a mut Emptying,
    live: &'a Live,
    batch: &'a mut Batch,
    copy: C,
    /// The message added last of each area.
    last: AHashMap<u64, u64>,
    /// How many copies may still be looked for, and how many bytes they may have.
    copies: u64,
    bytes: usize,
}

impl<C: Fn(u64) -> Option<Bytes>> Needed<'_, C> {
    /// Adds what is needed of the stretch's records, and of what precedes each. The next turn begins with the one before
    /// which this ends: there may be very many.
    fn add_all(&mut self, stretch: &mut Stretch) -> Collected {
        let segment = stretch.segment;
        while let Some((own, records)) = stretch.runs.front_mut() {
            let mut reader = Reader(records);
            let mut rest = reader.0;
            while let Some(record) = Record::read_own(&mut reader) {
                let collected = self.add_record(segment, *own, &record);
                if collected != Collected::All {
                    *records = records.slice_ref(rest);
                    return collected;
                }
                rest = reader.0;
                *own += 1;
                stretch.records = stretch.records.saturating_sub(1);
            }
            stretch.runs.pop_front();
        }
        Collected::All
    }

    /// Adds the message of a record with the LSN `own`, if it is needed, and what precedes it.
    fn add_record(&mut self, segment: u64, own: u64, record: &Record<'_>) -> Collected {
        let (lsn, places, payload) = match record.entry() {
            Some(Entry::Message { queues, payload }) => {
                (own, self.live.places(segment, own, queues), payload)
            }
            Some(Entry::Moved { lsn, places, payload, .. }) => {
                let queues = places.map(|place| place.queue);
                (lsn, self.live.places(segment, lsn, queues), payload)
            }
            _ => return Collected::All,
        };
        if places.is_empty() {
            return Collected::All;
        }
        let collected = self.add_passed(lsn);
        if collected == Collected::All {
            self.add(lsn, &places, payload);
        }
        collected
    }

    /// Adds a message, the next of its area.
    fn add(&mut self, lsn: u64, places: &[RecoveredPlace], payload: &[u8]) {
        let Some((area, below)) = self.live.below(lsn) else { return };
        let before = self.last.insert(area, lsn);
        debug_assert!(before.is_none_or(|before| before < lsn), "ascending");
        // The ones before it in its area have been added, or are settled.
        self.batch.moved(before.map_or(below, |before| before + 1), lsn, places, payload);
        if let Some(missed) = &mut self.emptying.missed {
            missed.remove(lsn, 1);
        }
    }

    /// Adds those that precede `lsn` in its area.
    fn add_passed(&mut self, lsn: u64) -> Collected {
        let area = self.live.below(lsn).map_or(lsn, |(area, _)| area);
        let from = self.last.get(&area).map_or(area, |last| last + 1);
        while let Some(passed) = self.missed_from(from).filter(|passed| *passed < lsn) {
            let collected = self.add_copy(passed);
            if collected != Collected::All {
                return collected;
            }
        }
        Collected::All
    }

    /// Adds those behind the last ones, of each area up to the first that is not there.
    fn add_rest(&mut self) -> Collected {
        while let Some(lsn) = self.missed_from(self.emptying.sought) {
            match self.add_copy(lsn) {
                Collected::All => self.emptying.sought = lsn + 1,
                Collected::Part => return Collected::Part,
                Collected::Blocked => self.emptying.sought = self.live.behind_area(lsn),
            }
        }
        Collected::All
    }

    /// The first from `lsn` on that has not been met.
    fn missed_from(&self, lsn: u64) -> Option<u64> {
        self.emptying.missed.as_ref()?.first_from(lsn)
    }

    /// Adds one that was passed over, unless it has been settled.
    fn add_copy(&mut self, lsn: u64) -> Collected {
        if self.copies == 0 || self.bytes == 0 {
            return Collected::Part;
        }
        self.copies -= 1;
        let places = self.live.all_places(self.emptying.segment, lsn);
        if places.is_empty() {
            if let Some(missed) = &mut self.emptying.missed {
                missed.remove(lsn, 1);
            }
            return Collected::All;
        }
        let Some(payload) = (self.copy)(lsn) else { return Collected::Blocked };
        self.bytes = self.bytes.saturating_sub(payload.len());
        self.add(lsn, &places, &payload);
        Collected::All
    }
}

/// Messages passed over that are looked for elsewhere before others get their turn: each is read by itself.
pub(crate) const MOST_COPIES: u64 = 256;
/// Bytes of them, which may be exceeded by one message.
const MOST_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;
    use crate::{MemDisk, live::Moves, segment::Segment, unit};

    const MESSAGES: u64 = 5000;

    fn segment(number: u64) -> Segment {
        Segment::create(&MemDisk::new(), Path::new("/journal"), number, 64 << 10).expect("made")
    }

    fn body(batch: &Batch) -> &[u8] {
        batch.bytes.get(unit::HEADER..).unwrap_or_default()
    }

    /// A segment with messages in two queues each, and the next one.
    fn live() -> Live {
        let mut live = Live::default();
        live.push(segment(1), 1);
        for lsn in 1..=MESSAGES {
            let mut batch = Batch::new();
            batch.message(&[7, lsn % 9], &[b"body"]);
            live.unit(lsn, body(&batch), Moves::Made, |_, _| {});
        }
        live.push(segment(2), MESSAGES + 1);
        live
    }

    /// What is left of the segment are the records of these messages.
    fn stretch(of: impl IntoIterator<Item = u64>) -> Stretch {
        let runs = of.into_iter().map(|lsn| {
            let mut batch = Batch::new();
            batch.message(&[7, lsn % 9], &[b"body"]);
            (lsn, Bytes::copy_from_slice(body(&batch)))
        });
        Stretch::of_rest(1, runs.collect())
    }

    /// Empties the segment, some of whose messages are `lost` and have no copy. Answers how many turns that took.
    fn empty(
        live: &mut Live,
        mut stretch: Stretch,
        lost: impl Fn(u64) -> bool,
        bytes: usize,
    ) -> u64 {
        let mut emptying = Emptying::new(1);
        let mut batch = Batch::new();
        let mut next = MESSAGES + 1;
        for turn in 1.. {
            batch.clear();
            let copy = |lsn| (!lost(lsn)).then(|| Bytes::from(vec![7; bytes]));
            let most = MOST_COPIES + stretch.records;
            let collected = emptying.collect(live, &mut stretch, &mut batch, copy);
            assert!(u64::from(batch.count) <= most);
            assert!(batch.bytes.len() < 2 << 20, "{}", batch.bytes.len());
            live.unit(next, body(&batch), Moves::Made, |_, _| {});
            next += u64::from(batch.count);
            if collected != Collected::Part {
                return turn;
            }
        }
        0
    }

    fn left(live: &Live) -> BTreeSet<u64> {
        live.unsettled_in(1).into_iter().flat_map(|(_, lsns)| lsns).collect()
    }

    #[test]
    fn what_was_passed_over_is_moved_a_few_at_a_time() {
        for of in [None, Some(MESSAGES), Some(3000)] {
            let mut live = live();
            let turns = empty(&mut live, stretch(of), |_| false, 10);
            assert!((MESSAGES / MOST_COPIES..30).contains(&turns), "{turns}");
            assert_eq!(left(&live), BTreeSet::new());
        }
        let mut live = live();
        let turns = empty(&mut live, stretch(None), |_| false, 100_000);
        assert!(turns > MESSAGES / 12, "{turns}");
        assert_eq!(left(&live), BTreeSet::new());
    }

    #[test]
    fn a_turn_goes_on_where_the_last_one_ended() {
        let mut live = live();
        // Each is behind one that was passed over.
        let mut records = Batch::new();
        for lsn in (1..=MESSAGES / 2).map(|number| 2 * number) {
            let places = [7, lsn % 9].map(|queue| RecoveredPlace { queue, ..Default::default() });
            records.moved(lsn, lsn, &places, b"body");
        }
        let run = Bytes::copy_from_slice(body(&records));
        let record = run.len() as u64 / (MESSAGES / 2);
        let mut stretch = Stretch::of_rest(1, [(1, run)].into());
        stretch.records = MESSAGES / 2;
        let mut emptying = Emptying::new(1);
        let mut batch = Batch::new();
        let mut next = MESSAGES + 1;
        let mut collected = Collected::Part;
        for turn in 1.. {
            if collected != Collected::Part {
                break;
            }
            let copy = |_| Some(Bytes::from_static(b"copy"));
            collected = emptying.collect(&live, &mut stretch, &mut batch, copy);
            let left = (MESSAGES / 2).saturating_sub(turn * MOST_COPIES);
            assert_eq!(stretch.records, left);
            let bytes: usize = stretch.runs.iter().map(|(_, records)| records.len()).sum();
            assert_eq!(bytes as u64, left * record);
            live.unit(next, body(&batch), Moves::Made, |_, _| {});
            next += u64::from(batch.count);
            batch.clear();
        }
        assert_eq!(left(&live), BTreeSet::new());
    }

    #[test]
    fn what_is_nowhere_keeps_what_is_behind_it() {
        let mut live = live();
        empty(&mut live, stretch(None), |lsn| lsn == 4000, 10);
        assert_eq!(left(&live), (4000..=MESSAGES).collect());
        // Nor does it keep a turn from ending where nothing can be found.
        empty(&mut live, stretch(Some(4500)), |_| true, 10);
        assert_eq!(left(&live), (4000..=MESSAGES).collect());
    }

    #[test]
    fn what_is_settled_meanwhile_is_not_looked_for() {
        let mut live = live();
        let mut emptying = Emptying::new(1);
        let mut batch = Batch::new();
        let mut stretch = stretch(None);
        let copy = |_| Some(Bytes::from_static(b"copy"));
        assert_eq!(emptying.collect(&live, &mut stretch, &mut batch, copy), Collected::Part);
        live.unit(MESSAGES + 1, body(&batch), Moves::Made, |_, _| {});
        batch.clear();
        let rest: Vec<_> = (MOST_COPIES + 1..=MESSAGES).map(crate::Lsn).collect();
        (0..9).for_each(|queue| batch.ack(queue, &rest));
        live.unit(2 * MESSAGES, body(&batch), Moves::Made, |_, _| {});
        batch.clear();
        let mut turns = 1;
        while emptying.collect(&live, &mut stretch, &mut batch, |_| None) == Collected::Part {
            turns += 1;
        }
        assert!(batch.is_empty() && turns < 30, "{turns}");
    }
}
