//! The background thread: makes segments ahead of need, removes dead ones, reads those that are to be
//! emptied, brings definitions into their tables. It sleeps when there is nothing to do.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::Instant,
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use redb::Database;

use crate::{
    Batch, Disk, FatalError, Lsn, StoreOptions,
    compaction::{self, Compaction, Reading, Stretch},
    live::LsnSet,
    segment::{self, Segment},
    shared::{FatalPanic, Shared, Tried},
    tables::{ApplyError, Change, Tables},
};

/// What the writer asks of the background thread.
pub(crate) struct Upkeep {
    work: Mutex<Work>,
    /// The thread has something to do.
    wake: Condvar,
    /// A segment is ready, or none will ever be, or none could be made for now.
    ready: Condvar,
    /// Definitions have reached their tables up to this LSN.
    applied: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Work {
    /// Empty segments, their numbers following those in use.
    pub(crate) spares: VecDeque<Segment>,
    /// Number and size of the next segment to make.
    pub(crate) next_number: u64,
    pub(crate) next_size: u64,
    /// The writer will need a segment soon.
    pub(crate) wanted: bool,
    /// When to try again to make one on a disk that was full.
    pub(crate) retry_at: Option<Instant>,
    /// Segments nothing needs, oldest first.
    pub(crate) dead: VecDeque<Segment>,
    /// A backup reads segments, none of which may go or be used again meanwhile.
    pub(crate) is_pinned: bool,
    /// The backup wants the tables.
    pub(crate) inquiry: Option<SyncSender<Option<Arc<Database>>>>,
    /// The segment that is being emptied.
    pub(crate) compaction: Option<Compaction>,
    /// It is to be emptied as quickly as possible.
    pub(crate) hurry: bool,
    /// What is left in a segment that cannot be emptied.
    pub(crate) suspects: Option<Suspects>,
    /// Definition changes which are durable in the journal, ascending.
    pub(crate) changes: Vec<Change>,
    /// When the oldest of them arrived.
    pub(crate) changes_since: Option<Instant>,
    /// When to try again to apply them on a disk that was full.
    pub(crate) apply_retry_at: Option<Instant>,
    pub(crate) closing: bool,
    /// The thread has ended.
    pub(crate) ended: bool,
}

/// The unsettled messages of a segment that could not be emptied.
pub(crate) struct Suspects {
    pub(crate) segment: Segment,
    /// Where its units end.
    pub(crate) end: u64,
    /// Queues, each with the numbers of its messages.
    pub(crate) unsettled: Vec<(u64, Vec<u64>)>,
}

impl Upkeep {
    pub(crate) fn new(work: Work, applied: u64) -> Self {
        Self {
            work: Mutex::new(work),
            wake: Condvar::new(),
            ready: Condvar::new(),
            applied: AtomicU64::new(applied),
        }
    }

    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Keeps all segments as they are, or no longer.
    pub(crate) fn pin(&self, is_pinned: bool) {
        self.work.lock().is_pinned = is_pinned;
        self.wake.notify_one();
    }

    /// The definitions' tables, if any change has reached them; `None` when the thread has ended.
    #[expect(clippy::option_option, reason = "no tables is another thing than no answer")]
    pub(crate) fn database(&self) -> Option<Option<Arc<Database>>> {
        let (sender, receiver) = sync_channel(1);
        let mut work = self.work.lock();
        if work.ended {
            return None;
        }
        work.inquiry = Some(sender);
        drop(work);
        self.wake.notify_one();
        receiver.recv().ok()
    }

    /// Says that a segment will be needed soon.
    pub(crate) fn want(&self) {
        self.work.lock().wanted = true;
        self.wake.notify_one();
    }

