//! Who takes messages from a queue.

use std::sync::Arc;

use leveret_engine::{ConsumeRefused, ConsumerId, ConsumerSpec, Entry, GiveBack, Got};
use leveret_store::{Lsn, ReadError, Store};

use super::delivery::Consumer;
use super::{ConsumerAbout, SharedQueue};
use crate::subscriber::Subscriber;
use crate::turn::{Abandoned, Turn};

/// Why a consumer was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddConsumerRefused {
    ExclusiveUse,
    Deleted,
}

impl SharedQueue {
    /// Adds a consumer without delivering to it yet: its consume-ok has to leave first.
    pub(crate) fn add_consumer(
        &self,
        spec: ConsumerSpec,
        about: ConsumerAbout,
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
        let about = Arc::new(about);
        state.consumers.insert(id, Consumer { subscriber, no_ack, about, pending: 0 });
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
        state.consumers.give_back();
        if state.stream.is_some() {
            self.remove_reader(&mut state, consumer, turn);
            return;
        }
        if state.machine.remove_consumer(consumer).was_last && self.auto_delete {
            turn.abandon(Arc::clone(self), Abandoned::ByConsumers);
        }
        state.touch(turn.now);
        self.dispatch(&mut state, turn);
    }

    /// A consumer that had answered `Blocked` can take deliveries again.
    pub fn unblock(&self, consumer: ConsumerId, turn: &mut Turn) {
        let mut state = self.state.lock();
        match &mut state.stream {
            Some(stream) => stream.machine.unblock(consumer),
            None => state.machine.unblock(consumer),
        }
        self.dispatch(&mut state, turn);
    }

    /// `basic.get`: the next ready message and the number of ready messages left. Reads it from
    /// disk if need be: few messages, of which the next to come are then at hand.
    ///
    /// # Errors
    /// When that can't be done.
    pub(crate) fn get(
        &self,
        no_ack: bool,
        store: &Store,
        turn: &mut Turn,
    ) -> Result<Option<(Entry, u64)>, ReadError> {
        let mut state = self.state.lock();
        state.touch(turn.now);
        let entry = loop {
            match state.machine.get(turn.now, no_ack, &mut turn.effects) {
                Got::Message(entry) => break Some(entry),
                Got::Nothing => break None,
                Got::Paged => {
                    self.carry_out(&mut state, turn);
                    drop(state);
                    self.read_front(store)?;
                    state = self.state.lock();
                }
            }
        };
        let left = state.machine.ready_len();
        state.count_get(entry.as_ref(), no_ack);
        if let Some(entry) = &entry
            && entry.stored
            && no_ack
        {
            turn.settled.push(Lsn(entry.lsn.0));
        }
        self.carry_out(&mut state, turn);
        Ok(entry.map(|entry| (entry, left)))
    }
}
