//! Dead-lettering: messages that left a queue without being consumed go to its dead-letter exchange.
//!
//! A queue only notes what died, under its lock; [`Broker::finish`](crate::Broker::finish) rewrites,
//! routes and enqueues it with no queue locked. The record of the message in its new queues and the
//! settlement of its old place are one unit of the journal: after a crash it is in one or the other.

mod counts;
mod history;
mod letter;
mod postponed;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_engine::{DropReason, Entry, MessageArena, Millis, QueueId, Routable, RouteSet};
use leveret_store::{Batch, Lsn};

pub(crate) use self::counts::Counters;
pub use self::counts::{DeadLetterCounts, DeathsByReason};
use self::letter::Letter;
pub(crate) use self::postponed::Postponed;
use crate::broker::Broker;
use crate::buckets::{Buckets, Origin};
use crate::queue::{Purpose, SharedQueue};
use crate::turn::Turn;

/// How a queue dead-letters.
#[derive(Debug)]
pub(crate) struct DeadLettering {
    pub(crate) queue: QueueId,
    pub(crate) queue_name: Arc<str>,
    pub(crate) vhost: Arc<str>,
    /// The exchange, looked up by name each time.
    pub(crate) exchange: Arc<str>,
    /// The key its messages get instead of their own.
    pub(crate) routing_key: Option<Arc<str>>,
    pub(crate) onward: Onward,
}

/// As what messages go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Onward {
    /// As dead letters.
    Dead,
    /// As what they are: the queue is a delayed exchange's, and they were only waiting.
    Delayed,
}

/// A message that left its queue without being consumed. Its place there is still recorded.
#[derive(Debug)]
pub(crate) struct Death {
    pub(crate) source: Arc<DeadLettering>,
    pub(crate) entry: Entry,
    pub(crate) reason: Reason,
}

/// Why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `basic.reject` or `basic.nack` without requeue.
    Rejected,
    /// Its time to live was over.
    Expired,
    /// The queue was full.
    MaxLength,
    /// It came back more often than allowed.
    DeliveryLimit,
}

impl Reason {
    /// The word in the `x-death` header.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => DropReason::Expired.as_str(),
            Self::MaxLength => DropReason::MaxLength.as_str(),
            Self::DeliveryLimit => DropReason::DeliveryLimit.as_str(),
        }
    }
}

impl From<DropReason> for Reason {
    fn from(reason: DropReason) -> Self {
        match reason {
            DropReason::Expired => Self::Expired,
            DropReason::MaxLength => Self::MaxLength,
            DropReason::DeliveryLimit => Self::DeliveryLimit,
        }
    }
}

/// Messages dead-lettered with one append, and about their bytes: a unit of the journal stays small.
const PORTION: usize = 1024;
const PORTION_BYTES: usize = 1024 * 1024;
/// What one turn dead-letters. Dead letters may die again where they arrive, in ever more queues,
/// or come in a crowd; the rest waits for the next tick, so that nobody's turn lasts.
const TURN: usize = 8 * PORTION;
const TURN_BYTES: usize = 8 * PORTION_BYTES;

impl Broker {
    /// Dead-letters what died in the turn, and what dies of that.
    pub(crate) fn dead_letter(&self, turn: &mut Turn) {
        let mut waiting = self.postponed.lock().line_up(std::mem::take(&mut turn.dead));
        self.dead_letter_some(&mut waiting, turn);
        if !waiting.is_empty() {
            self.postponed.lock().settle(&[], waiting);
        }
    }

    /// Dead-letters some of what earlier turns have left. Whether there is more.
    pub(crate) fn dead_letter_postponed(&self, turn: &mut Turn) -> bool {
        let mut postponed = self.postponed.lock();
        if postponed.is_empty() {
            return false;
        }
        let (mut waiting, sources) = postponed.take();
        drop(postponed);
        self.dead_letter_some(&mut waiting, turn);
        let mut postponed = self.postponed.lock();
        postponed.settle(&sources, waiting);
        !postponed.is_empty()
    }

