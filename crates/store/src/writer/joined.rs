//! Settlements written together, where space is short.
//!
//! On a full disk what is left of the journal has to take all that settles its oldest segment. In a unit of
//! its own an acknowledgement takes 96 bytes, and a message in many queues, or a small one of many published
//! together, less than its acknowledgements do. Together they take a few bytes each.

use std::collections::BTreeMap;

use crate::{
    Batch, Lsn,
    encoding::Reader,
    record::{Entry, Record},
    shared::{Body, Unit},
    unit,
};

/// Makes one unit of each run of units that only acknowledge and give back. Of the numbers of their records
/// it has the last ones: a unit may leave some out before it.
pub(super) fn join(units: &mut Vec<Unit>, bytes: &[u8]) {
    let mut joined = Vec::new();
    let mut run = Run::default();
    for unit in units.drain(..) {
        if !run.take(&unit, bytes) {
            joined.extend(std::mem::take(&mut run).unit());
            joined.push(unit);
        }
    }
    joined.extend(run.unit());
    *units = joined;
}

/// What a run of units says.
#[derive(Default)]
struct Run {
    /// Of each message by queue: how often it was delivered if it was given back, `None` if it is settled.
    queues: BTreeMap<u64, BTreeMap<u64, Option<u32>>>,
    last: Option<u64>,
}

impl Run {
    /// Takes a unit of acknowledgements and returns; of others nothing.
    fn take(&mut self, unit: &Unit, bytes: &[u8]) -> bool {
        let entries = || {
            let mut reader = Reader(unit.body.bytes(bytes).get(unit::HEADER..).unwrap_or_default());
            std::iter::from_fn(move || Record::read_own(&mut reader)).map(|record| record.entry())
        };
        let is_known = |entry| matches!(entry, Some(Entry::Ack { .. } | Entry::Returned { .. }));
        if !entries().all(is_known) {
            return false;
        }
        for entry in entries().flatten() {
            match entry {
                Entry::Ack { queue, ranges } => {
                    for (first, count) in ranges {
                        let lsns = first..first.saturating_add(count);
                        let queue = self.queues.entry(queue).or_default();
                        queue.extend(lsns.map(|lsn| (lsn, None)));
                    }
                }
                Entry::Returned { queue, returns } => {
                    let returns = returns.map(|(lsn, deliveries)| (lsn, Some(deliveries)));
                    self.queues.entry(queue).or_default().extend(returns);
                }
                _ => {}
            }
        }
        self.last = Some(unit.first + u64::from(unit.count) - 1);
        true
    }

    /// One that says the same; none for no unit.
    fn unit(self) -> Option<Unit> {
        let last = self.last?;
        let mut batch = Batch::new();
        for (queue, messages) in self.queues {
            let returned =
                messages.iter().filter_map(|(lsn, returned)| Some((Lsn(*lsn), (*returned)?)));
            batch.returned(queue, &returned.collect::<Vec<_>>());
            let settled = messages.iter().filter(|(_, returned)| returned.is_none());
            batch.ack(queue, &settled.map(|(lsn, _)| Lsn(*lsn)).collect::<Vec<_>>());
        }
        if batch.is_empty() {
            // Its last number is waited for all the same.
            batch.nothing();
        }
        let count = batch.count;
        let first = last + 1 - u64::from(count);
        let digest = batch.digest.clone().finalize();
        Some(Unit { first, count, digest, at: 0, body: Body::Own(batch.bytes) })
    }
}
