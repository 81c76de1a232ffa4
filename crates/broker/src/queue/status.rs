//! A queue as operators see it.

use std::sync::Arc;

use leveret_codec::TableBuf;
use leveret_engine::{
    ConsumerId, ConsumerSpec, ConsumerStatus, DelayedRetry, Entry, Millis, ReaderStatus,
};

use super::{QueueCounts, SharedQueue, State, properties};
use crate::delayed_retry;
use crate::policy::AppliedPolicies;
use crate::session::{Client, SessionId};
use crate::totals::totals;

totals! {
    /// Messages that went through a queue, in RabbitMQ's names.
    QueueTotals,
    /// What went through queues that are gone.
    PastQueues
    {
        /// Routed to it.
        publish,
        /// Delivered to consumers that acknowledge.
        deliver,
        /// Delivered to consumers that don't.
        deliver_no_ack,
        /// Fetched to be acknowledged.
        get,
        /// Fetched and done with.
        get_no_ack,
        /// Fetches of nothing.
        get_empty,
        /// Acknowledged.
        ack,
        /// Delivered or fetched once more.
        redeliver,
    }
}

/// A queue's numbers and settings at one moment.
#[derive(Clone, Debug)]
pub struct QueueStatus {
    /// Messages ready for delivery.
    pub ready: u64,
    /// Bytes of their bodies, of a stream's messages as a whole.
    pub ready_bytes: u64,
    /// Messages ready for delivery that are on disk only.
    pub paged: u64,
    /// Bytes of their bodies.
    pub paged_bytes: u64,
    /// Messages delivered and not yet settled; none of a stream's, which are ready all the time.
    pub unacked: u64,
    /// Bytes of their bodies.
    pub unacked_bytes: u64,
    /// Those of them that are on disk only.
    pub unacked_paged: u64,
    /// Bytes of their bodies.
    pub unacked_paged_bytes: u64,
    /// Messages that came back and wait before they are ready.
    pub delayed: u64,
    /// Bytes of their bodies.
    pub delayed_bytes: u64,
    /// Those of them that are on disk only.
    pub delayed_paged: u64,
    /// Bytes of their bodies.
    pub delayed_paged_bytes: u64,
    /// When the first of those that wait does so no longer, in Unix milliseconds.
    pub next_delayed_at: Option<Millis>,
    /// When the last of those that wait does so no longer, in Unix milliseconds.
    pub last_delayed_at: Option<Millis>,
    /// Dead letters it keeps until somebody takes them.
    pub dead_letters: u64,
    /// Bytes of their bodies.
    pub dead_letter_bytes: u64,
    /// Those of them that are on disk only.
    pub dead_letters_paged: u64,
    /// Bytes of their bodies.
    pub dead_letter_bytes_paged: u64,
    /// Its consumers.
    pub consumers: usize,
    /// What went through it; `None` if nothing ever did.
    pub totals: Option<QueueTotals>,
    /// The policies it has.
    pub policies: AppliedPolicies,
    /// The `timestamp` property of the message next to be delivered, in seconds since 1970.
    pub head_timestamp: Option<u64>,
    /// When that message was published; unknown while it is on disk only.
    pub head_published: Option<Millis>,
    /// How often a message may come back, if that is limited.
    pub delivery_limit: Option<u32>,
    /// Which returned messages wait, and how long.
    delayed_retry: Option<DelayedRetry>,
}

/// What a consumer said when it subscribed, and to whom its deliveries go.
#[derive(Clone, Debug)]
pub struct ConsumerAbout {
    /// Its tag.
    pub tag: Arc<str>,
    /// The session it belongs to.
    pub session: SessionId,
    /// Whose session that is.
    pub client: Arc<Client>,
    /// The channel it belongs to.
    pub channel: u16,
    /// `x-...`
    pub arguments: TableBuf,
}

/// How far a reader of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The offset it looks at next.
    pub next: u64,
    /// Messages it has not been given yet, if its filter lets all through.
    pub lag: u64,
}

/// A consumer of a queue at one moment.
#[derive(Clone, Debug)]
pub struct QueueConsumer {
    /// What it said.
    pub about: Arc<ConsumerAbout>,
    /// How it is served.
    pub status: ConsumerStatus,
    /// Where it is, if it reads a stream.
    pub reading: Option<Reading>,
    /// Whether the queue has one active consumer at a time.
    pub is_of_single_active: bool,
}

