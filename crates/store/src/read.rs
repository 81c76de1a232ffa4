//! Reads messages back.

use std::{
    io,
    iter::Peekable,
    path::{Path, PathBuf},
    time::Duration,
};

use ahash::AHashSet;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    DiskFile, Lsn, ReadError,
    disk::read_around,
    encoding::Reader,
    map::{Map, MovedStretch, Stretch},
    read_buffer::ReadBuffers,
    record::{Entry, Record},
    salvage::{self, Run},
    segment::Segment,
    unit::{self, UnitHeader},
    unreadable::Unreadable,
};

/// Looks for messages; see [`Store::read`](crate::Store::read).
pub(crate) struct Search<'a> {
    pub(crate) map: &'a Mutex<Map>,
    pub(crate) buffers: &'a ReadBuffers,
    pub(crate) unreadable: &'a Unreadable,
    /// How long what the system cannot read is an error, before it counts as lost.
    pub(crate) patience: Duration,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    messages: Vec<(Lsn, Bytes)>,
    /// Why others could not be read which are still waited for.
    error: Option<ReadError>,
}

impl Found {
    /// Forgets what was found of `here`, which ascend.
    fn forget(&mut self, here: &[u64]) {
        self.messages.retain(|(lsn, _)| here.binary_search(&lsn.0).is_err());
    }
}

