//! Reads messages back.

use std::path::PathBuf;

use ahash::AHashSet;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    Lsn, ReadError,
    encoding::Reader,
    map::{Map, Mark, MovedStretch, Stretch},
    read_buffer::ReadBuffers,
    record::{Entry, Record},
    unit::{self, UnitHeader},
};

/// See [`Store::read`](crate::Store::read).
pub(crate) fn read(
    map: &Mutex<Map>,
    buffers: &ReadBuffers,
    lsns: &[Lsn],
) -> Result<Vec<(Lsn, Bytes)>, ReadError> {
    let mut wanted: Vec<u64> = lsns.iter().map(|lsn| lsn.0).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut messages = Vec::with_capacity(wanted.len());
    for _ in 0..ATTEMPTS {
        let generation = map.lock().generation;
        read_moved(map, &wanted, &mut messages)?;
        keep_missing(&mut wanted, &messages);
        read_written(map, buffers, &wanted, &mut messages)?;
        keep_missing(&mut wanted, &messages);
        // What was moved meanwhile has perhaps left the place where it was looked for.
        if wanted.is_empty() || map.lock().generation == generation {
            break;
        }
    }
    messages.sort_unstable_by_key(|(lsn, _)| *lsn);
    Ok(messages)
}

fn keep_missing(wanted: &mut Vec<u64>, messages: &[(Lsn, Bytes)]) {
    let found: AHashSet<u64> = messages.iter().map(|(lsn, _)| lsn.0).collect();
    wanted.retain(|lsn| !found.contains(lsn));
}

/// Adds those of `wanted`, which ascend, that compaction has moved.
fn read_moved(
    map: &Mutex<Map>,
    wanted: &[u64],
    messages: &mut Vec<(Lsn, Bytes)>,
) -> Result<(), ReadError> {
    let stretches = map.lock().find_moved(wanted);
    for (MovedStretch { segment, at, end, .. }, range) in stretches {
        let wanted = wanted.get(range).unwrap_or_default();
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(at)).unwrap_or_default()];
        if let Err(source) = segment.file.read_exact_at(&mut bytes, at) {
            if !map.lock().has(&segment) {
                continue;
            }
            return Err(ReadError { path: segment.path.clone(), source });
        }
        if !take_moved(&bytes, wanted, messages)
            && segment.file.read_exact_at(&mut bytes, at).is_ok()
        {
            // Perhaps it was only read wrongly.
            messages.retain(|(lsn, _)| wanted.binary_search(&lsn.0).is_err());
            if !take_moved(&bytes, wanted, messages) && map.lock().has(&segment) {
                tracing::error!(
                    "{} is damaged after byte {at}: messages moved there cannot be read; {WHAT_TO_DO}",
                    segment.path.display()
                );
            }
        }
    }
    Ok(())
}

/// Adds those of `wanted` that are among moved messages. Answers false if some of these are damaged.
fn take_moved(bytes: &[u8], wanted: &[u64], messages: &mut Vec<(Lsn, Bytes)>) -> bool {
    let mut reader = Reader(bytes);
    while let Some(record) = Record::read(&mut reader) {
        if let Some(Entry::Moved { lsn, payload, .. }) = record.entry()
            && wanted.binary_search(&lsn).is_ok()
        {
            messages.push((Lsn(lsn), Bytes::copy_from_slice(payload)));
        }
    }
    reader.0.is_empty()
}

/// Adds those of `wanted`, which ascend, that are where they were written first.
fn read_written(
    map: &Mutex<Map>,
    buffers: &ReadBuffers,
    wanted: &[u64],
    messages: &mut Vec<(Lsn, Bytes)>,
) -> Result<(), ReadError> {
    let mut rest = wanted;
    // Bound first: the lock is not held while anything is read.
    let stretches = map.lock().find(wanted);
    for stretch in stretches {
        // Those before its first can be nowhere.
        let skipped = rest.partition_point(|lsn| *lsn < stretch.from.lsn);
        rest = rest.get(skipped..).unwrap_or_default();
        let (here, after) = rest.split_at(stretch.count.min(rest.len()));
        rest = after;
        if !read_stretch(map, buffers, &stretch, here, messages)? {
            // What is damaged must not cost what can still be found from another mark.
            messages.retain(|(lsn, _)| here.binary_search(&lsn.0).is_err());
            let mut lost = Lost::default();
            for lsn in here {
                let alone = map.lock().find(&[*lsn]);
                let Some(stretch) = alone.first() else { continue };
                if !read_stretch(map, buffers, stretch, &[*lsn], messages)? {
                    lost.add(stretch, *lsn);
                }
            }
            lost.report();
        }
    }
    Ok(())
}

