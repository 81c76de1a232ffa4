//! The writer: one thread that writes what gathered while the last sync ran, syncs, and tells.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Waker,
    thread,
    time::Instant,
};

use ahash::AHashMap;
use smallvec::SmallVec;

use crate::{
    Batch, FatalError, StoreOptions, SyncPolicy,
    compaction::{Pace, Stretch},
    encoding::Reader,
    live::{Live, Moves},
    record::{Entry, Record},
    segment::{HEADER, MARK_ROOM},
    shared::{Body, FatalPanic, Parked, Shared, Tried, Unit},
    summary::Summary,
    tables::Change,
    unit::{self, UnitHeader},
    upkeep::{self, Upkeep},
};

/// The writer thread's own.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    upkeep: Arc<Upkeep>,
    live: Live,
    /// Of the segment that is being written.
    summary: Summary,
    session: u32,
    /// The last LSN handed to the disk, and the last synced.
    written: u64,
    synced: u64,
    /// Since when lazy records wait for a sync; in interval mode, since when urgent ones do.
    lazy_since: Option<Instant>,
    urgent_since: Option<Instant>,
    /// Since when lazy records wait in memory, where the end of the process would take them.
    unwritten_since: Option<Instant>,
    /// When to state how far the journal is durable if nothing else happens.
    mark_at: Option<Instant>,
    /// A next segment has been asked for.
    asked: bool,
    /// A segment was begun and nothing in it is durable yet.
    has_rolled: bool,
    /// The journal ends with the mark of a clean stop.
    must_mark: bool,
    /// It ends with a mark that took the place of such a one.
    ends_reopened: bool,
    /// What is being written; swapped with the shared buffers.
    bytes: Vec<u8>,
    units: Vec<Unit>,
    changes: Vec<Change>,
    /// Number of the segment that is being emptied, what was read of it, what of that is needed.
    compacting: Option<u64>,
    stretch: Option<Stretch>,
    moved: Batch,
    wakers: Vec<Waker>,
}

/// What a look at the buffers found.
enum Work {
    /// Units have been taken, maybe none; sync if so.
    Units(Sync),
    Mark,
    Close,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Now,
    Later,
}

/// The writer stops: the disk failed, or no segment will come because it did elsewhere.
pub(crate) type Stop = Option<FatalError>;

