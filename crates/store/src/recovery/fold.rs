//! Applies the records to each other: what is left are the messages not yet settled.

use std::collections::BTreeMap;

use ahash::AHashMap;
use bytes::Bytes;

use crate::{
    Lsn, RecoveredMessage, RecoveredPlace,
    encoding::Reader,
    record::{Entry, Record},
    tables::Change,
    unit::UnitHeader,
};

/// The state of the journal after the records seen so far.
pub(crate) struct Fold {
    /// Ascending by LSN; those without places are settled.
    messages: Vec<RecoveredMessage>,
    /// Messages which compaction has moved and whose first record is no longer there.
    moved: BTreeMap<u64, RecoveredMessage>,
    /// Queues that were dropped, with the LSN of the drop.
    dropped: AHashMap<u64, u64>,
    /// Definition changes above `applied`.
    pub(crate) changes: Vec<Change>,
    applied: u64,
    /// The last LSN before a process ended without closing the journal.
    pub(crate) crashed_at: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Fold {
    pub(crate) fn new(applied: u64) -> Self {
        Self {
            messages: Vec::new(),
            moved: BTreeMap::new(),
            dropped: AHashMap::new(),
            changes: Vec::new(),
            applied,
            crashed_at: 0,
            records: 0,
            bytes: 0,
        }
    }

    /// Applies a unit. Answers false if it holds a record this release does not know.
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

    /// The messages still waiting somewhere, ascending by LSN.
    pub(crate) fn finish(self) -> Vec<RecoveredMessage> {
        let Self { mut messages, moved, dropped, crashed_at, .. } = self;
        if !moved.is_empty() {
            messages.extend(moved.into_values());
            messages.sort_by_key(|message| message.lsn);
        }
        messages.retain_mut(|message| {
            if message.lsn.0 <= crashed_at {
                message.queues.iter_mut().for_each(|place| place.redelivered = true);
            }
            if !dropped.is_empty() {
                let lsn = message.lsn.0;
                message
                    .queues
                    .retain(|place| dropped.get(&place.queue).is_none_or(|dropped| lsn > *dropped));
            }
            !message.queues.is_empty()
        });
        messages
    }

    fn entry(&mut self, lsn: u64, entry: Entry<'_>) {
        match entry {
            Entry::Message { queues, payload } => {
                let queues = queues
                    .map(|queue| RecoveredPlace {
                        queue,
                        deliveries: 0,
                        redelivered: false,
                        delayed_until: 0,
                    })
                    .collect::<smallvec::SmallVec<[_; 1]>>();
                let payload = Bytes::copy_from_slice(payload);
                self.messages.push(RecoveredMessage { lsn: Lsn(lsn), queues, payload });
            }
            Entry::Ack { queue, ranges } => self.each(ranges, |message| {
                message.queues.retain(|place| place.queue != queue);
                if message.queues.is_empty() {
                    message.payload = Bytes::new();
                }
            }),
            Entry::Returned { queue, returns } => {
                for (lsn, deliveries) in returns {
                    self.place(lsn, queue, |place| {
                        place.deliveries = deliveries;
                        place.redelivered = true;
                        place.delayed_until = 0;
                    });
                }
            }
            Entry::Delayed { queue, delays } => {
                for (lsn, until) in delays {
                    self.place(lsn, queue, |place| place.delayed_until = until);
                }
            }
            Entry::Moved { lsn, places, payload, .. } => {
                // As long as its first record or an older copy is there that one counts.
                let is_known =
                    self.messages.binary_search_by_key(&lsn, |message| message.lsn.0).is_ok();
                if !is_known {
                    self.moved.entry(lsn).or_insert_with(|| RecoveredMessage {
                        lsn: Lsn(lsn),
                        queues: places.collect(),
                        payload: Bytes::copy_from_slice(payload),
                    });
                }
            }
            Entry::DropQueue { queue } => drop(self.dropped.insert(queue, lsn)),
            Entry::Define { payload } => {
                if lsn > self.applied {
                    self.changes.push((lsn, payload.to_vec()));
                }
            }
        }
    }

    fn place(&mut self, lsn: u64, queue: u64, change: impl Fn(&mut RecoveredPlace)) {
        self.each([(lsn, 1)], |message| {
            message.queues.iter_mut().filter(|place| place.queue == queue).for_each(&change);
        });
    }

    fn each(
        &mut self,
        ranges: impl IntoIterator<Item = (u64, u64)>,
        mut change: impl FnMut(&mut RecoveredMessage),
    ) {
        for (first, count) in ranges {
            let start = self.messages.partition_point(|message| message.lsn.0 < first);
            let rest = self.messages.get_mut(start..).unwrap_or_default();
            let end = first.saturating_add(count);
            let here = rest.iter_mut().take_while(|message| message.lsn.0 < end);
            let moved = self.moved.range_mut(first..end).map(|(_, message)| message);
            here.chain(moved).for_each(&mut change);
        }
    }
}