    fn dead_letter_some(&self, waiting: &mut VecDeque<Death>, turn: &mut Turn) {
        let (mut count, mut bytes) = (0, 0);
        while count < TURN && bytes < TURN_BYTES && !waiting.is_empty() {
            let portion = take_portion(waiting);
            count += portion.len();
            bytes += portion.iter().map(|death| death.entry.message.stored_len()).sum::<usize>();
            let mut letters = DeadLetters::write(self, &portion, turn.now, &mut turn.records);
            let appended = self.store().append(&mut turn.records);
            letters.enqueue(self, appended.first, turn);
            if !turn.dead.is_empty() {
                // What died of this portion goes next: in order, and before it gets more.
                let died = self.postponed.lock().line_up(std::mem::take(&mut turn.dead));
                died.into_iter().rev().for_each(|death| waiting.push_front(death));
            }
        }
    }
}

fn take_portion(waiting: &mut VecDeque<Death>) -> Vec<Death> {
    let mut bytes = 0;
    let is_room_before = |death: &&Death| {
        let is_room = bytes < PORTION_BYTES;
        bytes += death.entry.message.stored_len();
        is_room
    };
    let count = waiting.iter().take(PORTION).take_while(is_room_before).count();
    waiting.drain(..count).collect()
}

/// Dead messages rewritten, routed and recorded, not yet in their queues.
#[derive(Default)]
pub(crate) struct DeadLetters {
    buckets: Buckets,
}

impl DeadLetters {
    /// Adds the records of the messages in their new queues, and the settlements of their old
    /// places, to `records`.
    pub(crate) fn write(
        broker: &Broker,
        deaths: &[Death],
        now: Millis,
        records: &mut Batch,
    ) -> Self {
        let mut letters = Self::default();
        if deaths.is_empty() {
            return letters;
        }
        let mut counts = DeadLetterCounts::default();
        let (mut arena, mut router) = (MessageArena::new(), Router::default());
        for death in deaths {
            let letter = match death.source.onward {
                Onward::Dead => Letter::write(death, now, &mut arena),
                Onward::Delayed => Letter::released(death, now, &mut arena),
            };
            router.route(broker, death, &letter);
            if death.source.onward == Onward::Dead {
                counts.dead_lettered.count(death.reason, 1);
                counts.unroutable += u64::from(router.queues.is_empty());
            }
            // Whoever rejected it has seen it.
            let redelivered = death.entry.redelivered || death.reason == Reason::Rejected;
            let origin = Origin { ticket: None, redelivered };
            letters.buckets.add(letter.message, &router.queues, origin, records);
        }
        for of_queue in deaths.chunk_by(|a, b| a.source.queue == b.source.queue) {
            let stored = of_queue.iter().filter(|death| death.entry.stored);
            let lsns: Vec<Lsn> = stored.map(|death| Lsn(death.entry.lsn.0)).collect();
            if let Some(Death { source, .. }) = of_queue.first() {
                records.ack(source.queue.0, &lsns);
            }
        }
        broker.dead_letter_counters.add(&counts);
        letters
    }

    /// Puts the messages into their queues once the records have been appended, the first of them
    /// under the number `first`.
    pub(crate) fn enqueue(&mut self, broker: &Broker, first: Lsn, turn: &mut Turn) {
        // A queue that refuses publishes refuses these as well: at most once.
        self.buckets.enqueue(broker.store(), first, turn, &mut Vec::new());
    }
}

/// Finds the queues of dead letters.
#[derive(Default)]
struct Router {
    set: RouteSet,
    queues: Vec<Arc<SharedQueue>>,
}

impl Router {
    fn route(&mut self, broker: &Broker, death: &Death, letter: &Letter<'_>) {
        self.queues.clear();
        let Some(vhost) = broker.vhost(&death.source.vhost) else { return };
        let message = Routable {
            keys: &letter.routing_keys,
            properties: &letter.properties(),
            drawn: death.entry.lsn.0,
        };
        let directory = vhost.directory.read();
        let (source, now) = (&death.source, letter.message.timestamp());
        let known = (source.onward == Onward::Delayed).then_some(&*source.exchange);
        directory.route_onward(&source.exchange, known, message, now, &mut self.set);
        let queues = self.set.as_slice().iter().filter_map(|id| directory.queue_by_id(*id));
        let queues = queues.filter(|queue| {
            queue.purpose != Purpose::Clients || !letter.would_cycle(death.reason, &queue.name)
        });
        self.queues.extend(queues.cloned());
    }
}
