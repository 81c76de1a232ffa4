//! What one turn of work leaves to be done once the queue locks are released.

use std::sync::Arc;

use leveret_engine::{AnyEntry, Effect, Entry, Millis, QueueId};
use leveret_store::{Batch, Lsn, Store};

use crate::dead_letter::{Behind, Death, DeathsByReason, Departed, Reason};
use crate::firehose::TracedDelivery;
use crate::queue::SharedQueue;
use crate::subscriber::Subscriber;

/// A reusable notebook for a turn: a connection's read batch, a writer's unblocking, a tick.
///
/// Queues write into it under their locks (acknowledgements to record, messages that died, writers
/// to wake, queues that lost their last consumer); [`Broker::finish`](crate::Broker::finish) then acts on it with no
/// lock held. Reused, it allocates nothing in steady state.
#[derive(Default)]
pub struct Turn {
    pub(crate) now: Millis,
    /// Scratch for the queue machine.
    pub(crate) effects: Vec<Effect>,
    /// Scratch: consecutive deliveries to one consumer.
    pub(crate) run: Vec<Entry>,
    pub(crate) settled: Vec<Lsn>,
    pub(crate) returned: Vec<(Lsn, u32)>,
    /// Of those that are delayed, until when.
    pub(crate) delayed: Vec<(Lsn, u64)>,
    /// The first record of the batch being enqueued, while that is so.
    pub(crate) fresh_from: Option<Lsn>,
    /// Records of that batch that a queue was done with at once: whoever waits for the disk on
    /// their behalf need not.
    pub(crate) consumed: Vec<Lsn>,
    /// Lazily synced records of this turn.
    pub(crate) records: Batch,
    /// What died in queues that dead-letter.
    pub(crate) dead: Vec<Death<AnyEntry>>,
    /// Dead letters that waited have gone on in the last tick: it is the turn of others.
    pub(crate) has_gone_on: bool,
    /// What died since it [began](Self::begin) and has to wait.
    pub(crate) behind: Vec<Behind>,
    /// Deleted queues of which messages may be dying.
    pub(crate) departed: Vec<Departed>,
    /// What died in queues that don't.
    discarded: DeathsByReason,
    /// Deliveries the firehose is to tell of.
    pub(crate) traced: Vec<TracedDelivery>,
    /// Messages stay that were put into queues since it [began](Self::begin), and more wait to be
    /// written than may.
    pub(crate) piles_up: bool,
    /// What is written is to free space, not to take it: that messages were given back is not.
    is_disk_full: bool,
    wakes: Vec<Arc<dyn Subscriber>>,
    cancelled: Vec<Arc<dyn Subscriber>>,
    /// Whether those are told at a later end: an answer of this turn waits for the disk.
    pub(crate) holds_cancels: bool,
    abandoned: Vec<(Arc<SharedQueue>, Abandoned)>,
}

/// Why a queue may have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abandoned {
    /// It is an auto-delete queue and lost its last consumer.
    ByConsumers,
    /// It was not used for as long as its `x-expires` says.
    ByEveryone,
}

impl Turn {
    /// An empty notebook.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time of what follows, which ends up in this store.
    pub fn begin(&mut self, now: Millis, store: &Store) {
        self.now = now;
        self.piles_up = false;
        self.behind.clear();
        self.is_disk_full = store.is_full();
    }

    /// The time this turn runs at, in unix milliseconds.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The run goes to a no-ack consumer: that settles what is stored of it.
    pub(crate) fn consume_run(&mut self) {
        let Self { run, settled, consumed, fresh_from, .. } = self;
        let stored = run.iter().filter(|entry| entry.stored).map(|entry| Lsn(entry.lsn.0));
        if let Some(first) = fresh_from {
            consumed.extend(stored.clone().filter(|lsn| lsn >= first));
        }
        settled.extend(stored);
    }

    /// Writes down what the queue's effects did to its stored messages.
    pub(crate) fn record(&mut self, queue: QueueId) {
        if !self.settled.is_empty() {
            self.records.ack(queue.0, &self.settled);
            self.settled.clear();
        }
        if !self.is_disk_full {
            self.records.returned(queue.0, &self.returned);
            self.records.delayed(queue.0, &self.delayed);
        }
        self.returned.clear();
        self.delayed.clear();
    }

    /// The queue is gone, and its stored messages with it.
    pub(crate) fn drop_queue(&mut self, queue: QueueId) {
        self.records.drop_queue(queue.0);
    }

    pub(crate) fn wake(&mut self, subscriber: &Arc<dyn Subscriber>) {
        self.wakes.push(Arc::clone(subscriber));
    }

    /// The consumer's queue is gone: its client is told at the end of the turn, behind the answer
    /// to whoever deleted the queue.
    pub(crate) fn cancel(&mut self, subscriber: Arc<dyn Subscriber>) {
        self.cancelled.push(subscriber);
    }

    pub(crate) fn abandon(&mut self, queue: Arc<SharedQueue>, abandoned: Abandoned) {
        self.abandoned.push((queue, abandoned));
    }

    /// Whether queues are left that may have to go.
    pub(crate) fn has_abandoned(&self) -> bool {
        !self.abandoned.is_empty()
    }

    /// A queue that may have to go, if one is left.
    pub(crate) fn next_abandoned(&mut self) -> Option<(Arc<SharedQueue>, Abandoned)> {
        self.abandoned.pop()
    }

    /// A message died in a queue that doesn't dead-letter.
    pub(crate) fn count_discarded(&mut self, reason: Reason, deaths: u64) {
        self.discarded.count(reason, deaths);
    }

    pub(crate) fn take_discarded(&mut self) -> DeathsByReason {
        std::mem::take(&mut self.discarded)
    }

    /// Appends the records and wakes the writers.
    pub(crate) fn flush(&mut self, store: &Store) {
        if !self.records.is_empty() {
            store.append(&mut self.records);
        }
        if !self.holds_cancels {
            for subscriber in self.cancelled.drain(..) {
                subscriber.cancelled();
                self.wakes.push(subscriber);
            }
        }
        for subscriber in self.wakes.drain(..) {
            subscriber.wake();
        }
    }
}
