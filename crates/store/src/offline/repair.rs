//! Makes a damaged journal one that a broker starts from, with all that is readable.
//!
//! A damaged segment is written anew under its number with what was read of it; a file is never
//! changed otherwise, and the old one is kept under another name. Where nothing bridges the numbers
//! to the next segment, an empty record takes the last number that was lost.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    CheckReport, Damage, OfflineError, check, definitions, lock,
    new_segment::NewSegment,
    survey::{self, Piece, Survey, SurveyedFile},
    tombstones::{self, Tombstones},
    unfinished::{self, SetAside},
};
use crate::{
    Batch, Disk, OpenError, Table,
    live::LsnSet,
    record::Entry,
    recovery::refused,
    recovery::scan::Leftovers,
    segment::{self, HEADER, MARK_ROOM, Segment},
    store::JOURNAL,
    tables,
    unit::{self, UnitHeader},
};

/// What a repair takes of the definitions to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definitions {
    /// Who uses the store [always defines](crate::StoreOptions::always_defines) something: nothing is
    /// changed where they cannot be read or have been lost.
    Needed,
    /// There need not be any: nothing is changed where they cannot be read.
    Optional,
    /// Where they cannot be read they are set aside, and there are none then but those the journal has.
    /// Missing ones are made anew.
    Dropped,
}

/// What a repair did.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// A repair before was cut off, and this one went on from there.
    pub was_cut_off: bool,
    /// What that one had replaced. Of those nobody knows any more how many records were kept.
    pub replaced_before: Vec<SetAside>,
    /// What was damaged; what each says is lost is lost for good.
    pub damages: Vec<Damage>,
    /// The files that were set aside, and what was put in their place.
    pub files: Vec<Repaired>,
}

/// A file that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Its name, which now is that of what could be kept.
    pub path: PathBuf,
    /// Where the damaged one is now; `None` if the file was missing.
    pub set_aside: Option<PathBuf>,
    /// Records kept out of it.
    pub records: u64,
}

/// Repairs the journal in `dir`. With nothing damaged nothing is changed.
///
/// # Errors
/// As [`check`](super::check()); and when the definitions are not as they have to be, in which case nothing
/// is changed.
pub fn repair(
    disk: &dyn Disk,
    dir: &Path,
    wanted: Definitions,
) -> Result<RepairReport, OfflineError> {
    repair_with_streams(disk, dir, wanted, |_| BTreeSet::new())
}

/// The same where there are streams: queues, as `streams` finds them in the definitions, `(table, key, value)`, in
/// which the place of a message is its number. What a full segment loses of them leaves records behind of which the
/// message is empty.
///
/// # Errors
/// As [`repair`].
pub fn repair_with_streams(
    disk: &dyn Disk,
    dir: &Path,
    wanted: Definitions,
    streams: impl FnOnce(&[(Table, Vec<u8>, Vec<u8>)]) -> BTreeSet<u64>,
) -> Result<RepairReport, OfflineError> {
    let drop_definitions = wanted == Definitions::Dropped;
    let _lock = lock(disk, dir)?;
    let journal = dir.join(JOURNAL);
    let cut_off = unfinished::resume(disk, dir)?;
    let was_cut_off = cut_off.is_some();
    let definitions = definitions::read(disk, dir)?;
    if let (Err(reason), false) = (&definitions, drop_definitions) {
        let path = dir.join(tables::FILE);
        return Err(OfflineError::Definitions { path, reason: reason.clone() });
    }
    let applied = definitions.as_ref().map_or(0, |(_, applied)| *applied);
    let CheckReport { damages, lacks_tables, .. } = check::inspect(disk, dir)?;
    if wanted == Definitions::Needed && lacks_tables {
        return Err(OpenError::MissingDefinitions { path: dir.join(tables::FILE) }.into());
    }
    let replaced_before = cut_off.unwrap_or_default();
    let mut report = RepairReport { was_cut_off, replaced_before, damages, files: Vec::new() };
    if drop_definitions && !definitions::are_there(disk, dir)? {
        create_definitions(disk, dir)?;
        report.files.push(Repaired { path: dir.join(tables::FILE), set_aside: None, records: 0 });
    }
    if report.damages.is_empty() && !was_cut_off {
        return Ok(report);
    }

    // Which files are to be written, and which numbers they have to bridge, is known at the end.
    let are_lost = definitions.is_err();
    let mut state = definitions.map(|(state, _)| state).unwrap_or_default();
    let mut readable = LsnSet::default();
    let plan = survey::survey(disk, &journal, applied, |piece| {
        piece.each_record(|lsn, _, entry| match entry {
            Entry::Define { payload } if lsn > applied => tables::fold(&mut state, payload),
            Entry::Message { .. } => readable.insert(lsn, 1),
            Entry::Moved { lsn, .. } => readable.insert(lsn, 1),
            _ => {}
        });
        Ok::<_, OfflineError>(())
    })?;
    let rows: Vec<_> = state.into_iter().map(|((table, key), value)| (table, key, value)).collect();
    let mut writers = Writers::new(disk, &journal, &plan, streams(&rows), readable);
    survey::survey(disk, &journal, applied, |piece| writers.take(piece))?;
    let mut files = Vec::new();
    if are_lost {
        let path = dir.join(tables::FILE);
        let set_aside = Some(unfinished::free_name(disk, &path)?);
        files.push(Repaired { path, set_aside, records: 0 });
    }
    files.extend(writers.finish()?);
    let mut strays = Vec::new();
    for path in plan.strays {
        let set_aside = Some(unfinished::free_name(disk, &path)?);
        strays.push(Repaired { path, set_aside, records: 0 });
    }
    replace(disk, dir, &files, &strays, &report.replaced_before)?;
    report.files.extend(files.into_iter().chain(strays));
    mark(disk, &journal, applied)?;
    unfinished::finish(disk, dir)?;

    let left = check::inspect(disk, dir)?.damages;
    match left.into_iter().next() {
        None => Ok(report),
        Some(damage) => {
            let reason = "it is still damaged after the repair";
            Err(OpenError::BadSegment { path: damage.path, reason }.into())
        }
    }
}

