//! Takes the segments one after the other, by their summaries or unit by unit.

use std::io;

use super::{
    refused,
    scan::{Chain, Window},
    taken::Taken,
};
use crate::{
    OpenError, StoreOptions,
    encoding::Reader,
    record::Record,
    segment::{HEADER, Segment},
    summary::{Sealed, Summary},
    unit::{self, UnitHeader},
};

/// A segment file.
pub(super) struct Found {
    pub(super) segment: Segment,
    /// The header of its first unit, whatever follows that.
    pub(super) first: Option<UnitHeader>,
}

/// What was taken from the segments, oldest first, up to one that has no unit of the chain.
pub(super) struct Reading {
    pub(super) taken: Taken,
    /// Of the last segment taken, if it can have one yet; none if no segment was.
    pub(super) summary: Option<Summary>,
    /// How many were taken by their summaries.
    pub(super) summaries: usize,
    pub(super) unwritten: Unwritten,
}

impl Reading {
    /// Of nothing; definitions up to LSN `applied` are in their tables.
    pub(super) fn new(applied: u64) -> Self {
        Self {
            taken: Taken::new(applied),
            summary: None,
            summaries: 0,
            unwritten: Unwritten::default(),
        }
    }

    /// Takes the segments, by their summaries where there are any if so told. Answers false if one of these makes
    /// no sense though its checksum is right: then what was taken is no use.
    pub(super) fn read(
        &mut self,
        found: &[Found],
        options: &StoreOptions,
        by_summaries: bool,
    ) -> Result<bool, OpenError> {
        for (index, Found { segment, first }) in found.iter().enumerate() {
            let next = found.get(index + 1).and_then(|next| next.first);
            if let (Some(first), Some(next), true) = (first, next, by_summaries)
                // What can't be read as a summary can perhaps be read as units.
                && let Ok(Some(sealed)) = find_summary(segment, first, &next, &self.taken.chain)
            {
                if !self.taken.sealed(segment, first, &sealed) {
                    let path = segment.path.display();
                    tracing::warn!("the summary of {path} makes no sense; all segments are read");
                    return Ok(false);
                }
                self.summaries += 1;
                // Should it turn out to be the last one it goes on without.
                self.summary = Some(Summary::none());
                continue;
            }
            let mut new =
                Summary::new(options.outline, segment.capacity, options.summary_from_bytes);
            if !scan_segment(segment, &mut self.taken, &mut new)? {
                break;
            }
            if next.is_some() {
                self.unwritten.add(segment, &new);
            }
            self.summary = Some(new);
        }
        Ok(true)
    }
}

/// The header of the first unit of a segment, if there is one.
pub(super) fn first_unit(segment: &Segment) -> io::Result<Option<UnitHeader>> {
    unit_at(segment, HEADER)
}

fn unit_at(segment: &Segment, at: u64) -> io::Result<Option<UnitHeader>> {
    if at.checked_add(unit::HEADER as u64).is_none_or(|end| end > segment.capacity) {
        return Ok(None);
    }
    let mut bytes = [0; unit::HEADER];
    segment.file.read_exact_at(&mut bytes, at)?;
    Ok(UnitHeader::decode(&bytes).filter(|header| header.salt == segment.salt))
}

/// The summary of a segment whose first unit is `first`, if it is true and the segment whole: nothing
/// was written after it into the segment, and the `next` segment, which was begun once all of this
/// one was durable, goes on where it ends.
fn find_summary(
    segment: &Segment,
    first: &UnitHeader,
    next: &UnitHeader,
    chain: &Chain,
) -> io::Result<Option<Sealed>> {
    if !chain.continues_with(first) {
        return Ok(None);
    }
    let Some(sealed) = Sealed::read(segment)? else { return Ok(None) };
    let end = chain.after(&sealed);
    let follows = unit_at(segment, sealed.used)?;
    let is_outdated = follows.is_some_and(|follows| end.continues_with(&follows));
    Ok((end.continues_with(next) && !is_outdated).then_some(sealed))
}

/// Takes the units of `segment` that continue the chain, and makes their summary. Answers false if
/// there are none.
fn scan_segment(
    segment: &Segment,
    taken: &mut Taken,
    summary: &mut Summary,
) -> Result<bool, OpenError> {
    let mut window = Window::new(segment);
    let mut at = HEADER;
    loop {
        let next = window.unit(at, &taken.chain).map_err(refused("read", &segment.path))?;
        let Some((header, body)) = next else { return Ok(at > HEADER) };
        if at == HEADER {
            taken.begin_segment(segment, header.first);
        }
        taken.begin_session(&header);
        taken.chain.accept(&header);
        taken.begin_unit(header.first, header.count, header.length);
        summary.begin_unit(&header);
        let mut reader = Reader(body);
        while let Some(record) = Record::read_own(&mut reader) {
            let Some(entry) = record.entry() else {
                let what = "a record";
                return Err(OpenError::NewerContent { path: segment.path.clone(), what });
            };
            let outline = summary.outline(&entry);
            summary.record(&record, entry.clone(), &outline);
            taken.record(record.length(), entry, &outline);
        }
        taken.end_unit();
        at += unit::HEADER as u64 + header.length;
    }
}

/// Summaries of full segments that had none.
#[derive(Default)]
pub(super) struct Unwritten {
    summaries: Vec<(Segment, Summary)>,
    bytes: u64,
}

impl Unwritten {
    fn add(&mut self, segment: &Segment, summary: &Summary) {
        // The next start can see to the others.
        self.bytes += summary.room();
        if summary.fits(segment) && self.bytes <= UNWRITTEN {
            self.summaries.push((segment.clone(), summary.clone()));
        }
    }

    /// Writes those of the segments before number `tail`: all that is in these is durable.
    pub(super) fn write(&self, tail: u64) -> Result<(), OpenError> {
        for (segment, summary) in self.summaries.iter().filter(|(one, _)| one.number < tail) {
            summary.write(segment).map_err(refused("write to", &segment.path))?;
        }
        Ok(())
    }
}

/// Bytes of summaries kept until it is known that the journal is sound.
const UNWRITTEN: u64 = 16 << 20;
