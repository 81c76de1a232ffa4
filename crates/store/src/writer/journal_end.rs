//! The end of the journal: units are written there, in one segment after the other, and synced.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::Stop;
use crate::{
    StoreOptions,
    live::{Live, LiveSegment},
    segment::{HEADER, MARK_ROOM, Segment},
    shared::{Body, Shared, Tried, Unit},
    summary::Summary,
    unit::{self, UnitHeader},
    upkeep::{self, Upkeep},
};

/// Where the next unit goes, and what is known of those before.
pub(crate) struct JournalEnd {
    shared: Arc<Shared>,
    upkeep: Arc<Upkeep>,
    /// The last of its segments is the one that is being written.
    pub(super) live: Live,
    /// Of that one.
    summary: Summary,
    session: u32,
    /// The last LSN handed to the disk, and the last synced.
    pub(super) written: u64,
    pub(super) synced: u64,
    /// Since when lazy records wait for a sync; in interval mode, since when urgent ones do.
    pub(super) lazy_since: Option<Instant>,
    pub(super) urgent_since: Option<Instant>,
    /// How long the last sync took.
    pub(super) last_sync: Duration,
    /// A next segment has been asked for.
    asked: bool,
    /// A segment was begun and nothing in it is durable yet.
    pub(super) has_rolled: bool,
    /// The journal ends with the mark of a clean stop.
    pub(super) must_mark: bool,
    /// It ends with a mark that took the place of such a one.
    ends_reopened: bool,
}

impl JournalEnd {
    /// `last` is the last LSN in the journal, all of which is durable. After a clean stop the first
    /// thing written is a mark, synced, so that a clean stop at the end of a journal proves that
    /// nothing came after.
    pub(crate) fn new(
        shared: Arc<Shared>,
        upkeep: Arc<Upkeep>,
        live: Live,
        summary: Option<Summary>,
        session: u32,
        last: u64,
        after_clean_stop: bool,
    ) -> Self {
        let capacity = live.tail().map_or(0, |tail| tail.segment.capacity);
        let summary = summary.unwrap_or_else(|| new_summary(&shared.options, capacity));
        Self {
            shared,
            upkeep,
            live,
            summary,
            session,
            written: last,
            synced: last,
            lazy_since: None,
            urgent_since: None,
            last_sync: Duration::MAX,
            asked: false,
            has_rolled: false,
            must_mark: after_clean_stop,
            ends_reopened: false,
        }
    }

    /// Ends the validity of a clean stop's mark, before anybody can be given a message: from here on
    /// an end without a mark is a crash.
    pub(crate) fn reopen(&mut self) -> Result<(), Stop> {
        if !std::mem::take(&mut self.must_mark) {
            return Ok(());
        }
        if self.room() < unit::HEADER as u64 {
            return self.replace_mark(0);
        }
        self.repeat_mark()?;
        self.mark(0)
    }

    /// Writes the clean stop's mark once more, as it is. The process that wrote it may have failed to sync it, and
    /// the system may take it for written: then a loss of power would leave a hole before what follows.
    fn repeat_mark(&mut self) -> Result<(), Stop> {
        let Some(tail) = self.live.tail() else { return Err(None) };
        let Segment { file, path, .. } = &tail.segment;
        let at = tail.used.saturating_sub(unit::HEADER as u64);
        let mut bytes = [0; unit::HEADER];
        let read = file.read_exact_at(&mut bytes, at).and_then(|()| {
            match UnitHeader::decode(&bytes) {
                Some(mark) if mark.flags & unit::CLEAN_STOP != 0 => Ok(()),
                // It was there a moment ago.
                _ => Err(io::ErrorKind::InvalidData.into()),
            }
        });
        read.tried("reading again", path)?;
        Ok(file.write_all_at(&[&bytes], at).tried("writing", path)?)
    }

    /// Writes another mark in the place of a clean stop's: a start must not wait for another segment,
    /// which a full disk has none of.
    fn replace_mark(&mut self, flags: u32) -> Result<(), Stop> {
        let Some(tail) = self.live.tail() else { return Err(None) };
        // Where the process before crashed as well, nothing but this mark tells of that.
        let reopened = if self.live.has_crashed(self.written) { 0 } else { unit::REOPENED };
        let header = self.mark_header(flags | reopened);
        let at = tail.used.saturating_sub(unit::HEADER as u64);
        let written = tail.segment.file.write_all_at(&[&header.encode()], at);
        written.tried("writing", &tail.segment.path)?;
        self.summary.replace_mark(&header);
        self.ends_reopened = true;
        self.sync()
    }

