//! What stays of the records of streams that a repair loses.
//!
//! A message's offset is its place in the stream, so those behind one that is lost would get lower ones. The summary of
//! a full segment has all of its records but for the content of messages. So for those of streams that are lost a record
//! without the message is written, which takes its place, and which whoever reads the stream passes over. What settles
//! messages of streams is written again as it was, with the definitions: they say where a stream begins then. A message
//! of which another record can be read has its place by that.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use crate::{
    Batch, Lsn, RecoveredPlace,
    live::LsnSet,
    record::Entry,
    segment::Segment,
    summary::{Part, Sealed},
};

/// Records that may take the places of lost ones, by their LSNs.
pub(super) type Tombstones = BTreeMap<u64, Tombstone>;

/// A record without its message, or one that has none.
pub(super) enum Tombstone {
    /// Of a message.
    Message {
        /// The streams that had it.
        queues: Vec<u64>,
    },
    /// Of one that had been moved.
    Moved {
        /// As in its record.
        from: u64,
        /// The message.
        lsn: u64,
        /// Of those in its record those in streams.
        places: Vec<RecoveredPlace>,
    },
    /// Of a stream.
    Ack {
        /// The stream.
        queue: u64,
        /// What is settled in it, as runs of `(first LSN, count)`.
        runs: Vec<(u64, u64)>,
    },
    /// A stream was deleted.
    DropQueue {
        /// The stream.
        queue: u64,
    },
    /// The payload of a change of definitions.
    Define(Vec<u8>),
}

impl Tombstone {
    /// Whether a unit with this record has no others than such.
    pub(super) const fn is_moved(&self) -> bool {
        matches!(self, Self::Moved { .. })
    }

    /// Adds the record.
    pub(super) fn add_to(&self, batch: &mut Batch) {
        match self {
            Self::Message { queues } => {
                batch.message(queues, &[]);
            }
            Self::Moved { from, lsn, places } => batch.moved(*from, *lsn, places, &[]),
            Self::Ack { queue, runs } => {
                let run = |(first, count): &(u64, u64)| *first..first.saturating_add(*count);
                let lsns: Vec<Lsn> = runs.iter().flat_map(run).map(Lsn).collect();
                batch.ack(*queue, &lsns);
            }
            Self::DropQueue { queue } => batch.drop_queue(*queue),
            Self::Define(payload) => batch.define_encoded(payload),
        }
    }

    /// Of what a summary says of a record.
    fn of(entry: Entry<'_>, streams: &BTreeSet<u64>) -> Option<Self> {
        Some(match entry {
            Entry::Message { queues, .. } => {
                let queues: Vec<u64> = queues.filter(|queue| streams.contains(queue)).collect();
                Self::Message { queues: Some(queues).filter(|queues| !queues.is_empty())? }
            }
            Entry::Moved { from, lsn, places, .. } => {
                let places: Vec<_> =
                    places.filter(|place| streams.contains(&place.queue)).collect();
                let places = Some(places).filter(|places| !places.is_empty())?;
                Self::Moved { from, lsn, places }
            }
            Entry::Ack { queue, ranges } if streams.contains(&queue) => {
                let runs: Vec<_> = ranges.collect();
                Self::Ack { queue, runs: Some(runs).filter(|runs| !runs.is_empty())? }
            }
            Entry::DropQueue { queue } if streams.contains(&queue) => Self::DropQueue { queue },
            Entry::Define { payload } => Self::Define(payload.to_vec()),
            _ => return None,
        })
    }
}

/// Those of all records of streams in a segment, and of its definitions, but for messages that are `readable`; none if
/// it has no summary.
pub(super) fn of(
    segment: &Segment,
    streams: &BTreeSet<u64>,
    readable: &LsnSet,
) -> io::Result<Tombstones> {
    let mut tombstones = Tombstones::new();
    if streams.is_empty() {
        return Ok(tombstones);
    }
    let Some(summary) = Sealed::read(segment)? else { return Ok(tombstones) };
    let mut next = 0;
    let makes_sense = summary.replay(|part| {
        let tombstone = match part {
            Part::Unit { first, .. } => {
                next = first;
                return;
            }
            Part::Message { queue, .. } => {
                streams.contains(&queue).then(|| Tombstone::Message { queues: vec![queue] })
            }
            Part::Record { entry, .. } => Tombstone::of(entry, streams),
        };
        let message = match tombstone {
            Some(Tombstone::Moved { lsn, .. }) => lsn,
            _ => next,
        };
        tombstones.extend(tombstone.filter(|_| !readable.contains(message)).map(|one| (next, one)));
        next += 1;
    });
    if !makes_sense {
        tombstones.clear();
    }
    Ok(tombstones)
}