impl Search<'_> {
    pub(crate) fn read(&self, lsns: &[Lsn]) -> Result<Vec<(Lsn, Bytes)>, ReadError> {
        let mut wanted: Vec<u64> = lsns.iter().map(|lsn| lsn.0).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = Found::default();
        found.messages.reserve(wanted.len());
        for _ in 0..ATTEMPTS {
            let generation = self.map.lock().generation;
            found.error = None;
            self.read_moved(&wanted, &mut found);
            keep_missing(&mut wanted, &found.messages);
            self.read_written(&wanted, &mut found);
            keep_missing(&mut wanted, &found.messages);
            // What was moved meanwhile has perhaps left the place where it was looked for.
            if wanted.is_empty() || self.map.lock().generation == generation {
                break;
            }
        }
        if let Some(error) = found.error {
            return Err(error);
        }
        found.messages.sort_unstable_by_key(|(lsn, _)| *lsn);
        Ok(found.messages)
    }

    /// Adds those of `wanted`, which ascend, that compaction has moved.
    fn read_moved(&self, wanted: &[u64], found: &mut Found) {
        let stretches = self.map.lock().find_moved(wanted);
        for (MovedStretch { segment, at, end, .. }, range) in stretches {
            let wanted = wanted.get(range).unwrap_or_default();
            let mut bytes = vec![0; usize::try_from(end.saturating_sub(at)).unwrap_or_default()];
            if segment.file.read_exact_at(&mut bytes, at).is_ok()
                && take_moved(&bytes, wanted, &mut found.messages)
            {
                self.unreadable.succeeded(wanted);
                continue;
            }
            // Perhaps it was only read wrongly. What is damaged must not cost what is beside it.
            found.forget(wanted);
            let skipped = read_around(&*segment.file, &mut bytes, at);
            let is_whole = take_moved(&bytes, wanted, &mut found.messages);
            if !self.map.lock().has(&segment) {
                found.forget(wanted);
                continue;
            }
            let mut missing = wanted.to_vec();
            keep_missing(&mut missing, &found.messages);
            let mut lost = Lost::default();
            match skipped {
                Some((_, source)) => {
                    let error = ReadError { path: segment.path.clone(), source };
                    self.unreadable(error, &segment, at, &missing, &mut lost, found);
                }
                None if is_whole => self.unreadable.succeeded(wanted),
                None => missing.iter().for_each(|lsn| lost.add(&segment.path, at, *lsn, None)),
            }
            lost.report();
        }
    }

    /// Adds those of `wanted`, which ascend, that are where they were written first.
    fn read_written(&self, wanted: &[u64], found: &mut Found) {
        let mut rest = wanted;
        // Bound first: the lock is not held while anything is read.
        let stretches = self.map.lock().find(wanted);
        for stretch in stretches {
            // Those before its first can be nowhere.
            let skipped = rest.partition_point(|lsn| *lsn < stretch.from.lsn);
            rest = rest.get(skipped..).unwrap_or_default();
            let (here, after) = rest.split_at(stretch.count.min(rest.len()));
            rest = after;
            if !matches!(self.read_stretch(&stretch, here, read_all, found), Ok(true)) {
                // What is damaged must not cost what can still be found from another mark.
                found.forget(here);
                let mut lost = Lost::default();
                for lsn in here {
                    let alone = self.map.lock().find(&[*lsn]);
                    let Some(stretch) = alone.first() else { continue };
                    let (segment, at) = (&stretch.segment, stretch.from.at());
                    match self.read_stretch(stretch, &[*lsn], read_rest, found) {
                        Ok(true) => {}
                        Ok(false) => lost.add(&segment.path, at, *lsn, None),
                        Err(error) => {
                            self.unreadable(error, segment, at, &[*lsn], &mut lost, found);
                        }
                    }
                }
                lost.report();
            }
        }
    }

    /// Gives up messages that could not be read for too long.
    fn unreadable(
        &self,
        error: ReadError,
        segment: &Segment,
        at: u64,
        lsns: &[u64],
        lost: &mut Lost,
        found: &mut Found,
    ) {
        let mut is_waited_for = false;
        for lsn in lsns {
            if self.unreadable.failed(*lsn, self.patience) {
                lost.add(&segment.path, at, *lsn, Some(&error));
            } else {
                is_waited_for = true;
            }
        }
        if is_waited_for {
            found.error = Some(error);
        }
    }

    /// Adds those of `wanted` that are in `stretch` to what was found. Answers false if something there is
    /// damaged.
    fn read_stretch(
        &self,
        stretch: &Stretch,
        wanted: &[u64],
        read: impl FnOnce(&dyn DiskFile, &mut [u8], u64) -> io::Result<Option<io::Error>>,
        found: &mut Found,
    ) -> Result<bool, ReadError> {
        let Stretch { segment, from, end, .. } = stretch;
        let size = usize::try_from(end.saturating_sub(from.at())).unwrap_or_default();
        let mut buffer = self.buffers.take(size);
        let read = read(&*segment.file, buffer.as_mut(), from.at());
        // What was settled or moved meanwhile may have left with its segment, whose file may be another's now.
        if !self.map.lock().has(segment) {
            return Ok(true);
        }
        let refused = |source| ReadError { path: segment.path.clone(), source };
        let skipped = read.map_err(refused)?;
        let bytes = buffer.freeze();
        let walk = walk(&bytes, stretch, wanted);
        if walk.is_damaged {
            return skipped.map_or(Ok(false), |source| Err(refused(source)));
        }
        self.unreadable.succeeded(wanted);
        let taken: usize = walk.found.iter().map(|(_, payload)| payload.len()).sum();
        // A few messages must not keep the memory of all around them.
        let is_shared = taken >= size / 2;
        found.messages.extend(walk.found.into_iter().map(|(lsn, payload)| {
            let payload =
                if is_shared { bytes.slice_ref(payload) } else { Bytes::copy_from_slice(payload) };
            (Lsn(lsn), payload)
        }));
        Ok(true)
    }
}

/// Fills a buffer, or reads nothing.
fn read_all(file: &dyn DiskFile, buffer: &mut [u8], at: u64) -> io::Result<Option<io::Error>> {
    file.read_exact_at(buffer, at).map(|()| None)
}

/// Fills a buffer but for what cannot be read; says why that could not be.
fn read_rest(file: &dyn DiskFile, buffer: &mut [u8], at: u64) -> io::Result<Option<io::Error>> {
    Ok(read_around(file, buffer, at).map(|(_, error)| error))
}

fn keep_missing(wanted: &mut Vec<u64>, messages: &[(Lsn, Bytes)]) {
    let found: AHashSet<u64> = messages.iter().map(|(lsn, _)| lsn.0).collect();
    wanted.retain(|lsn| !found.contains(lsn));
}

/// How often what was moved away while it was read is looked for again.
const ATTEMPTS: u32 = 8;

