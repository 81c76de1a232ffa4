//! What clients saw over many lives of the broker, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};

/// A message: who published it, and as which of its messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Message {
    pub(crate) publisher: usize,
    pub(crate) number: u64,
}

impl Message {
    pub(crate) fn to_body(self) -> Vec<u8> {
        format!("{} {:<SIZE$}", self.publisher, self.number).into_bytes()
    }

    pub(crate) fn from_body(body: &[u8]) -> Self {
        let text = str::from_utf8(body).unwrap();
        let (publisher, number) = text.split_once(' ').unwrap_or_else(|| panic!("{text:?}"));
        Self { publisher: publisher.parse().unwrap(), number: number.trim_end().parse().unwrap() }
    }
}

/// Bytes of a body, or two more.
const SIZE: usize = 500;

/// In which order a queue's messages come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// As published: they go back into the queue only when the broker ends.
    Kept,
    /// As published when they come first; consumers put them back.
    AtFirst,
    /// In any: they have been elsewhere before.
    Any,
}

/// What a publisher did in one life of the broker.
pub(crate) struct Published {
    pub(crate) publisher: usize,
    /// The number after the last one sent.
    pub(crate) end: u64,
    pub(crate) confirmed: Vec<u64>,
}

/// What a consumer did in one life of the broker.
#[derive(Default)]
pub(crate) struct Consumed {
    pub(crate) queue: usize,
    /// In the order they came, each with its redelivered flag.
    pub(crate) deliveries: Vec<(Message, bool)>,
    /// Acknowledged or rejected for good.
    pub(crate) settled: BTreeSet<Message>,
    /// Whether the broker is known to have dealt with what was settled before it stopped cleanly.
    pub(crate) is_over: bool,
}

/// Everything that ever happened.
pub(crate) struct Ledger {
    publishers: Vec<Publisher>,
    queues: Vec<Queue>,
}

#[derive(Default)]
struct Publisher {
    /// The queues its messages go to.
    queues: Vec<usize>,
    sent: u64,
    confirmed: BTreeSet<u64>,
}

struct Queue {
    order: Order,
    delivered: BTreeSet<Message>,
    /// Settled in a life that ended with a clean stop.
    over: BTreeSet<Message>,
    /// Deliveries that came again as if for the first time.
    unmarked: usize,
    /// Per publisher, the last message that came for the first time.
    newest: BTreeMap<usize, u64>,
}

impl Ledger {
    /// Of publishers, given by the queues each reaches, and queues, given by the order of their
    /// messages.
    pub(crate) fn new(publishers: &[&[usize]], queues: &[Order]) -> Self {
        let publisher =
            |queues: &&[usize]| Publisher { queues: queues.to_vec(), ..Publisher::default() };
        let queue = |&order: &Order| Queue {
            order,
            delivered: BTreeSet::new(),
            over: BTreeSet::new(),
            unmarked: 0,
            newest: BTreeMap::new(),
        };
        Self {
            publishers: publishers.iter().map(publisher).collect(),
            queues: queues.iter().map(queue).collect(),
        }
    }

    /// The number of the publisher's next message.
    pub(crate) fn next_number(&self, publisher: usize) -> u64 {
        self.publishers[publisher].sent
    }

    pub(crate) fn confirmed_count(&self) -> usize {
        self.publishers.iter().map(|publisher| publisher.confirmed.len()).sum()
    }

    pub(crate) fn delivered_count(&self) -> usize {
        self.queues.iter().map(|queue| queue.delivered.len()).sum()
    }

    pub(crate) fn add_published(&mut self, published: Published) {
        let publisher = &mut self.publishers[published.publisher];
        publisher.sent = published.end;
        publisher.confirmed.extend(published.confirmed);
    }

    /// Checks and adds what a consumer saw. All that was published must have been added before.
    pub(crate) fn add_consumed(&mut self, consumed: Consumed) {
        let queue = &mut self.queues[consumed.queue];
        let mut last = BTreeMap::new();
        for &(message, redelivered) in &consumed.deliveries {
            let Message { publisher, number } = message;
            let sent = self.publishers[publisher].sent;
            assert!(number < sent, "{message:?} was never published");
            assert!(!queue.over.contains(&message), "{message:?} came back after a clean stop");
            if !redelivered && queue.delivered.contains(&message) {
                queue.unmarked += 1;
            } else if !redelivered && queue.order != Order::Any {
                let newest = queue.newest.insert(publisher, number);
                assert!(newest < Some(number), "{message:?} came after {newest:?}");
            }
            if queue.order == Order::Kept {
                let before = last.insert(publisher, number);
                assert!(before < Some(number), "{message:?} came after {before:?} in one life");
            }
            queue.delivered.insert(message);
        }
        if consumed.is_over {
            queue.over.extend(consumed.settled);
        }
    }

    /// Checks what can be said once all queues have been emptied: nothing confirmed is missing, and
    /// nothing came again as if for the first time.
    pub(crate) fn check(&self) {
        for (publisher, log) in self.publishers.iter().enumerate() {
            for &number in &log.confirmed {
                let message = Message { publisher, number };
                for &queue in &log.queues {
                    let is_there = self.queues[queue].delivered.contains(&message);
                    assert!(is_there, "{message:?} was confirmed and is lost from queue {queue}");
                }
            }
        }
        let unmarked: usize = self.queues.iter().map(|queue| queue.unmarked).sum();
        assert_eq!(unmarked, 0, "deliveries came again without being marked as redelivered");
    }
}
