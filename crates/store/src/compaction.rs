//! Moves what is still needed out of the oldest segments, so that they can go.
//!
//! Segments go in order, so it is always the oldest kept one that is read, from its start to its end,
//! and what is not settled in it is written again at the end of the journal, with its number. The
//! background thread reads, a stretch of units at a time; the writer decides what of it is needed, for
//! it knows what is settled at the place where it writes.
//!
//! | bytes no message takes | what happens |
//! | --- | --- |
//! | up to half of what messages take, and half a segment | nothing |
//! | up to as many as messages take, and a segment | segments are emptied at the rate of [`StoreOptions::compaction_bytes_per_second`], or at [`answer`] to what is written if that is more |
//! | more | as quickly as it can be done |
//!
//! What is emptied at `r` times the rate at which others write, with all that no message takes, keeps these bytes
//! at `1 / (r - 1)` of those that messages take, however quickly others write: at two thirds.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    StoreOptions, disk,
    encoding::Reader,
    live::Live,
    record::{Entry, Record},
    salvage::{self, Run},
    segment::{HEADER, Segment},
    unit::{self, UnitHeader},
};

/// What is to be done about the space that no message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Rest,
    Budget,
    Hurry,
}

impl Pace {
    pub(crate) fn of(live: &Live, options: &StoreOptions) -> Self {
        let (garbage, needed) = (live.garbage(), live.totals().live_bytes);
        if garbage <= needed / 2 + options.segment_bytes / 2 {
            Self::Rest
        } else if garbage <= needed + options.segment_bytes {
            Self::Budget
        } else {
            Self::Hurry
        }
    }
}

/// A segment that is being emptied.
pub(crate) struct Compaction {
    pub(crate) segment: Segment,
    /// Where to read on, and where its units end.
    at: u64,
    end: u64,
    /// The last number before what is read next; none at the start of the segment, whose first unit tells it.
    after: Option<u64>,
    /// How many bytes.
    step: u64,
    /// Something damaged was passed over.
    has_gaps: bool,
    /// When, unless in a hurry.
    pub(crate) due: Instant,
    /// The writer has not yet dealt with what was read last.
    pub(crate) is_waiting: bool,
}

/// What was read of a segment that is being emptied.
pub(crate) struct Stretch {
    /// The segment's number.
    pub(crate) segment: u64,
    /// How many bytes of it that was.
    pub(crate) length: u64,
    /// Whole records that follow each other, with the number of the first.
    pub(crate) runs: VecDeque<(u64, Bytes)>,
    /// Records in them, none of which need be needed.
    pub(crate) records: u64,
    /// LSN of the first record to be written; given when the writer takes it.
    pub(crate) first: u64,
    /// Where the next stretch begins, and the last number before it.
    next: u64,
    after: Option<u64>,
    /// There is no other.
    pub(crate) is_last: bool,
    /// Something damaged was passed over, in it or before it.
    pub(crate) has_gaps: bool,
    /// What the system said of what it could not read.
    pub(crate) error: Option<io::Error>,
}

impl Compaction {
    pub(crate) fn new(segment: Segment, end: u64, step: u64) -> Self {
        let due = Instant::now();
        Self {
            segment,
            at: HEADER,
            end,
            after: None,
            step,
            has_gaps: false,
            due,
            is_waiting: false,
        }
    }

    /// What of a segment, whose units end at `end`, can be read in spite of damage: the numbers of its
    /// records, those of moved messages being their own, ascending.
    pub(crate) fn readable(segment: &Segment, end: u64, step: u64) -> Vec<u64> {
        let mut compaction = Self::new(segment.clone(), end, step);
        let mut numbers = Vec::new();
        loop {
            let stretch = compaction.next(true).read();
            for (first, records) in &stretch.runs {
                let mut reader = Reader(records);
                let mut own = *first;
                while let Some(record) = Record::read_own(&mut reader) {
                    numbers.push(match record.entry() {
                        Some(Entry::Moved { lsn, .. }) => lsn,
                        _ => own,
                    });
                    own += 1;
                }
            }
            if stretch.is_last {
                numbers.sort_unstable();
                return numbers;
            }
            compaction.moved(&stretch, u64::MAX);
        }
    }

    /// What is to be read next, to be done without a lock. Whether it goes past what is damaged: all
    /// messages there must have been given up.
    pub(crate) fn next(&self, goes_past_damage: bool) -> Reading {
        Reading {
            segment: self.segment.clone(),
            at: self.at,
            end: self.end,
            after: self.after,
            size: self.step,
            has_gaps: self.has_gaps,
            goes_past_damage,
        }
    }

    /// Reads so much at a time from now on.
    pub(crate) const fn set_step(&mut self, step: u64) {
        self.step = step;
    }

    /// Whether the next stretch may be read. Who is in a hurry does not wait for its time.
    pub(crate) fn is_due(&self, hurry: bool, now: Instant) -> bool {
        hurry || self.due <= now
    }

