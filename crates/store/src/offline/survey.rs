//! Reads a journal in spite of damage.
//!
//! Where recovery stops and refuses, this looks for the next unit that was acknowledged and goes on,
//! taking single records out of units that are not whole. What was never acknowledged is a torn end
//! here as there.

mod headers;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use self::headers::{Found, header_at_start, headers, is_outdated, is_whole, newest_salt, read};
use super::{Damage, Lost, tolerant::Tolerant};
use crate::{
    Disk, Lsn, OpenError, encoding,
    record::{Entry, Record},
    recovery::{
        refused,
        scan::{Chain, Leftovers, Window},
    },
    salvage::{self, Run},
    segment::{self, HEADER, HEADER_SIZE, HeaderError, Segment},
    unit::{self, UnitHeader},
};

/// Consecutive records as they lie in a segment.
pub(super) struct Piece<'a> {
    /// Where its segment stands in [`Survey::files`], and its number.
    pub(super) file: usize,
    pub(super) number: u64,
    /// Of the unit in the file.
    pub(super) offset: u64,
    /// The unit's header, with the numbers and the count of these records. Its digest and length
    /// are those of the whole unit.
    pub(super) header: UnitHeader,
    pub(super) records: &'a [u8],
}

impl Piece<'_> {
    /// Shows each record: its LSN, its bytes, itself.
    pub(super) fn each_record(&self, mut each: impl FnMut(u64, u64, Entry<'_>)) {
        let mut reader = encoding::Reader(self.records);
        let mut lsn = self.header.first;
        while let Some(record) = Record::read_own(&mut reader) {
            if let Some(entry) = record.entry() {
                each(lsn, record.length(), entry);
            }
            lsn += 1;
        }
    }
}

/// A segment's file, or the place of one that is missing.
pub(super) struct SurveyedFile {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// The file's length; 0 for a missing one.
    pub(super) capacity: u64,
    pub(super) is_missing: bool,
    /// Something in it is damaged, or lost with it.
    pub(super) is_damaged: bool,
    /// Where its last unit ends.
    pub(super) end: u64,
    /// The last LSN in it or before.
    pub(super) last: u64,
    /// The last LSN before the first unit of the next file.
    pub(super) bridge: u64,
    /// Session of its last unit.
    pub(super) session: u32,
    pub(super) salt: u64,
    pub(super) has_units: bool,
}

/// What a journal holds.
pub(super) struct Survey {
    pub(super) files: Vec<SurveyedFile>,
    /// Files whose names are those of segments, but not of this journal's.
    pub(super) strays: Vec<PathBuf>,
    pub(super) damages: Vec<Damage>,
    /// What the units say together; [`Chain::last`] is the last LSN.
    pub(super) chain: Chain,
    /// Bytes of units at the end that were never acknowledged.
    pub(super) torn_bytes: u64,
}