    /// Writes a unit without records: it vouches for those before it, which nothing did yet.
    pub(super) fn mark(&mut self, flags: u32) -> Result<(), Stop> {
        let Some(tail) = self.live.tail() else { return Err(None) };
        let room = match flags {
            0 => self.room(),
            _ => tail.segment.capacity.saturating_sub(tail.used),
        };
        if room < unit::HEADER as u64 {
            return if flags != 0 && self.ends_reopened {
                self.replace_mark(flags)
            } else {
                Ok(())
            };
        }
        let (header, at) = (self.mark_header(flags), tail.used);
        self.summary.unit(&header, &[]);
        // A copy of the journal must not end before it, at the mark of a clean stop.
        self.shared.map.lock().begin_unit(header.first, 0, at, 0);
        self.write_slices(&[&header.encode()], unit::HEADER as u64)?;
        self.sync()
    }

    fn mark_header(&self, flags: u32) -> UnitHeader {
        UnitHeader { flags, ..self.header(self.written + 1, 0, 0, &[]) }
    }

    /// Writes units with their headers, at once, as many as fit the segment. Answers how many.
    pub(super) fn write_units(
        &mut self,
        units: &mut [Unit],
        bytes: &mut [u8],
    ) -> Result<usize, Stop> {
        let mut size = 0;
        let mut fit = 0;
        for unit in units.iter_mut() {
            let header = self.header_of(unit, bytes);
            let body = unit.body.bytes(bytes).get(unit::HEADER..).unwrap_or_default();
            if !self.note(&header, body, size) {
                break;
            }
            if let Some(tail) = self.live.tail() {
                if let Some(room) = unit.body.bytes_mut(bytes).first_chunk_mut() {
                    *room = header.encode();
                }
                unit.at = tail.used + size;
                self.written = header.last();
            }
            size += unit::HEADER as u64 + header.length;
            fit += 1;
        }
        self.write_run(units.get(..fit).unwrap_or_default(), bytes, size)?;
        Ok(fit)
    }

    /// The header of a unit, if it is the next.
    pub(super) fn header_of(&self, unit: &Unit, bytes: &[u8]) -> UnitHeader {
        let records = unit.body.bytes(bytes).get(unit::HEADER..).unwrap_or_default();
        self.header(unit.first, unit.count, unit.digest, records)
    }

    /// Writes consecutive units of `size` bytes to the end of the journal.
    fn write_run(&mut self, units: &[Unit], shared: &[u8], size: u64) -> Result<(), Stop> {
        if units.is_empty() {
            return Ok(());
        }
        let mut slices: SmallVec<[&[u8]; 16]> = SmallVec::new();
        let mut run = 0..0;
        for unit in units {
            match &unit.body {
                Body::Shared(range) if run.end == range.start => run.end = range.end,
                Body::Shared(range) => {
                    slices.extend(shared.get(run).filter(|slice| !slice.is_empty()));
                    run = range.clone();
                }
                Body::Own(bytes) => {
                    slices.extend(shared.get(run.clone()).filter(|slice| !slice.is_empty()));
                    run.start = run.end;
                    slices.push(bytes);
                }
            }
        }
        slices.extend(shared.get(run).filter(|slice| !slice.is_empty()));
        self.write_slices(&slices, size)?;
        let records = units.iter().map(|unit| u64::from(unit.count)).sum();
        self.shared.counters.records.fetch_add(records, Relaxed);
        self.ask_ahead();
        Ok(())
    }

    /// Writes a unit of moved messages, which nobody waits for.
    pub(super) fn write_moved(&mut self, header: &UnitHeader, unit: &[u8]) -> Result<(), Stop> {
        self.write_slices(&[unit], unit.len() as u64)?;
        self.written = header.last();
        if self.urgent_since.is_none() {
            self.lazy_since.get_or_insert_with(Instant::now);
        }
        self.ask_ahead();
        Ok(())
    }

    fn write_slices(&mut self, slices: &[&[u8]], size: u64) -> Result<(), Stop> {
        let Some(tail) = self.live.tail() else { return Err(None) };
        tail.segment.file.write_all_at(slices, tail.used).tried("writing", &tail.segment.path)?;
        self.ends_reopened = false;
        self.live.wrote(size);
        self.shared.counters.writes.fetch_add(1, Relaxed);
        self.shared.counters.bytes.fetch_add(size, Relaxed);
        Ok(())
    }

