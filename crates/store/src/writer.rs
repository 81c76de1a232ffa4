//! The writer: one thread that writes what gathered while the last sync ran, syncs, and tells.

mod joined;
mod journal_end;

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Waker,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;

pub(crate) use self::journal_end::JournalEnd;
use crate::{
    Batch, FatalError, Lsn, SyncPolicy,
    compaction::{self, Pace, Stretch},
    live::{LiveSegment, Moves},
    needed::{self, Collected, Emptying},
    shared::{Body, FatalPanic, Parked, Pending, Shared, Unit},
    tables::Change,
    unit::{self, UnitHeader},
    upkeep::{Suspects, Upkeep},
};

/// The writer thread's own.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    upkeep: Arc<Upkeep>,
    end: JournalEnd,
    /// Since when lazy records wait in memory, where the end of the process would take them.
    unwritten_since: Option<Instant>,
    /// When to state how far the journal is durable if nothing else happens.
    mark_at: Option<Instant>,
    /// What is being written; swapped with the shared buffers.
    bytes: Vec<u8>,
    units: Vec<Unit>,
    changes: Vec<Change>,
    /// The segment that is being emptied, what was read of it, what of that is needed.
    compacting: Option<Emptying>,
    /// Bytes that may still be written for that to the present segment on a full disk.
    left_for_moves: Option<u64>,
    /// Nothing more is moved before, as there is no space for it.
    put_off_until: Option<Instant>,
    /// The segment that could not be emptied, and when to try again.
    stuck: Option<(u64, Instant)>,
    /// When to see whether a segment is to be emptied if nothing is written before.
    compact_at: Option<Instant>,
    stretch: Option<Stretch>,
    moved: Batch,
    /// Bytes written while segments are emptied, for which nothing was read of these yet.
    unanswered: u64,
    wakers: Vec<Waker>,
    /// For how many units written at once the last sync was.
    last_units: usize,
    /// The disk failed: nothing is written any more.
    has_stopped: bool,
}

/// What a look at the buffers found.
enum Work {
    /// Units have been taken, maybe none; sync if so.
    Units(Sync),
    Mark,
    /// Segments may be needed no longer.
    Free,
    Compact,
    Close,
    /// Nothing to do, before that time at least.
    Park(Parked, Option<Instant>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Now,
    Later,
}

/// The writer stops: the disk failed, or no segment will come because it did elsewhere.
pub(crate) type Stop = Option<FatalError>;

impl Writer {
    /// Goes on at the end of a journal.
    pub(crate) fn new(shared: Arc<Shared>, upkeep: Arc<Upkeep>, end: JournalEnd) -> Self {
        // Nothing vouches yet for what was written last, unless it is the mark of a clean stop.
        let must_vouch = end.written > 0 && !end.must_mark;
        let mark_at = must_vouch.then(|| Instant::now() + shared.options.idle_mark);
        let writer = Self {
            shared,
            upkeep,
            end,
            unwritten_since: None,
            mark_at,
            bytes: Vec::new(),
            units: Vec::new(),
            changes: Vec::new(),
            compacting: None,
            left_for_moves: None,
            put_off_until: None,
            stuck: None,
            compact_at: None,
            stretch: None,
            moved: Batch::new(),
            unanswered: 0,
            wakers: Vec::new(),
            last_units: 0,
            has_stopped: false,
        };
        writer.count_live();
        writer
    }

    /// Works until the store is closed or the disk fails. `true` in the first case, all that was
    /// appended being durable.
    pub(crate) fn run(writer: &Mutex<Self>) -> bool {
        let mut held = writer.lock();
        let shared = Arc::clone(&held.shared);
        let _guard = FatalPanic { shared: &shared, thread: "journal" };
        // The process before may have ended before it did.
        held.free();
        held.compact();
        loop {
            if held.has_stopped {
                return false;
            }
            let mut pending = shared.pending.lock();
            let work = held.look(&mut pending);
            if let Work::Park(parked, until) = work {
                pending.parked = parked;
                pending.parked_until = until;
                // Whoever wants to write may do so meanwhile.
                drop(held);
                match until {
                    Some(until) => drop(shared.writer_wake.wait_until(&mut pending, until)),
                    None => shared.writer_wake.wait(&mut pending),
                }
                pending.parked = Parked::Busy;
                drop(pending);
                held = writer.lock();
                continue;
            }
            drop(pending);
            if held.work(&work) && matches!(work, Work::Close) {
                return true;
            }
        }
    }

