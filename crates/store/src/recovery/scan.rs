//! Finds units in segment files.

use std::io;

use crate::{
    disk::read_around,
    segment::{HEADER, Segment},
    summary::Sealed,
    unit::{self, CLEAN_STOP, MAGIC, REOPENED, UnitHeader},
};

/// What the units taken so far say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chain {
    /// The last LSN; `None` before the first unit, whose word is taken for what was before it.
    pub(crate) previous: Option<u64>,
    /// The highest LSN said to be durable.
    pub(crate) durable: u64,
    pub(crate) session: u32,
    /// The last unit is the mark of a clean stop.
    pub(crate) clean_stop: bool,
}

impl Chain {
    pub(crate) fn last(&self) -> u64 {
        self.previous.unwrap_or_default()
    }

    /// Whether a unit may follow. What an earlier session left behind in the room of torn units may
    /// not.
    pub(super) fn continues_with(&self, header: &UnitHeader) -> bool {
        self.previous.is_none_or(|previous| previous == header.previous)
            && header.first > header.previous
            && header.session >= self.session
    }

    /// Whether the process before the one that wrote `header` ended without a clean stop.
    pub(crate) fn crashed_before(&self, header: &UnitHeader) -> bool {
        header.session > self.session && !self.clean_stop && header.flags & REOPENED == 0
    }

    /// The chain behind a segment that was taken by its summary.
    pub(super) fn after(&self, sealed: &Sealed) -> Self {
        Self {
            previous: Some(sealed.last),
            // It was, before the unit after it was written.
            durable: self.durable.max(sealed.last),
            session: sealed.session,
            clean_stop: sealed.clean_stop,
        }
    }

    pub(crate) fn accept(&mut self, header: &UnitHeader) {
        self.previous = Some(header.last());
        self.durable = self.durable.max(header.durable);
        self.session = header.session;
        self.clean_stop = header.flags & CLEAN_STOP != 0;
    }
}

/// Reads a segment in large pieces.
pub(crate) struct Window<'a> {
    segment: &'a Segment,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) const fn new(segment: &'a Segment) -> Self {
        Self { segment, start: 0, buffer: Vec::new() }
    }

    /// The unit at `at`, if it is whole and continues `chain`.
    pub(crate) fn unit(
        &mut self,
        at: u64,
        chain: &Chain,
    ) -> io::Result<Option<(UnitHeader, &[u8])>> {
        let header = self.bytes(at, unit::HEADER as u64)?.and_then(UnitHeader::decode);
        let salt = self.segment.salt;
        let Some(header) =
            header.filter(|header| header.salt == salt && chain.continues_with(header))
        else {
            return Ok(None);
        };
        let body = self.bytes(at + unit::HEADER as u64, header.length)?;
        Ok(body.filter(|body| header.vouches_for(body)).map(|body| (header, body)))
    }

    /// `length` bytes at `at`; `None` if the file ends before.
    fn bytes(&mut self, at: u64, length: u64) -> io::Result<Option<&[u8]>> {
        let capacity = self.segment.capacity;
        let Some(end) = at.checked_add(length).filter(|end| *end <= capacity) else {
            return Ok(None);
        };
        if at < self.start || end > self.start + self.buffer.len() as u64 {
            let size = length.max(PIECE).min(capacity - at);
            if self.read(at, size).is_err() {
                // What is not asked for need not be readable.
                self.read(at, length)?;
            }
        }
        let from = usize::try_from(at - self.start).map_err(io::Error::other)?;
        let to = usize::try_from(end - self.start).map_err(io::Error::other)?;
        Ok(self.buffer.get(from..to))
    }

    fn read(&mut self, at: u64, size: u64) -> io::Result<()> {
        self.buffer.resize(usize::try_from(size).map_err(io::Error::other)?, 0);
        self.start = at;
        let read = self.segment.file.read_exact_at(&mut self.buffer, at);
        if read.is_err() {
            self.buffer.clear();
        }
        read
    }
}

/// Unit headers behind the end of the chain.
#[derive(Debug)]
pub(crate) struct Leftovers {
    /// The highest LSN one of them says is durable.
    pub(crate) durable: u64,
    pub(crate) session: u32,
    /// Where the last of them would end; the start of the search if there is none.
    pub(crate) end: u64,
}

impl Leftovers {
    /// Searches `segment` from `start`, a multiple of 8.
    pub(crate) fn find(segment: &Segment, start: u64) -> io::Result<Self> {
        let mut found = Self { durable: 0, session: 0, end: start };
        let (mut buffer, mut failed) = (Vec::new(), None);
        let mut at = start.max(HEADER);
        loop {
            // Each piece overlaps the next by a header, less the 8 bytes it was already tried at.
            let size = (segment.capacity - at.min(segment.capacity)).min(PIECE);
            buffer.resize(usize::try_from(size).map_err(io::Error::other)?, 0);
            // There is perhaps nothing where it can't be read, and other units tell of those that are there.
            let unreadable = read_around(&*segment.file, &mut buffer, at);
            failed = failed.or(unreadable);
            for (index, word) in buffer.chunks_exact(8).enumerate() {
                if !word.starts_with(&MAGIC) {
                    continue;
                }
                let header = buffer.get(index * 8..).and_then(UnitHeader::decode);
                if let Some(header) = header.filter(|header| header.salt == segment.salt) {
                    let end = at + index as u64 * 8 + unit::HEADER as u64;
                    found.durable = found.durable.max(header.durable);
                    found.session = found.session.max(header.session);
                    found.end = end.saturating_add(header.length).min(segment.capacity);
                }
            }
            if size < PIECE {
                break;
            }
            at += PIECE - (unit::HEADER as u64 - 8);
        }
        if let Some((at, error)) = failed {
            let path = segment.path.display();
            tracing::warn!(
                "{path} cannot be read at byte {at}, which is behind the end of the journal: {error}"
            );
        }
        Ok(found)
    }

    /// Whether a process went on behind the mark of a clean stop, where `chain` ends at `end`, though what
    /// it wrote there first cannot be read. The next header may be anywhere: a unit may take all of the segment.
    pub(crate) fn are_behind(segment: &Segment, end: u64, chain: &Chain) -> io::Result<bool> {
        Ok(Self::find(segment, end)?.session > chain.session)
    }
}

const PIECE: u64 = 1 << 20;
