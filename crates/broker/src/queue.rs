//! A queue as the broker holds it: the pure machine behind its lock, with its consumers.
//!
//! Lock order: vhost directory, queue, outbox. Nothing here waits while it holds the lock.

use std::sync::Arc;

use ahash::HashMap;
use leveret_codec::TableBuf;
use leveret_engine::{
    Admission, ConsumeRefused, ConsumerId, ConsumerSpec, Effect, Entry, Gate, Message, Pushed,
    Queue, QueueId, QueueSettings,
};
use leveret_store::Lsn;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::session::SessionId;
use crate::subscriber::{Subscriber, Wake};
use crate::turn::Turn;

/// A queue shared by everyone who publishes to it, consumes from it or manages it.
pub struct SharedQueue {
    pub(crate) id: QueueId,
    pub(crate) name: Arc<str>,
    pub(crate) vhost: Arc<str>,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    /// The connection an exclusive queue belongs to.
    pub(crate) owner: Option<SessionId>,
    pub(crate) arguments: TableBuf,
    state: Mutex<State>,
}

struct State {
    machine: Queue,
    consumers: HashMap<ConsumerId, Consumer>,
    deleted: bool,
}

struct Consumer {
    subscriber: Arc<dyn Subscriber>,
    no_ack: bool,
}

/// What a new queue is.
pub(crate) struct QueueSpec {
    pub(crate) id: QueueId,
    pub(crate) name: Arc<str>,
    pub(crate) vhost: Arc<str>,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) owner: Option<SessionId>,
    pub(crate) arguments: TableBuf,
    pub(crate) settings: QueueSettings,
}

/// A queue's numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages ready for delivery.
    pub ready: u64,
    /// Messages delivered and not yet settled.
    pub unacked: u64,
    /// Consumers.
    pub consumers: usize,
}

/// A message on its way into a queue.
pub(crate) struct Incoming {
    pub(crate) message: Message,
    pub(crate) lsn: Lsn,
    /// Kept in the journal for this queue.
    pub(crate) stored: bool,
    /// Kept in the journal for some queue: its LSN is its record's.
    pub(crate) recorded: bool,
    /// Index of the publish's confirm ticket, if it has one.
    pub(crate) ticket: Option<u32>,
}

/// Why a queue could not be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeleteRefused {
    InUse,
    NotEmpty,
}

/// When a queue may be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteIf {
    /// Only when it has no consumers.
    pub unused: bool,
    /// Only when it has no ready messages.
    pub empty: bool,
}

impl SharedQueue {
    pub(crate) fn new(spec: QueueSpec) -> Self {
        Self {
            id: spec.id,
            name: spec.name,
            vhost: spec.vhost,
            durable: spec.durable,
            auto_delete: spec.auto_delete,
            owner: spec.owner,
            arguments: spec.arguments,
            state: Mutex::new(State {
                machine: Queue::new(spec.settings),
                consumers: HashMap::default(),
                deleted: false,
            }),
        }
    }

    /// The queue's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The queue's identity; names are used again, identities aren't.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// The queue's numbers.
    pub fn counts(&self) -> QueueCounts {
        let state = self.state.lock();
        QueueCounts {
            ready: state.machine.ready_len(),
            unacked: state.machine.unacked_len(),
            consumers: state.consumers.len(),
        }
    }

    /// Puts a recovered message back, before anyone can consume. Its time to live counts from when
    /// it was published.
    pub(crate) fn restore(&self, mut entry: Entry) {
        let mut state = self.state.lock();
        let arrival = entry.message.timestamp();
        entry.deadline = state.machine.settings().deadline(&entry.message, arrival);
        state.machine.restore(entry);
    }

    /// Takes messages in order and hands what it can to ready consumers. Tickets of refused
    /// messages are added to `refused`.
    pub(crate) fn publish(
        &self,
        incoming: &mut Vec<Incoming>,
        turn: &mut Turn,
        refused: &mut Vec<u32>,
    ) {
        let mut state = self.state.lock();
        if state.deleted {
            // The queue went away after the message was routed: as if it had been deleted just
            // after it arrived.
            turn.settled.extend(incoming.drain(..).filter(|m| m.stored).map(|m| m.lsn));
        }
        for Incoming { message, lsn, stored, recorded: _, ticket } in incoming.drain(..) {
            let mut entry = Entry::new(leveret_engine::Lsn(lsn.0), message);
            entry.stored = stored;
            match state.machine.push(entry, turn.now) {
                Pushed::Accepted => {}
                Pushed::Refused(_) => {
                    if stored {
                        turn.settled.push(lsn);
                    }
                    refused.extend(ticket);
                }
            }
        }
        self.dispatch(&mut state, turn);
    }

