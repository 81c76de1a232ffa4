//! What comes out of a queue.

use super::any_entry::AnyEntry;
use super::entry::Entry;
use crate::ids::ConsumerId;

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
        entry: AnyEntry,
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
