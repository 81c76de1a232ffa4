//! Shows every record.

use std::{io, path::Path};

use super::{OfflineError, definitions, lock_to_read, survey};
use crate::{
    Definition, Disk, Lsn, RecoveredPlace,
    definitions::DefinitionsIter,
    encoding::Reader,
    record::{Entry, Record},
    store::JOURNAL,
};

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpedRecord<'a> {
    /// A message.
    Message {
        /// The queues it was put into.
        queues: Vec<u64>,
        /// As it was given to [`Batch::message`](crate::Batch::message).
        payload: &'a [u8],
    },
    /// Messages settled in a queue.
    Ack {
        /// The queue.
        queue: u64,
        /// The messages, as runs of `(first LSN, count)`.
        runs: Vec<(u64, u64)>,
    },
    /// Messages given back to a queue.
    Returned {
        /// The queue.
        queue: u64,
        /// `(LSN, delivery count)`.
        returns: Vec<(u64, u32)>,
    },
    /// Messages waiting in a queue until a time.
    Delayed {
        /// The queue.
        queue: u64,
        /// What [`Batch::delayed`](crate::Batch::delayed) was given.
        delays: Vec<(u64, u64)>,
    },
    /// A queue was deleted.
    DropQueue {
        /// The queue.
        queue: u64,
    },
    /// A message that compaction copied here.
    Moved {
        /// Its number.
        message: Lsn,
        /// Where it waits.
        places: Vec<RecoveredPlace>,
        /// As it was given to [`Batch::message`](crate::Batch::message).
        payload: &'a [u8],
    },
    /// Definitions were changed.
    Define {
        /// The changes.
        changes: Vec<Definition>,
    },
}

/// Shows every readable record of the journal in `dir` to `each`, in order: the number of its segment,
/// the offset of its unit, its LSN, itself. Changes nothing.
///
/// # Errors
/// As [`check`](super::check()); and the first of `each`.
pub fn dump(
    disk: &dyn Disk,
    dir: &Path,
    mut each: impl FnMut(u64, u64, Lsn, DumpedRecord<'_>) -> io::Result<()>,
) -> Result<(), OfflineError> {
    let _lock = lock_to_read(disk, dir)?;
    let applied = definitions::read(disk, dir)?.map_or(0, |(_, applied)| applied);
    survey::survey(disk, &dir.join(JOURNAL), applied, |piece| {
        let mut reader = Reader(piece.records);
        let mut lsn = piece.header.first;
        while let Some(record) = Record::read_own(&mut reader) {
            if let Some(entry) = record.entry() {
                each(piece.number, piece.offset, Lsn(lsn), entry.into())
                    .map_err(OfflineError::Output)?;
            }
            lsn += 1;
        }
        Ok(())
    })
    .map(drop)
}

impl<'a> From<Entry<'a>> for DumpedRecord<'a> {
    fn from(entry: Entry<'a>) -> Self {
        match entry {
            Entry::Message { queues, payload } => {
                Self::Message { queues: queues.collect(), payload }
            }
            Entry::Ack { queue, ranges } => Self::Ack { queue, runs: ranges.collect() },
            Entry::Returned { queue, returns } => {
                Self::Returned { queue, returns: returns.collect() }
            }
            Entry::Delayed { queue, delays } => Self::Delayed { queue, delays: delays.collect() },
            Entry::DropQueue { queue } => Self::DropQueue { queue },
            Entry::Moved { lsn, places, payload, .. } => {
                Self::Moved { message: Lsn(lsn), places: places.collect(), payload }
            }
            Entry::Define { payload } => Self::Define {
                changes: DefinitionsIter::new(Reader(payload)).into_iter().flatten().collect(),
            },
        }
    }
}