    /// Goes on behind what was read, at a rate of bytes per second.
    pub(crate) fn moved(&mut self, stretch: &Stretch, rate: u64) {
        let micros = stretch.length.saturating_mul(1_000_000) / rate.max(1);
        self.at = stretch.next;
        self.after = stretch.after;
        self.has_gaps = stretch.has_gaps;
        self.due = Instant::now() + Duration::from_micros(micros);
        self.is_waiting = false;
    }
}

/// A part of a segment to be read.
pub(crate) struct Reading {
    segment: Segment,
    at: u64,
    end: u64,
    after: Option<u64>,
    size: u64,
    has_gaps: bool,
    goes_past_damage: bool,
}

impl Reading {
    /// Reads a step, or the first unit if that has more, and takes the whole units in it. Ends at what is damaged,
    /// or cannot be read, or takes what can be told from the rest of that and goes on.
    pub(crate) fn read(&self) -> Stretch {
        let (bytes, error) = self.bytes();
        let bytes = Bytes::from(bytes);
        let mut stretch = Stretch {
            segment: self.segment.number,
            length: bytes.len() as u64,
            runs: VecDeque::new(),
            records: 0,
            first: 0,
            next: 0,
            after: self.after,
            is_last: false,
            has_gaps: self.has_gaps,
            error,
        };
        let mut at = 0;
        while let Some(length) = self.take(&bytes, at, &mut stretch) {
            at += length;
        }
        stretch.next = self.at + at as u64;
        let is_stopped = stretch.has_gaps && !self.goes_past_damage;
        stretch.is_last = stretch.next >= self.end || at == 0 || is_stopped;
        stretch
    }

    /// Takes the unit at `at`, or what can be read of it. Answers how long that is; `None` if the next
    /// stretch begins there, or nothing does.
    fn take(&self, bytes: &Bytes, at: usize, stretch: &mut Stretch) -> Option<usize> {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let is_cut_off = self.at + ((at + unit::HEADER) as u64) < self.end;
        if at > 0 && rest.len() < unit::HEADER && is_cut_off {
            return None;
        }
        let in_turn = |header: &UnitHeader| {
            stretch.after.is_none_or(|after| after == header.previous)
                && header.first > header.previous
        };
        let Some(header) = self.header(rest).filter(in_turn) else {
            stretch.has_gaps = true;
            return if self.goes_past_damage { self.skip(bytes, at, stretch) } else { None };
        };
        let length = usize::try_from(header.length).ok()?.checked_add(unit::HEADER)?;
        // The first one is there as a whole.
        let body = rest.get(unit::HEADER..length)?;
        if header.vouches_for(body) {
            stretch.add(bytes, &Run { first: header.first, count: header.count, bytes: body });
        } else {
            stretch.has_gaps = true;
            if !self.goes_past_damage {
                return None;
            }
            salvage::from_body(&header, body).iter().for_each(|run| stretch.add(bytes, run));
        }
        stretch.after = Some(header.last());
        Some(length)
    }

    /// Passes over what has no header, or another's, which is at `at`. The records up to the next unit are taken
    /// if they are all there.
    fn skip(&self, bytes: &Bytes, at: usize, stretch: &mut Stretch) -> Option<usize> {
        let rest = bytes.get(at..)?;
        let mut starts = (8..rest.len().saturating_sub(unit::HEADER - 1)).step_by(8);
        let after = stretch.after.unwrap_or_default();
        let next = starts.find_map(|start| {
            let header = self.header(rest.get(start..)?)?;
            (header.previous >= after).then_some((start, header))
        });
        if let Some((length, next)) = next {
            // Where another's header is the records are others' as well.
            let is_lost = UnitHeader::decode(rest).is_none();
            let body = rest.get(unit::HEADER..length).filter(|_| is_lost);
            let run = body.and_then(|body| salvage::without_header(body, next.previous, after));
            run.iter().for_each(|run| stretch.add(bytes, run));
            stretch.after = Some(next.previous);
            return Some(length);
        }
        if self.at + (at + rest.len()) as u64 >= self.end {
            return Some(rest.len());
        }
        // A header that is cut off stands in the next stretch, which begins here if anything was taken.
        let passed = rest.len().saturating_sub(unit::HEADER) / 8 * 8;
        (at == 0 && passed > 0).then_some(passed)
    }

    fn header(&self, bytes: &[u8]) -> Option<UnitHeader> {
        UnitHeader::decode(bytes).filter(|header| {
            let ends = self.end.checked_sub(self.at + unit::HEADER as u64);
            header.salt == self.segment.salt && ends.is_some_and(|ends| header.length <= ends)
        })
    }

