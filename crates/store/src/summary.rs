//! What recovery needs of a full segment, in a few bytes a record, so that it need not read the
//! segment: its units without the content of messages.
//!
//! It stands at the end of the segment's file. The bytes are in `docs/format-journal.md`.

mod replay;

use std::io;

pub(crate) use self::replay::{Part, Sealed};
use crate::{
    Outline, RecoveredPlace,
    encoding::{Reader, put_difference, put_varint},
    record::{Entry, Kind, Record},
    segment::{HEADER, Segment},
    unit::{self, CLEAN_STOP, REOPENED, UnitHeader},
};

/// Collects the summary of the segment that is being written.
#[derive(Clone)]
pub(crate) struct Summary {
    outline: fn(&[u8]) -> Outline,
    content: Vec<u8>,
    /// Bytes it may take; 0 if there is to be none.
    limit: u64,
    end: End,
}

/// How far a summary has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Bytes of the content.
    length: usize,
    /// Where the units end.
    used: u64,
    last: u64,
    session: u32,
    clean_stop: bool,
    /// The last LSN before a process ended without closing the journal.
    crashed_at: u64,
    /// It takes more than it saves, and will not be written.
    is_over: bool,
    context: Context,
}

/// What the records before say, for those to come to say only the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Context {
    queue: u64,
    time: u64,
    moved: u64,
}

impl Summary {
    /// For a segment of `capacity` bytes. There is none if it is smaller than `from`.
    pub(crate) fn new(outline: fn(&[u8]) -> Outline, capacity: u64, from: u64) -> Self {
        let limit = if capacity < from { 0 } else { capacity / MOST };
        let end = End { used: HEADER, ..End::default() };
        Self { outline, content: Vec::new(), limit, end }
    }

    /// For one that is to have none.
    pub(crate) fn none() -> Self {
        Self::new(|_| Outline::default(), 0, u64::MAX)
    }

    /// Where it is, to [go back](Self::go_back) to.
    pub(crate) const fn end(&self) -> End {
        self.end
    }

    /// Forgets what was added since.
    pub(crate) fn go_back(&mut self, end: End) {
        self.content.truncate(end.length);
        self.end = end;
    }

    /// Adds the next unit, whose records are `body`.
    pub(crate) fn unit(&mut self, header: &UnitHeader, body: &[u8]) {
        self.begin_unit(header);
        let mut reader = Reader(body);
        while !self.is_given_up()
            && let Some(record) = Record::read_own(&mut reader)
            && let Some(entry) = record.entry()
        {
            let outline = self.outline(&entry);
            self.record(&record, entry, &outline);
        }
    }

    /// What a summary says of a record's message, if it is one.
    pub(crate) fn outline(&self, entry: &Entry<'_>) -> Outline {
        match entry {
            Entry::Message { payload, .. } | Entry::Moved { payload, .. } => Outline {
                payload: (payload.len() as u64).next_multiple_of(STEP),
                ..(self.outline)(payload)
            },
            _ => Outline::default(),
        }
    }

    /// Begins the next unit, all records of which are to be added then.
    pub(crate) fn begin_unit(&mut self, header: &UnitHeader) {
        let end = &mut self.end;
        let is_another = header.session > end.session && end.used > HEADER;
        if is_another && !end.clean_stop && header.flags & REOPENED == 0 {
            end.crashed_at = end.last;
        }
        let gap = header.first.saturating_sub(end.last.saturating_add(1));
        end.last = header.last();
        end.session = header.session;
        end.clean_stop = header.flags & CLEAN_STOP != 0;
        end.used = end.used.saturating_add(unit::HEADER as u64).saturating_add(header.length);
        if self.is_given_up() {
            self.content = Vec::new();
            return;
        }
        put_varint(&mut self.content, gap);
        put_varint(&mut self.content, header.count.into());
        put_varint(&mut self.content, header.length / STEP);
        self.end.length = self.content.len();
    }

    /// This mark took the place of the last unit, which was one as well.
    pub(crate) const fn replace_mark(&mut self, header: &UnitHeader) {
        self.end.session = header.session;
        self.end.clean_stop = header.flags & CLEAN_STOP != 0;
    }

    /// The process that wrote what is there ended without closing the journal.
    pub(crate) fn crashed(&mut self) {
        self.end.crashed_at = self.end.last;
    }

    /// Bytes to be left free for it in the segment.
    pub(crate) fn room(&self) -> u64 {
        if self.is_given_up() { 0 } else { self.content.len() as u64 + FOOTER as u64 + FOR_MARKS }
    }

    /// Whether there is one, and room for it at the end of its segment.
    pub(crate) fn fits(&self, segment: &Segment) -> bool {
        !self.is_given_up() && self.start(segment) >= self.end.used
    }

    /// Writes it to the end of its segment, if it fits. All units there must be durable.
    pub(crate) fn write(&self, segment: &Segment) -> io::Result<()> {
        if !self.fits(segment) {
            return Ok(());
        }
        let footer = self.footer(segment.salt);
        segment.file.write_all_at(&[&self.content, &footer], self.start(segment))
    }

    fn start(&self, segment: &Segment) -> u64 {
        segment.capacity.saturating_sub((self.content.len() + FOOTER) as u64)
    }

