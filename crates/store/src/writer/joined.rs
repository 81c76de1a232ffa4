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

/// Messages a unit says something of, at most, if it is made of several. What settles many, as a purge does, takes
/// few bytes by itself.
const MESSAGES_MAX: u64 = 1 << 16;

/// Makes one unit of each run of units that only acknowledge and give back. Of the numbers of their records
/// it has the last ones: a unit may leave some out before it.
pub(super) fn join(units: &mut Vec<Unit>, bytes: &[u8]) {
    let mut joined = Vec::new();
    let mut run = Run::default();
    for unit in units.drain(..) {
        if run.take(&unit, bytes) {
            continue;
        }
        joined.extend(std::mem::take(&mut run).unit());
        if !run.take(&unit, bytes) {
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
    /// How many of its units' messages these are, some perhaps more than once.
    messages: u64,
    last: Option<u64>,
}

impl Run {
    /// Takes a unit of acknowledgements and returns if there is room for all of them; of others nothing.
    fn take(&mut self, unit: &Unit, bytes: &[u8]) -> bool {
        let entries = || {
            let mut reader = Reader(unit.body.bytes(bytes).get(unit::HEADER..).unwrap_or_default());
            std::iter::from_fn(move || Record::read_own(&mut reader)).map(|record| record.entry())
        };
        let mut messages = self.messages;
        for entry in entries() {
            let more = match entry {
                Some(Entry::Ack { ranges, .. }) => {
                    ranges.fold(0, |sum: u64, (_, count)| sum.saturating_add(count))
                }
                Some(Entry::Returned { returns, .. }) => returns.count() as u64,
                _ => return false,
            };
            messages = messages.saturating_add(more);
            if messages > MESSAGES_MAX {
                return false;
            }
        }
        self.messages = messages;
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
                    let queue = self.queues.entry(queue).or_default();
                    for (lsn, deliveries) in returns {
                        // What is settled stays so: whoever gave it back may tell of it late.
                        let said = queue.entry(lsn).or_insert(Some(deliveries));
                        *said = said.map(|_| deliveries);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A unit that settles messages of queue 1.
    fn unit(first: u64, lsns: impl Iterator<Item = u64>) -> Unit {
        let mut batch = Batch::new();
        batch.ack(1, &lsns.map(Lsn).collect::<Vec<_>>());
        let digest = batch.digest.clone().finalize();
        Unit { first, count: batch.count, digest, at: 0, body: Body::Own(batch.bytes) }
    }

    /// Of each unit its last number, and how many messages it settles.
    fn settled(units: &[Unit]) -> Vec<(u64, u64)> {
        let settled = units.iter().map(|unit| {
            let mut reader = Reader(unit.body.bytes(&[]).get(unit::HEADER..).unwrap());
            let records = std::iter::from_fn(|| Record::read_own(&mut reader));
            let settled = records.map(|record| match record.entry() {
                Some(Entry::Ack { queue: 1, ranges }) => {
                    ranges.map(|(_, count)| count).sum::<u64>()
                }
                entry => panic!("{entry:?}"),
            });
            (unit.first + u64::from(unit.count) - 1, settled.sum())
        });
        settled.collect()
    }

    #[test]
    fn small_units_become_one() {
        let mut units = vec![unit(100, 3..4), unit(101, 1..2), unit(105, 7..9)];
        join(&mut units, &[]);
        assert_eq!(settled(&units), [(105, 4)]);
    }

    /// The turn that gave a message back may end behind the one in which another consumer acknowledged it.
    #[test]
    fn what_is_settled_is_not_given_back_later() {
        let mut late = Batch::new();
        late.returned(1, &[(Lsn(7), 1), (Lsn(8), 1)]);
        let digest = late.digest.clone().finalize();
        let late =
            Unit { first: 101, count: late.count, digest, at: 0, body: Body::Own(late.bytes) };
        let mut run = Run::default();
        assert!(run.take(&unit(100, 7..8), &[]) && run.take(&late, &[]));
        let said: Vec<_> = run.queues[&1].iter().map(|(lsn, said)| (*lsn, *said)).collect();
        assert_eq!(said, [(7, None), (8, Some(1))]);
    }

    /// A purge may settle a hundred million: it is not written out.
    #[test]
    fn a_unit_that_settles_very_many_stays_as_it_is() {
        let large = MESSAGES_MAX + 1;
        let mut units = vec![unit(500, 1..3), unit(501, 3..3 + large), unit(502, 0..1)];
        join(&mut units, &[]);
        assert_eq!(settled(&units), [(500, 2), (501, large), (502, 1)]);
    }

    #[test]
    fn many_units_become_several() {
        let half = MESSAGES_MAX / 2;
        let part = |at: u64| unit(500 + at, at * half..(at + 1) * half);
        let mut units = (0..5).map(part).collect();
        join(&mut units, &[]);
        assert_eq!(settled(&units), [(501, 2 * half), (503, 2 * half), (504, half)]);
    }

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