    /// Takes the next segment, waiting for it if need be; `None` if there will be none.
    ///
    /// The last one is to take the settlements that free others if the disk is full. So it is given only
    /// once there is another, or once it is known that there will not be, and publishers have had the time
    /// to notice and stop. `meanwhile` is called now and then while none can be made.
    pub(crate) fn take(
        &self,
        options: &StoreOptions,
        is_full: &AtomicBool,
        mut meanwhile: impl FnMut(),
    ) -> Option<Segment> {
        let mut work = self.work.lock();
        let mut full_since = None;
        loop {
            if is_full.load(Ordering::Relaxed) {
                full_since.get_or_insert_with(Instant::now);
            }
            let is_last = work.spares.len() == 1;
            let have_stopped =
                full_since.is_some_and(|since| since.elapsed() >= options.full_disk_retry);
            let may_take = !is_last || have_stopped || work.ended;
            if may_take && let Some(segment) = work.spares.pop_front() {
                work.next_size = work.next_size.max(options.next_segment(segment.capacity));
                return Some(segment);
            }
            if work.ended {
                return None;
            }
            work.wanted = true;
            self.wake.notify_one();
            if full_since.is_some() {
                self.ready.wait_for(&mut work, options.full_disk_retry);
                MutexGuard::unlocked(&mut work, &mut meanwhile);
            } else {
                self.ready.wait(&mut work);
            }
        }
    }

    /// Waits until the next segment is not the last. `false` if the disk has no space for another.
    pub(crate) fn has_another(&self, is_full: &AtomicBool) -> bool {
        let mut work = self.work.lock();
        loop {
            if work.spares.len() > 1 {
                return true;
            }
            if work.ended || is_full.load(Ordering::Relaxed) {
                return false;
            }
            work.wanted = true;
            self.wake.notify_one();
            self.ready.wait(&mut work);
        }
    }

    /// Hands over a segment nothing needs; the oldest must come first.
    pub(crate) fn remove(&self, segment: Segment) {
        let mut work = self.work.lock();
        work.compaction.take_if(|compaction| compaction.segment.number == segment.number);
        work.suspects.take_if(|suspects| suspects.segment.number == segment.number);
        work.dead.push_back(segment);
        drop(work);
        self.wake.notify_one();
    }

    /// Begins to empty a segment whose units end at `end`, so many bytes at a time.
    pub(crate) fn compact(&self, segment: Segment, end: u64, step: u64) {
        self.work.lock().compaction = Some(Compaction::new(segment, end, step));
        self.wake.notify_one();
    }

    /// Has those of a segment's unsettled messages settled that cannot be read: they could not be moved, twice.
    pub(crate) fn give_up(&self, suspects: Suspects) {
        self.work.lock().suspects = Some(suspects);
        self.wake.notify_one();
    }

    /// Leaves the segment that is being emptied as it is.
    pub(crate) fn cancel_compaction(&self) {
        self.work.lock().compaction = None;
    }

    /// Says whether the budget for emptying segments counts, and how many bytes are read at a time.
    pub(crate) fn hurry(&self, hurry: bool, step: u64) {
        let mut work = self.work.lock();
        if let Some(compaction) = &mut work.compaction {
            compaction.set_step(step);
        }
        if std::mem::replace(&mut work.hurry, hurry) != hurry {
            drop(work);
            self.wake.notify_one();
        }
    }

    /// Goes on emptying a segment behind a stretch that was dealt with.
    pub(crate) fn moved(&self, stretch: &Stretch, rate: u64) {
        let mut work = self.work.lock();
        let Some(compaction) = &mut work.compaction else { return };
        if compaction.segment.number != stretch.segment {
            return;
        }
        compaction.moved(stretch, rate);
        if stretch.is_last {
            work.compaction = None;
        }
        drop(work);
        self.wake.notify_one();
    }

    /// Hands over definition changes which are durable in the journal.
    pub(crate) fn apply(&self, changes: &mut Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut work = self.work.lock();
        work.changes.append(changes);
        if work.changes_since.is_none() {
            work.changes_since = Some(Instant::now());
            drop(work);
            self.wake.notify_one();
        }
    }

    /// Lets the thread end after it has applied all definitions.
    pub(crate) fn close(&self) {
        self.work.lock().closing = true;
        self.wake.notify_one();
    }
}

/// The background thread's own.
pub(crate) struct UpkeepThread {
    pub(crate) upkeep: Arc<Upkeep>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Arc<dyn Disk>,
    /// The journal's folder.
    pub(crate) dir: PathBuf,
    pub(crate) tables: Tables,
    /// Segments of which all was given up that cannot be read.
    pub(crate) damaged: BTreeSet<u64>,
}

/// Says that the thread has ended, also if it panicked: nobody must wait for it.
struct End<'a>(&'a Upkeep);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut work = self.0.work.lock();
        work.ended = true;
        work.inquiry = None;
        drop(work);
        self.0.ready.notify_all();
    }
}