/// Sets the damaged files aside and puts new ones in their place, and the strays aside.
fn replace(
    disk: &dyn Disk,
    dir: &Path,
    files: &[Repaired],
    strays: &[Repaired],
    replaced_before: &[SetAside],
) -> Result<(), OfflineError> {
    let set_aside: Vec<(&Path, &Path)> = files
        .iter()
        .chain(strays)
        .filter_map(|file| Some((&*file.path, file.set_aside.as_deref()?)))
        .collect();
    unfinished::begin(disk, dir, &set_aside, replaced_before)?;
    for (path, aside) in set_aside {
        disk.rename(path, aside).map_err(refused("rename", path))?;
    }
    // No file gets a name before it is certain that the one that had it is kept.
    unfinished::sync_names(disk, dir)?;
    for Repaired { path, .. } in files {
        if path.ends_with(tables::FILE) {
            create_definitions(disk, dir)?;
        } else {
            let new = path.with_extension(segment::UNFINISHED);
            disk.rename(&new, path).map_err(refused("rename", &new))?;
        }
    }
    Ok(unfinished::sync_names(disk, dir)?)
}

/// Makes tables that define nothing: without any the broker would not start.
fn create_definitions(disk: &dyn Disk, dir: &Path) -> Result<(), OfflineError> {
    let failed =
        |source| OpenError::Definitions { path: dir.join(tables::FILE), source: Box::new(source) };
    Ok(tables::create_empty(disk, dir).map_err(failed)?)
}

/// Writes the files that take the place of damaged ones, one at a time.
struct Writers<'a> {
    disk: &'a dyn Disk,
    journal: &'a Path,
    plan: &'a Survey,
    /// The file of the piece taken last.
    at: Option<usize>,
    current: Option<NewSegment>,
    /// The last LSN written or passed by.
    last: u64,
    /// Queues in which messages keep their places, and what can take those of the present file that are lost.
    streams: BTreeSet<u64>,
    tombstones: Tombstones,
    /// Messages of which some record can be read.
    readable: LsnSet,
    done: Vec<(usize, u64)>,
}

impl<'a> Writers<'a> {
    fn new(
        disk: &'a dyn Disk,
        journal: &'a Path,
        plan: &'a Survey,
        streams: BTreeSet<u64>,
        readable: LsnSet,
    ) -> Self {
        let (at, current, last) = (None, None, 0);
        let (tombstones, done) = (Tombstones::new(), Vec::new());
        Self { disk, journal, plan, at, current, last, streams, tombstones, readable, done }
    }

    fn take(&mut self, piece: &Piece<'_>) -> Result<(), OfflineError> {
        if self.at.is_none() {
            // What came before the first record of all is nobody's loss.
            self.last = piece.header.previous.min(piece.header.first - 1);
        }
        self.go_to(piece.file)?;
        if self.current.is_some() && piece.header.count > 0 {
            self.bury(piece.header.first, piece.header.session)?;
        }
        if let Some(current) = &mut self.current {
            if piece.header.count == 0 {
                // What a mark vouches for may be what is lost.
                return Ok(());
            }
            current.unit(self.last, &piece.header, piece.records)?;
        }
        self.last = self.last.max(piece.header.last());
        Ok(())
    }

    /// Ends the files before `file` and begins it.
    fn go_to(&mut self, file: usize) -> Result<(), OfflineError> {
        let mut next = self.at.map_or(0, |at| at + 1);
        if self.at == Some(file) {
            return Ok(());
        }
        self.end()?;
        while next <= file {
            self.begin(next)?;
            if next < file {
                self.end()?;
            }
            next += 1;
        }
        Ok(())
    }

