//! Records: the messages, settlements and definition changes inside a unit.
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..4 | CRC-32 of bytes 4 to the end of the payload |
//! | 4 | kind |
//! | 5 | flags, 0 |
//! | 6..8 | reserved, 0 |
//! | 8..16 | length of the payload |
//! | 16.. | payload, then zeros up to a multiple of 8 |

use crate::{
    RecoveredPlace,
    definitions::DefinitionsIter,
    encoding::{Reader, put_varint},
};

/// Bytes before a record's payload.
pub(crate) const HEADER: usize = 16;

/// What a record says. The numbers are those on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Message = 1,
    Ack = 2,
    Returned = 4,
    DropQueue = 5,
    Define = 6,
    Moved = 7,
    Delayed = 16,
}

/// A record as it lies in memory, its checksum verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) crc: u32,
    kind: u8,
    /// It has flags, or something in the reserved bytes: of what a newer release means by it nothing is known.
    is_newer: bool,
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the record at the front of `reader`, without looking at the checksum.
    fn split(reader: &mut Reader<'a>) -> Option<(Self, &'a [u8])> {
        let start = reader.0;
        let crc = reader.u32()?;
        let kind = reader.u8()?;
        let flags = reader.u8()?;
        let reserved = reader.u16()?;
        let length = reader.u64()?;
        let payload = reader.bytes(length)?;
        reader.bytes(padding(length))?;
        let summed = start.get(4..HEADER + payload.len())?;
        let is_newer = flags != 0 || reserved != 0;
        Some((Self { crc, kind, is_newer, payload }, summed))
    }

    /// Takes the record at the front of `reader` if it is whole.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let (record, summed) = Self::split(reader)?;
        (crc32fast::hash(summed) == record.crc).then_some(record)
    }

    /// Takes the record at the front of `reader`, which this process has written.
    pub(crate) fn read_own(reader: &mut Reader<'a>) -> Option<Self> {
        Self::split(reader).map(|(record, _)| record)
    }

    /// A record of this kind, whose checksum is not known.
    pub(crate) const fn new(kind: u8, payload: &'a [u8]) -> Self {
        Self { crc: 0, kind, is_newer: false, payload }
    }

    pub(crate) const fn kind(&self) -> u8 {
        self.kind
    }

    pub(crate) const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes it takes in its unit.
    pub(crate) const fn length(&self) -> u64 {
        let payload = self.payload.len() as u64;
        HEADER as u64 + payload + padding(payload)
    }

    /// What it says; `None` if this release cannot read it.
    pub(crate) fn entry(&self) -> Option<Entry<'a>> {
        if self.is_newer {
            return None;
        }
        let mut reader = Reader(self.payload);
        Some(match self.kind {
            kind if kind == Kind::Message as u8 => {
                let count = reader.u32()?;
                reader.u32()?;
                let queues = reader.bytes(u64::from(count).checked_mul(8)?)?;
                Entry::Message { queues: Queues(Reader(queues)), payload: reader.0 }
            }
            kind if kind == Kind::Ack as u8 => {
                Entry::Ack { queue: reader.u64()?, ranges: Ranges::new(reader)? }
            }
            kind if kind == Kind::Returned as u8 => {
                Entry::Returned { queue: reader.u64()?, returns: Returns::new(reader)? }
            }
            kind if kind == Kind::Delayed as u8 => {
                Entry::Delayed { queue: reader.u64()?, delays: Delays::new(reader)? }
            }
            kind if kind == Kind::DropQueue as u8 => Entry::DropQueue { queue: reader.u64()? },
            kind if kind == Kind::Moved as u8 => {
                let (from, lsn) = (reader.u64()?, reader.u64()?);
                let count = reader.u32()?;
                reader.u32()?;
                let places = reader.bytes(u64::from(count).checked_mul(MOVED_PLACE)?)?;
                Entry::Moved { from, lsn, places: MovedPlaces(Reader(places)), payload: reader.0 }
            }
            kind if kind == Kind::Define as u8 && DefinitionsIter::is_known(self.payload) => {
                Entry::Define { payload: self.payload }
            }
            _ => return None,
        })
    }
}

/// A decoded record, borrowing from its bytes.
#[derive(Clone, Debug)]
pub(crate) enum Entry<'a> {
    Message {
        queues: Queues<'a>,
        payload: &'a [u8],
    },
    Ack {
        queue: u64,
        ranges: Ranges<'a>,
    },
    Returned {
        queue: u64,
        returns: Returns<'a>,
    },
    Delayed {
        queue: u64,
        delays: Delays<'a>,
    },
    DropQueue {
        queue: u64,
    },
    Define {
        payload: &'a [u8],
    },
    /// No unsettled message with a number from `from` up to `lsn` is anywhere but here.
    Moved {
        from: u64,
        lsn: u64,
        places: MovedPlaces<'a>,
        payload: &'a [u8],
    },
}

/// The queues of a message.
#[derive(Clone, Debug)]
pub(crate) struct Queues<'a>(Reader<'a>);

impl Iterator for Queues<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0.u64()
    }
}

/// The places a moved message was not settled in.
#[derive(Clone, Debug)]
pub(crate) struct MovedPlaces<'a>(Reader<'a>);

impl Iterator for MovedPlaces<'_> {
    type Item = RecoveredPlace;

    fn next(&mut self) -> Option<RecoveredPlace> {
        Some(RecoveredPlace {
            queue: self.0.u64()?,
            deliveries: self.0.u32()?,
            redelivered: self.0.u32()? & REDELIVERED != 0,
            delayed_until: self.0.u64()?,
        })
    }
}