enum Task {
    Remove(Segment),
    Recycle(Segment, u64),
    Create(u64, u64),
    Apply(Vec<Change>),
    Compact(Reading),
    GiveUp(Suspects),
    End,
}

/// What became of a segment to be made.
enum Created {
    Done,
    /// The disk is full; to be tried again.
    Later,
    /// The disk is full and the store is closing: what is not written was never promised.
    GaveUp,
}

impl UpkeepThread {
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let upkeep = Arc::clone(&self.upkeep);
        let _end = End(&upkeep);
        let _guard = FatalPanic { shared: &shared, thread: "journal-upkeep" };
        loop {
            let done = match self.next_task() {
                Task::Remove(segment) => self.remove(segment),
                Task::Recycle(segment, number) => self.recycle(segment, number),
                Task::Create(number, size) => match self.create(number, size) {
                    Ok(Created::GaveUp) => break,
                    other => other.map(drop),
                },
                Task::Apply(changes) => self.apply(changes),
                Task::Compact(reading) => {
                    self.compact(&reading);
                    Ok(())
                }
                Task::GiveUp(suspects) => {
                    self.give_up(&suspects);
                    Ok(())
                }
                Task::End => break,
            };
            if let Err(error) = done {
                self.shared.fatal(error);
                break;
            }
        }
        if let Err(error) = self.tables.close().tried("closing", self.tables.path()) {
            self.shared.fatal(error);
        }
    }

    fn next_task(&self) -> Task {
        let mut work = self.upkeep.work.lock();
        loop {
            if let Some(inquiry) = work.inquiry.take()
                && !self.tables.is_shut()
            {
                // Who asked may have given up.
                let _ = inquiry.send(self.tables.database());
            }
            if !work.is_pinned
                && let Some(segment) = work.dead.pop_front()
            {
                let full_grown = segment.capacity == self.shared.options.segment_bytes;
                let is_damaged = self.damaged.contains(&segment.number);
                if work.spares.len() >= SPARES || !full_grown || is_damaged || work.closing {
                    return Task::Remove(segment);
                }
                return Task::Recycle(segment, work.take_number());
            }
            // Before segments are made, of which a flood may want ever more: the old ones wait for it.
            let due = work.changes_since.map(|since| since + self.shared.options.apply_definitions);
            let due = due.max(work.apply_retry_at);
            let heavy = work.changes.len() >= MANY_CHANGES && work.apply_retry_at.is_none();
            if due.is_some_and(|due| heavy || work.closing || due <= Instant::now()) {
                work.apply_retry_at = None;
                work.changes_since = None;
                return Task::Apply(std::mem::take(&mut work.changes));
            }
            let may_try = !work.closing && work.retry_at.is_none_or(|at| at <= Instant::now());
            if work.wanted && work.spares.len() < SPARES && may_try {
                work.retry_at = None;
                let size = work.next_size;
                return Task::Create(work.take_number(), size);
            }
            work.wanted &= work.spares.len() < SPARES;
            let retry = work.retry_at.filter(|_| work.wanted);
            if work.closing {
                return Task::End;
            }
            let hurry = work.hurry;
            let mut next_step = None;
            if let Some(compaction) = work.compaction.as_mut().filter(|one| !one.is_waiting) {
                if compaction.is_due(hurry, Instant::now()) {
                    compaction.is_waiting = true;
                    let is_given_up = self.damaged.contains(&compaction.segment.number);
                    return Task::Compact(compaction.next(is_given_up));
                }
                next_step = Some(compaction.due);
            }
            if let Some(suspects) = work.suspects.take() {
                return Task::GiveUp(suspects);
            }
            match [due, next_step, retry].into_iter().flatten().min() {
                Some(due) => drop(self.upkeep.wake.wait_until(&mut work, due)),
                None => self.upkeep.wake.wait(&mut work),
            }
        }
    }

    /// Removes a segment, or sets it aside if it had what could not be read.
    fn remove(&mut self, segment: Segment) -> Result<(), FatalError> {
        let path = segment.path.clone();
        if !self.damaged.remove(&segment.number) {
            return segment.remove(&*self.disk, &self.dir).tried("removing", &path);
        }
        let kept = segment.set_aside(&*self.disk, &self.dir).tried("setting aside", &path)?;
        let (path, kept) = (path.display(), kept.display());
        tracing::warn!("{path}, of which some messages could not be read, is kept as {kept}");
        Ok(())
    }

    /// Makes an empty segment of one. Where that takes space the disk has not it gives back its own.
    fn recycle(&self, segment: Segment, number: u64) -> Result<(), FatalError> {
        let path = segment.path.clone();
        match segment.recycle(&*self.disk, &self.dir, number) {
            Ok(segment) => {
                self.add_spare(segment);
                Ok(())
            }
            Err(error) if is_no_space(&error) => {
                tracing::warn!("no space to use {} again, it is removed: {error}", path.display());
                self.upkeep.work.lock().next_number = number;
                segment::remove_recycled(&*self.disk, &self.dir, &path, number)
                    .tried("removing", &path)
            }
            Err(error) => Err(error).tried("recycling", &path),
        }
    }

    /// Settles those of some messages that can be read neither in their segment nor elsewhere. The others can
    /// be moved out of it then.
    fn give_up(&mut self, suspects: &Suspects) {
        let Suspects { segment, end, unsettled } = suspects;
        let step = compaction::step(&self.shared.options, 0);
        let readable = Compaction::readable(segment, *end, step);
        let mut batch = Batch::new();
        let (mut count, mut kept) = (0, LsnSet::default());
        for (queue, lsns) in unsettled {
            let mut lost: Vec<u64> = lsns.clone();
            lost.retain(|lsn| readable.binary_search(lsn).is_err());
            let elsewhere = self.elsewhere(segment, &lost);
            let mut lost: Vec<Lsn> = lost.into_iter().map(Lsn).collect();
            lost.retain(|lsn| elsewhere.binary_search(lsn).is_err());
            count += lost.len();
            if self.shared.kept_places.has(*queue) {
                lost.iter().for_each(|lsn| kept.insert(lsn.0, 1));
            } else {
                batch.ack(*queue, &lost);
            }
        }
        self.shared.kept_places.give_up(kept);
        if count > 0 {
            tracing::error!(
                "{count} messages in {} cannot be read and are given up, so that it and those behind it can go",
                segment.path.display()
            );
        }
        if !batch.is_empty() {
            self.shared.append(&mut batch);
        }
        // What is read of it from now on comes after those settlements.
        self.damaged.insert(segment.number);
    }

    /// Those of some messages of a segment, which ascend, that can be read elsewhere, or perhaps later.
    fn elsewhere(&self, segment: &Segment, lsns: &[u64]) -> Vec<Lsn> {
        let moved = self.shared.map.lock().find_moved(lsns);
        let moved = moved.into_iter().filter(|(to, _)| to.segment.number != segment.number);
        let ranges = moved.filter_map(|(_, range)| lsns.get(range));
        let mut elsewhere: Vec<Lsn> = ranges.flatten().copied().map(Lsn).collect();
        if let Ok(found) = self.shared.search(self.shared.options.read_patience).read(&elsewhere) {
            elsewhere.retain(|lsn| found.binary_search_by_key(lsn, |(found, _)| *found).is_ok());
        }
        elsewhere
    }

    /// Makes a segment. A full disk is waited out: the journal goes on in the segments it has, and
    /// acknowledging makes room.
    fn create(&self, number: u64, size: u64) -> Result<Created, FatalError> {
        let no_space = &self.shared.counters.no_space;
        match Segment::create(&*self.disk, &self.dir, number, size) {
            Ok(segment) => {
                self.add_spare(segment);
                Ok(Created::Done)
            }
            Err(error) if is_no_space(&error) => {
                if !no_space.swap(true, Ordering::Relaxed) {
                    let dir = self.dir.display();
                    tracing::error!("no space for the next journal segment in {dir}: {error}");
                }
                if self.shared.pending.lock().closing {
                    return Ok(Created::GaveUp);
                }
                let mut work = self.upkeep.work.lock();
                work.next_number = number;
                // Meanwhile all else goes on: it makes room.
                work.retry_at = Some(Instant::now() + self.shared.options.full_disk_retry);
                drop(work);
                self.upkeep.ready.notify_all();
                Ok(Created::Later)
            }
            Err(error) => Err(error).tried("creating a segment in", &self.dir),
        }
    }

    fn add_spare(&self, segment: Segment) {
        let mut work = self.upkeep.work.lock();
        work.spares.push_back(segment);
        // A segment that was freed is as good as one that could be made; the last one is no relief.
        let is_enough = work.spares.len() >= SPARES;
        drop(work);
        if is_enough && self.shared.counters.no_space.swap(false, Ordering::Relaxed) {
            tracing::info!("the journal has space again");
        }
        self.upkeep.ready.notify_all();
    }

    /// Hands the writer the next stretch of a segment that is being emptied.
    fn compact(&self, reading: &Reading) {
        let stretch = reading.read();
        self.shared.pending.lock().stretch = Some(stretch);
        self.shared.writer_wake.notify_one();
    }

    /// Brings changes to their tables. A full disk is waited out: they are in the journal, whose segments
    /// stay as long.
    fn apply(&mut self, mut changes: Vec<Change>) -> Result<(), FatalError> {
        let wait = &self.shared.counters.tables_wait;
        match self.tables.apply(&changes) {
            Ok(()) => {
                if wait.swap(false, Ordering::Relaxed) {
                    tracing::info!("the definitions have space again");
                }
                if let Some(&(lsn, _)) = changes.last() {
                    self.upkeep.applied.store(lsn, Ordering::Release);
                    // Perhaps nothing else wakes it for long.
                    self.shared.pending.lock().applied = true;
                    self.shared.writer_wake.notify_one();
                }
                Ok(())
            }
            Err(ApplyError::Full(error)) => {
                if !wait.swap(true, Ordering::Relaxed) {
                    let path = self.tables.path().display();
                    tracing::error!("no space for the definitions in {path}: {error}");
                }
                let mut work = self.upkeep.work.lock();
                if work.closing {
                    // The journal has them. Later ones must not go without those before them.
                    work.changes = Vec::new();
                    work.changes_since = None;
                } else {
                    changes.append(&mut work.changes);
                    work.changes = changes;
                    work.changes_since.get_or_insert_with(Instant::now);
                    work.apply_retry_at =
                        Some(Instant::now() + self.shared.options.full_disk_retry);
                }
                Ok(())
            }
            Err(ApplyError::Failed(error)) => {
                Err(io::Error::other(error)).tried("writing definitions to", self.tables.path())
            }
        }
    }
}

