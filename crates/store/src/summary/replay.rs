//! Reads a summary back.

use std::io;

use super::{Context, FOOTER, HAS_DELAY, HAS_LIFE, HAS_PRIORITY, KIND, MAGIC, SAME_QUEUE, STEP};
use crate::{
    Outline, RecoveredPlace,
    encoding::Reader,
    record::{Entry, Kind, Record, put_moved},
    segment::{HEADER, Segment},
    unit::{self, CLEAN_STOP},
};

/// The summary of a segment nothing is added to any more.
pub(crate) struct Sealed {
    content: Vec<u8>,
    /// Where the units end.
    pub(crate) used: u64,
    pub(crate) last: u64,
    /// Of the last unit.
    pub(crate) session: u32,
    pub(crate) clean_stop: bool,
    /// The last LSN before a process ended without closing the journal, or 0.
    pub(crate) crashed_at: u64,
}

/// What a summary says of the next piece of its segment.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    /// A unit begins.
    Unit {
        /// LSN of its first record.
        first: u64,
        count: u32,
        /// Bytes of its records.
        length: u64,
    },
    /// Its next record: a message of one queue, as nearly all are.
    Message {
        /// Bytes it takes.
        length: u64,
        queue: u64,
        /// What it is like.
        outline: Outline,
    },
    /// Its next record: anything else. Messages come without their payload.
    Record {
        /// Bytes it takes.
        length: u64,
        entry: Entry<'a>,
        /// What its message is like.
        outline: Outline,
    },
}

impl Sealed {
    /// Reads the summary at the end of `segment`; `None` if there is none that is whole and of this
    /// use of the file.
    pub(crate) fn read(segment: &Segment) -> io::Result<Option<Self>> {
        let Some(at) = segment.capacity.checked_sub(FOOTER as u64) else { return Ok(None) };
        let mut footer = [0; FOOTER];
        segment.file.read_exact_at(&mut footer, at)?;
        let Some((mut sealed, length, crc)) = Self::decode_footer(&footer, segment.salt) else {
            return Ok(None);
        };
        let Some(at) = at.checked_sub(length).filter(|at| *at >= sealed.used) else {
            return Ok(None);
        };
        sealed.content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        segment.file.read_exact_at(&mut sealed.content, at)?;
        Ok((crc32fast::hash(&sealed.content) == crc).then_some(sealed))
    }

    /// Gives what it says of the units, in their order, to `each`. Answers false if that makes no
    /// sense, which is not known before the end.
    pub(crate) fn replay(&self, mut each: impl FnMut(Part<'_>)) -> bool {
        let reader = Reader(&self.content);
        let mut replay = Replay { reader, end: HEADER, used: self.used, ..Replay::default() };
        while !replay.reader.0.is_empty() {
            if replay.unit(&mut each).is_none() {
                return false;
            }
        }
        replay.end == self.used && replay.last == self.last
    }

    fn decode_footer(bytes: &[u8; FOOTER], salt: u64) -> Option<(Self, u64, u32)> {
        let mut reader = Reader(bytes);
        let is_one = reader.array()? == MAGIC && reader.u32()? == crc32fast::hash(reader.0);
        let crc = reader.u32()?;
        if !is_one || reader.u64()? != salt {
            return None;
        }
        let length = reader.u64()?;
        let sealed = Self {
            content: Vec::new(),
            used: reader.u64()?,
            last: reader.u64()?,
            crashed_at: reader.u64()?,
            session: reader.u32()?,
            clean_stop: reader.u32()? & CLEAN_STOP != 0,
        };
        Some((sealed, length, crc))
    }
}

#[derive(Default)]
struct Replay<'a> {
    reader: Reader<'a>,
    /// Where the units so far end, and where all of them do.
    end: u64,
    used: u64,
    last: u64,
    context: Context,
    /// The one queue of the message before.
    plain: Option<u64>,
    /// A message's record as far as its payload.
    message: Vec<u8>,
    /// Another record's.
    other: Vec<u8>,
    places: Vec<RecoveredPlace>,
}

