//! A copy of a store that is open, as it is at one moment.
//!
//! What is copied is the start of the journal up to a place that was durable, and the tables of
//! definitions, which trail it. Meanwhile no segment is taken away or used again; the store goes on
//! otherwise. A backup reads back as what a crash at that moment would have left. All that was copied is looked
//! at: who needs it must not be the first to see that the disk had lost some of it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    Disk, Lsn, OpenError, Store,
    disk::read_around,
    folders, offline,
    recovery::scan::{Chain, Window},
    segment::{self, HEADER, HEADER_SIZE, MARK_ROOM, Segment},
    store::JOURNAL,
    tables, unit,
};

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// Everything appended at or below is in the copy.
    pub last_lsn: Lsn,
    /// Files of the journal.
    pub segments: usize,
    /// Bytes of the journal.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// Segments that are not what was written, in the store and so in the copy.
    pub damages: Vec<BackupDamage>,
}

/// A segment of the store of which not all could be read as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupDamage {
    /// The file in the store.
    pub path: PathBuf,
    /// Where in it what is damaged begins.
    pub offset: u64,
}

impl fmt::Display for BackupDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at byte {}", self.path.display(), self.offset)
    }
}

/// Why there is no backup. Each text is one line for the operator.
#[derive(Debug, Error)]
pub enum BackupError {
    /// Nothing is written over.
    #[error("{dir} is not empty: name a folder that is, or one that is not there yet", dir = .dir.display())]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// The system refused.
    #[error("cannot {operation} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The definitions cannot be copied.
    #[error("cannot copy the definitions to {dir}: {source}", dir = .dir.display())]
    Definitions {
        /// The folder.
        dir: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
    /// The journal has no space left, and a backup keeps it from getting any.
    #[error("the disk of the data directory is full, and a backup keeps it from being freed")]
    NoSpace,
    /// The store is being closed, or its disk failed.
    #[error("the broker is stopping")]
    Stopping,
    /// What was copied before could not be removed either. It is marked as unfinished, no broker starts
    /// from it.
    #[error("{failure}; what was copied to {dir} has to be removed by hand: {source}", dir = .dir.display())]
    Left {
        /// Why there is no backup.
        failure: Box<Self>,
        /// The folder.
        dir: PathBuf,
        /// Why it is still there.
        source: Box<Self>,
    },
}

impl Store {
    /// Copies everything that is durable to `target`, a folder that is empty or not there yet, from
    /// which a store can be opened unless some of it is damaged here: then a repair of the copy keeps the rest.
    /// Blocks for as long as reading and writing all segments takes.
    ///
    /// # Errors
    /// See [`BackupError`]; then what was copied is removed again, with the folders made for it, unless only
    /// the last word was missing that all of it is there.
    pub fn backup(&self, target: &Path) -> Result<BackupReport, BackupError> {
        let _turn = self.backups.lock();
        let mut target = Target::new(&*self.disk, target);
        self.copy_to(&mut target).map_err(|failure| match target.give_back() {
            Ok(()) => failure,
            Err(source) => BackupError::Left {
                failure: Box::new(failure),
                dir: target.dir.clone(),
                source: Box::new(source),
            },
        })
    }

    fn copy_to(&self, target: &mut Target<'_>) -> Result<BackupReport, BackupError> {
        let start = Instant::now();
        target.prepare()?;
        // What goes from here on stays for us, what went before has reached the tables.
        let pin = Pin::new(self);
        self.wait_readable()?;
        let database = self.upkeep.database();
        self.may_go_on()?;
        let database = database.ok_or(BackupError::Stopping)?;
        if let Some(database) = database {
            target
                .files
                .extend([tables::UNFINISHED, tables::FILE].map(|name| target.dir.join(name)));
            let copied = tables::copy(&database, &*self.disk, &target.dir);
            copied.map_err(|source| BackupError::Definitions {
                dir: target.dir.clone(),
                source: Box::new(source),
            })?;
        }
        // After the tables, so that nothing is in them that is not here.
        let last = self.shared.readable();
        let segments = self.shared.map.lock().written();
        let (mut bytes, mut damages, mut chain) = (0, Vec::new(), Chain::default());
        for (segment, end) in segments.values() {
            let offset = target.copy_whole(segment, *end, &mut chain, &|| self.may_go_on())?;
            damages
                .extend(offset.map(|offset| BackupDamage { path: segment.path.clone(), offset }));
            bytes += end;
        }
        drop(pin);
        target.finish()?;
        let took = start.elapsed();
        Ok(BackupReport { last_lsn: Lsn(last), segments: segments.len(), bytes, took, damages })
    }