    /// Does what a look found. `false` if the disk failed, which has been said.
    fn work(&mut self, work: &Work) -> bool {
        let done = match *work {
            Work::Units(sync) => self.write(sync),
            Work::Mark => {
                self.mark_at = None;
                self.end.mark(0)
            }
            Work::Free => {
                self.free();
                self.compact();
                Ok(())
            }
            Work::Compact => {
                self.compact_at = None;
                self.compact();
                Ok(())
            }
            Work::Close => self.write(Sync::Now),
            Work::Park(..) => Ok(()),
        };
        let Err(stop) = done else { return true };
        self.has_stopped = true;
        if let Some(error) = stop {
            self.shared.fatal(error);
        }
        false
    }

    /// Ends the journal with the mark of a clean stop: nothing has failed, and nothing will be written
    /// any more, to the tables of definitions neither.
    pub(crate) fn finish(&mut self) {
        // Where nothing was written the mark of the stop before still ends the journal. Perhaps it could not be
        // synced: nothing may come behind it before it was written once more.
        if self.shared.failed() || self.end.must_mark {
            return;
        }
        // The mark is to say that all before it is durable, copies of messages too.
        let synced = if self.end.unsynced() { self.end.sync() } else { Ok(()) };
        if let Err(Some(error)) = synced.and_then(|()| self.end.mark(unit::CLEAN_STOP)) {
            self.shared.fatal(error);
        }
    }

    /// Whether another thread may do the writer's work: only if that is short, as far as one can tell.
    pub(crate) fn may_lend(&self) -> bool {
        self.end.last_sync <= LENT_SYNC_MAX
            && self.last_units <= LENT_UNITS_MAX
            && !self.has_stopped
    }

    /// Writes what is urgent and what is with it, if the segment certainly has room for it.
    pub(crate) fn write_urgent(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut pending = shared.pending.lock();
        let is_short = pending.urgent
            && !pending.closing
            && pending.stretch.is_none()
            && pending.size as u64 <= self.end.room() / 2;
        if is_short {
            let work = self.look(&mut pending);
            drop(pending);
            self.work(&work);
        }
    }

    /// Whether the writer's thread, which sleeps, has to look now or sooner than it would.
    pub(crate) fn must_look(&self, pending: &Pending) -> bool {
        let due = [self.sync_due(), self.mark_at, self.compact_at].into_iter().flatten().min();
        let is_sooner = due.is_some_and(|due| pending.parked_until.is_none_or(|until| due < until));
        is_sooner
            || !pending.units.is_empty()
            || pending.stretch.is_some()
            || pending.applied
            || pending.closing
            || self.has_stopped
    }

    /// When what is written and not synced has to be.
    fn sync_due(&self) -> Option<Instant> {
        let options = &self.shared.options;
        let lazy = self.end.lazy_since.map(|since| since + options.lazy_sync);
        let interval = match options.sync {
            SyncPolicy::Always => None,
            SyncPolicy::Interval(interval) => self.end.urgent_since.map(|since| since + interval),
        };
        [lazy, interval].into_iter().flatten().min()
    }

