//! What takes the space, and what keeps it.
//!
//! The journal is read twice: first to see what is settled, which takes a bit or two of memory for each message,
//! then to count.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{Damage, OfflineError, definitions, lock_to_read, survey};
use crate::{
    Disk, Lsn, Table,
    live::LsnSet,
    record::Entry,
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
    let journal = dir.join(JOURNAL);
    let mut waiting = Waiting::default();
    let mut defining = BTreeSet::new();
    survey::survey(disk, &journal, applied, |piece| {
        piece.each_record(|lsn, _, entry| match entry {
            Entry::Define { payload } if lsn > applied => {
                tables::fold(&mut state, payload);
                defining.insert(piece.file);
            }
            entry => waiting.record(lsn, entry),
        });
        Ok::<_, OfflineError>(())
    })?;
    let mut tally = Tally { waiting, ..Tally::default() };
    let survey = survey::survey(disk, &journal, applied, |piece| {
        piece.each_record(|lsn, bytes, entry| tally.record(piece.file, lsn, bytes, entry));
        Ok::<_, OfflineError>(())
    })?;
    let mut damages = survey.damages;
    if let Some(reason) = unreadable {
        let path = dir.join(tables::FILE);
        damages.push(Damage { path, offset: 0, lost: super::Lost::Definitions { reason } });
    }
    let tail = survey.files.iter().rposition(|file| file.has_units);
    let mut segments = Vec::new();
    for (index, file) in survey.files.iter().enumerate().filter(|(_, file)| !file.is_missing) {
        let waiting = tally.files.get(&index);
        let pin = match (waiting, tail) {
            (Some(FileUsage { oldest: (lsn, queue), .. }), _) => {
                Pin::Message { queue: *queue, lsn: *lsn }
            }
            (None, _) if defining.contains(&index) => Pin::Definitions,
            (None, Some(tail)) if index == tail => Pin::Tail,
            (None, Some(tail)) if index > tail => Pin::Spare,
            (None, _) => Pin::Nothing,
        };
        segments.push(SegmentUsage {
            number: file.number,
            size: file.capacity,
            used: if file.has_units { file.end } else { HEADER },
            live_bytes: waiting.map_or(0, |waiting| waiting.bytes),
            live_messages: waiting.map_or(0, |waiting| waiting.messages),
            pin,
        });
    }
    wait_for_older(&mut segments);
    let definitions = state.into_iter().map(|((table, key), value)| (table, key, value)).collect();
    Ok(StoreUsage { queues: tally.queues, segments, definitions, damages })
}

/// Says of segments that nothing keeps but an older one which that is.
fn wait_for_older(segments: &mut [SegmentUsage]) {
    let mut older = None;
    for segment in segments {
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

/// What is not settled, by queue.
#[derive(Default)]
struct Waiting(BTreeMap<u64, LsnSet>);

impl Waiting {
    fn record(&mut self, lsn: u64, entry: Entry<'_>) {
        match entry {
            Entry::Message { queues, .. } => {
                queues.for_each(|queue| self.0.entry(queue).or_default().insert(lsn, 1));
            }
            // Where an older record is there as well nothing is new in this one.
            Entry::Moved { lsn, places, .. } => {
                places.for_each(|place| self.0.entry(place.queue).or_default().insert(lsn, 1));
            }
            Entry::Ack { queue, ranges } => {
                ranges.for_each(|(first, count)| self.settle(queue, first, count));
            }
            Entry::DropQueue { queue } => self.settle(queue, 0, lsn),
            Entry::Define { .. } | Entry::Returned { .. } | Entry::Delayed { .. } => {}
        }
    }

    fn settle(&mut self, queue: u64, first: u64, count: u64) {
        if let Some(lsns) = self.0.get_mut(&queue) {
            lsns.remove(first, count);
        }
    }

    /// Takes the place of a message in a queue. Answers whether it was there.
    fn take(&mut self, queue: u64, lsn: u64) -> bool {
        self.0.get_mut(&queue).is_some_and(|lsns| lsns.remove(lsn, 1) > 0)
    }
}

/// What has been counted.
#[derive(Default)]
struct Tally {
    /// What waits and has not been met.
    waiting: Waiting,
    queues: BTreeMap<u64, QueueUsage>,
    files: BTreeMap<usize, FileUsage>,
}

/// The messages in a file that wait in some queue.
struct FileUsage {
    messages: u64,
    bytes: u64,
    /// The oldest, and a queue in which it waits.
    oldest: (Lsn, u64),
}

impl Tally {
    fn record(&mut self, file: usize, lsn: u64, bytes: u64, entry: Entry<'_>) {
        match entry {
            Entry::Message { queues, .. } => self.message(file, lsn, bytes, queues),
            // As long as an older record is there that one counts.
            Entry::Moved { lsn, places, .. } => {
                self.message(file, lsn, bytes, places.map(|place| place.queue));
            }
            _ => {}
        }
    }

    fn message(&mut self, file: usize, lsn: u64, bytes: u64, queues: impl Iterator<Item = u64>) {
        let mut waits_in = None;
        for queue in queues {
            let usage = self.queues.entry(queue).or_default();
            if !self.waiting.take(queue, lsn) {
                usage.dead_messages += 1;
                usage.dead_bytes += bytes;
                continue;
            }
            usage.live_messages += 1;
            usage.live_bytes += bytes;
            let oldest = usage.oldest.get_or_insert(Lsn(lsn));
            *oldest = (*oldest).min(Lsn(lsn));
            waits_in.get_or_insert(queue);
        }
        let Some(queue) = waits_in else { return };
        let this = (Lsn(lsn), queue);
        let file = self.files.entry(file);
        let file = file.or_insert(FileUsage { messages: 0, bytes: 0, oldest: this });
        file.messages += 1;
        file.bytes += bytes;
        file.oldest = file.oldest.min(this);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, encoding::Reader, record::Record, unit};

    #[test]
    fn a_message_that_waits_takes_a_bit_or_two() {
        let mut batch = Batch::new();
        let mut waiting = Waiting::default();
        let mut entry = |lsn: u64, add: &dyn Fn(&mut Batch)| {
            batch.clear();
            add(&mut batch);
            let mut reader = Reader(batch.bytes.get(unit::HEADER..).unwrap_or_default());
            let record = Record::read(&mut reader).unwrap();
            waiting.record(lsn, record.entry().unwrap());
        };
        for lsn in (1..800_000).step_by(2) {
            entry(lsn, &|batch| {
                batch.message(&[1], &[b"body"]);
            });
            // Every hundredth is settled.
            let queue = if lsn % 200 == 1 { 1 } else { 2 };
            entry(lsn + 1, &|batch| batch.ack(queue, &[Lsn(lsn)]));
        }
        let waits = &waiting.0[&1];
        assert_eq!(waits.iter().count(), 396_000);
        assert!(waits.memory() < 396_000 / 3, "{}", waits.memory());
    }
}