    /// Waits until what is durable is on the map.
    fn wait_readable(&self) -> Result<(), BackupError> {
        let durable = self.shared.durable();
        while self.shared.readable() < durable {
            self.may_go_on()?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn may_go_on(&self) -> Result<(), BackupError> {
        if self.shared.failed() || self.shared.pending.lock().closing {
            return Err(BackupError::Stopping);
        }
        if self.shared.counters.is_full() {
            return Err(BackupError::NoSpace);
        }
        Ok(())
    }
}

/// While there is one, no segment goes or is used again, and those nothing needs are on record.
struct Pin<'a>(&'a Store);

impl<'a> Pin<'a> {
    fn new(store: &'a Store) -> Self {
        store.upkeep.pin(true);
        store.shared.map.lock().watch(true);
        Self(store)
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.0.shared.map.lock().watch(false);
        self.0.upkeep.pin(false);
    }
}

/// The folder a backup goes to, marked until it is finished.
struct Target<'a> {
    disk: &'a dyn Disk,
    dir: PathBuf,
    journal: PathBuf,
    /// The folders that are made for it, the innermost first.
    folders: Vec<PathBuf>,
    /// The file that marks it, once it is made, and the others.
    mark: Option<PathBuf>,
    files: Vec<PathBuf>,
}

impl<'a> Target<'a> {
    fn new(disk: &'a dyn Disk, dir: &Path) -> Self {
        let journal = dir.join(JOURNAL);
        let folders = folders::missing(disk, &journal);
        Self { disk, dir: dir.to_owned(), journal, folders, mark: None, files: Vec::new() }
    }

    fn prepare(&mut self) -> Result<(), BackupError> {
        folders::create(self.disk, &self.journal).map_err(refused("create", &self.journal))?;
        for dir in [&self.dir, &self.journal] {
            if !self.disk.list(dir).map_err(refused("list", dir))?.is_empty() {
                return Err(BackupError::NotEmpty { dir: self.dir.clone() });
            }
        }
        let mark = self.mark.insert(self.dir.join(UNFINISHED));
        self.disk.create(mark).map_err(refused("create", mark))?;
        self.sync(&self.dir)
    }

    /// Removes what was made and nothing else. The mark stays until it is certain that nothing else does.
    fn give_back(&mut self) -> Result<(), BackupError> {
        for path in std::mem::take(&mut self.files) {
            self.remove(&path)?;
        }
        if let Some(mark) = self.mark.take() {
            self.sync(&self.journal)?;
            self.sync(&self.dir)?;
            self.remove(&mark)?;
        }
        for folder in std::mem::take(&mut self.folders) {
            match self.disk.remove_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => break,
                _ => {}
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), BackupError> {
        match self.disk.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(refused("remove", path)),
        }
    }