/// Adds those of `wanted` that are among moved messages. Answers false if some of these are damaged.
fn take_moved(bytes: &[u8], wanted: &[u64], messages: &mut Vec<(Lsn, Bytes)>) -> bool {
    let mut is_whole = true;
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut reader = Reader(rest);
        if let Some(record) = Record::read(&mut reader) {
            if let Some(Entry::Moved { lsn, payload, .. }) = record.entry()
                && wanted.binary_search(&lsn).is_ok()
            {
                messages.push((Lsn(lsn), Bytes::copy_from_slice(payload)));
            }
            rest = reader.0;
            continue;
        }
        is_whole = false;
        // Each record says of which message it is: it is of no account how many there are between.
        let next =
            salvage::behind(rest, 0, true).or_else(|| salvage::to_the_end(rest, 8, u64::MAX));
        rest = next.and_then(|next| rest.get(next..)).unwrap_or_default();
    }
    is_whole
}

/// What was found in a stretch.
struct Walk<'a> {
    found: Vec<(u64, &'a [u8])>,
    is_damaged: bool,
}

/// Walks the records of `stretch`, which are in `bytes`, until all of `wanted` have been passed.
fn walk<'a>(bytes: &'a [u8], stretch: &Stretch, wanted: &[u64]) -> Walk<'a> {
    let (from, salt) = (stretch.from, stretch.segment.salt);
    let mut walk = Walk { found: Vec::with_capacity(wanted.len()), is_damaged: true };
    let mut wanted = wanted.iter().copied().peekable();
    let (mut lsn, mut left) = (from.lsn, from.left);
    // The lengths of records lead from one to the next: they are as they were written.
    let mut is_sure = false;
    // Of the unit before the first one nothing is known but that it has lower numbers.
    let mut last = (left > 0).then(|| lsn.saturating_add(u64::from(left) - 1));
    let mut reader = Reader(bytes);
    loop {
        while wanted.next_if(|wanted| *wanted < lsn).is_some() {}
        let Some(&next) = wanted.peek() else { break };
        if left == 0 {
            if reader.0.is_empty() {
                break;
            }
            let header = UnitHeader::decode(reader.0).filter(|header| header.salt == salt);
            // A block that the disk has put in the wrong place, or left as it was, has sound units, too.
            let in_turn = |header: &UnitHeader| match last {
                Some(last) => header.previous == last && header.first > last,
                None => header.previous < from.lsn && from.lsn <= header.first,
            };
            let Some(header) = header.filter(in_turn) else { return walk };
            let _ = reader.bytes(unit::HEADER as u64);
            last = Some(header.last());
            let body =
                usize::try_from(header.length).ok().and_then(|length| reader.0.get(..length));
            if header.last() < next {
                // None of it is looked for.
                if reader.bytes(header.length).is_none() {
                    return walk;
                }
                lsn = header.last().saturating_add(1);
                continue;
            }
            is_sure = body.is_some_and(|body| header.counts(body));
            if let Some(body) = body
                && !is_sure
            {
                if !take_whole(&header, body, &mut wanted, &mut walk.found) {
                    return walk;
                }
                let _ = reader.bytes(header.length);
                lsn = header.last().saturating_add(1);
                continue;
            }
            (lsn, left) = (header.first, header.count);
            continue;
        }
        let is_wanted = lsn == next;
        let rest = reader.0;
        let record = if is_sure && !is_wanted {
            Record::read_own(&mut reader)
        } else {
            Record::read(&mut reader)
        };
        let Some(record) = record else {
            // A damaged length may lead to a record of a unit behind this one.
            let part = last.and_then(|last| rest_of_unit(rest, lsn, last, stretch));
            let body = part.map_or(rest, |(_, body)| body);
            let next = salvage::behind(body, 0, false).filter(|_| !is_wanted);
            if let Some(next) = next.and_then(|next| rest.get(next..)) {
                reader = Reader(next);
                (lsn, left) = (lsn + 1, left - 1);
                continue;
            }
            // It leads nowhere, or as far as that: from there the records are counted back.
            let Some((part, body)) = part else { return walk };
            if !take_whole(&part, body, &mut wanted, &mut walk.found) {
                return walk;
            }
            reader = Reader(rest.get(body.len()..).unwrap_or_default());
            (lsn, left) = (part.last().saturating_add(1), 0);
            continue;
        };
        if is_wanted && let Some(Entry::Message { payload, .. }) = record.entry() {
            walk.found.push((lsn, payload));
        }
        lsn += 1;
        left -= 1;
    }
    walk.is_damaged = false;
    walk
}