    /// Has the next segment made in time.
    fn ask_ahead(&mut self) {
        if !self.asked && self.live.tail().is_some_and(|tail| tail.used > tail.segment.capacity / 2)
        {
            self.asked = true;
            self.upkeep.want();
        }
    }

    /// The header of the next unit, which has these records.
    pub(super) fn header(&self, first: u64, count: u32, digest: u32, records: &[u8]) -> UnitHeader {
        UnitHeader {
            digest,
            count,
            salt: self.live.tail().map_or(0, |tail| tail.segment.salt),
            first,
            previous: self.written,
            durable: self.synced,
            length: records.len() as u64,
            session: self.session,
            flags: 0,
        }
    }

    /// Adds the next unit to the summary if the segment has room for both, behind `before` bytes that
    /// are not written yet. Answers whether it has.
    pub(super) fn note(&mut self, header: &UnitHeader, records: &[u8], before: u64) -> bool {
        let end = self.summary.end();
        self.summary.unit(header, records);
        let fits = before + unit::HEADER as u64 + header.length <= self.room();
        if !fits {
            self.summary.go_back(end);
        }
        fits
    }

    /// Whether nothing is in the segment yet. Recovery takes such a one for the end of the journal, so
    /// none is left like that.
    pub(super) fn is_empty_segment(&self) -> bool {
        self.live.tail().is_some_and(|tail| tail.used <= HEADER)
    }

    /// Goes on in `next`, whose first unit starts with LSN `first`. All in this one must be durable: only
    /// the last can have a torn end.
    pub(super) fn begin_segment(&mut self, next: Segment, first: u64) -> Result<(), Stop> {
        if let Some(tail) = self.live.tail() {
            // Not before it is durable, and not to be waited for: without it the segment is read.
            let written = self.summary.write(&tail.segment);
            written.tried("writing the summary of", &tail.segment.path)?;
        }
        self.summary = new_summary(&self.shared.options, next.capacity);
        self.asked = false;
        self.has_rolled = true;
        self.shared.map.lock().push(next.clone(), first);
        self.live.push(next, first);
        Ok(())
    }

    /// Makes the segment, in which nothing is yet, as large as its first unit needs. Answers whether it is:
    /// not on a full disk.
    pub(super) fn enlarge_for(
        &mut self,
        header: &UnitHeader,
        records: &[u8],
    ) -> Result<bool, Stop> {
        let end = self.summary.end();
        self.summary.unit(header, records);
        let length = HEADER + unit::HEADER as u64 + header.length;
        let needed = length + MARK_ROOM + self.summary.room();
        self.summary.go_back(end);
        let Some(tail) = self.live.tail() else { return Err(None) };
        let capacity = tail.segment.capacity;
        if needed <= capacity {
            return Ok(true);
        }
        match tail.segment.file.allocate(needed) {
            Err(error) if upkeep::is_no_space(&error) => {
                // What there is of space is left to those who need less. If this fails too, the next
                // attempt begins with it.
                let _ = tail.segment.file.set_len(capacity);
                return Ok(false);
            }
            done => done.tried("enlarging", &tail.segment.path)?,
        }
        self.live.enlarged(needed);
        Ok(true)
    }

    pub(super) fn unsynced(&self) -> bool {
        self.synced < self.written
    }

    /// Makes all that was written durable.
    pub(super) fn sync(&mut self) -> Result<(), Stop> {
        let Some(tail) = self.live.tail() else { return Err(None) };
        let start = Instant::now();
        tail.segment.file.sync_data().tried("syncing", &tail.segment.path)?;
        self.last_sync = start.elapsed();
        self.shared.counters.synced(self.last_sync, self.written.saturating_sub(self.synced));
        self.synced = self.written;
        self.lazy_since = None;
        self.urgent_since = None;
        self.has_rolled = false;
        Ok(())
    }

    /// Whether what messages need of a segment certainly fits this one, and leaves as much room for
    /// settlements.
    pub(super) fn has_room_for_moves(&self, from: &LiveSegment) -> bool {
        self.live.tail().is_some_and(|tail| !tail.has_copies)
            && from.moved_bytes() <= self.room() / 2
    }

    pub(super) fn room(&self) -> u64 {
        let taken = MARK_ROOM + self.summary.room();
        self.live.tail().map_or(0, |tail| tail.segment.capacity.saturating_sub(tail.used + taken))
    }
}

fn new_summary(options: &StoreOptions, capacity: u64) -> Summary {
    Summary::new(options.outline, capacity, options.summary_from_bytes)
}
