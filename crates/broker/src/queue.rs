//! A queue as the broker holds it: the pure machine behind its lock, with its consumers.
//!
//! Lock order: vhost directory, a stream's order, queue, outbox or agenda. Nothing here waits while it holds the lock.

mod browse;
mod delivery;
mod delivery_count;
mod gate;
mod kept;
mod offset_header;
mod paging;
mod policies;
mod purpose;
mod restore;
mod schedule;
mod spec;
mod status;
mod stream;

use std::sync::{Arc, Weak};

use ahash::HashMap;
use leveret_codec::{Properties, TableBuf, TableLimits};
use leveret_engine::{
    AnyEntry, ConsumeRefused, ConsumerId, ConsumerSpec, Deduplicator, Entry, Got, Message, Millis,
    Overflow, Pushed, Queue, QueueId, Return, Settled,
};
use leveret_store::{Lsn, ReadError, Store};
use parking_lot::Mutex;

pub use self::browse::Browsed;
use self::delivery::Consumer;
use self::paging::Paged;
pub(crate) use self::paging::read as read_messages;
use self::policies::ConsumerTimeout;
pub(crate) use self::purpose::Purpose;
pub(crate) use self::schedule::QueueAgenda;
use self::schedule::{Lease, NEVER};
pub(crate) use self::spec::{QueueSpec, Settings};
pub(crate) use self::status::PastQueues;
pub use self::status::{ConsumerAbout, QueueConsumer, QueueStatus, QueueTotals, Reading};
use self::stream::StreamState;
use crate::buckets::Origin;
use crate::dead_letter::{DeadLettering, Death, Dying, KeptLetters, Reason};
use crate::firehose::Tracing;
use crate::policy::AppliedPolicies;
use crate::queue_type::QueueType;
use crate::session::SessionId;
use crate::spans::{SettleOutcome, Spans};
use crate::subscriber::Subscriber;
use crate::tail::Tails;
use crate::turn::{Abandoned, Turn};

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
    pub(crate) purpose: Purpose,
    pub(crate) queue_type: QueueType,
    tracing: Tracing,
    consumer_timeout: ConsumerTimeout,
    /// See [`order`](Self::order).
    order: Mutex<()>,
    state: Mutex<State>,
    agenda: Arc<QueueAgenda>,
    /// For its entry in the agenda.
    this: Weak<Self>,
}

/// Messages of a purge settled with one record.
const SETTLED_AT_ONCE: usize = 64 * 1024;

struct State {
    machine: Queue,
    /// What has the messages and readers of a stream, whose `machine` stays empty.
    stream: Option<Box<StreamState>>,
    consumers: HashMap<ConsumerId, Consumer>,
    dead_lettering: Option<Arc<DeadLettering>>,
    /// If it has ever dead-lettered.
    dying: Option<Dying>,
    policies: AppliedPolicies,
    /// Dead letters nobody has taken yet.
    kept: KeptLetters,
    /// Boxed: most queues take everything.
    deduplicator: Option<Box<Deduplicator>>,
    lease: Option<Lease>,
    /// What went through it. Boxed: many queues of a large broker never see a message.
    totals: Option<Box<QueueTotals>>,
    tails: Tails,
    paged: Paged,
    /// When the agenda has it, or [`NEVER`].
    scheduled: Millis,
    deleted: bool,
}

/// A message's properties, which were read without error when it was published.
pub(crate) fn properties(message: &Message) -> Properties<'_> {
    parsed(message.properties())
}

/// As [`properties`], of those a queue delivers it with.
pub(crate) fn parsed(raw: &[u8]) -> Properties<'_> {
    let limits = TableLimits { max_depth: TableLimits::DEEPEST, max_fields: usize::MAX };
    let properties = Properties::parse(raw, &limits);
    debug_assert!(properties.is_ok(), "the message was published with them");
    properties.unwrap_or_default()
}

/// A queue's numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages ready for delivery.
    pub ready: u64,
    /// Messages delivered and not yet settled.
    pub unacked: u64,
    /// Messages that came back and wait before they are ready.
    pub delayed: u64,
    /// Consumers.
    pub consumers: usize,
    /// Dead letters it keeps until somebody takes them.
    pub dead_letters: u64,
}

