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

/// Makes one unit of each run of units that only acknowledge and give back, or a few of a long one. Of the
/// numbers of their records it has the last ones: a unit may leave some out before it.
pub(super) fn join(units: &mut Vec<Unit>, bytes: &[u8]) {
    let mut joined = Vec::new();
    let mut run = Run::default();
    for unit in units.drain(..) {
        if run.messages >= MOST {
            joined.extend(std::mem::take(&mut run).unit());
        }
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
    /// How often it has named one.
    messages: u64,
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
                        self.messages += count;
                        let lsns = first..first.saturating_add(count);
                        let queue = self.queues.entry(queue).or_default();
                        queue.extend(lsns.map(|lsn| (lsn, None)));
                    }
                }
                Entry::Returned { queue, returns } => {
                    let queue = self.queues.entry(queue).or_default();
                    for (lsn, deliveries) in returns {
                        self.messages += 1;
                        queue.insert(lsn, Some(deliveries));
                    }
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

/// Messages in a run to which nothing is added any more: its unit has to find space at once.
const MOST: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_no_unit_larger_than_a_segment() {
        let mut first = 1;
        let mut units = Vec::new();
        for run in 0..40 {
            let mut batch = Batch::new();
            let returns: Vec<_> = (0..10_000).map(|lsn| (Lsn(run * 10_000 + lsn), 9)).collect();
            batch.returned(7, &returns);
            let (count, digest) = (batch.count, batch.digest.clone().finalize());
            units.push(Unit { first, count, digest, at: 0, body: Body::Own(batch.bytes) });
            first += u64::from(count);
        }
        join(&mut units, &[]);
        let lengths: Vec<usize> = units.iter().map(|unit| unit.body.len()).collect();
        assert!(units.len() < 10 && lengths.iter().all(|length| *length < 200_000), "{lengths:?}");
        let mut told = 0;
        for unit in &units {
            let mut run = Run::default();
            assert!(run.take(unit, &[]));
            told += run.queues.values().map(BTreeMap::len).sum::<usize>();
        }
        assert_eq!(told, 400_000);
    }
}