impl Work {
    fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }
}

pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Empty segments kept for later: the next one, and one that a full disk leaves for settlements.
const SPARES: usize = 2;
/// Definition records that do not wait for their time.
const MANY_CHANGES: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::{path::Path, thread, time::Duration};

    use super::*;
    use crate::MemDisk;

    fn upkeep_with_spares(disk: &MemDisk, count: u64) -> Upkeep {
        let spare = |number| Segment::create(disk, Path::new("/"), number, 4096).expect("is made");
        let spares = (0..count).map(spare).collect();
        Upkeep::new(Work { spares, next_number: count, ..Work::default() }, 0)
    }

    /// Waits until another segment is asked for in place of the last one, which stays.
    fn wait_until_wanted(upkeep: &Upkeep) {
        let mut work = upkeep.work.lock();
        while !work.wanted {
            upkeep.wake.wait_for(&mut work, Duration::from_millis(1));
            assert_eq!(work.spares.len(), 1, "it may be all there is for settlements");
        }
    }

    #[test]
    fn the_last_segment_is_not_taken_before_the_next_has_been_tried() {
        let options =
            StoreOptions { full_disk_retry: Duration::from_millis(1), ..StoreOptions::default() };
        let (disk, is_full) = (MemDisk::new(), AtomicBool::new(false));
        let upkeep = upkeep_with_spares(&disk, 2);
        let taken = upkeep.take(&options, &is_full, || {}).expect("there are two");
        assert_eq!(taken.number, 0);

        thread::scope(|scope| {
            let taker = scope.spawn(|| upkeep.take(&options, &is_full, || {}));
            wait_until_wanted(&upkeep);
            let mut work = upkeep.work.lock();
            work.spares
                .push_back(Segment::create(&disk, Path::new("/"), 2, 4096).expect("is made"));
            work.wanted = false;
            drop(work);
            upkeep.ready.notify_all();
            assert_eq!(taker.join().expect("ends").map(|taken| taken.number), Some(1));

            let taker = scope.spawn(|| upkeep.take(&options, &is_full, || {}));
            wait_until_wanted(&upkeep);
            is_full.store(true, Ordering::Relaxed);
            upkeep.ready.notify_all();
            assert_eq!(taker.join().expect("ends").map(|taken| taken.number), Some(2));
        });
    }
}