/// Adds those of `wanted` that are among what is whole of a unit's records, or the last of them. Answers whether that are
/// all which should be.
fn take_whole<'a>(
    part: &UnitHeader,
    body: &'a [u8],
    wanted: &mut Peekable<impl Iterator<Item = u64>>,
    found: &mut Vec<(u64, &'a [u8])>,
) -> bool {
    for Run { first, count, bytes } in salvage::from_body(part, body) {
        let mut reader = Reader(bytes);
        for lsn in (first..).take(count as usize) {
            let record = Record::read(&mut reader);
            if wanted.next_if_eq(&lsn).is_some()
                && let Some(Entry::Message { payload, .. }) =
                    record.and_then(|record| record.entry())
            {
                found.push((lsn, payload));
            }
        }
    }
    wanted.peek().is_none_or(|wanted| *wanted > part.last())
}

/// The records from `lsn` on of the unit whose last one is `last`, as far as they are in `bytes`, the end of `stretch`.
fn rest_of_unit<'a>(
    bytes: &'a [u8],
    lsn: u64,
    last: u64,
    stretch: &Stretch,
) -> Option<(UnitHeader, &'a [u8])> {
    let (salt, next) = (stretch.segment.salt, stretch.next);
    let (end, body) = if (lsn..=last).contains(&next) {
        // It goes on behind them.
        (next, Some(bytes))
    } else {
        let end = last.saturating_add(1);
        let is_last = || (next == end).then_some(bytes);
        (end, before_unit_behind(bytes, salt, last).or_else(is_last))
    };
    let count = u32::try_from(end.saturating_sub(lsn)).ok()?;
    Some((UnitHeader { first: lsn, count, ..UnitHeader::default() }, body?))
}

/// What stands in front of the unit that follows the one whose last record is `last`.
fn before_unit_behind(bytes: &[u8], salt: u64, last: u64) -> Option<&[u8]> {
    let is_it = |at: &usize| {
        let header = bytes.get(*at..).and_then(UnitHeader::decode);
        header.is_some_and(|header| header.salt == salt && header.previous == last)
    };
    bytes.get(..(0..bytes.len()).step_by(8).find(is_it)?)
}

/// Messages that are lost because of a damage, or since they could not be read for too long.
#[derive(Default)]
struct Lost {
    first: Option<(PathBuf, u64, u64)>,
    last: u64,
    count: u64,
    /// What the system said.
    error: Option<String>,
}

impl Lost {
    fn add(&mut self, path: &Path, at: u64, lsn: u64, error: Option<&ReadError>) {
        self.first.get_or_insert_with(|| (path.to_owned(), at, lsn));
        self.last = lsn;
        self.count += 1;
        if let Some(error) = error {
            self.error.get_or_insert_with(|| error.source.to_string());
        }
    }

    fn report(self) {
        let Some((path, at, first)) = self.first else { return };
        let path = path.display();
        let (last, count) = (self.last, self.count);
        let which = if count == 1 {
            format!("the message at LSN {first}")
        } else {
            format!("{count} messages from LSN {first} to {last}")
        };
        match self.error {
            None => {
                tracing::error!(
                    "{path} is damaged after byte {at}: {which} cannot be read; {WHAT_TO_DO}"
                );
            }
            Some(error) => {
                tracing::error!(
                    "{path} cannot be read after byte {at} ({error}): {which} will be passed over \
                     until the next start; move the data directory to a sound disk, where `leveret store \
                     check` shows what is lost"
                );
            }
        }
    }
}

const WHAT_TO_DO: &str = "stop the broker and restore the data directory from a backup, or go on without what is \
    damaged: `leveret store check` shows what is lost, `leveret store repair` keeps the rest";
