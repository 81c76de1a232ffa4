//! A message inside a queue, and what a queue asks its caller to do with it.

use crate::ids::{ConsumerId, Lsn, Millis};
use crate::message::Message;

/// A message in one queue: the shared [`Message`] and what this queue knows about it.
///
/// An entry leaves the queue by value when it is delivered and comes back by value when it is
/// requeued; in between the receiver's table of unacknowledged deliveries holds it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Identity, and order among requeued messages; of what a [`Stream`](crate::Stream) delivers, the
    /// offset.
    pub lsn: Lsn,
    /// The message itself.
    pub message: Message,
    /// When it expires. Set by [`Queue::push`](crate::Queue::push) unless already there; kept
    /// across requeues.
    pub deadline: Option<Millis>,
    /// How often it was delivered and came back.
    pub deliveries: u32,
    /// Whether an earlier delivery may have been seen by a consumer.
    pub redelivered: bool,
    /// Whether the journal holds a record of it for this queue, so that settling must be
    /// recorded as well, and that its message can be paged out.
    pub stored: bool,
}

impl Entry {
    /// A message that was never delivered, without deadline.
    #[must_use]
    pub const fn new(lsn: Lsn, message: Message) -> Self {
        Self { lsn, message, deadline: None, deliveries: 0, redelivered: false, stored: false }
    }

    /// Body bytes, the unit of every byte count of a queue.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.message.size()).unwrap_or(u64::MAX)
    }

    /// What it takes in memory, about.
    pub(super) fn memory(&self) -> u64 {
        self.bytes().saturating_add(ENTRY_MEMORY)
    }
}

/// What an entry takes in memory besides its body, about, in bytes.
pub const ENTRY_MEMORY: u64 = 200;

/// An entry whose message is in the journal and not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagedEntry {
    /// As [`Entry::lsn`].
    pub lsn: Lsn,
    /// Body bytes.
    pub bytes: u64,
    /// The `priority` property of its message.
    pub priority: Option<u8>,
    /// As [`Entry::deadline`].
    pub deadline: Option<Millis>,
    /// As [`Entry::deliveries`].
    pub deliveries: u32,
    /// As [`Entry::redelivered`].
    pub redelivered: bool,
}

/// What the caller has to do after a queue operation, in the order of the effects.
#[derive(Clone, Debug)]
#[must_use]
pub enum Effect {
    /// Send the entry to the consumer and, unless it is a no-ack consumer, keep the entry until
    /// it is settled or requeued.
    Deliver {
        /// Who receives it.
        consumer: ConsumerId,
        /// What it receives.
        entry: Entry,
    },
    /// The entry has left the queue: dead-letter it if the queue has a dead-letter exchange,
    /// then forget it.
    Drop {
        /// What left.
        entry: Entry,
        /// Why it left.
        reason: DropReason,
    },
}

/// How a delivery comes back to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Return {
    /// Its holder gave it back untouched: `basic.nack` and `basic.recover`.
    Released,
    /// Its holder failed at it: `basic.reject`, or the end of its channel.
    Failed,
}

/// Why a message left a queue without being consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Its deadline passed.
    Expired,
    /// The queue was over its length limit.
    MaxLength,
    /// It came back more often than the delivery limit allows.
    DeliveryLimit,
}

impl DropReason {
    /// The word in the `reason` field of an `x-death` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// The answer to a push.
#[derive(Clone, Debug)]
#[must_use]
pub enum Pushed {
    /// The queue has it.
    Accepted,
    /// The queue is full and refuses new messages: nack the publisher, and dead-letter the
    /// entry (reason `maxlen`) under
    /// [`Overflow::RejectPublishDlx`](crate::Overflow::RejectPublishDlx).
    Refused(Entry),
}
