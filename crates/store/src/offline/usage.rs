//! What takes the space, and what keeps it.

use std::{collections::BTreeMap, path::Path};

use smallvec::SmallVec;

use super::{
    Damage, OfflineError, definitions, lock_to_read,
    survey::{self, Piece},
};
use crate::{
    Disk, Lsn, Table,
    encoding::Reader,
    record::{Entry, Record},
    segment::HEADER,
    store::JOURNAL,
    tables::{self, State},
};

/// What a data directory holds.
#[derive(Clone, Debug, Default)]
pub struct StoreUsage {
    /// Queues that have messages in the journal, by their number.
    pub queues: BTreeMap<u64, QueueUsage>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentUsage>,
    /// The definitions, `(table, key, value)`; none if they cannot be read.
    pub definitions: Vec<(Table, Vec<u8>, Vec<u8>)>,
    /// What cannot be read and is not counted.
    pub damages: Vec<Damage>,
}

/// A queue's share of the journal. A message in several queues counts whole for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueUsage {
    /// Messages waiting in it.
    pub live_messages: u64,
    /// Their bytes in the journal.
    pub live_bytes: u64,
    /// Messages it is done with, which are still in the journal.
    pub dead_messages: u64,
    /// Their bytes.
    pub dead_bytes: u64,
    /// The oldest message waiting in it.
    pub oldest: Option<Lsn>,
}

/// A segment of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentUsage {
    /// The number in its file's name.
    pub number: u64,
    /// Bytes of its file.
    pub size: u64,
    /// Bytes written.
    pub used: u64,
    /// Bytes of messages waiting in some queue.
    pub live_bytes: u64,
    /// Those messages.
    pub live_messages: u64,
    /// Why it is there.
    pub pin: Pin,
}

/// What keeps a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Messages in it, the oldest of which is this one, waiting in this queue.
    Message {
        /// The queue.
        queue: u64,
        /// The message.
        lsn: Lsn,
    },
    /// Definitions in it that are not in their tables yet.
    Definitions,
    /// The segment of this number, which is older: they go in order.
    Older(u64),
    /// It is the one being written.
    Tail,
    /// Nothing was ever written to it.
    Spare,
    /// Nothing: it goes when a broker runs.
    Nothing,
}

/// Reads the journal and the definitions in `dir` and adds up. Changes nothing.
///
/// # Errors
/// As [`check`](super::check()).
pub fn usage(disk: &dyn Disk, dir: &Path) -> Result<StoreUsage, OfflineError> {
    let _lock = lock_to_read(disk, dir)?;
    let (mut state, applied, unreadable) = match definitions::read(disk, dir)? {
        Ok((state, applied)) => (state, applied, None),
        Err(reason) => (State::new(), 0, Some(reason)),
    };
    let mut tally = Tally { applied, ..Tally::default() };
    let journal = dir.join(JOURNAL);
    let survey = survey::survey(disk, &journal, applied, |piece| {
        tally.piece(piece, &mut state);
        Ok::<_, OfflineError>(())
    })?;
    let mut usage = StoreUsage { damages: survey.damages, ..StoreUsage::default() };
    if let Some(reason) = unreadable {
        let path = dir.join(tables::FILE);
        usage.damages.push(Damage { path, offset: 0, lost: super::Lost::Definitions { reason } });
    }
    usage.definitions =
        state.into_iter().map(|((table, key), value)| (table, key, value)).collect();
    let tail = survey.files.iter().rposition(|file| file.has_units);
    usage.segments = survey
        .files
        .iter()
        .enumerate()
        .filter(|(_, file)| !file.is_missing)
        .map(|(index, file)| SegmentUsage {
            number: file.number,
            size: file.capacity,
            used: if file.has_units { file.end } else { HEADER },
            live_bytes: 0,
            live_messages: 0,
            pin: match tail {
                Some(tail) if index == tail => Pin::Tail,
                Some(tail) if index > tail => Pin::Spare,
                _ => Pin::Nothing,
            },
        })
        .collect();
    let numbers: Vec<u64> = survey.files.iter().map(|file| file.number).collect();
    tally.add_to(&mut usage, &numbers);
    Ok(usage)
}

/// A message as far as it matters here.
struct Tracked {
    lsn: u64,
    file: usize,
    bytes: u64,
    places: SmallVec<[u64; 1]>,
}

#[derive(Default)]
struct Tally {
    applied: u64,
    /// Ascending by LSN. Among them are settled ones, until there are as many as this.
    messages: Vec<Tracked>,
    forget_at: usize,
    /// Those whose first record is no longer there.
    moved: BTreeMap<u64, Tracked>,
    /// Places and their bytes ever written and still in the journal, by queue.
    written: BTreeMap<u64, (u64, u64)>,
    /// Files with definitions that are not in their tables.
    defining: Vec<usize>,
    dropped: BTreeMap<u64, u64>,
}

impl Tally {
    fn piece(&mut self, piece: &Piece<'_>, definitions: &mut State) {
        let mut reader = Reader(piece.records);
        let mut lsn = piece.header.first;
        loop {
            let before = reader.0.len();
            let Some(record) = Record::read_own(&mut reader) else { break };
            let bytes = (before - reader.0.len()) as u64;
            if let Some(entry) = record.entry() {
                self.entry(piece.file, lsn, bytes, entry, definitions);
            }
            lsn += 1;
        }
    }