impl Writer {
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
        let writer = Self {
            shared,
            upkeep,
            live,
            summary,
            session,
            written: last,
            synced: last,
            lazy_since: None,
            urgent_since: None,
            unwritten_since: None,
            mark_at: None,
            asked: false,
            has_rolled: false,
            must_mark: after_clean_stop,
            ends_reopened: false,
            bytes: Vec::new(),
            units: Vec::new(),
            changes: Vec::new(),
            compacting: None,
            stretch: None,
            moved: Batch::new(),
            wakers: Vec::new(),
        };
        writer.count_live();
        writer
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
        self.mark(0)
    }

    /// Writes another mark in the place of a clean stop's: a start must not wait for another segment,
    /// which a full disk has none of.
    fn replace_mark(&mut self, flags: u32) -> Result<(), Stop> {
        let Some(tail) = self.live.tail() else { return Err(None) };
        let header = self.mark_header(flags | unit::REOPENED);
        let at = tail.used.saturating_sub(unit::HEADER as u64);
        let written = tail.segment.file.write_all_at(&[&header.encode()], at);
        written.tried("writing", &tail.segment.path)?;
        self.summary.replace_mark(&header);
        self.ends_reopened = true;
        self.sync()
    }

    fn mark_header(&self, flags: u32) -> UnitHeader {
        UnitHeader { flags, ..self.header(self.written + 1, 0, 0, &[]) }
    }

    /// Works until the store is closed or the disk fails. Returns itself in the first case, all that was
    /// appended being durable.
    pub(crate) fn run(mut self) -> Option<Self> {
        let shared = Arc::clone(&self.shared);
        let _guard = FatalPanic { shared: &shared, thread: "journal" };
        self.compact();
        loop {
            let done = match self.wait() {
                Work::Units(sync) => self.write(sync),
                Work::Mark => self.mark(0),
                Work::Close => {
                    let done = self.write(Sync::Now);
                    if done.is_ok() {
                        return Some(self);
                    }
                    done
                }
            };
            if let Err(stop) = done {
                if let Some(error) = stop {
                    self.shared.fatal(error);
                }
                return None;
            }
        }
    }

    /// Ends the journal with the mark of a clean stop: nothing has failed, and nothing will be written
    /// any more, to the tables of definitions neither.
    pub(crate) fn finish(mut self) {
        if self.shared.failed() {
            return;
        }
        if let Err(Some(error)) = self.mark(unit::CLEAN_STOP) {
            self.shared.fatal(error);
        }
    }

    /// Waits for something to do and takes the units that are there.
    fn wait(&mut self) -> Work {
        let options = &self.shared.options;
        let mut pending = self.shared.pending.lock();
        loop {
            let now = Instant::now();
            if !pending.units.is_empty() && !pending.urgent {
                self.lazy_since.get_or_insert(now);
                self.unwritten_since.get_or_insert(now);
            }
            let write_due = self.unwritten_since.map(|since| since + options.lazy_write);
            let lazy_due = self.lazy_since.map(|since| since + options.lazy_sync);
            let interval_due = match options.sync {
                SyncPolicy::Always => None,
                SyncPolicy::Interval(interval) => self.urgent_since.map(|since| since + interval),
            };
            let due = [lazy_due, interval_due].into_iter().flatten().min();
            let is_due = due.is_some_and(|due| due <= now);
            let must_write =
                write_due.is_some_and(|due| due <= now) || pending.size >= options.max_lazy_bytes;
            let has_moves = pending.stretch.is_some();
            if pending.closing || pending.urgent || is_due || must_write || has_moves {
                let sync = match options.sync {
                    _ if is_due || pending.closing => Sync::Now,
                    SyncPolicy::Always if pending.urgent => Sync::Now,
                    SyncPolicy::Always => Sync::Later,
                    SyncPolicy::Interval(_) => {
                        if pending.urgent {
                            self.urgent_since.get_or_insert(now);
                        }
                        Sync::Later
                    }
                };
                std::mem::swap(&mut pending.bytes, &mut self.bytes);
                std::mem::swap(&mut pending.units, &mut self.units);
                self.stretch = pending.stretch.take();
                if let Some(stretch) = &mut self.stretch {
                    // After all that was taken and before all that comes.
                    stretch.first = self.shared.reserve(stretch.records).0;
                }
                pending.size = 0;
                pending.urgent = false;
                self.unwritten_since = None;
                return if pending.closing { Work::Close } else { Work::Units(sync) };
            }
            let until = match [due, write_due].into_iter().flatten().min() {
                Some(due) => Some(due),
                None if self.mark_at.is_some_and(|at| at <= now) => return Work::Mark,
                None => self.mark_at,
            };
            pending.parked = if write_due.is_some() { Parked::Lazy } else { Parked::Idle };
            match until {
                Some(until) => drop(self.shared.writer_wake.wait_until(&mut pending, until)),
                None => self.shared.writer_wake.wait(&mut pending),
            }
            pending.parked = Parked::Busy;
        }
    }

    /// Writes the units taken, tells, and counts what they changed.
    fn write(&mut self, sync: Sync) -> Result<(), Stop> {
        let size = self.units.iter().map(|unit| unit.body.len()).sum();
        if !self.units.is_empty() {
            self.reopen()?;
        }
        self.write_units()?;
        self.shared.written(size);
        // After a new segment also what could wait is synced: only then can those before it go, and a
        // flood that fills one each time would put that off forever.
        if (sync == Sync::Now || self.has_rolled) && self.unsynced() {
            self.sync()?;
            self.mark_at = Some(Instant::now() + self.shared.options.idle_mark);
        }
        if self.unsynced() && self.urgent_since.is_none() {
            self.lazy_since.get_or_insert_with(Instant::now);
        }
        let durable = match self.shared.options.sync {
            SyncPolicy::Always => self.synced,
            SyncPolicy::Interval(_) => self.written,
        };
        self.shared.publish_durable(durable);
        self.shared.durable_waiters.wake(&mut self.wakers, |goal| goal <= durable);
        let buffered = self.shared.buffered() as u64;
        self.shared.writable_waiters.wake(&mut self.wakers, |limit| buffered < limit);
        self.count();
        self.give_back();
        if let Some(stretch) = self.stretch.take() {
            self.move_messages(stretch)?;
        }
        self.compact();
        Ok(())
    }

    /// Writes again what is needed of a stretch of an old segment. What is settled is known up to this
    /// place of the journal; what is settled later stands behind it.
    fn move_messages(&mut self, stretch: Stretch) -> Result<(), Stop> {
        if self.compacting != Some(stretch.segment) {
            // It has gone by itself meanwhile.
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.moved);
        collect_needed(&self.live, &stretch, &mut batch);
        if batch.count > 0 {
            self.reopen()?;
            let is_full = self.shared.counters.no_space.load(Relaxed);
            let body = batch.bytes.get(unit::HEADER..).unwrap_or_default();
            let digest = batch.digest.clone().finalize();
            let mut header = self.header(stretch.first, batch.count, digest, body);
            let must_roll = self.live.tail().is_some_and(|tail| tail.has_copies)
                || !self.note(&header, body, 0);
            if must_roll && is_full {
                // What is left of the space is for settlements, which free some.
                batch.clear();
                self.moved = batch;
                self.compacting = None;
                self.upkeep.cancel_compaction();
                return Ok(());
            }
            if must_roll {
                header = self.roll(header, body)?;
            }
            self.write_moved(&header, &mut batch)?;
        }
        batch.clear();
        self.moved = batch;
        if stretch.is_last {
            self.compacting = None;
            if !self.live.emptied(stretch.segment) {
                tracing::error!(
                    "journal segment {:016x} cannot be emptied and stays: some of it is damaged, see \
                     leveret store check",
                    stretch.segment
                );
            }
        }
        self.upkeep.moved(&stretch, self.shared.options.compaction_bytes_per_second);
        Ok(())
    }

    fn write_moved(&mut self, header: &UnitHeader, batch: &mut Batch) -> Result<(), Stop> {
        let Some(tail) = self.live.tail() else { return Err(None) };
        let (number, at) = (tail.segment.number, tail.used);
        let (first, length) = (header.first, batch.bytes.len() as u64);
        if let Some(room) = batch.bytes.first_chunk_mut() {
            *room = header.encode();
        }
        self.write_slices(&[&batch.bytes], length)?;
        self.written = header.last();
        if self.urgent_since.is_none() {
            self.lazy_since.get_or_insert_with(Instant::now);
        }
        self.ask_ahead();
        let body = batch.bytes.get(unit::HEADER..).unwrap_or_default();
        self.live.unit(first, body, Moves::Made, |_, _| {});
        let mut map = self.shared.map.lock();
        map.unit(first, batch.count, at, body);
        map.moves(number, at, body);
        drop(map);
        self.shared.counters.moved_bytes.fetch_add(length, Relaxed);
        self.shared.counters.records.fetch_add(u64::from(batch.count), Relaxed);
        Ok(())
    }

    /// Begins to empty the oldest segment if there is reason to.
    fn compact(&mut self) {
        let pace = Pace::of(&self.live, &self.shared.options);
        if self.compacting.is_some() {
            self.upkeep.hurry(pace == Pace::Hurry);
        } else if pace != Pace::Rest
            && !self.shared.counters.no_space.load(Relaxed)
            && let Some(oldest) = self.live.oldest_kept()
        {
            self.compacting = Some(oldest.segment.number);
            self.upkeep.hurry(pace == Pace::Hurry);
            self.upkeep.compact(oldest.segment.clone(), oldest.used);
        }
    }

    /// Writes the units taken, each with its header, as many at once as fit the segment.
    fn write_units(&mut self) -> Result<(), Stop> {
        let mut units = std::mem::take(&mut self.units);
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut start = 0;
        let mut size = 0;
        for at in 0..units.len() {
            let Some(Unit { first, count, digest, body, .. }) = units.get(at) else { break };
            let body = body.bytes(&bytes).get(unit::HEADER..).unwrap_or_default();
            let mut header = self.header(*first, *count, *digest, body);
            if !self.note(&header, body, size) {
                self.write_run(units.get(start..at).unwrap_or_default(), &bytes, size)?;
                header = self.roll(header, body)?;
                start = at;
                size = 0;
            }
            if let (Some(unit), Some(tail)) = (units.get_mut(at), self.live.tail()) {
                if let Some(room) = unit.body.bytes_mut(&mut bytes).first_chunk_mut() {
                    *room = header.encode();
                }
                unit.at = tail.used + size;
                self.written = header.last();
            }
            size += unit::HEADER as u64 + header.length;
        }
        self.write_run(units.get(start..).unwrap_or_default(), &bytes, size)?;
        self.units = units;
        self.bytes = bytes;
        Ok(())
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

    /// Has the next segment made in time.
    fn ask_ahead(&mut self) {
        if !self.asked && self.live.tail().is_some_and(|tail| tail.used > tail.segment.capacity / 2)
        {
            self.asked = true;
            self.upkeep.want();
        }
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

    /// The header of the next unit, which has these records.
    fn header(&self, first: u64, count: u32, digest: u32, records: &[u8]) -> UnitHeader {
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
    fn note(&mut self, header: &UnitHeader, records: &[u8], before: u64) -> bool {
        let end = self.summary.end();
        self.summary.unit(header, records);
        let fits = before + unit::HEADER as u64 + header.length <= self.room();
        if !fits {
            self.summary.go_back(end);
        }
        fits
    }

    /// Goes on in the next segment with the unit that did not fit. Returns its header for there.
    fn roll(&mut self, header: UnitHeader, records: &[u8]) -> Result<UnitHeader, Stop> {
        self.next_segment(header.first)?;
        let header = self.header(header.first, header.count, header.digest, records);
        self.summary.unit(&header, records);
        let length = unit::HEADER as u64 + header.length;
        if length > self.room() {
            self.enlarge(HEADER + length + MARK_ROOM + self.summary.room())?;
        }
        Ok(header)
    }

    /// Goes on in the next segment, whose first unit starts with LSN `first`. No segment is left
    /// empty: recovery takes that for the end of the journal.
    fn next_segment(&mut self, first: u64) -> Result<(), Stop> {
        if self.live.tail().is_some_and(|tail| tail.used <= HEADER) {
            return Ok(());
        }
        // A segment is durable before anything goes into the next: only the last can have a
        // torn end.
        if self.unsynced() {
            self.sync()?;
        }
        let next = self.upkeep.take(&self.shared.options, &self.shared.counters.no_space);
        let next = next.ok_or(None)?;
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

    /// Gives an oversize unit the room it needs. A full disk is waited out, unless the store is closing.
    fn enlarge(&mut self, capacity: u64) -> Result<(), Stop> {
        let Some(tail) = self.live.tail() else { return Err(None) };
        loop {
            match tail.segment.file.allocate(capacity) {
                Err(error) if upkeep::is_no_space(&error) && !self.shared.failed() => {
                    tracing::error!("no space for a large message in the journal: {error}");
                    self.shared.counters.no_space.store(true, Relaxed);
                    if self.shared.pending.lock().closing {
                        // What is not written was never promised.
                        return Err(None);
                    }
                    thread::sleep(self.shared.options.full_disk_retry);
                }
                done => break done.tried("enlarging", &tail.segment.path)?,
            }
        }
        self.shared.counters.no_space.store(false, Relaxed);
        self.live.enlarged(capacity);
        Ok(())
    }

    fn unsynced(&self) -> bool {
        self.synced < self.written
    }

    /// Makes all that was written durable.
    fn sync(&mut self) -> Result<(), Stop> {
        let Some(tail) = self.live.tail() else { return Err(None) };
        let start = Instant::now();
        tail.segment.file.sync_data().tried("syncing", &tail.segment.path)?;
        self.shared.counters.synced(start.elapsed(), self.written.saturating_sub(self.synced));
        self.synced = self.written;
        self.lazy_since = None;
        self.urgent_since = None;
        self.has_rolled = false;
        Ok(())
    }

    /// Writes a unit without records: it vouches for those before it, which nothing did yet.
    fn mark(&mut self, flags: u32) -> Result<(), Stop> {
        self.mark_at = None;
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
        let header = self.mark_header(flags);
        self.summary.unit(&header, &[]);
        self.write_slices(&[&header.encode()], unit::HEADER as u64)?;
        self.sync()
    }

    /// Counts what the units written add and settle, and lets go of what nothing needs any more.
    fn count(&mut self) {
        let mut map = self.shared.map.lock();
        for unit in &self.units {
            let bytes = unit.body.bytes(&self.bytes);
            let body = bytes.get(unit::HEADER..).unwrap_or_default();
            map.unit(unit.first, unit.count, unit.at, body);
        }
        drop(map);
        self.shared.publish_readable(self.written);
        for unit in &self.units {
            let bytes = unit.body.bytes(&self.bytes);
            let body = bytes.get(unit::HEADER..).unwrap_or_default();
            self.live.unit(unit.first, body, Moves::Made, |lsn, payload| {
                self.changes.push((lsn, payload.to_vec()));
            });
        }
        // What was counted is durable only now; a segment must not go because of a settlement that
        // could be lost.
        if !self.unsynced() {
            self.upkeep.apply(&mut self.changes);
            while let Some(segment) = self.live.take_dead(self.synced, self.upkeep.applied()) {
                self.shared.map.lock().remove(segment.number);
                self.compacting.take_if(|number| *number == segment.number);
                self.upkeep.remove(segment);
            }
        }
        self.count_live();
    }

    fn count_live(&self) {
        let totals = self.live.totals();
        let counters = &self.shared.counters;
        counters.segments.store(self.live.len() as u64, Relaxed);
        counters.segment_bytes.store(totals.allocated, Relaxed);
        counters.live_places.store(totals.live, Relaxed);
        counters.live_bytes.store(totals.live_bytes, Relaxed);
    }

    /// Keeps the buffers for the next time, unless a burst made them large.
    fn give_back(&mut self) {
        let mut pending = None;
        for unit in self.units.drain(..) {
            if let Body::Own(mut buffer) = unit.body
                && buffer.capacity() <= MAX_KEPT
            {
                let pending = pending.get_or_insert_with(|| self.shared.pending.lock());
                if pending.pool.len() < POOL {
                    buffer.clear();
                    pending.pool.push(buffer);
                }
            }
        }
        drop(pending);
        self.bytes.clear();
        if self.bytes.capacity() > MAX_KEPT {
            self.bytes = Vec::new();
        }
    }

    fn room(&self) -> u64 {
        let taken = MARK_ROOM + self.summary.room();
        self.live.tail().map_or(0, |tail| tail.segment.capacity.saturating_sub(tail.used + taken))
    }
}

fn new_summary(options: &StoreOptions, capacity: u64) -> Summary {
    Summary::new(options.outline, capacity, options.summary_from_bytes)
}

/// Adds those messages of a stretch to `batch` that are not settled and lie nowhere else.
fn collect_needed(live: &Live, stretch: &Stretch, batch: &mut Batch) {
    let mut units = stretch.units.as_slice();
    let mut moved: AHashMap<u64, u64> = AHashMap::new();
    while let Some(header) = UnitHeader::decode(units) {
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let Some((body, rest)) =
            units.get(unit::HEADER..).and_then(|units| units.split_at_checked(length))
        else {
            break;
        };
        units = rest;
        let mut reader = Reader(body);
        let mut own = header.first;
        while let Some(record) = Record::read_own(&mut reader) {
            let (lsn, places, payload) = match record.entry() {
                Some(Entry::Message { queues, payload }) => {
                    (own, live.places(stretch.segment, own, queues), payload)
                }
                Some(Entry::Moved { lsn, places, payload, .. }) => {
                    let queues = places.map(|place| place.queue);
                    (lsn, live.places(stretch.segment, lsn, queues), payload)
                }
                _ => (own, SmallVec::new(), &[][..]),
            };
            if !places.is_empty()
                && let Some((area, below)) = live.below(lsn)
            {
                debug_assert!(moved.get(&area).is_none_or(|before| *before < lsn), "ascending");
                // The ones before it in its area have been added, or are settled.
                let from = moved.insert(area, lsn).map_or(below, |before| before + 1);
                batch.moved(from, lsn, &places, payload);
            }
            own += 1;
        }
    }
}

/// Buffers of large units kept for batches to come.
const POOL: usize = 8;
/// Bytes of a buffer worth keeping.
const MAX_KEPT: usize = 4 << 20;