    fn footer(&self, salt: u64) -> [u8; FOOTER] {
        let End { used, last, session, clean_stop, crashed_at, .. } = self.end;
        let flags = if clean_stop { CLEAN_STOP } else { 0 };
        let mut bytes = [0; FOOTER];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[12..16].copy_from_slice(&crc32fast::hash(&self.content).to_le_bytes());
        bytes[16..24].copy_from_slice(&salt.to_le_bytes());
        bytes[24..32].copy_from_slice(&(self.content.len() as u64).to_le_bytes());
        bytes[32..40].copy_from_slice(&used.to_le_bytes());
        bytes[40..48].copy_from_slice(&last.to_le_bytes());
        bytes[48..56].copy_from_slice(&crashed_at.to_le_bytes());
        bytes[56..60].copy_from_slice(&session.to_le_bytes());
        bytes[60..64].copy_from_slice(&flags.to_le_bytes());
        let crc = crc32fast::hash(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn is_given_up(&self) -> bool {
        self.limit == 0 || self.end.is_over
    }

    /// Adds a record of the unit that was begun last.
    pub(crate) fn record(&mut self, record: &Record<'_>, entry: Entry<'_>, outline: &Outline) {
        if self.is_given_up() {
            return;
        }
        let Self { content, end: End { context, .. }, .. } = self;
        match entry {
            Entry::Message { queues, .. } => {
                let mut others = queues.clone();
                let first = others.next();
                let is_same = first == Some(context.queue) && others.next().is_none();
                put_tag(content, record, is_same, outline);
                if !is_same {
                    put_varint(content, queues.clone().count() as u64);
                    queues.for_each(|queue| put_varint(content, queue));
                }
                context.queue = first.unwrap_or(context.queue);
                put_outline(content, context, record, outline);
            }
            Entry::Moved { from, lsn, places, .. } => {
                let mut others = places.clone();
                let first = others.next();
                let plain = RecoveredPlace { queue: context.queue, ..RecoveredPlace::default() };
                let is_same = first == Some(plain) && others.next().is_none();
                put_tag(content, record, is_same, outline);
                put_difference(content, context.moved, lsn);
                put_varint(content, lsn.saturating_sub(from));
                if !is_same {
                    put_varint(content, places.clone().count() as u64);
                    for place in places {
                        put_varint(content, place.queue);
                        put_varint(content, place.deliveries.into());
                        put_varint(content, place.redelivered.into());
                        put_varint(content, place.delayed_until);
                    }
                }
                context.queue = first.map_or(context.queue, |place| place.queue);
                context.moved = lsn;
                put_outline(content, context, record, outline);
            }
            Entry::Define { payload } => {
                put_tag(content, record, false, outline);
                put_varint(content, payload.len() as u64);
                content.extend_from_slice(payload);
            }
            Entry::Ack { queue, .. }
            | Entry::Returned { queue, .. }
            | Entry::Delayed { queue, .. }
            | Entry::DropQueue { queue } => {
                let is_same = queue == context.queue;
                put_tag(content, record, is_same, outline);
                if !is_same {
                    put_varint(content, queue);
                }
                context.queue = queue;
                let rest = record.payload().get(size_of::<u64>()..).unwrap_or_default();
                put_varint(content, rest.len() as u64);
                content.extend_from_slice(rest);
            }
        }
        self.end.length = self.content.len();
        self.end.is_over = self.end.length as u64 > self.limit;
    }
}

/// A record's kind, and what of it is left out.
fn put_tag(into: &mut Vec<u8>, record: &Record<'_>, is_same: bool, outline: &Outline) {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    into.push(
        record.kind()
            | flag(is_same, SAME_QUEUE)
            | flag(outline.priority.is_some(), HAS_PRIORITY)
            | flag(outline.life.is_some(), HAS_LIFE)
            | flag(outline.delay.is_some(), HAS_DELAY),
    );
}

/// What a message's content takes and is like.
fn put_outline(into: &mut Vec<u8>, context: &mut Context, record: &Record<'_>, outline: &Outline) {
    let Outline { bytes, time, life, delay, priority, payload: _ } = *outline;
    put_varint(into, record.length() / STEP);
    put_varint(into, bytes);
    put_difference(into, context.time, time);
    into.extend(priority);
    life.into_iter().chain(delay).for_each(|span| put_varint(into, span));
    context.time = time;
}

/// Bytes after the content.
const FOOTER: usize = 64;
const MAGIC: [u8; 8] = *b"LVTSUMRY";
/// Records and units are multiples of this.
const STEP: u64 = 8;
/// The bits of a tag that are its kind, and the others.
const KIND: u8 = 0x17;
/// No kind has this bit.
const HAS_DELAY: u8 = 0x08;
const SAME_QUEUE: u8 = 0x20;
const HAS_PRIORITY: u8 = 0x40;
const HAS_LIFE: u8 = 0x80;
/// Which part of a segment it may take at most: reading more than that saves little.
const MOST: u64 = 8;
/// Room for marks, which may come when there is no other.
const FOR_MARKS: u64 = 16;

const _: () = assert!(Kind::Delayed as u8 & !KIND == 0, "a kind fits its bits");
