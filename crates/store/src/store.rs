//! The handle of an open store.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    Batch, Disk, DiskLock, Durable, FatalError, LockError, Lsn, OpenError, ReadError, Recovered,
    StoreOptions, StoreStats, Syncs, Writable, backup, folders, offline,
    recovery::{Journal, recover, refused},
    segment::Segment,
    shared::Shared,
    spill::{Spill, SpilledBlock},
    tables::{self, State, Tables, fold},
    upkeep::{Upkeep, UpkeepThread, Work},
    writer::{JournalEnd, Stop, Writer},
};

/// An open store: the journal and the definitions in one data directory.
///
/// Share it in an [`Arc`]; dropping it closes it.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    pub(crate) upkeep: Arc<Upkeep>,
    pub(crate) disk: Arc<dyn Disk>,
    dir: PathBuf,
    spill: Spill,
    /// Backups, one at a time.
    pub(crate) backups: Mutex<()>,
    pub(crate) writer: Arc<Mutex<Writer>>,
    running: Mutex<Option<Running>>,
}

/// What an open store holds until it is closed.
struct Running {
    writer: JoinHandle<bool>,
    upkeep: JoinHandle<()>,
    _lock: DiskLock,
}

/// The numbers an append was given: `first` for its first record up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Number of the batch's first record.
    pub first: Lsn,
    /// Number of its last; durable when [`Store::durable_lsn`] reaches it. For an empty batch one
    /// below `first`.
    pub last: Lsn,
}