/// A message on its way into a queue.
pub(crate) struct Incoming {
    pub(crate) message: Message,
    pub(crate) lsn: Lsn,
    /// Kept in the journal for this queue.
    pub(crate) stored: bool,
    /// Its LSN is a record's, of its own or of none.
    pub(crate) is_in_batch: bool,
    pub(crate) origin: Origin,
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
    pub(crate) fn new(spec: QueueSpec, agenda: &Arc<QueueAgenda>) -> Arc<Self> {
        let settings = spec.settings;
        let mut dying = None;
        let dead_lettering =
            DeadLettering::of(&settings, spec.id, &spec.name, &spec.vhost, &mut dying);
        let queue = Arc::new_cyclic(|this| Self {
            id: spec.id,
            name: spec.name,
            vhost: spec.vhost,
            durable: spec.durable,
            auto_delete: spec.auto_delete,
            owner: spec.owner,
            arguments: spec.arguments,
            purpose: settings.purpose,
            queue_type: settings.queue_type,
            tracing: spec.tracing,
            consumer_timeout: ConsumerTimeout::new(settings.consumer_timeout),
            order: Mutex::default(),
            state: Mutex::new(State {
                machine: Queue::new(settings.machine),
                stream: (settings.queue_type == QueueType::Stream)
                    .then(|| Box::new(StreamState::new(settings.stream))),
                consumers: HashMap::default(),
                dead_lettering: dead_lettering.map(Arc::new),
                dying,
                policies: spec.policies,
                kept: KeptLetters::default(),
                deduplicator: settings
                    .deduplication
                    .map(|settings| Box::new(Deduplicator::new(settings))),
                lease: settings.expires.map(Lease::new),
                totals: None,
                tails: Tails::default(),
                paged: Paged::default(),
                scheduled: NEVER,
                deleted: false,
            }),
            agenda: Arc::clone(agenda),
            this: Weak::clone(this),
        });
        queue.reschedule(&mut queue.state.lock());
        queue
    }

    /// The queue's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The queue's identity; names are used again, identities aren't.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Its vhost's name.
    pub fn vhost(&self) -> &Arc<str> {
        &self.vhost
    }

    /// What kind of queue it is.
    pub fn queue_type(&self) -> QueueType {
        self.queue_type
    }

    /// Whether it survives a restart.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether it goes with its last consumer.
    pub fn is_auto_delete(&self) -> bool {
        self.auto_delete
    }

    /// The session it belongs to, if it is exclusive.
    pub fn owner(&self) -> Option<SessionId> {
        self.owner
    }

    /// Whether its deliveries are told of.
    pub(crate) fn is_traced(&self) -> bool {
        self.tracing.is_on()
    }

    /// What follows single messages of it, if something does.
    pub(crate) fn spans(&self) -> Option<&Arc<Spans>> {
        self.tracing.spans()
    }

    /// What it was declared with.
    pub fn arguments(&self) -> &TableBuf {
        &self.arguments
    }

    /// Whether the journal keeps a message for this queue.
    pub(crate) fn keeps(&self, message: &Message) -> bool {
        self.durable && (self.queue_type != QueueType::Classic || message.is_persistent())
    }

    /// Whether one consumer at a time gets its messages.
    pub(crate) fn has_single_active_consumer(&self) -> bool {
        self.state.lock().machine.settings().single_active_consumer
    }

    /// The queue's numbers.
    pub fn counts(&self) -> QueueCounts {
        self.state.lock().counts()
    }

    /// The queue's numbers, for whoever declares it: that counts as a use.
    pub(crate) fn declared(&self, now: Millis) -> QueueCounts {
        let mut state = self.state.lock();
        state.touch(now);
        state.counts()
    }

    /// Whether it needs no message of a delivery that comes back: it is a stream, which has them all,
    /// or it has been deleted.
    pub fn needs_no_returns(&self) -> bool {
        self.queue_type == QueueType::Stream || self.is_deleted()
    }