    fn entry(
        &mut self,
        file: usize,
        lsn: u64,
        bytes: u64,
        entry: Entry<'_>,
        definitions: &mut State,
    ) {
        match entry {
            Entry::Message { queues, .. } => {
                let places: SmallVec<[u64; 1]> = queues.collect();
                for queue in &places {
                    let written = self.written.entry(*queue).or_default();
                    *written = (written.0 + 1, written.1 + bytes);
                }
                if self.messages.len() >= self.forget_at {
                    self.messages.retain(|message| !message.places.is_empty());
                    self.forget_at = self.messages.len().saturating_mul(2).max(SETTLED_KEPT);
                }
                self.messages.push(Tracked { lsn, file, bytes, places });
            }
            Entry::Ack { queue, ranges } => {
                for (first, count) in ranges {
                    let start = self.messages.partition_point(|message| message.lsn < first);
                    let end = first.saturating_add(count);
                    let rest = self.messages.get_mut(start..).unwrap_or_default();
                    let here = rest.iter_mut().take_while(|message| message.lsn < end);
                    let moved = self.moved.range_mut(first..end).map(|(_, message)| message);
                    for message in here.chain(moved) {
                        message.places.retain(|place| *place != queue);
                    }
                }
            }
            Entry::Moved { lsn, places, .. } => {
                let places: SmallVec<[u64; 1]> = places.map(|place| place.queue).collect();
                for queue in &places {
                    let written = self.written.entry(*queue).or_default();
                    *written = (written.0 + 1, written.1 + bytes);
                }
                // As long as an older record is there that one counts.
                if self.messages.binary_search_by_key(&lsn, |message| message.lsn).is_err() {
                    self.moved.entry(lsn).or_insert(Tracked { lsn, file, bytes, places });
                }
            }
            Entry::DropQueue { queue } => drop(self.dropped.insert(queue, lsn)),
            Entry::Define { payload } => {
                if lsn > self.applied {
                    tables::fold(definitions, payload);
                    self.defining.push(file);
                }
            }
            Entry::Returned { .. } | Entry::Delayed { .. } => {}
        }
    }

    fn add_to(mut self, usage: &mut StoreUsage, numbers: &[u64]) {
        let segment = |usage: &mut StoreUsage, file: usize| {
            let number = numbers.get(file)?;
            usage.segments.iter().position(|segment| segment.number == *number)
        };
        self.defining.dedup();
        for file in self.defining {
            if let Some(at) = segment(usage, file)
                && let Some(segment) = usage.segments.get_mut(at)
            {
                segment.pin = Pin::Definitions;
            }
        }
        for (queue, (messages, bytes)) in self.written {
            let queue = usage.queues.entry(queue).or_default();
            (queue.dead_messages, queue.dead_bytes) = (messages, bytes);
        }
        // The moved ones are older, most of them.
        for message in self.moved.into_values().chain(self.messages) {
            let Tracked { lsn, file, bytes, mut places } = message;
            places.retain(|queue| self.dropped.get(queue).is_none_or(|dropped| lsn > *dropped));
            let Some(&first) = places.first() else { continue };
            for queue in places {
                let queue = usage.queues.entry(queue).or_default();
                queue.live_messages += 1;
                queue.live_bytes += bytes;
                queue.dead_messages = queue.dead_messages.saturating_sub(1);
                queue.dead_bytes = queue.dead_bytes.saturating_sub(bytes);
                let oldest = queue.oldest.get_or_insert(Lsn(lsn));
                *oldest = (*oldest).min(Lsn(lsn));
            }
            if let Some(at) = segment(usage, file)
                && let Some(segment) = usage.segments.get_mut(at)
            {
                segment.live_bytes += bytes;
                segment.live_messages += 1;
                let is_oldest = match segment.pin {
                    Pin::Message { lsn: oldest, .. } => lsn < oldest.0,
                    _ => true,
                };
                if is_oldest {
                    segment.pin = Pin::Message { queue: first, lsn: Lsn(lsn) };
                }
            }
        }
        let mut older = None;
        for segment in &mut usage.segments {
            match segment.pin {
                Pin::Message { .. } | Pin::Definitions => {
                    older.get_or_insert(segment.number);
                }
                Pin::Nothing => {
                    if let Some(older) = older {
                        segment.pin = Pin::Older(older);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Settled messages that are worth no search for others.
const SETTLED_KEPT: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, record, unit};

    #[test]
    fn settled_messages_are_not_kept() {
        let mut batch = Batch::new();
        let mut tally = Tally::default();
        let mut entry = |lsn: u64, add: &dyn Fn(&mut Batch)| {
            batch.clear();
            add(&mut batch);
            let mut reader = Reader(batch.bytes.get(unit::HEADER..).unwrap_or_default());
            let record = Record::read(&mut reader).unwrap();
            tally.entry(0, lsn, record.length(), record.entry().unwrap(), &mut State::new());
            tally.messages.len()
        };
        // Every hundredth stays.
        let kept = (1..400_000).step_by(2).map(|lsn| {
            entry(lsn, &|batch| {
                batch.message(&[1], &[b"body"]);
            });
            entry(lsn + 1, &|batch| {
                if lsn % 200 != 1 {
                    batch.ack(1, &[Lsn(lsn)]);
                } else {
                    batch.ack(2, &[Lsn(lsn)]);
                }
            })
        });
        assert_eq!(kept.max(), Some(SETTLED_KEPT));
        let mut usage = StoreUsage::default();
        tally.add_to(&mut usage, &[1]);
        let queue = usage.queues.get(&1).unwrap();
        assert_eq!((queue.live_messages, queue.dead_messages), (2000, 198_000));
        assert_eq!(queue.live_bytes, 2000 * (record::HEADER as u64 + 16 + 8));
    }
}