impl Store {
    /// Opens or creates the store in `dir` and recovers what it holds.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is changed on disk when acknowledged data turns out damaged.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: StoreOptions,
    ) -> Result<(Self, Recovered), OpenError> {
        let start = Instant::now();
        let journal_dir = dir.join(JOURNAL);
        folders::create(&*disk, &journal_dir).map_err(refused("create", &journal_dir))?;
        if backup::is_unfinished(&*disk, dir)? {
            return Err(OpenError::UnfinishedBackup { dir: dir.to_owned() });
        }
        let lock = lock(&*disk, dir)?;
        if offline::is_unfinished(&*disk, dir)? {
            return Err(OpenError::UnfinishedRepair { dir: dir.to_owned() });
        }
        let (tables, state, applied) = Tables::open(Arc::clone(&disk), dir)?;
        let mut journal = recover(&*disk, &journal_dir, applied, &options)?;
        // Nothing is written to the tables before: what is left of the changes is not all of them.
        let is_first_gone = journal.live.oldest().is_some_and(|number| number > 1);
        if options.always_defines && is_first_gone && !tables.are_there() {
            return Err(OpenError::MissingDefinitions { path: dir.join(tables::FILE) });
        }
        if journal.live.len() == 0 {
            create_first(&*disk, &journal_dir, &options, applied, &mut journal)?;
        }
        sync_names(&*disk, dir)?;

        let recovered = take_recovered(&mut journal, state, start);
        let last = journal.last.unwrap_or_default().max(applied);
        let map = std::mem::take(&mut journal.map);
        let shared = Arc::new(Shared::new(options, last, map));
        let work = Work {
            spares: journal.spares,
            next_number: journal.next_number,
            next_size: shared.options.next_segment(journal.largest),
            changes_since: (!journal.changes.is_empty()).then(Instant::now),
            changes: journal.changes,
            ..Work::default()
        };
        let upkeep = Arc::new(Upkeep::new(work, applied));
        let thread = UpkeepThread {
            upkeep: Arc::clone(&upkeep),
            shared: Arc::clone(&shared),
            disk: Arc::clone(&disk),
            dir: journal_dir,
            tables,
            damaged: BTreeSet::default(),
        };
        let mut end = JournalEnd::new(
            Arc::clone(&shared),
            Arc::clone(&upkeep),
            journal.live,
            journal.summary,
            journal.session,
            // Units are chained by what is in the journal, even if the tables know of higher
            // numbers.
            journal.last.unwrap_or(last),
            journal.report.clean_stop,
        );
        if !recovered.backlogs.is_empty() {
            let failed = |stop: Stop| match stop {
                Some(FatalError { path, source, .. }) => {
                    OpenError::Io { operation: "write to", path, source }
                }
                None => refused("write to", dir)(io::ErrorKind::NotFound.into()),
            };
            end.reopen().map_err(failed)?;
        }
        // Not before all that can be refused: nothing would end it.
        let upkeep_thread = spawn("journal-upkeep", dir, move || thread.run())?;
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&upkeep), end);
        let writer = Arc::new(Mutex::new(writer));
        let thread = Arc::clone(&writer);
        let thread = spawn("journal", dir, move || Writer::run(&thread))?;
        let running = Running { writer: thread, upkeep: upkeep_thread, _lock: lock };
        let store = Self {
            shared,
            upkeep,
            disk,
            dir: dir.to_owned(),
            spill: Spill::default(),
            backups: Mutex::default(),
            writer,
            running: Mutex::new(Some(running)),
        };
        Ok((store, recovered))
    }

    /// Appends the records of `batch`, which are one unit after a crash, and empties it. An empty
    /// batch takes no number. Takes the journal's lock once and does not wait for the disk. What is
    /// appended after [`Store::close`] is never durable.
    pub fn append(&self, batch: &mut Batch) -> Appended {
        self.shared.append(batch)
    }

    /// Takes `count` numbers for transient messages and returns the first. Nothing is written.
    pub fn reserve(&self, count: u64) -> Lsn {
        self.shared.reserve(count)
    }

    /// Everything appended at or below is on disk.
    pub fn durable_lsn(&self) -> Lsn {
        Lsn(self.shared.durable())
    }

    /// Resolves when [`Store::durable_lsn`] has reached `lsn`, which must have come from
    /// [`Store::append`]; never if the disk fails before.
    pub fn durable(&self, lsn: Lsn) -> Durable {
        Durable::new(Arc::clone(&self.shared), lsn)
    }

    /// Messages appended at or below can be [read](Self::read).
    pub fn readable_lsn(&self) -> Lsn {
        Lsn(self.shared.readable())
    }

    /// Reads messages back, ascending by LSN: their payloads as [`Batch::message`] joined them.
    /// Blocks for the disk; cheapest in batches of what was appended together. A message that is
    /// not settled and at or below [`readable_lsn`](Self::readable_lsn) is found, unless its record
    /// is damaged, which is logged; other numbers are left out.
    ///
    /// # Errors
    /// When the system cannot read. Messages for which it couldn't for as long as
    /// [`StoreOptions::read_patience`] are logged and left out, until the store is opened anew.
    pub fn read(&self, lsns: &[Lsn]) -> Result<Vec<(Lsn, Bytes)>, ReadError> {
        self.shared.search(self.shared.options.read_patience).read(lsns)
    }

    /// Writes payloads that shall not be in the journal to disk, each in two pieces, as long as the answer
    /// is kept; never synced. Blocks for the disk.
    ///
    /// # Errors
    /// When the disk is full or fails, which costs nothing else.
    pub fn spill<'a>(
        &self,
        payloads: impl Iterator<Item = (Lsn, [&'a [u8]; 2])>,
    ) -> io::Result<SpilledBlock> {
        self.spill.write(&*self.disk, &self.dir, payloads)
    }

    /// Bytes appended but not yet handed to the disk, or handed to it more quickly than segments are emptied
    /// that nobody needs most of.
    pub fn buffered_bytes(&self) -> usize {
        self.shared.buffered()
    }

    /// Resolves when fewer than `limit` bytes wait for the disk.
    pub fn writable(&self, limit: usize) -> Writable {
        Writable::new(Arc::clone(&self.shared), limit)
    }

    /// Says whether in this queue the place of a message is its number, as in a stream: one that cannot be read any
    /// more, and is given up so that its segment can go, stays there with an empty payload then.
    pub fn keep_places(&self, queue: u64, keeps: bool) {
        self.shared.kept_places.set(queue, keeps);
    }

    /// Settles every message in the `queues`, which the definitions do not know.
    pub fn forget_queues(&self, queues: &[u64]) {
        let mut batch = Batch::new();
        for queue in queues {
            batch.drop_queue(*queue);
        }
        self.append(&mut batch);
    }

    /// How the journal was synced since the store was opened.
    pub fn syncs(&self) -> Syncs {
        self.shared.counters.read_syncs()
    }

    /// Reads the counters.
    pub fn stats(&self) -> StoreStats {
        self.shared.counters.read()
    }

    /// Whether the journal can't grow, or definitions can't, because the disk is full: what
    /// [`stats`](Self::stats) has as `no_space`, for those who ask often.
    pub fn is_full(&self) -> bool {
        self.shared.counters.is_full()
    }

    /// Bytes the file system of the data directory can still take.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn free_space(&self) -> io::Result<u64> {
        self.disk.free_space(&self.dir)
    }

    /// Writes and syncs everything, brings the definitions' tables up to date, ends the threads and
    /// gives up the data directory. Blocks. A second call does nothing.
    pub fn close(&self) {
        let Some(running) = self.running.lock().take() else { return };
        self.shared.pending.lock().closing = true;
        self.shared.writer_wake.notify_one();
        // A backup ends as soon as it sees that. Until then it has the tables.
        let _backup = self.backups.lock();
        // A thread that panicked has said so; there is nothing to add.
        let writer = running.writer.join();
        self.upkeep.close();
        let _ = running.upkeep.join();
        if let Ok(true) = writer {
            self.writer.lock().finish();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<DiskLock, OpenError> {
    disk.lock(&dir.join(LOCK)).map_err(|error| match error {
        LockError::Held { pid } => OpenError::InUse { dir: dir.to_owned(), pid },
        LockError::Io { path, source } => OpenError::Io { operation: "lock", path, source },
    })
}

/// Makes the first segment of a new journal, small so that this takes little time.
fn create_first(
    disk: &dyn Disk,
    journal_dir: &Path,
    options: &StoreOptions,
    applied: u64,
    journal: &mut Journal,
) -> Result<(), OpenError> {
    let size = options.first_segment_bytes.min(options.segment_bytes);
    let segment = Segment::create(disk, journal_dir, journal.next_number, size);
    let segment = segment.map_err(refused("create a segment in", journal_dir))?;
    journal.next_number += 1;
    journal.largest = size;
    journal.map.push(segment.clone(), applied + 1);
    journal.live.push(segment, applied + 1);
    Ok(())
}

/// Makes the names of what is in the data directory durable, and its own: they may be new, or a process
/// may have ended before it did so.
fn sync_names(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    disk.sync_dir(dir).map_err(refused("sync", dir))?;
    folders::sync_name(disk, dir).map_err(refused("sync the name of", dir))
}

fn take_recovered(journal: &mut Journal, mut state: State, start: Instant) -> Recovered {
    for (_, payload) in &journal.changes {
        fold(&mut state, payload);
    }
    let definitions = state.into_iter().map(|((table, key), value)| (table, key, value)).collect();
    journal.report.took = start.elapsed();
    let backlogs = std::mem::take(&mut journal.backlogs);
    let last_queue = journal.last_queue;
    Recovered { definitions, backlogs, last_queue, report: journal.report.clone() }
}

fn spawn<T: Send + 'static>(
    name: &str,
    dir: &Path,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, OpenError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(refused("start the threads of", dir))
}

pub(crate) const JOURNAL: &str = "journal";
pub(crate) const LOCK: &str = "lock";
