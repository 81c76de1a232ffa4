//! Where messages lie: for each segment, marks to start looking from.
//!
//! A mark stands every [`SPACING`] bytes, so that the map of a journal takes a two-thousandth of its
//! size, however small the messages are; from a mark on, units and records are walked.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Arc,
};

use crate::{
    encoding::Reader,
    record::{self, Entry, Record},
    segment::{HEADER, Segment},
    unit,
};

/// A place in a segment from where records can be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// LSN of the record here. If a unit starts here: that which comes after the unit before, as a rule its first.
    pub(crate) lsn: u64,
    /// Offset in the file, in units of [`STEP`].
    at: u32,
    /// Records of the unit from here on; 0 if a unit starts here.
    pub(crate) left: u32,
}

/// The segments that can be read, oldest first.
#[derive(Default)]
pub(crate) struct Map {
    segments: VecDeque<Mapped>,
    /// Messages that compaction has moved, by the first LSN of each stretch.
    moved: BTreeMap<u64, MovedStretch>,
    /// How often messages were moved.
    pub(crate) generation: u64,
    /// During a backup, the segments that went meanwhile.
    gone: Option<Vec<Written>>,
}

/// A segment in which something was written, and where that ends.
pub(crate) type Written = (Arc<Segment>, u64);

/// A part of a unit with the moved messages of a run of numbers, perhaps among others.
#[derive(Clone)]
pub(crate) struct MovedStretch {
    pub(crate) segment: Arc<Segment>,
    last: u64,
    /// Offsets of its first record and of its end.
    pub(crate) at: u64,
    pub(crate) end: u64,
}

/// The record of a moved message, from `at` to `end`: no other message with a number from `from` up to
/// `lsn` is unsettled and elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Move {
    pub(crate) from: u64,
    pub(crate) lsn: u64,
    pub(crate) at: u64,
    pub(crate) end: u64,
}

/// The part of a segment that has been written and counted.
struct Mapped {
    segment: Arc<Segment>,
    /// No LSN of this segment is below.
    first: u64,
    marks: Vec<Mark>,
    /// Where what can be read ends.
    end: u64,
    /// The LSN that comes next there.
    next: u64,
}

/// A part of a segment with some of the messages that are looked for.
#[derive(Clone)]
pub(crate) struct Stretch {
    pub(crate) segment: Arc<Segment>,
    pub(crate) from: Mark,
    /// Where it ends.
    pub(crate) end: u64,
    /// The LSN that comes next there, be it of the same unit.
    pub(crate) next: u64,
    /// How many of the messages, in their order, may be in it.
    pub(crate) count: usize,
}

impl Mark {
    pub(crate) const fn at(self) -> u64 {
        self.at as u64 * STEP
    }
}

impl Map {
    /// Adds the next segment. LSNs from `first` on will be in it.
    pub(crate) fn push(&mut self, segment: Segment, first: u64) {
        let segment = Arc::new(segment);
        let marks = Vec::new();
        self.segments.push_back(Mapped { segment, first, marks, end: HEADER, next: first });
    }

    /// Where in the last segment the unit begins that has the record `lsn`, or one before it.
    pub(crate) fn unit_before(&self, lsn: u64) -> u64 {
        let marks = self.segments.back().map_or(&[][..], |mapped| &mapped.marks);
        let before = marks.iter().rfind(|mark| mark.left == 0 && mark.lsn <= lsn);
        before.map_or(HEADER, |mark| mark.at())
    }

    /// Notes which segments go from now on, or no longer.
    pub(crate) fn watch(&mut self, watch: bool) {
        self.gone = watch.then(Vec::new);
    }

    /// The segments in which something has been written, also those that went since it is watched.
    pub(crate) fn written(&self) -> BTreeMap<u64, Written> {
        let there = self.segments.iter().map(Mapped::written);
        let all = self.gone.iter().flatten().cloned().chain(there);
        all.filter(|(_, end)| *end > HEADER).map(|one| (one.0.number, one)).collect()
    }