    /// So many of its unsettled deliveries, with so many body bytes, have been paged out.
    pub fn deliveries_paged_out(&self, len: u64, bytes: u64) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.state.lock().machine.unacked_paged(signed(len), signed(bytes));
    }

    /// Whether it has been deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.state.lock().deleted
    }

    /// How it dead-letters, unless it doesn't.
    pub(crate) fn dead_lettering(&self) -> Option<Arc<DeadLettering>> {
        let state = self.state.lock();
        state.dead_lettering.clone().filter(|_| !state.deleted)
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
        } else if state.stream.is_some() {
            self.append(&mut state, incoming);
            return;
        }
        state.count().publish += incoming.len() as u64;
        state.tails.show(incoming.iter().map(|one| &one.message));
        for Incoming { message, lsn, stored, is_in_batch: _, origin } in incoming.drain(..) {
            if let Some(deduplicator) = &mut state.deduplicator
                && !deduplicator.admits(&properties(&message), turn.now)
            {
                turn.settled.extend(stored.then_some(lsn));
                continue;
            }
            let mut entry = Entry::new(leveret_engine::Lsn(lsn.0), message);
            entry.stored = stored;
            entry.deadline = self.purpose.deadline(&entry.message);
            entry.redelivered = origin.redelivered;
            if stored && origin.redelivered {
                turn.returned.push((lsn, 0));
            }
            if origin.is_expected {
                state.machine.push_anyway(entry, turn.now);
                continue;
            }
            match state.machine.push(entry, turn.now) {
                Pushed::Accepted => {}
                Pushed::Refused(entry) => {
                    refused.extend(origin.ticket);
                    if state.machine.settings().overflow == Overflow::RejectPublishDlx {
                        state.bury(entry, Reason::MaxLength, turn);
                    } else if stored {
                        turn.settled.push(lsn);
                    }
                }
            }
        }
        self.dispatch(&mut state, turn);
    }

    /// Changes who watches it.
    pub(crate) fn tails(&self, change: impl FnOnce(&mut Tails)) {
        change(&mut self.state.lock().tails);
    }

    /// Credit comes back for settled deliveries of one consumer (or of `basic.get`).
    pub(crate) fn settle(
        &self,
        consumer: Option<ConsumerId>,
        entries: &[AnyEntry],
        turn: &mut Turn,
    ) {
        let load = Load::of(entries);
        let mut state = self.state.lock();
        if let Some(spans) = self.spans() {
            spans.settle(self, consumer, entries, SettleOutcome::Acknowledged, false);
        }
        if let (Some(_), Some(reader)) = (&state.stream, consumer) {
            self.settle_reads(&mut state, reader, Settled::Done, entries, turn);
            return;
        }
        load.settle(&mut state.machine, consumer);
        state.count().ack += u64::from(load.count);
        if !state.deleted {
            let stored = entries.iter().filter(|entry| entry.stored());
            turn.settled.extend(stored.map(|entry| Lsn(entry.lsn().0)));
        }
        self.dispatch(&mut state, turn);
    }

    /// As [`settle`](Self::settle), for deliveries that were rejected for good.
    pub(crate) fn discard(
        &self,
        consumer: Option<ConsumerId>,
        entries: &mut Vec<AnyEntry>,
        turn: &mut Turn,
    ) {
        let load = Load::of(entries);
        let mut state = self.state.lock();
        if let Some(spans) = self.spans() {
            let goes_on = state.dead_lettering.is_some() && !state.deleted;
            spans.settle(self, consumer, entries, SettleOutcome::Rejected, goes_on);
        }
        if let (Some(_), Some(reader)) = (&state.stream, consumer) {
            self.settle_reads(&mut state, reader, Settled::Done, entries, turn);
            entries.clear();
            return;
        }
        load.settle(&mut state.machine, consumer);
        if !state.deleted {
            entries.drain(..).for_each(|entry| state.bury(entry, Reason::Rejected, turn));
        }
        entries.clear();
        self.dispatch(&mut state, turn);
    }

    /// Puts unsettled deliveries back where they were, marked redelivered.
    pub(crate) fn requeue(
        &self,
        consumer: Option<ConsumerId>,
        entries: &mut Vec<AnyEntry>,
        kind: Return,
        turn: &mut Turn,
    ) {
        let mut state = self.state.lock();
        if let Some(spans) = self.spans() {
            let goes_on = state.stream.is_none() && !state.deleted;
            spans.settle(self, consumer, entries, SettleOutcome::Returned, goes_on);
        }
        if state.deleted {
            entries.clear();
            return;
        }
        if let (Some(_), Some(reader)) = (&state.stream, consumer) {
            self.settle_reads(&mut state, reader, Settled::Returned, entries, turn);
            entries.clear();
            return;
        }
        for entry in entries.drain(..) {
            let stored = entry.stored().then_some(Lsn(entry.lsn().0));
            let deliveries = entry.deliveries().saturating_add(1);
            turn.returned.extend(stored.map(|lsn| (lsn, deliveries)));
            let ready_at =
                state.machine.requeue(consumer, entry, kind, turn.now, &mut turn.effects);
            turn.delayed.extend(stored.zip(ready_at).map(|(lsn, at)| (lsn, at.0)));
        }
        self.dispatch(&mut state, turn);
    }

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
        state.consumers.insert(id, Consumer { subscriber, no_ack, about: Arc::new(about) });
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

    /// Removes all ready and delayed messages, and the dead ones it keeps, and says how many there
    /// were.
    pub(crate) fn purge(&self, turn: &mut Turn) -> u64 {
        let mut state = self.state.lock();
        let mut count = 0;
        let mut removed = |lsn: leveret_engine::Lsn, stored: bool, turn: &mut Turn| {
            count += 1;
            turn.settled.extend(stored.then_some(Lsn(lsn.0)));
            if turn.settled.len() >= SETTLED_AT_ONCE {
                turn.record(self.id);
            }
        };
        state.machine.purge(|lsn, stored| removed(lsn, stored, turn));
        state.purge_letters(turn.now, |lsn, stored| removed(lsn, stored, turn));
        self.carry_out(&mut state, turn);
        count
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
        Ok(self.delete_locked(&mut state, turn))
    }

    /// All ready messages, in their order.
    pub(crate) fn ready_messages(&self) -> Vec<Message> {
        self.state.lock().machine.ready().map(|entry| entry.message.clone()).collect()
    }

    /// Takes a queue away that never had consumers: its exchange is gone. What the journal has of
    /// it is the caller's to drop.
    pub(crate) fn abolish(&self) {
        let mut state = self.state.lock();
        state.deleted = true;
        self.unschedule(&mut state);
        state.machine.clear();
        self.tell_pager(&mut state);
    }

    fn delete_locked(&self, state: &mut State, turn: &mut Turn) -> u64 {
        state.deleted = true;
        self.unschedule(state);
        let ready = state.machine.ready_len();
        state.machine.clear();
        state.kept = KeptLetters::default();
        self.tell_pager(state);
        for (_, consumer) in state.consumers.drain() {
            turn.cancel(consumer.subscriber);
        }
        state.dead_lettering = None;
        match state.dying.take() {
            _ if !self.durable => {}
            Some(dying) => dying.depart(self.id, turn),
            None => turn.drop_queue(self.id),
        }
        ready
    }
}

