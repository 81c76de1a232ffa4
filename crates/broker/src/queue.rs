//! A queue as the broker holds it: the pure machine behind its lock, with its consumers.
//!
//! Lock order: vhost directory, a stream's order, queue, outbox or agenda. Nothing here waits while it holds the lock.

mod browse;
mod consume;
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
mod settle;
mod spec;
mod status;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use ahash::HashMap;
use leveret_codec::{Properties, TableBuf, TableLimits};
use leveret_engine::{
    AnyEntry, ConsumerId, Entry, Message, Millis, Overflow, Pushed, Queue, QueueId,
};
use leveret_store::Lsn;
use parking_lot::Mutex;

pub use self::browse::Browsed;
pub(crate) use self::consume::AddConsumerRefused;
use self::delivery::Consumer;
use self::paging::Paged;
pub(crate) use self::paging::read as read_messages;
use self::policies::ConsumerTimeout;
pub(crate) use self::purpose::Purpose;
pub(crate) use self::restore::paged_entry;
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
use crate::remembered::Rememberer;
use crate::session::SessionId;
use crate::spans::Spans;
use crate::tail::Tails;
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
    deduplicator: Option<Box<Rememberer>>,
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
    let properties = Properties::parse(raw, &TableLimits::ACCEPTED);
    debug_assert!(properties.is_ok(), "the message was published with them");
    properties.unwrap_or_default()
}

/// A queue's numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages ready for delivery.
    pub ready: u64,
    /// Messages delivered and not yet settled; none of a stream's, which are ready all the time.
    pub unacked: u64,
    /// Messages that came back and wait before they are ready.
    pub delayed: u64,
    /// Consumers.
    pub consumers: usize,
    /// Dead letters it keeps until somebody takes them.
    pub dead_letters: u64,
}

impl QueueCounts {
    /// All the messages it answers for.
    pub fn messages(&self) -> u64 {
        self.ready + self.unacked + self.delayed + self.dead_letters
    }
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
                    .map(|settings| Box::new(Rememberer::new(settings, agenda.pager.remembered()))),
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
            turn.record(self.id);
            return;
        }
        if state.stream.is_some() {
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
        state.deduplicator = None;
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
        let ready = match &self.stream {
            Some(stream) => stream.machine.len(),
            None => self.machine.ready_len(),
        };
        QueueCounts {
            ready,
            unacked: self.machine.unacked_len(),
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