    /// Forgets a segment nothing in which is needed.
    pub(crate) fn remove(&mut self, number: u64) {
        if let Some(gone) = &mut self.gone {
            let goes = self.segments.iter().find(|mapped| mapped.segment.number == number);
            gone.extend(goes.map(Mapped::written));
        }
        self.segments.retain(|mapped| mapped.segment.number != number);
        self.moved.retain(|_, stretch| stretch.segment.number != number);
    }

    /// Whether the segment is the one that was found before, not one recycled or gone.
    pub(crate) fn has(&self, segment: &Segment) -> bool {
        self.segments.iter().any(|mapped| mapped.segment.salt == segment.salt)
    }

    /// Adds a unit with `count` records, of which `first` is the first LSN, whose header is at
    /// `at`; `body` follows.
    pub(crate) fn unit(&mut self, first: u64, count: u32, at: u64, body: &[u8]) {
        if !self.begin_unit(first, count, at, body.len() as u64) {
            return;
        }
        let mut at = at + unit::HEADER as u64;
        let mut reader = Reader(body);
        for index in 0..count {
            self.record(first + u64::from(index), at, count - index);
            let Some(record) = Record::read_own(&mut reader) else { return };
            at += record.length();
        }
    }

    /// Adds the next unit of its segment, whose `count` records take `length` bytes. Answers whether they are to be
    /// added, too.
    pub(crate) fn begin_unit(&mut self, first: u64, count: u32, at: u64, length: u64) -> bool {
        let Some(mapped) = self.segment_of(first).and_then(|at| self.segments.get_mut(at)) else {
            return false;
        };
        mapped.mark(mapped.next, at, 0);
        mapped.end = mapped.end.max(at + unit::HEADER as u64 + length);
        mapped.next = mapped.next.max(first.saturating_add(count.into()));
        length > SPACING
    }

    /// Adds the record at `at`, with which its unit has `left` more.
    pub(crate) fn record(&mut self, lsn: u64, at: u64, left: u32) {
        if let Some(mapped) = self.segment_of(lsn).and_then(|at| self.segments.get_mut(at)) {
            mapped.mark(lsn, at, left);
        }
    }

    /// Adds the moved messages of a unit in segment `number`, whose header is at `at`; `body` follows.
    pub(crate) fn moves(&mut self, number: u64, at: u64, body: &[u8]) {
        if !record::is_moved(body) {
            return;
        }
        let mut at = at + unit::HEADER as u64;
        let mut reader = Reader(body);
        let mut moves = Vec::new();
        while let Some(record) = Record::read_own(&mut reader) {
            let end = at + record.length();
            let Some(Entry::Moved { from, lsn, .. }) = record.entry() else { break };
            moves.push(Move { from, lsn, at, end });
            at = end;
        }
        self.moved(number, &moves);
    }

    /// Adds the moved messages of a unit in segment `number`.
    pub(crate) fn moved(&mut self, number: u64, moves: &[Move]) {
        let mapped = self.segments.iter().rfind(|mapped| mapped.segment.number == number);
        let Some(segment) = mapped.map(|mapped| Arc::clone(&mapped.segment)) else { return };
        // By the number that would go on with it; several may lie between each other.
        let mut open: BTreeMap<u64, (u64, MovedStretch)> = BTreeMap::new();
        for &Move { from, lsn, at, end } in moves {
            let next = lsn.saturating_add(1);
            match open.remove(&from) {
                Some((first, stretch)) if end - stretch.at <= SPACING => {
                    open.insert(next, (first, MovedStretch { last: lsn, end, ..stretch }));
                }
                full => {
                    self.add_moved(full);
                    let segment = Arc::clone(&segment);
                    open.insert(next, (from, MovedStretch { segment, last: lsn, at, end }));
                }
            }
        }
        for stretch in open.into_values() {
            self.add_moved(Some(stretch));
        }
        self.generation += 1;
    }