impl State {
    fn counts(&self) -> QueueCounts {
        let (ready, unacked) = match &self.stream {
            Some(stream) => (stream.machine.len(), stream.machine.unsettled()),
            None => (self.machine.ready_len(), self.machine.unacked_len()),
        };
        QueueCounts {
            ready,
            unacked,
            delayed: self.machine.delayed_len(),
            consumers: self.consumers.len(),
            dead_letters: self.kept.load().0,
        }
    }

    /// A message has left without being consumed: it is dead-lettered, or it is gone.
    fn bury(&self, entry: impl Into<AnyEntry>, reason: Reason, turn: &mut Turn) {
        let entry = entry.into();
        if let Some(source) = &self.dead_lettering {
            turn.dead.push(Death { source: Arc::clone(source), entry, reason, past: None });
            return;
        }
        turn.count_discarded(reason, 1);
        if entry.stored() {
            turn.settled.push(Lsn(entry.lsn().0));
        }
    }
}

/// Deliveries that are settled together.
#[derive(Clone, Copy, Default)]
struct Load {
    count: u32,
    bytes: u64,
    /// Of those that are paged out.
    paged: i64,
    paged_bytes: i64,
}

impl Load {
    fn of(entries: &[AnyEntry]) -> Self {
        let mut load = Self::default();
        for entry in entries {
            let bytes = entry.bytes();
            load.count = load.count.saturating_add(1);
            load.bytes = load.bytes.saturating_add(bytes);
            if entry.is_paged() {
                load.paged += 1;
                load.paged_bytes = load.paged_bytes.saturating_add_unsigned(bytes);
            }
        }
        load
    }

    fn settle(&self, machine: &mut Queue, consumer: Option<ConsumerId>) {
        machine.settle(consumer, self.count, self.bytes);
        if self.paged > 0 {
            machine.unacked_paged(-self.paged, -self.paged_bytes);
        }
    }
}

/// Why a consumer was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddConsumerRefused {
    ExclusiveUse,
    Deleted,
}