impl SharedQueue {
    /// The queue at this moment.
    pub fn status(&self) -> QueueStatus {
        let state = self.state.lock();
        let machine = &state.machine;
        let (dead_letters, dead_letter_bytes) = state.kept.load();
        let (dead_letters_paged, dead_letter_bytes_paged) = state.kept.paged();
        let mut status = QueueStatus {
            ready: machine.ready_len(),
            ready_bytes: machine.ready_bytes(),
            paged: machine.paged_len(),
            paged_bytes: machine.paged_bytes(),
            unacked: machine.unacked_len(),
            unacked_bytes: machine.unacked_bytes(),
            unacked_paged: machine.unacked_paged_len(),
            unacked_paged_bytes: machine.unacked_paged_bytes(),
            delayed: machine.delayed_len(),
            delayed_bytes: machine.delayed_bytes(),
            delayed_paged: machine.delayed_paged_len(),
            delayed_paged_bytes: machine.delayed_paged_bytes(),
            next_delayed_at: machine.next_delayed_at(),
            last_delayed_at: machine.last_delayed_at(),
            dead_letters,
            dead_letter_bytes,
            dead_letters_paged,
            dead_letter_bytes_paged,
            consumers: state.consumers.len(),
            totals: state.totals.as_deref().copied(),
            policies: state.policies.clone(),
            head_timestamp: machine.head().and_then(|head| properties(&head.message).timestamp),
            head_published: machine.head().map(|head| head.message.timestamp()),
            delivery_limit: machine.settings().delivery_limit,
            delayed_retry: machine.settings().delayed_retry,
        };
        if let Some(stream) = &state.stream {
            status.ready = stream.machine.len();
            status.ready_bytes = stream.machine.bytes();
            status.paged = stream.machine.paged_len();
            status.paged_bytes = stream.machine.paged_bytes();
        }
        status
    }

    /// What went through the queue; `None` if nothing ever did.
    pub fn totals(&self) -> Option<QueueTotals> {
        self.state.lock().totals.as_deref().copied()
    }

    /// Its numbers and what went through it, of one moment.
    pub fn counts_and_totals(&self) -> (QueueCounts, Option<QueueTotals>) {
        let state = self.state.lock();
        (state.counts(), state.totals.as_deref().copied())
    }

    /// Its consumers, in the order in which they subscribed.
    pub fn consumers(&self) -> Vec<QueueConsumer> {
        let state = self.state.lock();
        let is_of_single_active = state.machine.settings().single_active_consumer;
        let all: Vec<_> = match &state.stream {
            Some(stream) => {
                let end = stream.machine.committed_offset();
                let readers = stream.machine.readers().into_iter();
                readers.map(|reader| of_reader(reader, end)).collect()
            }
            None => state.machine.consumers().into_iter().map(|one| (one, None)).collect(),
        };
        let all = all.into_iter();
        let described = all.filter_map(|(status, reading)| {
            let about = Arc::clone(&state.consumers.get(&status.spec.id)?.about);
            Some(QueueConsumer { about, status, reading, is_of_single_active })
        });
        described.collect()
    }
}

impl QueueStatus {
    /// All the messages it answers for.
    pub fn messages(&self) -> u64 {
        self.ready + self.unacked + self.delayed + self.dead_letters
    }

    /// Which returned messages wait, and how long, in RabbitMQ's words.
    pub fn delayed_retry(&self) -> String {
        delayed_retry::described(self.delayed_retry)
    }

    /// Bytes of their bodies.
    pub fn bytes(&self) -> u64 {
        self.ready_bytes + self.unacked_bytes + self.delayed_bytes + self.dead_letter_bytes
    }

    /// Those of them that are in memory.
    pub fn messages_in_memory(&self) -> u64 {
        let paged = self.paged + self.unacked_paged + self.delayed_paged + self.dead_letters_paged;
        self.messages() - paged
    }

    /// Bytes of the bodies of those that are in memory.
    pub fn bytes_in_memory(&self) -> u64 {
        let paged = self.paged_bytes + self.unacked_paged_bytes + self.delayed_paged_bytes;
        self.bytes() - paged - self.dead_letter_bytes_paged
    }
}

fn of_reader(reader: ReaderStatus, end: u64) -> (ConsumerStatus, Option<Reading>) {
    let ReaderStatus { id, prefetch, unsettled, next } = reader;
    let spec = ConsumerSpec { id, prefetch, no_ack: false, exclusive: false, priority: 0 };
    let reading = Reading { next, lag: end.saturating_sub(next) };
    (ConsumerStatus { spec, outstanding: unsettled, active: true }, Some(reading))
}

impl State {
    /// The counters, made when there is something to count.
    pub(super) fn count(&mut self) -> &mut QueueTotals {
        self.totals.get_or_insert_default()
    }

    /// Counts a `basic.get`.
    pub(super) fn count_get(&mut self, got: Option<&Entry>, no_ack: bool) {
        let totals = self.count();
        match got {
            None => totals.get_empty += 1,
            Some(_) if no_ack => totals.get_no_ack += 1,
            Some(_) => totals.get += 1,
        }
        totals.redeliver += u64::from(got.is_some_and(|entry| entry.redelivered));
    }
}

impl QueueTotals {
    /// Counts deliveries to a consumer.
    pub(super) fn count_deliveries(&mut self, entries: &[Entry], no_ack: bool) {
        let redelivered = entries.iter().filter(|entry| entry.redelivered).count();
        let counter = if no_ack { &mut self.deliver_no_ack } else { &mut self.deliver };
        *counter += entries.len() as u64;
        self.redeliver += redelivered as u64;
    }
}

impl QueueConsumer {
    /// Its identity.
    pub fn id(&self) -> ConsumerId {
        self.status.spec.id
    }
}