    /// Copies a segment whose units, up to `end`, continue `chain`. Answers where the first one is that does not.
    fn copy_whole(
        &mut self,
        segment: &Segment,
        end: u64,
        chain: &mut Chain,
        may_go_on: &dyn Fn() -> Result<(), BackupError>,
    ) -> Result<Option<u64>, BackupError> {
        self.files.push(self.journal.join(segment::name(segment.number)));
        let mut damage = None;
        // What the disk read wrongly once it may read rightly.
        for _ in 0..ATTEMPTS {
            let copy = self.copy(segment, end, may_go_on)?;
            let mut checked = *chain;
            damage = first_damage(&copy, end, &mut checked).map_err(refused("read", &copy.path))?;
            if damage.is_none() {
                *chain = checked;
                return Ok(None);
            }
        }
        // Of the next one the first unit's word is taken.
        *chain = Chain::default();
        Ok(damage)
    }

    /// Copies a segment up to `end`, with room for a mark behind it.
    fn copy(
        &self,
        segment: &Segment,
        end: u64,
        may_go_on: &dyn Fn() -> Result<(), BackupError>,
    ) -> Result<Segment, BackupError> {
        let path = self.journal.join(segment::name(segment.number));
        let file = self.disk.create(&path).map_err(refused("create", &path))?;
        let capacity = end + MARK_ROOM;
        file.set_len(capacity).map_err(refused("enlarge", &path))?;
        let mut buffer = Vec::new();
        let mut at = 0;
        while at < end {
            may_go_on()?;
            let length = PIECE.min(end - at);
            buffer.resize(usize::try_from(length).unwrap_or_default(), 0);
            if let Some((at, error)) = read_around(&*segment.file, &mut buffer, at) {
                let path = segment.path.display();
                tracing::error!("{path} cannot be read at byte {at}: {error}");
            }
            file.write_all_at(&[&buffer], at).map_err(refused("write", &path))?;
            // Piece by piece, since a sync of the journal may have to wait for this one.
            file.sync_data().map_err(refused("sync", &path))?;
            at += length;
        }
        Ok(Segment { number: segment.number, salt: segment.salt, path, file, capacity })
    }

    fn finish(&mut self) -> Result<(), BackupError> {
        self.sync(&self.journal)?;
        self.sync(&self.dir)?;
        if let Some(mark) = &self.mark {
            self.remove(mark)?;
        }
        // From here on it is whole, and stays whatever happens: without its mark nothing tells a part of it.
        self.mark = None;
        self.files.clear();
        self.folders.clear();
        self.sync(&self.dir)?;
        folders::sync_name(self.disk, &self.dir).map_err(refused("sync the name of", &self.dir))
    }

    fn sync(&self, dir: &Path) -> Result<(), BackupError> {
        self.disk.sync_dir(dir).map_err(refused("sync", dir))
    }
}

/// Where the first unit of `segment` up to `end` is that does not continue `chain`, or is not whole; its start if it
/// is not that of a segment.
fn first_damage(segment: &Segment, end: u64, chain: &mut Chain) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER_SIZE];
    segment.file.read_exact_at(&mut header, 0)?;
    if !matches!(segment::decode_header(&header, segment.number), Ok(salt) if salt == segment.salt)
    {
        return Ok(Some(0));
    }
    let mut window = Window::new(segment);
    let mut at = HEADER;
    while at < end {
        let Some((unit, body)) = window.unit(at, chain)? else { return Ok(Some(at)) };
        chain.accept(&unit);
        at += (unit::HEADER + body.len()) as u64;
    }
    Ok(None)
}

/// Whether `dir` holds a backup that was not finished.
pub(crate) fn is_unfinished(disk: &dyn Disk, dir: &Path) -> Result<bool, OpenError> {
    offline::is_there(disk, &dir.join(UNFINISHED))
}

fn refused<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> BackupError + 'a {
    move |source| BackupError::Io { operation, path: path.to_owned(), source }
}

/// The file that marks a backup as unfinished.
const UNFINISHED: &str = "backup.unfinished";
/// How often a segment is copied in which something is damaged.
const ATTEMPTS: u32 = 2;
/// Bytes copied at a time.
const PIECE: u64 = 4 << 20;
/// How often it is looked whether what is durable is on the map.
const LOOK: Duration = Duration::from_millis(1);
