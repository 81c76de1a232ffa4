//! `basic.ack`, `basic.nack`, `basic.reject` and `basic.recover`.

use leveret_broker::{SettleGroup, Settlement, refusal};
use leveret_codec::{AmqpError, MethodId, basic};
use leveret_engine::{AnyEntry, Return};

use super::Connection;
use crate::channel::Mode;
use crate::outbox::{Rest, TakenSlots, UnknownTag};

/// A settlement of this turn that is not yet carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingSettlement {
    pub(super) channel: u16,
    settlement: Settlement,
    tag: u64,
    multiple: bool,
    method: MethodId,
}

impl Connection {
    pub(super) fn ack(&mut self, channel: u16, ack: basic::Ack) -> Result<(), AmqpError> {
        self.settle(PendingSettlement {
            channel,
            settlement: Settlement::Acknowledge,
            tag: ack.delivery_tag,
            multiple: ack.multiple,
            method: basic::Ack::ID,
        })
    }

    pub(super) fn nack(&mut self, channel: u16, nack: basic::Nack) -> Result<(), AmqpError> {
        self.settle(PendingSettlement {
            channel,
            settlement: rejection(nack.requeue, Return::Released),
            tag: nack.delivery_tag,
            multiple: nack.multiple,
            method: basic::Nack::ID,
        })
    }

    pub(super) fn reject(&mut self, channel: u16, reject: basic::Reject) -> Result<(), AmqpError> {
        self.settle(PendingSettlement {
            channel,
            settlement: rejection(reject.requeue, Return::Failed),
            tag: reject.delivery_tag,
            multiple: false,
            method: basic::Reject::ID,
        })
    }

    pub(super) fn recover(
        &mut self,
        number: u16,
        requeue: bool,
        answers: bool,
    ) -> Result<(), AmqpError> {
        if !requeue {
            return Err(refusal::recover_without_requeue());
        }
        self.settlements.push(PendingSettlement {
            channel: number,
            settlement: Settlement::Requeue(Return::Released),
            tag: 0,
            multiple: true,
            method: basic::Recover::ID,
        });
        self.flush_settlements();
        if answers {
            self.reply(|out| basic::RecoverOk {}.encode_frame(number, out));
        }
        Ok(())
    }

    /// Stages a settlement; a transaction keeps it until commit, its tags checked now.
    fn settle(&mut self, pending: PendingSettlement) -> Result<(), AmqpError> {
        let Some(channel) = self.channels.get_mut(&pending.channel) else { return Ok(()) };
        let Mode::Transaction(transaction) = &mut channel.mode else {
            self.settlements.push(pending);
            return Ok(());
        };
        let mut taken = TakenSlots::new();
        if let Some(mut out) = self.outbox.channel(pending.channel) {
            let rest = out.take(pending.tag, pending.multiple, &mut taken);
            let mut rest = rest.map_err(unknown_tag)?;
            while let Some(left) = rest {
                rest = out.take_rest(left, &mut taken);
            }
        }
        // Without end a client may settle all there is, of which there is nothing.
        if taken.is_empty() {
            return Ok(());
        }
        channel.open.uncommitted_acks.add(taken.len() as u64);
        let memory = taken.iter().map(|(_, slot)| slot.entry.memory()).sum();
        transaction.settlements.push((pending.settlement, taken));
        transaction.memory += memory;
        self.uncommitted.grow(memory)
    }

    /// Carries out the turn's settlements in order. One that names an unknown tag fails its
    /// channel, and what comes after it on the channel is discarded.
    pub(super) fn flush_settlements(&mut self) {
        if self.settlements.is_empty() {
            return;
        }
        let mut pending = std::mem::take(&mut self.settlements);
        let mut scratch = std::mem::take(&mut self.settling);
        for run in pending.chunk_by(|a, b| a.channel == b.channel && a.settlement == b.settlement) {
            if let Some(first) = run.first() {
                self.settle_run(first.channel, first.settlement, run, &mut scratch);
            }
        }
        self.settling = scratch;
        // Its room is used again, unless the channel's failure has put something there.
        if self.settlements.is_empty() {
            pending.clear();
            self.settlements = pending;
        }
    }

    /// Settlements of one channel and one kind: its outbox is locked once, and each queue once, unless
    /// they name very much.
    fn settle_run(
        &mut self,
        number: u16,
        settlement: Settlement,
        mut run: &[PendingSettlement],
        scratch: &mut Settling,
    ) {
        let mut rest = None;
        loop {
            let failed;
            (run, rest, failed) = self.settle_some(number, settlement, run, rest, scratch);
            if let Some(error) = failed {
                return self.fail_channel(number, error);
            }
            if run.is_empty() {
                return;
            }
        }
    }

    /// Carries out the first settlements, of which `rest` is left of the first of all. Returns those
    /// still to be carried out, what is left of the first of them, and how one failed.
    fn settle_some<'a>(
        &mut self,
        number: u16,
        settlement: Settlement,
        mut run: &'a [PendingSettlement],
        mut rest: Option<Rest>,
        Settling { taken, groups, spare }: &mut Settling,
    ) -> (&'a [PendingSettlement], Option<Rest>, Option<AmqpError>) {
        let Some(mut out) = self.outbox.channel(number) else { return (&[], None, None) };
        let mut failed = None;
        while let Some((one, later)) = run.split_first() {
            let left = match rest {
                Some(rest) => Ok(out.take_rest(rest, taken)),
                None => out.take(one.tag, one.multiple, taken),
            };
            match left {
                Ok(None) => (run, rest) = (later, None),
                Ok(left) => {
                    rest = left;
                    break;
                }
                Err(unknown) => {
                    failed = Some(unknown_tag(unknown).with_method(one.method));
                    break;
                }
            }
        }
        if settlement == Settlement::Acknowledge {
            out.count_acknowledged(taken.len());
        }
        out.group(taken.drain(..).map(|(_, slot)| slot), groups, spare);
        let unblocked = out.unblocked();
        drop(out);
        if let Some(session) = &mut self.session {
            for mut group in groups.drain(..) {
                session.settle(settlement, &mut group);
                group.entries.shrink_to(KEPT);
                spare.push(group.entries);
            }
        }
        taken.shrink_to(KEPT);
        self.unblock(unblocked);
        (run, rest, failed)
    }
}

/// Deliveries a connection keeps room for between settlements.
const KEPT: usize = 128;

/// Vectors used again from settlement to settlement.
#[derive(Default)]
pub(super) struct Settling {
    taken: TakenSlots,
    groups: Vec<SettleGroup>,
    spare: Vec<Vec<AnyEntry>>,
}

fn rejection(requeue: bool, kind: Return) -> Settlement {
    if requeue { Settlement::Requeue(kind) } else { Settlement::Discard }
}

fn unknown_tag(UnknownTag(tag): UnknownTag) -> AmqpError {
    refusal::unknown_delivery_tag(tag)
}