    /// What could not be read is zeros.
    fn bytes(&self) -> (Vec<u8>, Option<io::Error>) {
        let Self { segment, at, end, size, .. } = self;
        let read = |length: u64| {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            let error = disk::read_around(&*segment.file, &mut bytes, *at);
            (bytes, error.map(|(_, error)| error))
        };
        let (bytes, error) = read((*size).min(end.saturating_sub(*at)));
        match self.header(&bytes).map(|header| unit::HEADER as u64 + header.length) {
            Some(first) if first > bytes.len() as u64 => read(first),
            _ => (bytes, error),
        }
    }
}

impl Stretch {
    /// The last stretch of a damaged segment.
    #[cfg(test)]
    pub(crate) fn of_rest(segment: u64, runs: VecDeque<(u64, Bytes)>) -> Self {
        Self {
            segment,
            length: 0,
            records: runs.len() as u64,
            runs,
            first: 0,
            next: 0,
            after: None,
            is_last: true,
            has_gaps: true,
            error: None,
        }
    }

    fn add(&mut self, bytes: &Bytes, run: &Run<'_>) {
        self.records += u64::from(run.count);
        self.runs.push_back((run.first, bytes.slice_ref(run.bytes)));
    }
}

/// Bytes read at a time, when so many were written meanwhile: at most a part of a segment.
pub(crate) fn step(options: &StoreOptions, written: u64) -> u64 {
    let most = options.segment_bytes / 4;
    answer(written).max(STEP).min(most).max(unit::HEADER as u64)
}

/// How many bytes of old segments are to be read for so many that are written.
pub(crate) const fn answer(written: u64) -> u64 {
    written.saturating_mul(5) / 2
}

/// For how many written bytes the reading of so many is an answer.
pub(crate) const fn answered(read: u64) -> u64 {
    read / 5 * 2
}

const STEP: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Batch, MemDisk, live::Moves};

    const SEGMENT: u64 = 64 << 10;

    fn segment(number: u64) -> Segment {
        Segment::create(&MemDisk::new(), Path::new("/journal"), number, SEGMENT).expect("made")
    }

    /// The pace for this many full segments before the one being written, and a message in the first of
    /// them whose record takes this many bytes.
    fn pace(sealed: u64, bytes: u64) -> Pace {
        let mut live = Live::default();
        live.push(segment(1), 1);
        let overhead = record_bytes(0);
        let payload = vec![0; usize::try_from(bytes - overhead).expect("small")];
        assert_eq!(record_bytes(payload.len()), bytes);
        let mut batch = Batch::new();
        batch.message(&[1], &[&payload]);
        live.unit(1, &batch.bytes[unit::HEADER..], Moves::Made, |_, _| {});
        for number in 1..=sealed {
            live.push(segment(number + 1), number + 1);
        }
        let options = StoreOptions { segment_bytes: SEGMENT, ..StoreOptions::default() };
        assert_eq!(live.totals().live_bytes, bytes);
        assert_eq!(live.garbage(), sealed * SEGMENT - bytes);
        Pace::of(&live, &options)
    }

    fn record_bytes(payload: usize) -> u64 {
        let mut batch = Batch::new();
        batch.message(&[1], &[&vec![0; payload]]);
        (batch.bytes.len() - unit::HEADER) as u64
    }

    #[test]
    fn the_pace_follows_from_what_no_message_takes() {
        // Half of what is needed and half a segment are let be: 43,688 bytes for 21,848.
        assert_eq!(pace(1, 21_856), Pace::Rest);
        assert_eq!(pace(1, 21_840), Pace::Budget);
        // As much as is needed and a segment is the most that is done slowly: 98,304 for 32,768.
        assert_eq!(pace(2, 32_768), Pace::Budget);
        assert_eq!(pace(2, 32_760), Pace::Hurry);
    }

    #[test]
    fn stretches_follow_each_other_at_the_rate_but_in_a_hurry() {
        let mut compaction = Compaction::new(segment(1), SEGMENT, 1024);
        assert!(compaction.is_due(false, Instant::now()), "the first has nothing to wait for");
        for (bytes, rate, wait) in [
            (3 << 20, 1 << 20, Duration::from_secs(3)),
            (1000, 2000, Duration::from_millis(500)),
            (0, 1, Duration::ZERO),
            // The least there is.
            (10, 0, Duration::from_secs(10)),
        ] {
            let stretch = Stretch {
                segment: 1,
                length: bytes,
                runs: VecDeque::new(),
                records: 1,
                first: 1,
                next: 4096,
                after: None,
                is_last: false,
                has_gaps: false,
                error: None,
            };
            compaction.is_waiting = true;
            let before = Instant::now();
            compaction.moved(&stretch, rate);
            let after = Instant::now();
            assert!(!compaction.is_waiting);
            assert_eq!(compaction.next(false).at, 4096);
            assert!((before + wait..=after + wait).contains(&compaction.due), "{bytes} at {rate}");
            assert!(compaction.is_due(false, compaction.due));
            let early =
                compaction.due.checked_sub(Duration::from_nanos(1)).expect("long after boot");
            assert!(!compaction.is_due(false, early));
            assert!(compaction.is_due(true, early));
        }
    }
}