/// Appends what stands before the payload of a moved message.
pub(crate) fn put_moved(into: &mut Vec<u8>, from: u64, lsn: u64, places: &[RecoveredPlace]) {
    into.extend_from_slice(&from.to_le_bytes());
    into.extend_from_slice(&lsn.to_le_bytes());
    let count = u32::try_from(places.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&count.to_le_bytes());
    into.extend_from_slice(&[0; 4]);
    for place in places.iter().take(count as usize) {
        into.extend_from_slice(&place.queue.to_le_bytes());
        into.extend_from_slice(&place.deliveries.to_le_bytes());
        let flags = if place.redelivered { REDELIVERED } else { 0 };
        into.extend_from_slice(&flags.to_le_bytes());
        into.extend_from_slice(&place.delayed_until.to_le_bytes());
    }
}

/// Bytes of a place in a moved message.
const MOVED_PLACE: u64 = 24;
/// Flag of such a place.
const REDELIVERED: u32 = 1;

/// Runs of LSNs, ascending, as `(first, count)`.
#[derive(Clone, Debug)]
pub(crate) struct Ranges<'a> {
    reader: Reader<'a>,
    left: u64,
    end: u64,
}

impl<'a> Ranges<'a> {
    fn new(mut reader: Reader<'a>) -> Option<Self> {
        let left = reader.varint()?;
        Some(Self { reader, left, end: 0 })
    }
}

impl Iterator for Ranges<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        self.left = self.left.checked_sub(1)?;
        let first = self.end.checked_add(self.reader.varint()?)?;
        let count = self.reader.varint()?;
        self.end = first.checked_add(count)?;
        Some((first, count))
    }
}

/// Whether the first of these records is a moved message; then all of its unit are.
pub(crate) fn is_moved(records: &[u8]) -> bool {
    records.get(4) == Some(&(Kind::Moved as u8))
}

/// Bytes from the start of a record to the next one, as its own header says.
pub(crate) fn length_at(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    let whole = (HEADER as u64).checked_add(length)?.checked_add(padding(length))?;
    usize::try_from(whole).ok().filter(|whole| *whole <= bytes.len())
}

/// Appends runs of `lsns`, which ascend strictly.
pub(crate) fn put_ranges(into: &mut Vec<u8>, lsns: &[u64]) {
    let runs = || lsns.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    put_varint(into, runs().count() as u64);
    let mut end = 0;
    for run in runs() {
        let Some(&first) = run.first() else { continue };
        let count = run.len() as u64;
        put_varint(into, first - end);
        put_varint(into, count);
        end = first.saturating_add(count);
    }
}

/// LSNs with a number each, ascending.
#[derive(Clone, Debug)]
struct Numbered<'a> {
    reader: Reader<'a>,
    left: u64,
    last: u64,
}

impl<'a> Numbered<'a> {
    fn new(mut reader: Reader<'a>) -> Option<Self> {
        let left = reader.varint()?;
        Some(Self { reader, left, last: 0 })
    }
}

impl Iterator for Numbered<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        self.left = self.left.checked_sub(1)?;
        self.last = self.last.checked_add(self.reader.varint()?)?;
        Some((self.last, self.reader.varint()?))
    }
}

/// Appends numbers of LSNs that ascend strictly.
pub(crate) fn put_numbered(into: &mut Vec<u8>, numbered: &[(u64, u64)]) {
    put_varint(into, numbered.len() as u64);
    let mut last = 0;
    for &(lsn, number) in numbered {
        put_varint(into, lsn - last);
        put_varint(into, number);
        last = lsn;
    }
}

/// Returned messages as `(LSN, deliveries)`, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Returns<'a>(Numbered<'a>);

impl<'a> Returns<'a> {
    fn new(reader: Reader<'a>) -> Option<Self> {
        Numbered::new(reader).map(Self)
    }
}

impl Iterator for Returns<'_> {
    type Item = (u64, u32);

    fn next(&mut self) -> Option<(u64, u32)> {
        let (lsn, deliveries) = self.0.next()?;
        Some((lsn, u32::try_from(deliveries).ok()?))
    }
}

/// Delayed messages as `(LSN, time)`, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Delays<'a>(Numbered<'a>);

impl<'a> Delays<'a> {
    fn new(reader: Reader<'a>) -> Option<Self> {
        Numbered::new(reader).map(Self)
    }
}

impl Iterator for Delays<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        self.0.next()
    }
}

/// Completes the record of `kind` whose payload `into` holds after [`HEADER`] bytes at `start`:
/// pads it, writes its header. Returns its checksum.
pub(crate) fn seal(into: &mut Vec<u8>, start: usize, kind: Kind) -> u32 {
    let length = into.len().saturating_sub(start + HEADER) as u64;
    let mut crc = 0;
    if let Some(record) = into.get_mut(start..)
        && let Some((header, payload)) = record.split_first_chunk_mut::<HEADER>()
    {
        let mut fields = [0; HEADER - 4];
        fields[0] = kind as u8;
        fields[4..].copy_from_slice(&length.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&fields);
        hasher.update(payload);
        crc = hasher.finalize();
        header[..4].copy_from_slice(&crc.to_le_bytes());
        header[4..].copy_from_slice(&fields);
    }
    into.resize(into.len().next_multiple_of(ALIGNMENT), 0);
    crc
}

/// Zeros after a payload of `length` bytes.
const fn padding(length: u64) -> u64 {
    length.wrapping_neg() % ALIGNMENT as u64
}

/// Records and units start at multiples of this.
const ALIGNMENT: usize = 8;
