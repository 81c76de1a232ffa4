//! Watching messages as they pass: copies, for whoever looks, of what a queue gets or an exchange is
//! given. Nothing is taken, nothing waits: a watcher that is too slow loses copies and is told how
//! many. While nobody looks this costs one test of a pointer for a batch, or of a flag for a publish
//! that has to be routed anyway.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use leveret_engine::{Message, Millis};
use parking_lot::Mutex;

/// Copies that wait for a watcher.
const COPIES_MAX: usize = 1000;
/// Bytes of copies that wait for a watcher.
const BYTES_MAX: usize = 4 << 20;

/// A copy of a message that has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// When it was published.
    pub at: Millis,
    /// The exchange it was published to.
    pub exchange: Box<str>,
    /// With which routing key.
    pub routing_key: Box<str>,
    /// Its properties, encoded.
    pub properties: Box<[u8]>,
    /// The beginning of its body.
    pub body: Box<[u8]>,
    /// Bytes of all of its body.
    pub body_bytes: usize,
}

/// What a watcher has not read yet.
#[derive(Debug, Default)]
pub struct Passed {
    /// In the order in which they passed.
    pub copies: VecDeque<Copied>,
    /// How many passed besides, for which there was no room.
    pub lost: u64,
}

/// A watcher. Dropping it ends the watch.
#[derive(Debug)]
pub struct Tail {
    body_max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    passed: Passed,
    bytes: usize,
}

impl Tail {
    pub(crate) fn new(body_max: usize) -> Arc<Self> {
        Arc::new(Self { body_max, waiting: Mutex::default() })
    }

    /// Takes what has passed since the last time. Does not wait.
    pub fn take(&self) -> Passed {
        let mut waiting = self.waiting.lock();
        waiting.bytes = 0;
        std::mem::take(&mut waiting.passed)
    }

    fn offer(&self, message: &Message) {
        let mut waiting = self.waiting.lock();
        let body = message.body();
        let body = body.get(..self.body_max).unwrap_or(body);
        let names = message.exchange().len() + message.routing_key().len();
        let bytes = body.len() + message.properties().len() + names;
        let is_room = waiting.passed.copies.len() < COPIES_MAX
            && waiting.bytes.saturating_add(bytes) <= BYTES_MAX;
        if !is_room {
            waiting.passed.lost += 1;
            return;
        }
        waiting.bytes += bytes;
        waiting.passed.copies.push_back(Copied {
            at: message.timestamp(),
            exchange: message.exchange().into(),
            routing_key: message.routing_key().into(),
            properties: message.properties().into(),
            body: body.into(),
            body_bytes: message.size(),
        });
    }
}

/// The watchers of a queue. Boxed: nearly no queue has any.
#[derive(Default)]
pub(crate) struct Tails(Option<Box<Watchers>>);

#[derive(Default)]
struct Watchers {
    all: Vec<Weak<Tail>>,
}

impl Tails {
    /// Adds one.
    pub(crate) fn add(&mut self, tail: &Arc<Tail>) {
        let all = &mut self.0.get_or_insert_default().all;
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(tail));
    }

    /// Shows messages to whoever watches.
    pub(crate) fn show<'m>(&mut self, messages: impl Iterator<Item = &'m Message> + Clone) {
        let Some(watchers) = &mut self.0 else { return };
        watchers.all.retain(|tail| {
            let Some(tail) = tail.upgrade() else { return false };
            messages.clone().for_each(|message| tail.offer(message));
            true
        });
        if watchers.all.is_empty() {
            self.0 = None;
        }
    }
}

/// The watchers of a vhost's exchanges.
#[derive(Default)]
pub(crate) struct ExchangeTails {
    are_any: AtomicBool,
    all: Mutex<Vec<(Box<str>, Weak<Tail>)>>,
}

impl ExchangeTails {
    /// Whether each publish has to be shown.
    pub(crate) fn are_any(&self) -> bool {
        self.are_any.load(Ordering::Relaxed)
    }

    /// Adds one that watches an exchange.
    pub(crate) fn add(&self, exchange: &str, tail: &Arc<Tail>) {
        let mut all = self.all.lock();
        all.retain(|(_, one)| one.strong_count() > 0);
        all.push((exchange.into(), Arc::downgrade(tail)));
        drop(all);
        self.are_any.store(true, Ordering::Relaxed);
    }

    /// Shows a publish to those who watch its exchange.
    pub(crate) fn show(&self, message: &Message) {
        let mut all = self.all.lock();
        all.retain(|(exchange, tail)| {
            let Some(tail) = tail.upgrade() else { return false };
            if **exchange == *message.exchange() {
                tail.offer(message);
            }
            true
        });
        if all.is_empty() {
            self.are_any.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nothing is published nobody else forgets them.
    #[test]
    fn watchers_who_have_gone_leave_nothing() {
        let (tails, stays) = (ExchangeTails::default(), Tail::new(0));
        tails.add("x", &stays);
        for _ in 0..100 {
            tails.add("x", &Tail::new(0));
        }
        assert!(tails.all.lock().len() <= 2);
        assert!(tails.are_any());
    }
}
