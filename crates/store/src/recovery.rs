//! Reads the journal back: what is whole and chained is taken, a torn end is cut, damage is
//! refused.

mod backlog;
mod fold;
mod reading;
mod rewrite;
pub(crate) mod scan;
mod taken;

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
};

pub use self::backlog::Backlog;
use self::{
    reading::{Found, Reading, first_unit},
    scan::{Chain, Leftovers},
    taken::Taken,
};
use crate::{
    Disk, Lsn, OpenError, RecoveryReport, StoreOptions,
    live::Live,
    map::Map,
    segment::{self, HEADER, HEADER_SIZE, HeaderError, Segment},
    summary::Summary,
    tables::Change,
};

/// The journal as it was found.
pub(crate) struct Journal {
    /// The segments with units; none if the journal is new.
    pub(crate) live: Live,
    /// Where the messages in these lie.
    pub(crate) map: Map,
    /// Of the last of them; none if it has no units.
    pub(crate) summary: Option<Summary>,
    /// Empty segments after them.
    pub(crate) spares: VecDeque<Segment>,
    /// Number the next segment to be made will have.
    pub(crate) next_number: u64,
    /// Size of the largest segment found.
    pub(crate) largest: u64,
    /// Session of the units to come.
    pub(crate) session: u32,
    /// The last LSN, if there is any unit.
    pub(crate) last: Option<u64>,
    /// Definition changes not in their tables.
    pub(crate) changes: Vec<Change>,
    pub(crate) backlogs: Vec<Backlog>,
    /// The highest number of a queue that a message was routed to.
    pub(crate) last_queue: u64,
    pub(crate) report: RecoveryReport,
}

/// Recovers the journal in `dir`; definitions up to LSN `applied` are in their tables.
pub(crate) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    applied: u64,
    options: &StoreOptions,
) -> Result<Journal, OpenError> {
    let found = open_segments(disk, dir)?;
    let mut reading = Reading::new(applied);
    if !reading.read(&found, options, true)? {
        reading = Reading::new(applied);
        reading.read(&found, options, false)?;
    }
    let Reading { taken, mut summary, summaries, unwritten } = reading;
    let goes_on = taken.chain.clean_stop && goes_on(&found, &taken)?;
    let segments: Vec<Segment> = found.into_iter().map(|found| found.segment).collect();
    let Taken { mut chain, mut fold, mut live, mut map, records, bytes, .. } = taken;
    let found = live.len();
    let largest = segments.iter().map(|segment| segment.capacity).max().unwrap_or_default();

    let mut torn_bytes = 0;
    if !segments.is_empty() && (goes_on || !chain.clean_stop) {
        let at = found.saturating_sub(1);
        let end = live.tail().map_or(HEADER, |tail| tail.used);
        torn_bytes = check_rest(segments.get(at..).unwrap_or_default(), end, &mut chain)?;
    }
    if applied > chain.last() {
        return Err(lost_end(dir, &segments, &live, &chain, applied));
    }
    if let Some(tail) = live.tail().filter(|_| goes_on) {
        let path = tail.segment.path.clone();
        return Err(OpenError::DamagedMark { path, offset: tail.used });
    }
    if let Some(tail) = live.tail().filter(|_| !chain.clean_stop) {
        // Units a killed process left to the system count from now on, so they must not get
        // lost any more.
        let start = map.unit_before(chain.durable);
        rewrite::rewrite(&tail.segment, start, tail.used)?;
    }
    if !segments.is_empty() {
        // A process may have ended between giving a segment its name and making that durable.
        disk.sync_dir(dir).map_err(refused("sync", dir))?;
    }

    let mut rest: VecDeque<Segment> = segments.into_iter().skip(found).collect();
    let report = RecoveryReport {
        fresh: found == 0 && rest.is_empty() && applied == 0,
        clean_stop: chain.clean_stop,
        torn_bytes,
        segments: found,
        summaries,
        records,
        bytes,
        last_lsn: Lsn(chain.last()),
        folded_definitions: fold.changes.len() as u64,
        took: Default::default(),
    };
    let newest = rest.back().or_else(|| Some(&live.tail()?.segment));
    let next_number = newest.map_or(1, |newest| newest.number + 1);
    if live.len() == 0
        && let Some(first) = rest.pop_front()
    {
        map.push(first.clone(), chain.last().max(applied) + 1);
        live.push(first, chain.last().max(applied) + 1);
    }
    if !chain.clean_stop {
        fold.crashed(chain.last());
        summary.iter_mut().for_each(Summary::crashed);
    }
    if let Some(tail) = live.tail() {
        unwritten.write(tail.segment.number)?;
    }
    let changes = std::mem::take(&mut fold.changes);
    live.crashed(fold.crashed_at);
    let last_queue = fold.last_queue();
    let backlogs = fold.finish(&live);
    Ok(Journal {
        live,
        map,
        summary,
        spares: rest,
        next_number,
        largest,
        session: chain.session.saturating_add(1),
        last: chain.previous,
        changes,
        backlogs,
        last_queue,
        report,
    })
}