    /// Credit comes back for settled deliveries of one consumer (or of `basic.get`).
    pub(crate) fn settle(&self, consumer: Option<ConsumerId>, entries: &[Entry], turn: &mut Turn) {
        let bytes = entries.iter().map(|entry| entry.message.size() as u64).sum();
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let mut state = self.state.lock();
        state.machine.settle(consumer, count, bytes);
        if !state.deleted {
            let stored = entries.iter().filter(|entry| entry.stored);
            turn.settled.extend(stored.map(|entry| Lsn(entry.lsn.0)));
        }
        self.dispatch(&mut state, turn);
    }

    /// Puts unsettled deliveries back where they were, marked redelivered.
    pub(crate) fn requeue(
        &self,
        entries: impl IntoIterator<Item = (Option<ConsumerId>, Entry)>,
        turn: &mut Turn,
    ) {
        let mut state = self.state.lock();
        if state.deleted {
            return;
        }
        for (consumer, entry) in entries {
            if entry.stored {
                turn.returned.push((Lsn(entry.lsn.0), entry.deliveries.saturating_add(1)));
            }
            state.machine.requeue(consumer, entry, turn.now, &mut turn.effects);
        }
        self.dispatch(&mut state, turn);
    }

    /// Adds a consumer without delivering to it yet: its consume-ok has to leave first.
    pub(crate) fn add_consumer(
        &self,
        spec: ConsumerSpec,
        subscriber: Arc<dyn Subscriber>,
    ) -> Result<(), AddConsumerRefused> {
        let mut state = self.state.lock();
        if state.deleted {
            return Err(AddConsumerRefused::Deleted);
        }
        let (id, no_ack) = (spec.id, spec.no_ack);
        state
            .machine
            .add_consumer(spec)
            .map_err(|ConsumeRefused::ExclusiveInUse| AddConsumerRefused::ExclusiveUse)?;
        state.consumers.insert(id, Consumer { subscriber, no_ack });
        Ok(())
    }

    /// Whether a consumer is still there; the queue's deletion takes it away behind its channel's
    /// back.
    pub fn has_consumer(&self, consumer: ConsumerId) -> bool {
        self.state.lock().consumers.contains_key(&consumer)
    }

    /// Removes a consumer; what it holds unsettled stays with its channel.
    pub(crate) fn remove_consumer(self: &Arc<Self>, consumer: ConsumerId, turn: &mut Turn) {
        let mut state = self.state.lock();
        if state.consumers.remove(&consumer).is_none() {
            return;
        }
        if state.machine.remove_consumer(consumer).was_last && self.auto_delete {
            turn.abandon(self);
        }
        self.dispatch(&mut state, turn);
    }

    /// A consumer that had answered `Blocked` can take deliveries again.
    pub fn unblock(&self, consumer: ConsumerId, turn: &mut Turn) {
        let mut state = self.state.lock();
        state.machine.unblock(consumer);
        self.dispatch(&mut state, turn);
    }

    /// `basic.get`: the next ready message and the number of ready messages left.
    pub(crate) fn get(&self, no_ack: bool, turn: &mut Turn) -> Option<(Entry, u64)> {
        let mut state = self.state.lock();
        let entry = state.machine.get(turn.now, no_ack, &mut turn.effects);
        let left = state.machine.ready_len();
        if let Some(entry) = &entry
            && entry.stored
        {
            match (no_ack, entry.redelivered) {
                (true, _) => turn.settled.push(Lsn(entry.lsn.0)),
                (false, false) => turn.delivered.push(Lsn(entry.lsn.0)),
                (false, true) => {}
            }
        }
        self.carry_out(&mut state, turn);
        entry.map(|entry| (entry, left))
    }

    /// Removes all ready messages and says how many there were.
    pub(crate) fn purge(&self, turn: &mut Turn) -> u64 {
        let mut removed = Vec::new();
        let mut state = self.state.lock();
        state.machine.purge(&mut removed);
        turn.settled.extend(removed.iter().filter(|e| e.stored).map(|e| Lsn(e.lsn.0)));
        self.carry_out(&mut state, turn);
        removed.len() as u64
    }