    /// Looks for something to do and takes the units that are there.
    fn look(&mut self, pending: &mut Pending) -> Work {
        let options = &self.shared.options;
        let now = Instant::now();
        if !pending.units.is_empty() && !pending.urgent {
            self.end.lazy_since.get_or_insert(now);
            self.unwritten_since.get_or_insert(now);
        }
        // The more are written together the less space they take.
        let is_full = self.shared.counters.no_space.load(Relaxed);
        let lazy_write = if is_full { options.lazy_sync } else { options.lazy_write };
        let write_due = self.unwritten_since.map(|since| since + lazy_write);
        let due = self.sync_due();
        let is_due = due.is_some_and(|due| due <= now);
        let must_write =
            write_due.is_some_and(|due| due <= now) || pending.size >= options.max_lazy_bytes;
        let has_moves = pending.stretch.is_some();
        let has_applied = std::mem::take(&mut pending.applied);
        if pending.closing || pending.urgent || is_due || must_write || has_moves {
            let sync = match options.sync {
                _ if is_due || pending.closing => Sync::Now,
                SyncPolicy::Always if pending.urgent => Sync::Now,
                SyncPolicy::Always => Sync::Later,
                SyncPolicy::Interval(_) => {
                    if pending.urgent {
                        self.end.urgent_since.get_or_insert(now);
                    }
                    Sync::Later
                }
            };
            std::mem::swap(&mut pending.bytes, &mut self.bytes);
            std::mem::swap(&mut pending.units, &mut self.units);
            self.stretch = pending.stretch.take();
            if let Some(stretch) = &mut self.stretch {
                // After all that was taken and before all that comes; copies may be added of what it lacks.
                let lacking = self.end.live.lacking(stretch.segment, stretch.has_gaps);
                let copies = lacking.min(needed::MOST_COPIES);
                stretch.first = self.shared.reserve(stretch.records + copies).0;
            }
            pending.size = 0;
            pending.urgent = false;
            self.unwritten_since = None;
            return if pending.closing { Work::Close } else { Work::Units(sync) };
        }
        if has_applied {
            return Work::Free;
        }
        let until = match [due, write_due].into_iter().flatten().min() {
            Some(due) => Some(due),
            None if self.mark_at.is_some_and(|at| at <= now) => return Work::Mark,
            None if self.compact_at.is_some_and(|at| at <= now) => return Work::Compact,
            None => [self.mark_at, self.compact_at].into_iter().flatten().min(),
        };
        let parked = if write_due.is_some() { Parked::Lazy } else { Parked::Idle };
        Work::Park(parked, until)
    }

    /// Writes the units taken, tells, and counts what they changed.
    fn write(&mut self, sync: Sync) -> Result<(), Stop> {
        let size = self.units.iter().map(|unit| unit.body.len()).sum();
        if self.shared.counters.no_space.load(Relaxed) {
            joined::join(&mut self.units, &self.bytes);
        }
        if !self.units.is_empty() {
            self.end.reopen()?;
        }
        let mut from = 0;
        loop {
            let rest = self.units.get_mut(from..).unwrap_or_default();
            let to = from + self.end.write_units(rest, &mut self.bytes)?;
            let Some(first) = self.units.get(to).map(|next| next.first) else { break };
            self.seal(from..to)?;
            self.next_segment(first)?;
            self.enlarge_for(to)?;
            from = to;
        }
        self.shared.written(size);
        if self.compacting.is_some() {
            self.unanswered = self.unanswered.saturating_add(size as u64);
        }
        // After a new segment also what could wait is synced: only then can those before it go, and a
        // flood that fills one each time would put that off forever.
        if (sync == Sync::Now || self.end.has_rolled) && self.end.unsynced() {
            self.end.sync()?;
            self.last_units = self.units.len();
            self.mark_at = Some(Instant::now() + self.shared.options.idle_mark);
        }
        if self.end.unsynced() && self.end.urgent_since.is_none() {
            self.end.lazy_since.get_or_insert_with(Instant::now);
        }
        self.tell();
        self.count(from..self.units.len());
        self.give_back();
        if let Some(stretch) = self.stretch.take() {
            self.move_messages(stretch)?;
        }
        self.compact();
        Ok(())
    }