/// The journal ends before LSN `applied`, up to which definitions are in their tables. They get there once the
/// journal is synced as far, in each mode, and no segment goes before a unit behind it is synced.
fn lost_end(
    dir: &Path,
    segments: &[Segment],
    live: &Live,
    chain: &Chain,
    applied: u64,
) -> OpenError {
    let (path, offset) = match (live.tail(), segments.first()) {
        (Some(tail), _) => (tail.segment.path.clone(), tail.used),
        (None, Some(first)) => (first.path.clone(), HEADER),
        (None, None) => return OpenError::MissingSegment { path: dir.join(segment::name(1)) },
    };
    OpenError::Damaged { path, offset, after: Lsn(chain.last()), durable: Lsn(applied) }
}

/// Whether a process went on behind a clean stop, there or in the next segment. It began with a mark, and synced it
/// before anything else: where what follows is there and the mark is not, that is damaged.
fn goes_on(found: &[Found], taken: &Taken) -> Result<bool, OpenError> {
    let Some(tail) = taken.live.tail() else { return Ok(false) };
    let next = found.get(taken.live.len()).and_then(|next| next.first);
    if next.is_some_and(|next| next.session > taken.chain.session) {
        return Ok(true);
    }
    Leftovers::are_behind(&tail.segment, tail.used, &taken.chain)
        .map_err(refused("read", &tail.segment.path))
}

/// Opens the segment files, ascending, and checks that none is missing in between.
fn open_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<Found>, OpenError> {
    let mut numbers = Vec::new();
    let mut removed = false;
    for name in disk.list(dir).map_err(refused("list", dir))? {
        if segment::is_unfinished(&name) {
            let path = dir.join(name);
            disk.remove(&path).map_err(refused("remove", &path))?;
            removed = true;
        } else {
            numbers.extend(segment::number(&name));
        }
    }
    if removed {
        // Before another file is made under such a name.
        disk.sync_dir(dir).map_err(refused("sync", dir))?;
    }
    numbers.sort_unstable();
    let mut segments: Vec<Found> = Vec::with_capacity(numbers.len());
    for number in numbers {
        if let Some(before) = segments.last().map(|before| before.segment.number)
            && before + 1 != number
        {
            let path = dir.join(segment::name(before + 1));
            return Err(OpenError::MissingSegment { path });
        }
        segments.push(open_segment(disk, dir.join(segment::name(number)), number)?);
    }
    Ok(segments)
}

fn open_segment(disk: &dyn Disk, path: PathBuf, number: u64) -> Result<Found, OpenError> {
    let file = disk.open(&path).map_err(refused("open", &path))?;
    let capacity = file.len().map_err(refused("measure", &path))?;
    if capacity < HEADER {
        return Err(OpenError::BadSegment { path, reason: "too short" });
    }
    let mut header = [0; HEADER_SIZE];
    file.read_exact_at(&mut header, 0).map_err(refused("read", &path))?;
    match segment::decode_header(&header, number) {
        Ok(salt) => {
            let segment = Segment { number, salt, path, file, capacity };
            let first = first_unit(&segment).map_err(refused("read", &segment.path))?;
            Ok(Found { segment, first })
        }
        Err(HeaderError::Bad(reason)) => Err(OpenError::BadSegment { path, reason }),
        Err(HeaderError::Newer(found)) => {
            Err(OpenError::NewerFormat { path, found, supported: segment::VERSION })
        }
    }
}

/// Looks at what is left behind the end of the chain: `segments` starts with the one whose last
/// chained unit ends at `end`, the rest has none. Returns how many bytes of torn units are cut.
///
/// A unit there which states that more was durable than the chain holds proves damage.
fn check_rest(segments: &[Segment], mut end: u64, chain: &mut Chain) -> Result<u64, OpenError> {
    let mut torn = 0;
    let mut damage = None;
    for segment in segments {
        let leftovers = Leftovers::find(segment, end).map_err(refused("read", &segment.path))?;
        if leftovers.end > end {
            torn += leftovers.end - end;
            damage.get_or_insert((segment, end));
        }
        chain.durable = chain.durable.max(leftovers.durable);
        chain.session = chain.session.max(leftovers.session);
        end = HEADER;
    }
    match damage {
        Some((segment, offset)) if chain.durable > chain.last() => Err(OpenError::Damaged {
            path: segment.path.clone(),
            offset,
            after: Lsn(chain.last()),
            durable: Lsn(chain.durable),
        }),
        _ => Ok(torn),
    }
}

pub(crate) fn refused<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