    /// Marks the queue deleted, unless a condition is not met; tells its consumers. The caller
    /// holds the vhost's directory and takes the name out of it.
    pub(crate) fn delete(&self, when: DeleteIf, turn: &mut Turn) -> Result<u64, DeleteRefused> {
        let mut state = self.state.lock();
        if when.unused && !state.consumers.is_empty() {
            return Err(DeleteRefused::InUse);
        }
        if when.empty && state.machine.ready_len() > 0 {
            return Err(DeleteRefused::NotEmpty);
        }
        state.deleted = true;
        let ready = state.machine.ready_len();
        state.machine.drain(&mut Vec::new(), &mut Vec::new());
        for (_, consumer) in state.consumers.drain() {
            turn.cancel(consumer.subscriber);
        }
        drop(state);
        if self.durable {
            turn.drop_queue(self.id);
        }
        Ok(ready)
    }

    fn dispatch(&self, state: &mut MutexGuard<'_, State>, turn: &mut Turn) {
        let State { machine, consumers, .. } = &mut **state;
        let mut gate = DispatchGate { consumers, pending: SmallVec::new() };
        machine.dispatch(turn.now, &mut gate, &mut turn.effects);
        self.carry_out(state, turn);
    }

    /// Performs the machine's effects: deliveries go to their outboxes, the journal's records into
    /// the turn.
    fn carry_out(&self, state: &mut MutexGuard<'_, State>, turn: &mut Turn) {
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
                Effect::Drop { entry, reason: _ } => {
                    if entry.stored {
                        turn.settled.push(Lsn(entry.lsn.0));
                    }
                }
            }
        }
        self.deliver(state, receiver, turn);
        turn.effects = effects;
        turn.record(self.id);
    }

    /// Delivers the turn's run to its receiver. Runs follow the queue's order, so that consumers
    /// that share a channel get their messages in it.
    fn deliver(
        &self,
        state: &mut MutexGuard<'_, State>,
        receiver: Option<ConsumerId>,
        turn: &mut Turn,
    ) {
        let consumer = receiver.and_then(|receiver| state.consumers.get(&receiver));
        let Some(consumer) = consumer else {
            // The machine only names consumers it has, and they are added and removed together.
            debug_assert!(turn.run.is_empty(), "delivery to an unknown consumer");
            turn.run.clear();
            return;
        };
        let stored = turn.run.iter().filter(|entry| entry.stored);
        if consumer.no_ack {
            turn.settled.extend(stored.map(|entry| Lsn(entry.lsn.0)));
        } else {
            let first_time = stored.filter(|entry| !entry.redelivered);
            turn.delivered.extend(first_time.map(|entry| Lsn(entry.lsn.0)));
        }
        if consumer.subscriber.deliver(&mut turn.run) == Wake::Needed {
            turn.wake(&consumer.subscriber);
        }
        debug_assert!(turn.run.is_empty(), "an admitted delivery was not taken");
        turn.run.clear();
    }
}

/// Why a consumer was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddConsumerRefused {
    ExclusiveUse,
    Deleted,
}

/// Asks the consumers' outboxes, which don't yet hold what the current dispatch gives them.
struct DispatchGate<'a> {
    consumers: &'a HashMap<ConsumerId, Consumer>,
    pending: SmallVec<[(ConsumerId, usize); 4]>,
}

/// What a delivery takes in an outbox besides its body, about.
const DELIVERY_OVERHEAD: usize = 100;

impl Gate for DispatchGate<'_> {
    fn admit(&mut self, consumer: ConsumerId) -> Admission {
        let pending = self.pending.iter().find(|(id, _)| *id == consumer);
        let pending = pending.map_or(0, |(_, bytes)| *bytes);
        // The machine only names consumers it has, and they are added and removed together.
        self.consumers
            .get(&consumer)
            .map_or(Admission::Blocked, |consumer| consumer.subscriber.admit(pending))
    }

    fn delivered(&mut self, consumer: ConsumerId, bytes: usize) {
        let bytes = bytes + DELIVERY_OVERHEAD;
        match self.pending.iter_mut().find(|(id, _)| *id == consumer) {
            Some((_, pending)) => *pending += bytes,
            None => self.pending.push((consumer, bytes)),
        }
    }
}