    /// Tells who waits how far the journal is durable.
    fn tell(&mut self) {
        let durable = match self.shared.options.sync {
            SyncPolicy::Always => self.end.synced,
            SyncPolicy::Interval(_) => self.end.written,
        };
        self.shared.publish_durable(durable);
        self.shared.durable_waiters.wake(&mut self.wakers, |goal| goal <= durable);
        self.tell_writable();
    }

    fn tell_writable(&mut self) {
        let buffered = self.shared.buffered() as u64;
        self.shared.writable_waiters.wake(&mut self.wakers, |limit| buffered < limit);
    }

    /// Makes what is in the segment durable, and tells and counts the units that were written last:
    /// before the next one is waited for, which on a full disk may need what they settle.
    fn seal(&mut self, written: Range<usize>) -> Result<(), Stop> {
        if self.end.unsynced() {
            self.end.sync()?;
        }
        self.tell();
        self.count(written);
        Ok(())
    }

    /// Goes on in the next segment, for a unit that does not fit and whose first LSN is `first`.
    fn next_segment(&mut self, first: u64) -> Result<(), Stop> {
        if self.end.is_empty_segment() {
            return Ok(());
        }
        let (upkeep, shared) = (Arc::clone(&self.upkeep), Arc::clone(&self.shared));
        // Definitions that reach their tables meanwhile may let one go.
        let next = upkeep.take(&shared.options, &shared.counters.no_space, || self.free());
        self.left_for_moves = None;
        self.end.begin_segment(next.ok_or(None)?, first)
    }

    /// Gives the unit `at` the room it needs, if it is larger than segments are. A full disk is waited out,
    /// unless the store is closing.
    fn enlarge_for(&mut self, at: usize) -> Result<(), Stop> {
        loop {
            let Some(unit) = self.units.get(at) else { return Ok(()) };
            let header = self.end.header_of(unit, &self.bytes);
            let records = unit.body.bytes(&self.bytes).get(unit::HEADER..).unwrap_or_default();
            let waits = &self.shared.counters.large_waits;
            if self.end.enlarge_for(&header, records)? {
                if waits.swap(false, Relaxed) {
                    tracing::info!("the journal has space for the large message");
                }
                return Ok(());
            }
            if !waits.swap(true, Relaxed) {
                tracing::error!("no space for a large message in the journal");
            }
            if self.shared.pending.lock().closing || self.shared.failed() {
                // What is not written was never promised.
                return Err(None);
            }
            thread::sleep(self.shared.options.full_disk_retry);
            self.free();
        }
    }