/// How often what was moved away while it was read is looked for again.
const ATTEMPTS: u32 = 8;

/// Adds those of `wanted` that are in `stretch` to `messages`. Answers false if something there is
/// damaged.
fn read_stretch(
    map: &Mutex<Map>,
    buffers: &ReadBuffers,
    stretch: &Stretch,
    wanted: &[u64],
    messages: &mut Vec<(Lsn, Bytes)>,
) -> Result<bool, ReadError> {
    let Stretch { segment, from, end, .. } = stretch;
    let size = usize::try_from(end.saturating_sub(from.at())).unwrap_or_default();
    let mut buffer = buffers.take(size);
    let read = segment.file.read_exact_at(buffer.as_mut(), from.at());
    // What was settled or moved meanwhile may have left with its segment, whose file may be another's now.
    if !map.lock().has(segment) {
        return Ok(true);
    }
    read.map_err(|source| ReadError { path: segment.path.clone(), source })?;
    let bytes = buffer.freeze();
    let walk = walk(&bytes, *from, segment.salt, wanted);
    if walk.is_damaged {
        return Ok(false);
    }
    let taken: usize = walk.found.iter().map(|(_, payload)| payload.len()).sum();
    // A few messages must not keep the memory of all around them.
    let is_shared = taken >= size / 2;
    messages.extend(walk.found.into_iter().map(|(lsn, payload)| {
        let payload =
            if is_shared { bytes.slice_ref(payload) } else { Bytes::copy_from_slice(payload) };
        (Lsn(lsn), payload)
    }));
    Ok(true)
}

/// What was found.
struct Walk<'a> {
    found: Vec<(u64, &'a [u8])>,
    is_damaged: bool,
}

/// Walks records from `from` on, where `bytes` start, until all of `wanted` have been passed.
fn walk<'a>(bytes: &'a [u8], from: Mark, salt: u64, wanted: &[u64]) -> Walk<'a> {
    let mut walk = Walk { found: Vec::with_capacity(wanted.len()), is_damaged: true };
    let mut wanted = wanted.iter().copied().peekable();
    let (mut lsn, mut left) = (from.lsn, from.left);
    let mut reader = Reader(bytes);
    loop {
        while wanted.next_if(|wanted| *wanted < lsn).is_some() {}
        let Some(&next) = wanted.peek() else { break };
        if left == 0 {
            if reader.0.is_empty() {
                break;
            }
            let header = UnitHeader::decode(reader.0).filter(|header| header.salt == salt);
            let Some(header) = header.filter(|header| header.first >= lsn) else { return walk };
            let _ = reader.bytes(unit::HEADER as u64);
            (lsn, left) = (header.first, header.count);
            continue;
        }
        let is_wanted = lsn == next;
        let record =
            if is_wanted { Record::read(&mut reader) } else { Record::read_own(&mut reader) };
        let Some(record) = record else { return walk };
        if is_wanted && let Some(Entry::Message { payload, .. }) = record.entry() {
            walk.found.push((lsn, payload));
        }
        lsn += 1;
        left -= 1;
    }
    walk.is_damaged = false;
    walk
}

/// Messages that cannot be read because of a damage.
#[derive(Default)]
struct Lost {
    first: Option<(PathBuf, u64, u64)>,
    last: u64,
    count: u64,
}

impl Lost {
    fn add(&mut self, stretch: &Stretch, lsn: u64) {
        self.first.get_or_insert_with(|| (stretch.segment.path.clone(), stretch.from.at(), lsn));
        self.last = lsn;
        self.count += 1;
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
        tracing::error!("{path} is damaged after byte {at}: {which} cannot be read; {WHAT_TO_DO}");
    }
}

const WHAT_TO_DO: &str = "stop the broker and restore the data directory from a backup, or go on without what is \
    damaged: `leveret store check` shows what is lost, `leveret store repair` keeps the rest";
