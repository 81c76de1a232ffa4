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
//! | up to as many as messages take, and a segment | segments are emptied at the rate of [`StoreOptions::compaction_bytes_per_second`] |
//! | more | as quickly as it can be done |

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    StoreOptions,
    live::Live,
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
    /// When, unless in a hurry.
    pub(crate) due: Instant,
    /// The writer has not yet dealt with what was read last.
    pub(crate) is_waiting: bool,
}

/// Units read from a segment that is being emptied.
pub(crate) struct Stretch {
    /// The segment's number.
    pub(crate) segment: u64,
    /// Whole units, one after the other.
    pub(crate) units: Vec<u8>,
    /// Records in them, none of which need be needed.
    pub(crate) records: u64,
    /// LSN of the first record to be written; given when the writer takes it.
    pub(crate) first: u64,
    /// Where the next stretch begins.
    next: u64,
    /// There is no other.
    pub(crate) is_last: bool,
}

impl Compaction {
    pub(crate) fn new(segment: Segment, end: u64) -> Self {
        Self { segment, at: HEADER, end, due: Instant::now(), is_waiting: false }
    }

    /// What is to be read next, to be done without a lock.
    pub(crate) fn next(&self) -> Reading {
        Reading { segment: self.segment.clone(), at: self.at, end: self.end }
    }

    /// Whether the next stretch may be read. Who is in a hurry does not wait for its time.
    pub(crate) fn is_due(&self, hurry: bool, now: Instant) -> bool {
        hurry || self.due <= now
    }

    /// Goes on behind what was read, at a rate of bytes per second.
    pub(crate) fn moved(&mut self, stretch: &Stretch, rate: u64) {
        let micros = (stretch.units.len() as u64).saturating_mul(1_000_000) / rate.max(1);
        self.at = stretch.next;
        self.due = Instant::now() + Duration::from_micros(micros);
        self.is_waiting = false;
    }
}

/// A part of a segment to be read.
pub(crate) struct Reading {
    segment: Segment,
    at: u64,
    end: u64,
}

impl Reading {
    /// Reads whole units, `size` bytes of them unless the first has more. Ends at what is damaged, or
    /// cannot be read: it stays where it is, and costs what it holds once that is wanted.
    pub(crate) fn read(&self, size: u64) -> Stretch {
        let Self { segment, at, end } = self;
        let mut bytes = self.bytes(size).unwrap_or_else(|error| {
            let path = segment.path.display();
            tracing::error!("reading {path} from byte {at} on failed: {error}");
            Vec::new()
        });
        let mut length = 0;
        let mut records = 0;
        while let Some(unit) = bytes.get(length..)
            && let Some(header) = UnitHeader::decode(unit)
            && header.salt == segment.salt
            && let Ok(size) = usize::try_from(header.length)
            && let Some(body) = unit.get(unit::HEADER..unit::HEADER.saturating_add(size))
        {
            if !header.vouches_for(body) {
                break;
            }
            records += u64::from(header.count);
            length += unit::HEADER + size;
        }
        bytes.truncate(length);
        let next = at + length as u64;
        let is_last = next >= *end || length == 0;
        Stretch { segment: segment.number, units: bytes, records, first: 0, next, is_last }
    }

    fn bytes(&self, size: u64) -> io::Result<Vec<u8>> {
        let Self { segment, at, end } = self;
        let read = |length: u64| {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            segment.file.read_exact_at(&mut bytes, *at).map(|()| bytes)
        };
        let bytes = read(size.min(end.saturating_sub(*at)))?;
        match UnitHeader::decode(&bytes).map(|header| unit::HEADER as u64 + header.length) {
            Some(first) if first > bytes.len() as u64 && at.saturating_add(first) <= *end => {
                read(first)
            }
            _ => Ok(bytes),
        }
    }
}

/// Bytes read at a time, at most a part of a segment.
pub(crate) fn step(options: &StoreOptions) -> u64 {
    STEP.min(options.segment_bytes / 4).max(unit::HEADER as u64)
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
        let mut compaction = Compaction::new(segment(1), SEGMENT);
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
                units: vec![0; bytes],
                records: 1,
                first: 1,
                next: 4096,
                is_last: false,
            };
            compaction.is_waiting = true;
            let before = Instant::now();
            compaction.moved(&stretch, rate);
            let after = Instant::now();
            assert!(!compaction.is_waiting);
            assert_eq!(compaction.next().at, 4096);
            assert!((before + wait..=after + wait).contains(&compaction.due), "{bytes} at {rate}");
            assert!(compaction.is_due(false, compaction.due));
            let early =
                compaction.due.checked_sub(Duration::from_nanos(1)).expect("long after boot");
            assert!(!compaction.is_due(false, early));
            assert!(compaction.is_due(true, early));
        }
    }
}