    fn add_moved(&mut self, stretch: Option<(u64, MovedStretch)>) {
        let Some((first, stretch)) = stretch else { return };
        // What was known of other numbers still holds.
        while let Some((&key, old)) = self.moved.range(..=stretch.last).next_back()
            && old.last >= first
        {
            let old = old.clone();
            self.moved.remove(&key);
            if old.last > stretch.last {
                self.moved.insert(stretch.last + 1, old.clone());
            }
            if key < first {
                self.moved.insert(key, MovedStretch { last: first - 1, ..old });
            }
        }
        self.moved.insert(first, stretch);
    }

    /// Where those of `lsns` that were moved are to be looked for, each with how many of the numbers,
    /// which ascend, from which on.
    pub(crate) fn find_moved(&self, lsns: &[u64]) -> Vec<(MovedStretch, Range<usize>)> {
        let mut found: Vec<(MovedStretch, Range<usize>)> = Vec::new();
        for (index, lsn) in lsns.iter().enumerate() {
            let stretch = self.moved.range(..=lsn).next_back().map(|(_, stretch)| stretch);
            let Some(stretch) = stretch.filter(|stretch| *lsn <= stretch.last) else { continue };
            match found.last_mut() {
                Some((last, range))
                    if last.at == stretch.at && last.segment.salt == stretch.segment.salt =>
                {
                    range.end = index + 1;
                }
                _ => found.push((stretch.clone(), index..index + 1)),
            }
        }
        found
    }

    /// Where `lsns`, which ascend, are to be looked for. What no segment can have is left out.
    pub(crate) fn find(&self, lsns: &[u64]) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for &lsn in lsns {
            let found = self.segment_of(lsn).and_then(|at| self.segments.get(at));
            let Some((mapped, mark)) = found.and_then(|mapped| Some((mapped, mapped.find(lsn)?)))
            else {
                continue;
            };
            let (from, end, next) = mark;
            match stretches.last_mut() {
                Some(last) if last.segment.salt == mapped.segment.salt && last.reaches(from) => {
                    last.count += 1;
                    (last.end, last.next) = (last.end.max(end), last.next.max(next));
                }
                _ => {
                    let segment = Arc::clone(&mapped.segment);
                    stretches.push(Stretch { segment, from, end, next, count: 1 });
                }
            }
        }
        stretches
    }

    fn segment_of(&self, lsn: u64) -> Option<usize> {
        // Most are just being added.
        if self.segments.back().is_some_and(|last| last.first <= lsn) {
            return self.segments.len().checked_sub(1);
        }
        self.segments.partition_point(|mapped| mapped.first <= lsn).checked_sub(1)
    }
}

impl Mapped {
    fn written(&self) -> Written {
        (Arc::clone(&self.segment), self.end)
    }

    fn mark(&mut self, lsn: u64, at: u64, left: u32) {
        let due = self.marks.last().is_none_or(|last| at >= last.at() + SPACING);
        if due && let Ok(at) = u32::try_from(at / STEP) {
            self.marks.push(Mark { lsn, at, left });
        }
    }

    /// The mark before the record of `lsn`, where the next one is, and which LSN comes next there.
    fn find(&self, lsn: u64) -> Option<(Mark, u64, u64)> {
        let next = self.marks.partition_point(|mark| mark.lsn <= lsn);
        let from = *self.marks.get(next.checked_sub(1)?)?;
        let end = self.marks.get(next).map(|mark| (mark.at(), mark.lsn));
        let (end, next) = end.unwrap_or((self.end, self.next));
        Some((from, end, next))
    }
}

impl Stretch {
    /// Whether what is found from `mark` on is in it or can be read together with it.
    fn reaches(&self, mark: Mark) -> bool {
        self.from == mark || (mark.at() <= self.end && self.end - self.from.at() < PIECE)
    }
}

/// Bytes between marks.
const SPACING: u64 = 32 << 10;
/// Records start at multiples of this.
const STEP: u64 = 8;
/// About how many bytes are read at a time.
const PIECE: u64 = 256 << 10;