    /// Writes what takes the places of lost messages below `next`.
    fn bury(&mut self, next: u64, session: u32) -> Result<(), OfflineError> {
        let behind = self.tombstones.split_off(&next);
        let mut lost = std::mem::replace(&mut self.tombstones, behind).split_off(&(self.last + 1));
        let Some(current) = &mut self.current else { return Ok(()) };
        let mut batch = Batch::new();
        while let Some((first, tombstone)) = lost.pop_first() {
            tombstone.add_to(&mut batch);
            let mut last = first;
            let is_moved = tombstone.is_moved();
            while let Some(next) = lost.first_entry()
                && *next.key() == last + 1
                && next.get().is_moved() == is_moved
            {
                next.remove().add_to(&mut batch);
                last += 1;
            }
            current.tombstones(self.last, first, session, &batch)?;
            batch.clear();
            self.last = last;
        }
        Ok(())
    }

    fn begin(&mut self, index: usize) -> Result<(), OfflineError> {
        self.at = Some(index);
        if let Some(file) = self.plan.files.get(index).filter(|file| file.is_damaged) {
            self.tombstones = self.tombstones_of(file);
            if index == 0
                && let Some((lost, _)) = self.tombstones.first_key_value()
            {
                self.last = self.last.min(lost.saturating_sub(1));
            }
            self.current = Some(NewSegment::create(self.disk, self.journal, file)?);
        }
        Ok(())
    }

    /// None where nothing tells.
    fn tombstones_of(&self, file: &SurveyedFile) -> Tombstones {
        let Ok(opened) = self.disk.open(&file.path) else { return Tombstones::new() };
        let segment = Segment {
            number: file.number,
            salt: file.salt,
            path: file.path.clone(),
            file: opened,
            capacity: file.capacity,
        };
        tombstones::of(&segment, &self.streams, &self.readable).unwrap_or_default()
    }

    /// Completes the present file.
    fn end(&mut self) -> Result<(), OfflineError> {
        if let Some(session) = self.current.as_ref().map(|current| current.session) {
            self.bury(u64::MAX, session)?;
        }
        let (Some(mut current), Some(index)) = (self.current.take(), self.at) else {
            return Ok(());
        };
        let file = self.plan.files.get(index);
        let is_last = !self.plan.files.iter().skip(index + 1).any(|file| file.has_units);
        let goal = match file {
            Some(file) if is_last => file.last.max(self.plan.chain.last()),
            Some(_) => self.bridge_after(index),
            None => self.last,
        };
        // The next file comes after something; and without any unit the numbers would begin again.
        let is_only = !self.plan.files.iter().take(index).any(|file| file.has_units);
        let needs_unit = current.at == HEADER && (!is_last || (is_only && goal > 0));
        if goal > self.last || needs_unit {
            current.filler(self.last, goal.max(self.last))?;
            self.last = self.last.max(goal);
        }
        let records = current.records;
        current.finish()?;
        self.done.push((index, records));
        Ok(())
    }

    /// The LSN after which the next file's first unit follows.
    fn bridge_after(&self, index: usize) -> u64 {
        let next = self.plan.files.get(index + 1);
        match next {
            // It is written anew as well, and takes up where this one ends.
            Some(next) if next.is_damaged => self.last,
            _ => self.plan.files.get(index).map_or(self.last, |file| file.bridge),
        }
    }

    /// Completes all new files. Answers what they are to replace.
    fn finish(mut self) -> Result<Vec<Repaired>, OfflineError> {
        self.go_to(self.plan.files.len().saturating_sub(1))?;
        self.end()?;
        let mut files = Vec::new();
        for (index, records) in self.done {
            let Some(file) = self.plan.files.get(index) else { continue };
            let path = file.path.clone();
            let set_aside = match file.is_missing {
                true => None,
                false => Some(unfinished::free_name(self.disk, &path)?),
            };
            files.push(Repaired { path, set_aside, records });
        }
        Ok(files)
    }
}

/// Ends the validity of a clean stop: settlements may be lost, so anything may have been delivered.
fn mark(disk: &dyn Disk, journal: &Path, applied: u64) -> Result<(), OfflineError> {
    let survey = survey::survey(disk, journal, applied, |_| Ok::<_, OfflineError>(()))?;
    let Some(tail) = survey.files.iter().rfind(|file| file.has_units) else { return Ok(()) };
    if !survey.chain.clean_stop {
        return Ok(());
    }
    let file = disk.open(&tail.path).map_err(refused("open", &tail.path))?;
    let segment = Segment {
        number: tail.number,
        salt: tail.salt,
        path: tail.path.clone(),
        file: Arc::clone(&file),
        capacity: tail.capacity,
    };
    // What lies behind, cut off by damage, must not go on from the mark: it may be a later clean stop.
    let behind = Leftovers::find(&segment, tail.end).map_err(refused("read", &tail.path))?;
    let session = survey.chain.session.max(behind.session).saturating_add(1);
    let end = tail.end + unit::HEADER as u64;
    file.allocate(end + MARK_ROOM).map_err(refused("allocate", &tail.path))?;
    let last = survey.chain.last();
    let header = UnitHeader {
        salt: tail.salt,
        first: last + 1,
        previous: last,
        durable: last,
        session,
        ..UnitHeader::default()
    };
    file.write_all_at(&[&header.encode()], tail.end).map_err(refused("write to", &tail.path))?;
    file.sync_data().map_err(refused("sync", &tail.path))?;
    Ok(())
}
