//! Recovery of journals written byte by byte.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    Batch, DiskFile, MemDisk, RecoveredPlace,
    unit::{self, UnitHeader},
};

const SIZE: u64 = 4096;

/// A journal whose units are placed by hand.
struct Hand {
    disk: MemDisk,
    segments: Vec<(Segment, u64)>,
}

impl Hand {
    fn new() -> Self {
        Self { disk: MemDisk::new(), segments: Vec::new() }
    }

    fn segment(&mut self) -> &mut Self {
        let number = self.segments.len() as u64 + 1;
        let segment = Segment::create(&self.disk, dir(), number, SIZE).unwrap();
        self.segments.push((segment, HEADER));
        self
    }

    /// A unit of one message for queue 1 in the last segment.
    fn unit(&mut self, session: u32, first: u64, durable: u64) -> &mut Self {
        self.put(UnitHeader { session, first, previous: first - 1, durable, ..one() })
    }

    /// A unit with a copy of the message `lsn` for queue 1 in the last segment.
    fn copy(&mut self, first: u64, lsn: u64) -> &mut Self {
        let place =
            RecoveredPlace { queue: 1, deliveries: 0, redelivered: false, delayed_until: 0 };
        let mut batch = Batch::new();
        batch.moved(lsn, lsn, &[place], &lsn.to_le_bytes());
        self.put_batch(UnitHeader { first, previous: first - 1, session: 1, ..one() }, &batch)
    }

    fn put(&mut self, header: UnitHeader) -> &mut Self {
        let mut batch = Batch::new();
        if header.count > 0 {
            batch.message(&[1], &[&header.first.to_le_bytes()]);
        }
        self.put_batch(header, &batch)
    }

    fn put_batch(&mut self, header: UnitHeader, batch: &Batch) -> &mut Self {
        let body = batch.bytes.get(unit::HEADER..).unwrap_or_default();
        let (segment, at) = self.segments.last_mut().unwrap();
        let header = UnitHeader {
            salt: segment.salt ^ header.salt,
            digest: batch.digest.clone().finalize() ^ header.digest,
            length: body.len() as u64,
            ..header
        };
        segment.file.write_all_at(&[&header.encode(), body], *at).unwrap();
        *at += (unit::HEADER + body.len()) as u64;
        self
    }

    /// Leaves out as many bytes as a unit takes.
    fn hole(&mut self) -> &mut Self {
        self.segments.last_mut().unwrap().1 += UNIT;
        self
    }

    fn recover(&self) -> Result<Journal, OpenError> {
        recover(&self.disk, dir(), 0, &StoreOptions::default())
    }

    /// Numbers of the recovered messages.
    fn recovered(&self) -> Vec<u64> {
        let journal = self.recover().map_err(|error| error.to_string()).unwrap();
        found(&journal)
    }
}

/// Numbers of the messages that wait in queue 1 or another.
fn found(journal: &Journal) -> Vec<u64> {
    let messages = journal.backlogs.iter().flat_map(|backlog| backlog.messages());
    messages.map(|message| message.lsn.0).collect()
}

/// Bytes of a unit made by [`Hand::unit`].
const UNIT: u64 = 64 + 16 + 16 + 8;

fn one() -> UnitHeader {
    UnitHeader { count: 1, ..UnitHeader::default() }
}

fn dir() -> &'static Path {
    Path::new("/journal")
}

#[test]
fn units_are_taken_across_segments() {
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0).unit(1, 2, 0).segment().unit(1, 3, 2).unit(2, 4, 2).segment();
    assert_eq!(hand.recovered(), [1, 2, 3, 4]);
    let journal = hand.recover().unwrap();
    assert_eq!((journal.last, journal.session), (Some(4), 3));
    assert_eq!((journal.live.len(), journal.spares.len(), journal.next_number), (2, 1, 4));
    assert!(!journal.report.clean_stop);
}

#[test]
fn a_segment_with_copies_of_what_lies_elsewhere_takes_no_others() {
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0).unit(1, 2, 0).segment().copy(3, 1);
    assert_eq!(hand.recovered(), [1, 2]);
    let has_copies = |hand: &Hand| hand.recover().unwrap().live.tail().unwrap().has_copies;
    assert!(has_copies(&hand), "message 1 counts in the first segment still");
    // Once the next segment has begun, that is the one to take them.
    hand.segment().unit(1, 4, 0);
    assert!(!has_copies(&hand));

    let mut hand = Hand::new();
    hand.segment().unit(1, 8, 0).copy(9, 1);
    assert_eq!(hand.recovered(), [1, 8]);
    assert!(!has_copies(&hand), "where message 1 was first is gone");
}

#[test]
fn a_torn_end_is_cut_and_what_lies_behind_it_stays_dead() {
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0).hole().unit(1, 3, 1);
    assert_eq!(hand.recovered(), [1]);
    let report = hand.recover().unwrap().report;
    assert_eq!(report.torn_bytes, 2 * UNIT);
    // The next session fills the hole with a unit that ends where the dead one starts.
    hand.segments[0].1 = HEADER + UNIT;
    hand.unit(2, 2, 1);
    assert_eq!(hand.recovered(), [1, 2]);
}

#[test]
fn a_hole_below_what_was_durable_is_damage() {
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0).hole().unit(1, 3, 2);
    let Err(OpenError::Damaged { path, offset, after, durable }) = hand.recover() else {
        panic!("overlooked")
    };
    assert_eq!((offset, after, durable), (HEADER + UNIT, Lsn(1), Lsn(2)));
    assert!(path.ends_with("0000000000000001.seg"));
}

