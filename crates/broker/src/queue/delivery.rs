//! From the queue machine's effects to consumers' outboxes and to the journal.

use std::sync::Arc;

use leveret_engine::{ConsumerId, Effect, Entry};
use parking_lot::MutexGuard;

use super::delivery_count::put_with_delivery_count;
use super::gate::DispatchGate;
use super::offset_header::put_with_offset;
use super::{ConsumerAbout, Purpose, SharedQueue, State};
use crate::firehose;
use crate::queue_type::QueueType;
use crate::spans::Receiver;
use crate::subscriber::{Subscriber, Wake};
use crate::turn::Turn;

/// A consumer as its queue knows it.
pub(super) struct Consumer {
    pub(super) subscriber: Arc<dyn Subscriber>,
    pub(super) no_ack: bool,
    pub(super) about: Arc<ConsumerAbout>,
    /// What the current dispatch gives it and its outbox doesn't hold yet, in bytes, about.
    pub(super) pending: usize,
}

impl SharedQueue {
    /// A message's properties as this queue delivers them: with how often it came back, if the
    /// queue counts that, or with its offset. `scratch` keeps what they differ by.
    pub fn delivered_properties<'a>(&self, entry: &'a Entry, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        scratch.clear();
        match self.queue_type {
            QueueType::Quorum if entry.deliveries > 0 => {
                put_with_delivery_count(&entry.message, entry.deliveries, scratch);
            }
            QueueType::Stream => put_with_offset(&entry.message, entry.lsn.0, scratch),
            QueueType::Classic | QueueType::Quorum => return entry.message.properties(),
        }
        scratch
    }

    /// Hands ready messages to ready consumers.
    pub(super) fn dispatch(&self, state: &mut MutexGuard<'_, State>, turn: &mut Turn) {
        if state.stream.is_some() {
            self.serve(state, turn);
            return;
        }
        let State { machine, consumers, .. } = &mut **state;
        let mut gate = DispatchGate(consumers);
        machine.dispatch(turn.now, &mut gate, &mut turn.effects);
        self.carry_out(state, turn);
    }

    /// Performs the machine's effects: deliveries go to their outboxes, the journal's records into
    /// the turn.
    pub(super) fn carry_out(&self, state: &mut MutexGuard<'_, State>, turn: &mut Turn) {
        let mut effects = std::mem::take(&mut turn.effects);
        let mut receiver = None;
        for effect in effects.drain(..) {
            match effect {
                Effect::Deliver { consumer, entry } => {
                    if receiver.is_some_and(|receiver| receiver != consumer) {
                        self.deliver(state, receiver, turn);
                    }
                    receiver = Some(consumer);
                    turn.run.push(entry);
                }
                Effect::Drop { .. } if self.purpose == Purpose::History => {}
                Effect::Drop { entry, reason } => state.bury(entry, reason.into(), turn),
            }
        }
        self.deliver(state, receiver, turn);
        turn.effects = effects;
        turn.record(self.id);
        self.reschedule(state);
        turn.piles_up |= self.tell_pager(state);
        if self.purpose == Purpose::History {
            self.shorten_history(state, turn);
        }
    }

    /// Delivers the turn's run to its receiver. Runs follow the queue's order, so that consumers
    /// that share a channel get their messages in it.
    pub(super) fn deliver(
        &self,
        state: &mut MutexGuard<'_, State>,
        receiver: Option<ConsumerId>,
        turn: &mut Turn,
    ) {
        let State { consumers, totals, .. } = &mut **state;
        let consumer = receiver.and_then(|receiver| consumers.get_mut(&receiver));
        let Some(consumer) = consumer else {
            // The machine only names consumers it has, and they are added and removed together.
            debug_assert!(turn.run.is_empty(), "delivery to an unknown consumer");
            turn.run.clear();
            return;
        };
        consumer.pending = 0;
        totals.get_or_insert_default().count_deliveries(&turn.run, consumer.no_ack);
        if consumer.no_ack {
            turn.consume_run();
        } else {
            turn.piles_up |= self.agenda.pager.is_behind();
        }
        if self.is_traced()
            && let Some(queue) = self.this.upgrade()
        {
            let about = &consumer.about;
            firehose::note(&queue, &turn.run, &about.client, about.channel, &mut turn.traced);
        }
        let followed = self.spans().and_then(|spans| {
            let ConsumerAbout { client, channel, tag, .. } = &*consumer.about;
            let (channel, consumer_id) = (*channel, receiver.map(|id| (id, tag)));
            let to = Receiver { client, channel, consumer: consumer_id, no_ack: consumer.no_ack };
            spans.leave(self, to, &turn.run)
        });
        if consumer.subscriber.deliver(&mut turn.run) == Wake::Needed {
            turn.wake(&consumer.subscriber);
        }
        if let Some(followed) = followed {
            followed.delivered();
        }
        debug_assert!(turn.run.is_empty(), "an admitted delivery was not taken");
        turn.run.clear();
    }
}
