//! What the segments read so far hold.

use super::{fold::Fold, scan::Chain};
use crate::{
    Outline,
    live::{Live, Moves},
    map::{Map, Move},
    record::Entry,
    segment::{HEADER, Segment},
    summary::{Part, Sealed},
    unit::{self, UnitHeader},
};

/// What has been taken from the units read so far, or from summaries of them.
pub(super) struct Taken {
    pub(super) chain: Chain,
    pub(super) fold: Fold,
    pub(super) live: Live,
    pub(super) map: Map,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// The segment's number.
    segment: u64,
    /// Where the next unit begins in it.
    end: u64,
    unit: Unit,
    /// The moved messages of the unit.
    moves: Vec<Move>,
}

/// The unit that is being taken.
#[derive(Default)]
struct Unit {
    first: u64,
    /// The next record: its LSN, its place, and how many there are with it.
    next: u64,
    at: u64,
    left: u32,
    /// Its records are to be on the map.
    is_large: bool,
}

impl Taken {
    /// Nothing; definitions up to LSN `applied` are in their tables.
    pub(super) fn new(applied: u64) -> Self {
        Self {
            chain: Chain::default(),
            fold: Fold::new(applied),
            live: Live::default(),
            map: Map::default(),
            records: 0,
            bytes: 0,
            segment: 0,
            end: HEADER,
            unit: Unit::default(),
            moves: Vec::new(),
        }
    }

    /// Takes a segment whose first unit is `first` by its summary. Answers false if that makes no
    /// sense, which leaves a part of it taken.
    pub(super) fn sealed(
        &mut self,
        segment: &Segment,
        first: &UnitHeader,
        sealed: &Sealed,
    ) -> bool {
        self.begin_segment(segment, first.first);
        self.begin_session(first);
        self.fold.crashed(sealed.crashed_at);
        let mut is_first = true;
        let is_whole = sealed.replay(|part| match part {
            Part::Unit { first, count, length } => {
                if !std::mem::take(&mut is_first) {
                    self.end_unit();
                }
                self.begin_unit(first, count, length);
            }
            Part::Message { length, queue, outline } => self.message(length, queue, &outline),
            Part::Record { length, entry, outline } => self.record(length, entry, &outline),
        });
        self.end_unit();
        self.chain = self.chain.after(sealed);
        is_whole
    }

    /// Begins a segment whose first record has LSN `first`.
    pub(super) fn begin_segment(&mut self, segment: &Segment, first: u64) {
        self.map.push(segment.clone(), first);
        self.live.push(segment.clone(), first);
        self.segment = segment.number;
        self.end = HEADER;
    }

    /// A unit with this header follows, perhaps of another session.
    pub(super) fn begin_session(&mut self, header: &UnitHeader) {
        if self.chain.crashed_before(header) {
            self.fold.crashed(self.chain.last());
        }
    }

    /// Begins a unit whose records take `length` bytes.
    pub(super) fn begin_unit(&mut self, first: u64, count: u32, length: u64) {
        let is_large = self.map.begin_unit(first, count, self.end, length);
        let at = self.end + unit::HEADER as u64;
        self.unit = Unit { first, next: first, at, left: count, is_large };
        let whole = unit::HEADER as u64 + length;
        self.end += whole;
        self.live.wrote(whole);
        self.records += u64::from(count);
        self.bytes += length;
    }

    /// Takes its next record, which has `length` bytes; `outline` is what its message is like.
    pub(super) fn record(&mut self, length: u64, entry: Entry<'_>, outline: &Outline) {
        let (number, at) = self.begin_record(length);
        if let Entry::Moved { from, lsn, .. } = entry {
            self.moves.push(Move { from, lsn, at, end: at + length });
        }
        self.fold.record(number, entry.clone(), outline);
        self.live.record(number, length, entry, Moves::Found);
    }

    /// As [`record`](Self::record), of a message of one queue.
    fn message(&mut self, length: u64, queue: u64, outline: &Outline) {
        let (lsn, _) = self.begin_record(length);
        self.fold.message(lsn, queue, outline);
        self.live.message(lsn, length, queue);
    }

    /// The LSN of the next record, which has `length` bytes, and its place.
    fn begin_record(&mut self, length: u64) -> (u64, u64) {
        let Unit { next: lsn, at, left, is_large, .. } = self.unit;
        if is_large {
            self.map.record(lsn, at, left);
        }
        self.unit =
            Unit { next: lsn + 1, at: at + length, left: left.saturating_sub(1), ..self.unit };
        (lsn, at)
    }

    /// All its records have been taken.
    pub(super) fn end_unit(&mut self) {
        self.live.end_unit(self.unit.first, self.unit.next);
        if !self.moves.is_empty() {
            self.map.moved(self.segment, &self.moves);
            self.moves.clear();
        }
    }
}