    /// Writes again what is needed of a stretch of an old segment. What is settled is known up to this
    /// place of the journal; what is settled later stands behind it.
    fn move_messages(&mut self, mut stretch: Stretch) -> Result<(), Stop> {
        let emptying = self.compacting.as_mut();
        let Some(emptying) = emptying.filter(|one| one.segment == stretch.segment) else {
            // It has gone by itself meanwhile.
            return Ok(());
        };
        let mut batch = std::mem::take(&mut self.moved);
        let shared = &self.shared;
        let segment = stretch.segment;
        let copy = |lsn| {
            let moved = shared.map.lock().find_moved(&[lsn]);
            let is_elsewhere = moved.iter().any(|(to, _)| to.segment.number != segment);
            let read = || shared.search(Duration::MAX).read(&[Lsn(lsn)]).ok()?.pop();
            let copy = is_elsewhere.then(read).flatten().map(|(_, payload)| payload);
            copy.or_else(|| shared.kept_places.has_given_up(lsn).then(Bytes::new))
        };
        let collected = emptying.collect(&self.end.live, &mut stretch, &mut batch, copy);
        if let Some(error) = stretch.error.take() {
            tracing::error!("reading journal segment {:016x} failed: {error}", stretch.segment);
        }
        if batch.count > 0 {
            if !self.may_move(batch.bytes.len() as u64) {
                self.put_off(batch);
                return Ok(());
            }
            self.end.reopen()?;
            let body = batch.bytes.get(unit::HEADER..).unwrap_or_default();
            let digest = batch.digest.clone().finalize();
            let mut header = self.end.header(stretch.first, batch.count, digest, body);
            let must_roll = self.end.live.tail().is_some_and(|tail| tail.has_copies)
                || !self.end.note(&header, body, 0);
            if must_roll {
                if !self.upkeep.has_another(&self.shared.counters.no_space) {
                    self.put_off(batch);
                    return Ok(());
                }
                self.seal(0..0)?;
                self.next_segment(stretch.first)?;
                header = self.end.header(stretch.first, batch.count, digest, body);
                let fits = self.end.enlarge_for(&header, body)? && self.end.note(&header, body, 0);
                if !fits {
                    self.put_off(batch);
                    return Ok(());
                }
            }
            self.write_moved(&header, &mut batch)?;
        }
        self.keep_for_moves(batch);
        if collected == Collected::Part {
            // Others first.
            self.shared.pending.lock().stretch = Some(stretch);
            return Ok(());
        }
        let is_blocked = collected == Collected::Blocked;
        if stretch.is_last || is_blocked {
            self.compacting = None;
            self.emptied(stretch.segment);
        }
        if is_blocked {
            self.upkeep.cancel_compaction();
            return Ok(());
        }
        let answered = compaction::answered(stretch.length);
        self.unanswered = self.unanswered.saturating_sub(answered);
        self.upkeep.moved(&stretch, self.shared.options.compaction_bytes_per_second);
        Ok(())
    }

    /// Keeps a buffer for the messages moved next, unless a unit made it large.
    fn keep_for_moves(&mut self, mut batch: Batch) {
        batch.clear();
        if batch.bytes.capacity() <= MAX_KEPT {
            self.moved = batch;
        }
    }

    /// Whether so much of what is needed of a segment may be written now. On a full disk half of what is left
    /// of the last segment is for settlements.
    fn may_move(&mut self, bytes: u64) -> bool {
        if !self.shared.counters.no_space.load(Relaxed) {
            self.left_for_moves = None;
            return true;
        }
        let left = self.left_for_moves.get_or_insert_with(|| self.end.room() / 2);
        let rest = left.checked_sub(bytes);
        *left = rest.unwrap_or(*left);
        rest.is_some()
    }

    /// Leaves the segment that is being emptied as it is: what is left of the space is for settlements,
    /// which free some.
    fn put_off(&mut self, batch: Batch) {
        self.keep_for_moves(batch);
        self.compacting = None;
        self.put_off_until = Some(Instant::now() + self.shared.options.full_disk_retry);
        self.compact_at = self.put_off_until;
        self.upkeep.cancel_compaction();
    }

    /// All of a segment has been read. What is needed of it nonetheless could not be: it is read again
    /// later, and then given up, as the segments behind it can't go before it.
    fn emptied(&mut self, segment: u64) {
        let unsettled = self.end.live.unsettled_in(segment);
        if unsettled.is_empty() {
            self.stuck.take_if(|(stuck, _)| *stuck == segment);
            return;
        }
        let again = Instant::now() + self.shared.options.read_patience;
        self.compact_at = Some(again);
        let was_stuck = self.stuck.replace((segment, again));
        let oldest = self.end.live.oldest_kept().filter(|oldest| oldest.segment.number == segment);
        if was_stuck.is_some_and(|(before, _)| before == segment)
            && let Some(LiveSegment { segment, used, .. }) = oldest
        {
            self.upkeep.give_up(Suspects { segment: segment.clone(), end: *used, unsettled });
        } else {
            tracing::error!(
                "some messages cannot be moved out of journal segment {segment:016x}: it is read again later"
            );
        }
    }