impl Replay<'_> {
    fn unit(&mut self, each: &mut impl FnMut(Part<'_>)) -> Option<()> {
        let first = self.last.checked_add(1)?.checked_add(self.reader.varint()?)?;
        let count = u32::try_from(self.reader.varint()?).ok()?;
        let length = self.reader.varint()?.checked_mul(STEP)?;
        let whole = length.checked_add(unit::HEADER as u64)?;
        self.end = self.end.checked_add(whole).filter(|end| *end <= self.used)?;
        self.last = first.checked_add(count.into())?.checked_sub(1)?;
        each(Part::Unit { first, count, length });
        let mut rest = length;
        for _ in 0..count {
            let part = self.record()?;
            if let Part::Message { length, .. } | Part::Record { length, .. } = part {
                rest = rest.checked_sub(length)?;
            }
            each(part);
        }
        (rest == 0).then_some(())
    }

    fn record(&mut self) -> Option<Part<'_>> {
        let tag = self.reader.u8()?;
        let kind = tag & KIND;
        if kind == Kind::Message as u8 {
            self.queues(tag)?;
            let (length, outline) = self.outline(tag)?;
            let record = Record::new(kind, &self.message);
            return match self.plain {
                Some(queue) => {
                    let outline = with_payload(&record, length, outline)?;
                    Some(Part::Message { length, queue, outline })
                }
                None => message(&record, length, outline),
            };
        }
        if kind == Kind::Moved as u8 {
            self.moved(tag)?;
            let (length, outline) = self.outline(tag)?;
            let record = Record::new(kind, &self.other);
            return message(&record, length, outline);
        }
        self.other.clear();
        if kind != Kind::Define as u8 {
            if tag & SAME_QUEUE == 0 {
                self.context.queue = self.reader.varint()?;
            }
            self.other.extend_from_slice(&self.context.queue.to_le_bytes());
        }
        let rest = self.reader.varint()?;
        self.other.extend_from_slice(self.reader.bytes(rest)?);
        let record = Record::new(kind, &self.other);
        let (length, entry) = (record.length(), record.entry()?);
        Some(Part::Record { length, entry, outline: Outline::default() })
    }

    /// Reads the queues of a message, which are often those of the one before.
    fn queues(&mut self, tag: u8) -> Option<()> {
        let is_same = tag & SAME_QUEUE != 0;
        if is_same && self.plain == Some(self.context.queue) {
            return Some(());
        }
        let count = if is_same { 1 } else { u32::try_from(self.reader.varint()?).ok()? };
        self.message.clear();
        self.message.extend_from_slice(&count.to_le_bytes());
        self.message.extend_from_slice(&[0; 4]);
        for index in 0..count {
            let queue = if is_same { self.context.queue } else { self.reader.varint()? };
            self.message.extend_from_slice(&queue.to_le_bytes());
            if index == 0 {
                self.context.queue = queue;
            }
        }
        self.plain = (count == 1).then_some(self.context.queue);
        Some(())
    }

    fn moved(&mut self, tag: u8) -> Option<()> {
        let lsn = self.reader.difference(self.context.moved)?;
        let from = lsn.checked_sub(self.reader.varint()?)?;
        self.places.clear();
        if tag & SAME_QUEUE != 0 {
            let queue = self.context.queue;
            self.places.push(RecoveredPlace { queue, ..RecoveredPlace::default() });
        } else {
            for _ in 0..self.reader.varint()? {
                self.places.push(RecoveredPlace {
                    queue: self.reader.varint()?,
                    deliveries: u32::try_from(self.reader.varint()?).ok()?,
                    redelivered: self.reader.varint()? != 0,
                    delayed_until: self.reader.varint()?,
                });
            }
        }
        self.context.queue = self.places.first().map_or(self.context.queue, |place| place.queue);
        self.context.moved = lsn;
        self.other.clear();
        put_moved(&mut self.other, from, lsn, &self.places);
        Some(())
    }

    fn outline(&mut self, tag: u8) -> Option<(u64, Outline)> {
        let length = self.reader.varint()?.checked_mul(STEP)?;
        let bytes = self.reader.varint()?;
        let time = self.reader.difference(self.context.time)?;
        self.context.time = time;
        let priority = if tag & HAS_PRIORITY != 0 { Some(self.reader.u8()?) } else { None };
        let life = if tag & HAS_LIFE != 0 { Some(self.reader.varint()?) } else { None };
        let delay = if tag & HAS_DELAY != 0 { Some(self.reader.varint()?) } else { None };
        Some((length, Outline { bytes, time, life, delay, priority, payload: 0 }))
    }
}

/// A message whose record has so many bytes, `record` being all of it but the payload.
fn message<'a>(record: &Record<'a>, length: u64, outline: Outline) -> Option<Part<'a>> {
    let outline = with_payload(record, length, outline)?;
    Some(Part::Record { length, entry: record.entry()?, outline })
}

/// What a message is like whose record has so many bytes, `record` being all of it but the payload.
fn with_payload(record: &Record<'_>, length: u64, outline: Outline) -> Option<Outline> {
    Some(Outline { payload: length.checked_sub(record.length())?, ..outline })
}