#[test]
fn a_lost_end_of_a_sealed_segment_is_damage() {
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0).hole().segment().unit(1, 3, 2);
    let error = hand.recover().err().expect("refused").to_string();
    assert!(
        error.contains("damaged at byte 64: records after LSN 1 were acknowledged up to LSN 2")
    );
    assert!(error.contains("0000000000000002.seg"), "{error}");
}

#[test]
fn a_lost_start_of_the_journal_is_damage() {
    let mut hand = Hand::new();
    hand.segment().hole().segment().unit(1, 2, 1);
    assert!(matches!(hand.recover(), Err(OpenError::Damaged { .. })));
}

#[test]
fn units_of_another_segment_or_with_other_records_are_none() {
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0);
    hand.put(UnitHeader { session: 1, first: 2, previous: 1, salt: 1, ..one() });
    assert_eq!(hand.recovered(), [1]);
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0);
    hand.put(UnitHeader { session: 1, first: 2, previous: 1, digest: 1, ..one() });
    assert_eq!(hand.recovered(), [1]);
}

#[test]
fn the_mark_of_a_clean_stop_vouches_for_the_units_before_it() {
    let stop = |durable| UnitHeader {
        count: 0,
        first: durable + 1,
        previous: durable,
        durable,
        session: 1,
        flags: unit::CLEAN_STOP,
        ..one()
    };
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0).put(stop(1));
    assert!(hand.recover().unwrap().report.clean_stop);
    hand.unit(2, 2, 1);
    assert!(!hand.recover().unwrap().report.clean_stop);

    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0).hole().put(stop(2));
    assert!(matches!(hand.recover(), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_missing_segment_is_named() {
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0).segment().unit(1, 2, 1).segment().unit(1, 3, 2);
    hand.disk.remove(&hand.segments[1].0.path).unwrap();
    let Err(OpenError::MissingSegment { path }) = hand.recover() else { panic!("overlooked") };
    assert_eq!(path, hand.segments[1].0.path);
    // The oldest may be gone: what is settled is removed from there.
    hand.disk.remove(&hand.segments[0].0.path).unwrap();
    assert_eq!(hand.recovered(), [3]);
}

#[test]
fn an_unfinished_segment_is_removed() {
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0);
    hand.disk.create(&dir().join("0000000000000002.new")).unwrap();
    assert_eq!(hand.recovered(), [1]);
    assert_eq!(hand.disk.list(dir()).unwrap(), ["0000000000000001.seg"]);
}

proptest! {
    /// Whatever is written over a segment, recovery answers, and with no message that was not there.
    #[test]
    fn any_bytes_are_survived(
        writes in vec((0..SIZE, vec(any::<u8>(), 1..100)), 1..20),
        units in 0..20_u64,
    ) {
        let mut hand = Hand::new();
        hand.segment();
        for first in 1..=units {
            hand.unit(1, first, first - 1);
        }
        let file: Arc<dyn DiskFile> = Arc::clone(&hand.segments[0].0.file);
        for (at, bytes) in writes {
            let room = usize::try_from(SIZE - at).unwrap();
            file.write_all_at(&[&bytes[..bytes.len().min(room)]], at).unwrap();
        }
        if let Ok(journal) = hand.recover() {
            let found = found(&journal);
            prop_assert!(found.iter().copied().eq(1..=found.len() as u64));
            prop_assert!(found.len() as u64 <= units);
        }
    }
}

/// Writes the summary of the first segment of two units, with so many bytes of the second counted as the
/// first's.
fn summarise(hand: &Hand, shifted: u64) {
    let (segment, _) = &hand.segments[0];
    let mut summary = Summary::new(StoreOptions::default().outline, segment.capacity, 0);
    let length = usize::try_from(UNIT).unwrap();
    let mut bytes = vec![0; 2 * length];
    segment.file.read_exact_at(&mut bytes, HEADER).unwrap();
    let (one, two) = bytes.split_at(length);
    for (unit, is_first) in [(one, true), (two, false)] {
        let header = UnitHeader::decode(unit).unwrap();
        let length = if is_first { header.length + shifted } else { header.length - shifted };
        summary.unit(&UnitHeader { length, ..header }, &unit[unit::HEADER..]);
    }
    summary.write(segment).unwrap();
}

#[test]
fn a_summary_that_makes_no_sense_is_not_believed_though_its_checksum_is_right() {
    for (shifted, summaries) in [(0, 1), (8, 0)] {
        let mut hand = Hand::new();
        hand.segment().unit(1, 1, 0).unit(1, 2, 1).segment().unit(1, 3, 2);
        summarise(&hand, shifted);
        let journal = hand.recover().unwrap();
        assert_eq!((journal.report.summaries, journal.report.records), (summaries, 3));
        assert_eq!(found(&journal), [1, 2, 3]);
    }
}

#[test]
fn a_summary_behind_which_something_follows_is_not_believed() {
    // A mark changes no number: that it is there is seen only where it is.
    for (has_mark, summaries) in [(false, 1), (true, 0)] {
        let mut hand = Hand::new();
        hand.segment().unit(1, 1, 0).unit(1, 2, 1);
        summarise(&hand, 0);
        if has_mark {
            hand.put(UnitHeader { count: 0, session: 2, first: 3, previous: 2, ..one() });
        }
        hand.segment().unit(2, 3, 2);
        assert_eq!(hand.recover().unwrap().report.summaries, summaries);
    }
    // One that was written before the last units is behind the times.
    let mut hand = Hand::new();
    hand.segment().unit(1, 1, 0).unit(1, 2, 1);
    summarise(&hand, 0);
    hand.unit(1, 3, 2).segment().unit(1, 4, 3);
    assert_eq!(hand.recovered(), [1, 2, 3, 4]);
    assert_eq!(hand.recover().unwrap().report.summaries, 0);
}
