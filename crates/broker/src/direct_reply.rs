//! Direct reply-to: answers that go straight to whoever asked, with no queue between.
//!
//! A requester consumes from `amq.rabbitmq.reply-to` and gets a token. Its requests carry the token
//! in their `reply-to`; what is published to the default exchange with the token as routing key is
//! handed to the requester's [`Subscriber`], or dropped if it is gone. At most once.
//!
//! Lock order: an answer's way ([`ReplyTarget`]), then the requester's outbox; no queue.

use std::sync::{Arc, Weak};

use ahash::HashMap;
use base64::Engine;
use leveret_engine::{Admission, Entry, Lsn, Message};
use parking_lot::{Mutex, RwLock};

use crate::subscriber::{Subscriber, Wake};
use crate::turn::Turn;

/// The queue name that stands for direct replies, in `basic.consume` and in `reply-to`.
pub const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// What tokens start with, and no queue's name may.
const TOKEN_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Whether the name has the form of a token, live or not.
pub(crate) fn is_token(name: &str) -> bool {
    name.starts_with(TOKEN_PREFIX)
}

/// Whether the name is one that direct replies have taken for themselves.
pub(crate) fn is_reserved(name: &str) -> bool {
    name == DIRECT_REPLY_TO || is_token(name)
}

/// Everyone who waits for direct replies, by token.
#[derive(Default)]
pub(crate) struct DirectReplies {
    targets: RwLock<HashMap<Arc<str>, Arc<ReplyTarget>>>,
}

/// The way to one requester; closed for good once it has stopped consuming.
pub(crate) struct ReplyTarget {
    subscriber: Mutex<Option<Arc<dyn Subscriber>>>,
}

/// A consumer of direct replies. Dropping it frees its token: no reply is delivered afterwards.
pub struct ReplyConsumer {
    token: Arc<str>,
    replies: Weak<DirectReplies>,
}

/// The system gave no randomness for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRandomness;

impl DirectReplies {
    /// Opens a way to a requester, under a token nobody can guess.
    pub(crate) fn open(
        self: &Arc<Self>,
        subscriber: Arc<dyn Subscriber>,
    ) -> Result<ReplyConsumer, NoRandomness> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(|_| NoRandomness)?;
        let random = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random);
        let token: Arc<str> = format!("{TOKEN_PREFIX}{random}").into();
        let target = Arc::new(ReplyTarget { subscriber: Mutex::new(Some(subscriber)) });
        self.targets.write().insert(Arc::clone(&token), target);
        Ok(ReplyConsumer { token, replies: Arc::downgrade(self) })
    }

    /// The way to a requester that still waits.
    pub(crate) fn find(&self, token: &str) -> Option<Arc<ReplyTarget>> {
        self.targets.read().get(token).cloned()
    }

    /// Whether a requester still waits under this name; the common one always counts.
    pub(crate) fn exists(&self, name: &str) -> bool {
        name == DIRECT_REPLY_TO || self.targets.read().contains_key(name)
    }

    fn close(&self, token: &str) {
        let target = self.targets.write().remove(token);
        if let Some(target) = target {
            // Waits for a delivery that has begun: none comes after this.
            *target.subscriber.lock() = None;
        }
    }
}

impl ReplyTarget {
    /// Hands a reply over, unless the requester is gone or has too much to read already.
    pub(crate) fn deliver(&self, message: Message, turn: &mut Turn) {
        let slot = self.subscriber.lock();
        let Some(subscriber) = &*slot else { return };
        if subscriber.admit(0) != Admission::Ready {
            return;
        }
        turn.run.push(Entry::new(Lsn(0), message));
        if subscriber.deliver(&mut turn.run) == Wake::Needed {
            turn.wake(subscriber);
        }
        turn.run.clear();
    }
}

impl ReplyConsumer {
    /// What `amq.rabbitmq.reply-to` in a request's `reply-to` is replaced by.
    pub fn token(&self) -> &Arc<str> {
        &self.token
    }
}

impl Drop for ReplyConsumer {
    fn drop(&mut self) {
        if let Some(replies) = self.replies.upgrade() {
            replies.close(&self.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use leveret_codec::Properties;
    use leveret_engine::{Body, MessageArena, Millis};

    use super::*;

    #[derive(Default)]
    struct Mailbox {
        bodies: Mutex<Vec<Vec<u8>>>,
        is_full: bool,
    }

    impl Subscriber for Mailbox {
        fn admit(&self, _: usize) -> Admission {
            if self.is_full { Admission::Blocked } else { Admission::Ready }
        }

        fn deliver(&self, entries: &mut Vec<Entry>) -> Wake {
            let bodies = entries.drain(..).map(|entry| entry.message.body().to_vec());
            self.bodies.lock().extend(bodies);
            Wake::NotNeeded
        }

        fn wake(&self) {}

        fn cancelled(&self) {}
    }

    fn message(body: &[u8]) -> Message {
        let properties = Properties::default();
        MessageArena::new().message(Millis(0), "", "k", &properties, &[0, 0], Body::Copy(body))
    }

    #[test]
    fn a_reply_arrives_while_the_consumer_lives() {
        let replies = Arc::new(DirectReplies::default());
        let mailbox = Arc::new(Mailbox::default());
        let consumer = replies.open(Arc::clone(&mailbox) as Arc<dyn Subscriber>).unwrap();
        let token = Arc::clone(consumer.token());
        assert!(is_token(&token) && token.len() <= 255);
        let target = replies.find(&token).unwrap();
        let mut turn = Turn::new();
        target.deliver(message(b"one"), &mut turn);
        drop(consumer);
        // Found before, delivered after: too late.
        target.deliver(message(b"two"), &mut turn);
        assert_eq!(*mailbox.bodies.lock(), [b"one"]);
        assert!(replies.find(&token).is_none());
        assert!(!replies.exists(&token));
        assert!(replies.exists(DIRECT_REPLY_TO));
    }

    #[test]
    fn a_requester_that_does_not_read_loses_replies() {
        let replies = Arc::new(DirectReplies::default());
        let mailbox = Arc::new(Mailbox { is_full: true, ..Mailbox::default() });
        let consumer = replies.open(Arc::clone(&mailbox) as Arc<dyn Subscriber>).unwrap();
        let target = replies.find(consumer.token()).unwrap();
        target.deliver(message(b"one"), &mut Turn::new());
        assert!(mailbox.bodies.lock().is_empty());
    }

    #[test]
    fn tokens_differ() {
        let replies = Arc::new(DirectReplies::default());
        let open = || replies.open(Arc::new(Mailbox::default())).unwrap();
        let (first, second) = (open(), open());
        assert_ne!(first.token(), second.token());
    }
}