/// Reads the journal in `dir` from its first to its last record and shows each piece to `each`. Definitions
/// up to LSN `applied` are in their tables, so it was acknowledged as far.
pub(super) fn survey<E: From<OpenError>>(
    disk: &dyn Disk,
    dir: &Path,
    applied: u64,
    mut each: impl FnMut(&Piece<'_>) -> Result<(), E>,
) -> Result<Survey, E> {
    let mut reader = Reader::open(disk, dir, applied)?;
    for index in 0..reader.files.len() {
        reader.read_file(index, &mut each)?;
    }
    Ok(reader.finish())
}

struct Reader {
    files: Vec<SurveyedFile>,
    /// The readable ones of [`Reader::files`].
    segments: Vec<Option<Segment>>,
    strays: Vec<PathBuf>,
    damages: Vec<Damage>,
    chain: Chain,
    applied: u64,
    /// Up to where everything was acknowledged; known once it had to be searched for.
    acknowledged: Option<u64>,
    torn_bytes: u64,
    /// Where a file cannot be read, by its number.
    unreadable: BTreeMap<u64, Arc<OnceLock<u64>>>,
}

impl Reader {
    fn open(disk: &dyn Disk, dir: &Path, applied: u64) -> Result<Self, OpenError> {
        let names = disk.list(dir).map_err(refused("list", dir))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        let mut reader = Self {
            files: Vec::new(),
            segments: Vec::new(),
            strays: Vec::new(),
            damages: Vec::new(),
            chain: Chain::default(),
            applied,
            acknowledged: None,
            torn_bytes: 0,
            unreadable: BTreeMap::new(),
        };
        if numbers.is_empty() && applied > 0 {
            reader.add(dir.join(segment::name(1)), 1, None);
        }
        let together = belonging(&numbers);
        let mut next = together.first().copied().unwrap_or_default();
        for &number in &numbers {
            let path = dir.join(segment::name(number));
            if !together.contains(&number) {
                let lost = Lost::Unknown { what: "its number is far from those of the others" };
                reader.damages.push(Damage { path: path.clone(), offset: 0, lost });
                reader.strays.push(path);
                continue;
            }
            for missing in next..number {
                reader.add(dir.join(segment::name(missing)), missing, None);
            }
            let segment = reader.open_segment(disk, path.clone(), number)?;
            reader.add(path, number, Some(segment));
            next = number.saturating_add(1);
        }
        reader.find_salts()?;
        Ok(reader)
    }

    /// Of a segment whose header is damaged the units tell the salt.
    fn find_salts(&mut self) -> Result<(), OpenError> {
        let salts: Vec<u64> = self.segments.iter().flatten().map(|one| one.salt).collect();
        for (file, segment) in self.files.iter_mut().zip(&mut self.segments) {
            let Some(segment) = segment.as_mut().filter(|segment| segment.salt == 0) else {
                continue;
            };
            let found = newest_salt(segment, &salts).map_err(refused("read", &segment.path))?;
            segment.salt = found.unwrap_or_default();
            file.salt = segment.salt;
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, number: u64, segment: Option<Segment>) {
        let is_missing = segment.is_none();
        let of_file = self.damages.iter().any(|damage| damage.path == path);
        self.files.push(SurveyedFile {
            number,
            path,
            capacity: segment.as_ref().map_or(0, |segment| segment.capacity),
            is_missing,
            is_damaged: is_missing || of_file,
            end: HEADER,
            last: 0,
            bridge: 0,
            session: 0,
            salt: segment.as_ref().map_or(0, |segment| segment.salt),
            has_units: false,
        });
        self.segments.push(segment);
    }

    fn open_segment(
        &mut self,
        disk: &dyn Disk,
        path: PathBuf,
        number: u64,
    ) -> Result<Segment, OpenError> {
        let file = disk.open(&path).map_err(refused("open", &path))?;
        let capacity = file.len().map_err(refused("measure", &path))?;
        let unreadable = Arc::clone(self.unreadable.entry(number).or_default());
        let file: Arc<dyn crate::DiskFile> = Arc::new(Tolerant { file, unreadable });
        let mut segment = Segment { number, salt: 0, path, file, capacity };
        let mut header = [0; HEADER_SIZE];
        let decoded = if capacity < HEADER {
            Err(HeaderError::Bad("too short"))
        } else {
            let read = segment.file.read_exact_at(&mut header, 0);
            read.map_err(refused("read", &segment.path))?;
            segment::decode_header(&header, number)
        };
        match decoded {
            Ok(salt) => segment.salt = salt,
            Err(HeaderError::Newer(found)) => {
                let supported = segment::VERSION;
                return Err(OpenError::NewerFormat { path: segment.path, found, supported });
            }
            Err(HeaderError::Bad(reason)) => {
                self.damages.push(Damage {
                    path: segment.path.clone(),
                    offset: 0,
                    lost: Lost::Nothing { what: reason },
                });
            }
        }
        Ok(segment)
    }

    fn read_file<E: From<OpenError>>(
        &mut self,
        index: usize,
        each: &mut impl FnMut(&Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(segment) = self.segments.get(index).cloned().flatten() else {
            self.note_end(index, HEADER, false);
            return Ok(());
        };
        let mut window = Window::new(&segment);
        let mut at = HEADER;
        let mut has_units = false;
        loop {
            let io = refused("read", &segment.path);
            if let Some((header, records)) = window.unit(at, &self.chain).map_err(io)? {
                if self.chain.previous.is_none() && index > 0 {
                    // No segment without units comes before one with some.
                    self.lose(self.place_before(index), header.previous);
                }
                if let Some(before) = index.checked_sub(1).filter(|_| at == HEADER)
                    && let Some(before) = self.files.get_mut(before)
                {
                    before.bridge = header.previous;
                }
                self.chain.accept(&header);
                each(&Piece { file: index, number: segment.number, offset: at, header, records })?;
                at += unit::HEADER as u64 + header.length;
                has_units = true;
                continue;
            }
            if self.is_followed(index)? {
                break;
            }
            let Some(next) = self.next_unit(&segment, index, at)? else {
                at = self.salvage_last(index, &segment, at, each)?;
                break;
            };
            has_units = true;
            if next.at > at {
                self.bridge(index, &segment, at, &next, each)?;
                at = next.at;
            } else if self.chain.previous.is_some_and(|last| last < next.header.previous) {
                // Sound, but what came before it is gone.
                let place = if at == HEADER { self.place_before(index) } else { (index, at) };
                self.lose(place, next.header.previous);
            } else {
                at = self.salvage_unit(index, &segment, &next, each)?;
            }
        }
        self.note_end(index, at, has_units);
        Ok(())
    }

    /// Whether the next file begins with the unit that comes next: then this one simply is full.
    fn is_followed(&self, index: usize) -> Result<bool, OpenError> {
        let Some(Some(next)) = self.segments.get(index + 1) else { return Ok(false) };
        let mut window = Window::new(next);
        let unit = window.unit(HEADER, &self.chain).map_err(refused("read", &next.path))?;
        // The very first unit of all is taken from where it is found.
        Ok(unit.is_some() && self.chain.previous.is_some())
    }

    /// The next header of an acknowledged unit from `at` on.
    fn next_unit(
        &mut self,
        segment: &Segment,
        index: usize,
        at: u64,
    ) -> Result<Option<Found>, OpenError> {
        if self.chain.clean_stop && self.last() >= self.applied {
            let goes_on = Leftovers::are_behind(segment, at, &self.chain);
            if !goes_on.map_err(refused("read", &segment.path))? && self.is_over(index)? {
                return Ok(None);
            }
        }
        let acknowledged = match self.acknowledged {
            Some(acknowledged) => acknowledged,
            None => self.search_acknowledged(index, at)?,
        };
        self.acknowledged = Some(acknowledged);
        let (last, session) = (self.last(), self.chain.session);
        let after = self.first_of_next(index)?;
        // Whoever went on behind a clean stop synced a mark first: where that is gone the rest may be in use.
        let is_resumed = |header: &UnitHeader| self.chain.clean_stop && header.session > session;
        let choose = |at, header: UnitHeader| {
            let may_follow = header.salt == segment.salt
                && header.session >= session
                && header.first > header.previous
                && header.first > last
                && header.previous >= last
                && after.is_none_or(|after| !is_outdated(&header, &after));
            if !may_follow {
                return None;
            }
            if header.last() <= acknowledged || is_resumed(&header) {
                return Some(Ok(Found { at, header }));
            }
            // Nothing vouches for it. But it is what came next, if that something is missing before it is certain.
            if last >= acknowledged || header.previous > acknowledged {
                return None;
            }
            match is_whole(segment, at, &header) {
                Ok(true) => Some(Ok(Found { at, header })),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            }
        };
        let found = headers(segment, at, choose).and_then(Option::transpose);
        found.map_err(refused("read", &segment.path))
    }

    /// The first unit's header in the next file, if it may come after what has been taken.
    fn first_of_next(&self, index: usize) -> Result<Option<UnitHeader>, OpenError> {
        let Some(Some(next)) = self.segments.get(index + 1) else { return Ok(None) };
        Ok(header_at_start(next)?.filter(|header| {
            header.session >= self.chain.session && header.previous >= self.last()
        }))
    }

    /// Whether no file from the next on has a unit of this journal.
    fn is_over(&self, index: usize) -> Result<bool, OpenError> {
        for segment in self.segments.iter().skip(index + 1).flatten() {
            let found = headers(segment, HEADER, |_, header| {
                (header.salt == segment.salt && header.session >= self.chain.session).then_some(())
            });
            if found.map_err(refused("read", &segment.path))?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The highest LSN that any unit from `at` in this file on says is durable.
    fn search_acknowledged(&self, index: usize, at: u64) -> Result<u64, OpenError> {
        let mut acknowledged = self.chain.durable.max(self.last()).max(self.applied);
        let mut start = at;
        for segment in self.segments.iter().skip(index).flatten() {
            let found = Leftovers::find(segment, start).map_err(refused("read", &segment.path))?;
            acknowledged = acknowledged.max(found.durable);
            start = HEADER;
        }
        Ok(acknowledged)
    }

    /// Goes from a unit that can't be made out at `at` to the next that can.
    fn bridge<E: From<OpenError>>(
        &mut self,
        index: usize,
        segment: &Segment,
        at: u64,
        next: &Found,
        each: &mut impl FnMut(&Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let after = self.last();
        let before = next.header.previous;
        let bytes = read(segment, at, next.at.saturating_sub(at))?;
        // Where another's header is, a block was written to the wrong place, and the records are others' as well.
        let is_lost = UnitHeader::decode(&bytes).is_none();
        let body = bytes.get(unit::HEADER..).filter(|_| is_lost);
        let run = body.and_then(|body| salvage::without_header(body, before, after));
        let lost = match &run {
            // They fill the place: there was nothing else.
            Some(_) => Lost::Nothing { what: UNIT_HEADER },
            None if before <= after => Lost::Nothing { what: UNIT_HEADER },
            None => lost_up_to(&self.chain, before),
        };
        self.add_damage((index, at), lost);
        if let Some(run) = run {
            let header = UnitHeader {
                first: run.first,
                count: run.count,
                previous: after,
                session: next.header.session,
                ..next.header
            };
            each(&Piece {
                file: index,
                number: segment.number,
                offset: at,
                header,
                records: run.bytes,
            })?;
        }
        self.chain.previous = Some(before);
        Ok(())
    }

    /// Takes the last unit of a segment if only its header is damaged. Returns where it ends, or `at`
    /// if there is none.
    fn salvage_last<E: From<OpenError>>(
        &mut self,
        index: usize,
        segment: &Segment,
        at: u64,
        each: &mut impl FnMut(&Piece<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let (after, session) = (self.last(), self.chain.session);
        let Some(next) = self.first_of_next(index)?.filter(|next| next.previous > after) else {
            return Ok(at);
        };
        let bytes = read(segment, at, segment.capacity.saturating_sub(at))?;
        let Some(run) = salvage::last_of_segment(&bytes, next.previous, after) else {
            return Ok(at);
        };
        self.add_damage((index, at), Lost::Nothing { what: UNIT_HEADER });
        let Run { first, count, bytes } = run;
        let header = UnitHeader { first, count, previous: after, session, ..UnitHeader::default() };
        self.chain.accept(&header);
        each(&Piece { file: index, number: segment.number, offset: at, header, records: bytes })?;
        Ok(at + (unit::HEADER + bytes.len()) as u64)
    }

    /// Takes what is readable out of a unit that is not whole. Returns where the next one begins.
    fn salvage_unit<E: From<OpenError>>(
        &mut self,
        index: usize,
        segment: &Segment,
        unit: &Found,
        each: &mut impl FnMut(&Piece<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let Found { at, header } = unit;
        let start = at + unit::HEADER as u64;
        let length = header.length.min(segment.capacity.saturating_sub(start));
        let body = read(segment, start, length)?;
        let mut next = header.first;
        let lose = |reader: &mut Self, first: u64, end: u64| {
            if first < end {
                let lost =
                    Lost::Records { first: Lsn(first), last: Lsn(end - 1), count: end - first };
                reader.add_damage((index, *at), lost);
            }
        };
        for run in salvage::from_body(header, &body) {
            lose(self, next, run.first);
            next = run.first + u64::from(run.count);
            let header = UnitHeader { first: run.first, count: run.count, ..*header };
            each(&Piece {
                file: index,
                number: segment.number,
                offset: *at,
                header,
                records: run.bytes,
            })?;
        }
        lose(self, next, header.last() + 1);
        if next == header.first && header.count == 0 {
            // A mark has no records to lose, yet bytes behind it.
            self.add_damage((index, *at), Lost::Nothing { what: UNIT_HEADER });
        }
        self.chain.accept(header);
        Ok(start + length)
    }

    /// Everything after the last LSN up to `before` is lost.
    fn lose(&mut self, place: (usize, u64), before: u64) {
        self.add_damage(place, lost_up_to(&self.chain, before));
        self.chain.previous = Some(before);
    }

    /// Where that which comes before the first unit of a file should have been.
    fn place_before(&self, index: usize) -> (usize, u64) {
        match index.checked_sub(1) {
            Some(before) => (before, self.files.get(before).map_or(HEADER, |file| file.end)),
            None => (index, HEADER),
        }
    }

    fn add_damage(&mut self, (index, offset): (usize, u64), lost: Lost) {
        if let Some(file) = self.files.get_mut(index) {
            file.is_damaged = true;
            let offset = if file.is_missing { 0 } else { offset };
            self.damages.push(Damage { path: file.path.clone(), offset, lost });
        }
    }

    /// Notes blocks that cannot be read where there was nothing: the disk may lose more, and who writes there next must
    /// not be the first to see it.
    fn add_unreadable(&mut self) {
        for index in 0..self.files.len() {
            let Some(file) = self.files.get(index).filter(|file| !file.is_damaged) else {
                continue;
            };
            let unreadable = self.unreadable.get(&file.number).and_then(|at| at.get()).copied();
            if let Some(at) = unreadable {
                self.add_damage((index, at), Lost::Nothing { what: "a block cannot be read" });
            }
        }
    }

    fn note_end(&mut self, index: usize, end: u64, has_units: bool) {
        let last = self.last();
        if let Some(file) = self.files.get_mut(index) {
            file.end = end;
            file.last = last;
            file.session = self.chain.session;
            file.has_units = has_units;
        }
    }

    fn last(&self) -> u64 {
        self.chain.last()
    }

    fn finish(mut self) -> Survey {
        let tail = self.files.iter().rposition(|file| file.has_units);
        let acknowledged = self.acknowledged.unwrap_or_default().max(self.applied);
        if acknowledged > self.last() {
            let index = tail.unwrap_or_default();
            let place = (index, self.files.get(index).map_or(HEADER, |file| file.end));
            self.lose(place, acknowledged);
        }
        // Units cut off behind the last one are no damage, and of no use.
        if !self.chain.clean_stop {
            let at = tail.unwrap_or_default();
            let mut start = self.files.get(at).map_or(HEADER, |file| file.end);
            for segment in self.segments.iter().skip(at).flatten() {
                if let Ok(leftovers) = Leftovers::find(segment, start) {
                    self.torn_bytes += leftovers.end - start;
                }
                start = HEADER;
            }
        }
        for damage in &mut self.damages {
            // Of a tail nobody can say what it held.
            if let Lost::Nothing { what } = damage.lost
                && damage.offset == 0
                && self.files.iter().any(|file| file.path == damage.path && !file.has_units)
            {
                damage.lost = Lost::Unknown { what };
            }
        }
        for index in 0..self.files.len() {
            // Each missing file is a damage, even if no record is known to be lost with it. So is one
            // without units before others with some: a start would stop there.
            let Some(file) = self.files.get_mut(index) else { continue };
            let is_gap = !file.has_units && tail.is_some_and(|tail| index < tail);
            let (what, offset) = match (file.is_missing, is_gap) {
                (true, _) => ("the file is missing", 0),
                (false, true) => ("it holds nothing, and those after it do", file.end),
                (false, false) => continue,
            };
            if !self.damages.iter().any(|damage| damage.path == file.path) {
                file.is_damaged = true;
                let lost = Lost::Unknown { what };
                self.damages.push(Damage { path: file.path.clone(), offset, lost });
            }
        }
        self.add_unreadable();
        let Self { files, strays, damages, chain, torn_bytes, .. } = self;
        Survey { files, strays, damages, chain, torn_bytes }
    }
}

/// Of segments' numbers, ascending, those that can be one journal's, with files that are missing. A name with a
/// wrong bit would have it miss more than any disk holds.
fn belonging(numbers: &[u64]) -> &[u64] {
    let together = numbers.chunk_by(|a, b| b - a <= MISSING_MAX);
    together.rev().max_by_key(|together| together.len()).unwrap_or_default()
}

/// All records after the last one taken, up to LSN `last`.
fn lost_up_to(chain: &Chain, last: u64) -> Lost {
    let after = chain.last();
    Lost::Records { first: Lsn(after + 1), last: Lsn(last), count: last.saturating_sub(after) }
}

/// Files that may be missing between two others: half a terabyte, if they are full-grown.
const MISSING_MAX: u64 = 8192;
const UNIT_HEADER: &str = "the header of a unit is damaged";
