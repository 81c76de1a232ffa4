//! Publisher confirms of one channel: which publishes are settled, told in order.

use std::collections::VecDeque;

use leveret_broker::Outcome;
use leveret_codec::basic;
use leveret_store::Lsn;

/// Confirms a channel owes its client. They leave in publish order, runs of acks as one with
/// `multiple`; a nack is always single, so nothing is ever covered twice.
pub(crate) struct Confirms {
    /// The number of the first pending publish.
    first: u64,
    pending: VecDeque<Outcome>,
}

impl Confirms {
    pub(crate) fn new() -> Self {
        Self { first: 1, pending: VecDeque::new() }
    }

    /// Adds the next publish's outcome.
    pub(crate) fn push(&mut self, sequence: u64, outcome: Outcome) {
        debug_assert_eq!(sequence, self.first + self.pending.len() as u64);
        self.pending.push_back(outcome);
    }

    /// What the next confirm waits for, if it waits.
    pub(crate) fn waits_for(&self) -> Option<Lsn> {
        match self.pending.front() {
            Some(Outcome::DurableAt(lsn)) => Some(*lsn),
            _ => None,
        }
    }

    /// How many publishes wait.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Writes the confirms that are due now that everything up to `durable` is on disk. Returns how
    /// many publishes were acknowledged.
    pub(crate) fn write_due(&mut self, durable: Lsn, channel: u16, out: &mut Vec<u8>) -> u64 {
        let (mut acked, mut all_acked) = (0u64, 0u64);
        while let Some(outcome) = self.pending.front() {
            match outcome {
                Outcome::DurableAt(lsn) if *lsn > durable => break,
                Outcome::Taken | Outcome::DurableAt(_) => {
                    acked += 1;
                    all_acked += 1;
                }
                Outcome::Refused => {
                    self.write_acks(std::mem::take(&mut acked), channel, out);
                    let nack =
                        basic::Nack { delivery_tag: self.first, multiple: false, requeue: false };
                    nack.encode_frame(channel, out);
                    self.first += 1;
                }
            }
            self.pending.pop_front();
        }
        self.write_acks(acked, channel, out);
        all_acked
    }

    fn write_acks(&mut self, count: u64, channel: u16, out: &mut Vec<u8>) {
        if count > 0 {
            self.first += count;
            basic::Ack { delivery_tag: self.first - 1, multiple: count > 1 }
                .encode_frame(channel, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use leveret_codec::{Method, split};

    use super::*;

    /// (tag, multiple, is an ack) of each frame.
    fn written(out: &[u8]) -> Vec<(u64, bool, bool)> {
        let mut rest = out;
        let mut confirms = Vec::new();
        while let Some((frame, length)) = split(rest, 0).unwrap() {
            match Method::decode(frame.payload).unwrap() {
                Method::BasicAck(ack) => confirms.push((ack.delivery_tag, ack.multiple, true)),
                Method::BasicNack(nack) => confirms.push((nack.delivery_tag, nack.multiple, false)),
                other => panic!("{other:?}"),
            }
            rest = &rest[length..];
        }
        confirms
    }

    #[test]
    fn confirms_leave_in_order_coalesced_and_each_once() {
        let mut confirms = Confirms::new();
        let outcomes = [
            Outcome::Taken,
            Outcome::DurableAt(Lsn(10)),
            Outcome::Refused,
            Outcome::DurableAt(Lsn(11)),
            Outcome::Taken,
            Outcome::DurableAt(Lsn(20)),
        ];
        for (sequence, outcome) in (1..).zip(outcomes) {
            confirms.push(sequence, outcome);
        }
        let mut out = Vec::new();
        confirms.write_due(Lsn(5), 1, &mut out);
        assert_eq!(written(&out), [(1, false, true)]);
        assert_eq!(confirms.waits_for(), Some(Lsn(10)));

        out.clear();
        confirms.write_due(Lsn(19), 1, &mut out);
        assert_eq!(written(&out), [(2, false, true), (3, false, false), (5, true, true)]);

        out.clear();
        confirms.write_due(Lsn(20), 1, &mut out);
        assert_eq!(written(&out), [(6, false, true)]);
        assert_eq!(confirms.waits_for(), None);
    }
}
