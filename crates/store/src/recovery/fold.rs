//! Takes from the records what [`Live`] does not: what messages are like, and definitions.

use std::collections::BTreeMap;

use super::backlog::{Backlog, Known};
use crate::{
    Outline,
    encoding::Reader,
    live::Live,
    record::{Entry, Record},
    tables::Change,
    unit::UnitHeader,
};

/// What the records seen so far say.
pub(crate) struct Fold {
    outline: fn(&[u8]) -> Outline,
    queues: BTreeMap<u64, Known>,
    /// Definition changes above `applied`.
    pub(crate) changes: Vec<Change>,
    applied: u64,
    /// The last LSN before a process ended without closing the journal.
    pub(crate) crashed_at: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Fold {
    pub(crate) fn new(applied: u64, outline: fn(&[u8]) -> Outline) -> Self {
        Self {
            outline,
            queues: BTreeMap::new(),
            changes: Vec::new(),
            applied,
            crashed_at: 0,
            records: 0,
            bytes: 0,
        }
    }

    /// Takes a unit. Answers false if it holds a record this release does not know.
    pub(crate) fn unit(&mut self, header: &UnitHeader, body: &[u8]) -> bool {
        self.records += u64::from(header.count);
        self.bytes += body.len() as u64;
        let mut reader = Reader(body);
        let mut lsn = header.first;
        while let Some(record) = Record::read_own(&mut reader) {
            let Some(entry) = record.entry() else { return false };
            self.entry(lsn, entry);
            lsn += 1;
        }
        true
    }

    /// The process that wrote the units up to `last` ended without closing the journal: what it had
    /// delivered is unknown, so every message it held may have been.
    pub(crate) fn crashed(&mut self, last: u64) {
        self.crashed_at = last;
    }

    /// The messages still waiting somewhere, by queue.
    pub(crate) fn finish(self, live: &Live) -> Vec<Backlog> {
        let Self { queues, crashed_at, .. } = self;
        let backlogs = queues.into_iter().map(|(queue, known)| {
            Backlog::gather(queue, &known, live.waiting_in(queue), crashed_at)
        });
        backlogs.filter(|backlog| !backlog.is_empty()).collect()
    }

    fn entry(&mut self, lsn: u64, entry: Entry<'_>) {
        match entry {
            Entry::Message { queues, payload } => {
                let outline = (self.outline)(payload);
                for queue in queues {
                    self.queues.entry(queue).or_default().write(lsn, &outline);
                }
            }
            Entry::Moved { lsn, places, payload, .. } => {
                let outline = (self.outline)(payload);
                for place in places {
                    self.queues.entry(place.queue).or_default().find_moved(lsn, &outline);
                }
            }
            Entry::Define { payload } => {
                if lsn > self.applied {
                    self.changes.push((lsn, payload.to_vec()));
                }
            }
            Entry::Ack { .. }
            | Entry::Returned { .. }
            | Entry::Delayed { .. }
            | Entry::DropQueue { .. } => {}
        }
    }
}