    fn write_moved(&mut self, header: &UnitHeader, batch: &mut Batch) -> Result<(), Stop> {
        let Some(tail) = self.end.live.tail() else { return Err(None) };
        let (number, at) = (tail.segment.number, tail.used);
        let (first, length) = (header.first, batch.bytes.len() as u64);
        if let Some(room) = batch.bytes.first_chunk_mut() {
            *room = header.encode();
        }
        self.end.write_moved(header, &batch.bytes)?;
        let body = batch.bytes.get(unit::HEADER..).unwrap_or_default();
        self.end.live.unit(first, body, Moves::Made, |_, _| {});
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
        let pace = Pace::of(&self.end.live, &self.shared.options);
        let is_full = self.shared.counters.no_space.load(Relaxed);
        if pace == Pace::Rest {
            self.unanswered = 0;
        }
        let step = compaction::step(&self.shared.options, self.unanswered);
        let hurry = pace == Pace::Hurry || is_full || compaction::answer(self.unanswered) >= step;
        if self.compacting.is_some() {
            self.upkeep.hurry(hurry, step);
        } else if pace != Pace::Rest
            && let Some(oldest) = self.end.live.oldest_kept()
            && self.may_read(oldest.segment.number)
            && (!is_full || self.end.has_room_for_moves(oldest))
        {
            self.compacting = Some(Emptying::new(oldest.segment.number));
            self.upkeep.hurry(hurry, step);
            self.upkeep.compact(oldest.segment.clone(), oldest.used, step);
        }
        // Where nothing can be emptied nobody need wait for it.
        let unanswered = if self.compacting.is_some() { self.unanswered } else { 0 };
        let unanswered = usize::try_from(unanswered).unwrap_or(usize::MAX / 2);
        if self.shared.publish_unanswered(unanswered) {
            self.tell_writable();
        }
    }

    /// Whether it is time to read a segment in order to empty it.
    fn may_read(&self, segment: u64) -> bool {
        let stuck = self.stuck.filter(|(stuck, _)| *stuck == segment).map(|(_, again)| again);
        stuck.max(self.put_off_until).is_none_or(|time| time <= Instant::now())
    }

    /// Counts what these units, which are written, add and settle, and lets go of what nothing needs any
    /// more.
    fn count(&mut self, written: Range<usize>) {
        let units = self.units.get(written).unwrap_or_default();
        let mut map = self.shared.map.lock();
        for unit in units {
            let bytes = unit.body.bytes(&self.bytes);
            let body = bytes.get(unit::HEADER..).unwrap_or_default();
            map.unit(unit.first, unit.count, unit.at, body);
        }
        drop(map);
        self.shared.publish_readable(self.end.written);
        for unit in units {
            let bytes = unit.body.bytes(&self.bytes);
            let body = bytes.get(unit::HEADER..).unwrap_or_default();
            self.end.live.unit(unit.first, body, Moves::Made, |lsn, payload| {
                self.changes.push((lsn, payload.to_vec()));
            });
        }
        self.free();
    }

    /// Lets go of the segments that nothing needs any more.
    fn free(&mut self) {
        // A segment must not go because of a settlement that could be lost.
        if !self.end.unsynced() {
            self.upkeep.apply(&mut self.changes);
            while let Some(segment) =
                self.end.live.take_dead(self.end.synced, self.upkeep.applied())
            {
                self.shared.map.lock().remove(segment.number);
                self.compacting.take_if(|emptying| emptying.segment == segment.number);
                self.upkeep.remove(segment);
            }
        }
        self.count_live();
    }

    fn count_live(&self) {
        let totals = self.end.live.totals();
        let counters = &self.shared.counters;
        counters.segments.store(self.end.live.len() as u64, Relaxed);
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
}

/// A sync longer than this is the writer's own to wait for.
const LENT_SYNC_MAX: Duration = Duration::from_millis(1);
/// After a sync for more units than this, others wait for their next.
const LENT_UNITS_MAX: usize = 2;
/// Buffers of large units kept for batches to come.
const POOL: usize = 8;
/// Bytes of a buffer worth keeping.
const MAX_KEPT: usize = 4 << 20;
