//! A message inside a queue, and what a queue asks its caller to do with it.

use super::spill::Spilled;
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
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.bytes().saturating_add(ENTRY_MEMORY).saturating_add(self.large_head())
    }

    /// Bytes of names, properties and headers, as far as there are more of them than
    /// [`ENTRY_MEMORY`] counts.
    pub(crate) fn large_head(&self) -> u64 {
        large_head(&self.message)
    }
}

/// What an entry takes in memory besides its body, about, in bytes, unless its properties are large.
pub const ENTRY_MEMORY: u64 = 200;
/// The part of that which is for names and properties.
const HEAD_MEMORY: usize = 128;

/// As [`Entry::large_head`].
pub(crate) fn large_head(message: &Message) -> u64 {
    message.head_len().saturating_sub(HEAD_MEMORY) as u64
}

/// An entry whose message is on disk and not in memory.
#[derive(Clone, Debug)]
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
    /// As [`Entry::stored`].
    pub stored: bool,
    /// Where its message is, if not in the journal.
    pub spilled: Option<Spilled>,
}

impl PagedEntry {
    /// What is left of an entry that is paged out.
    #[must_use]
    pub fn of(entry: &Entry, spilled: Option<Spilled>) -> Self {
        let Entry { lsn, deadline, deliveries, redelivered, stored, .. } = *entry;
        let (bytes, priority) = (entry.bytes(), entry.message.priority());
        Self { lsn, bytes, priority, deadline, deliveries, redelivered, stored, spilled }
    }

    /// The entry as it was, given its message.
    #[must_use]
    pub fn with(&self, message: Message) -> Entry {
        let Self { lsn, deadline, deliveries, redelivered, stored, .. } = *self;
        Entry { lsn, message, deadline, deliveries, redelivered, stored }
    }
}

/// An entry outside of its queue's ready messages, with its message or without.
#[derive(Clone, Debug)]
pub enum AnyEntry {
    /// With its message.
    Hot(Entry),
    /// Its message is on disk.
    Paged(PagedEntry),
}

impl From<Entry> for AnyEntry {
    fn from(entry: Entry) -> Self {
        Self::Hot(entry)
    }
}

impl From<PagedEntry> for AnyEntry {
    fn from(entry: PagedEntry) -> Self {
        Self::Paged(entry)
    }
}

impl AnyEntry {
    /// As [`Entry::lsn`].
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        match self {
            Self::Hot(entry) => entry.lsn,
            Self::Paged(entry) => entry.lsn,
        }
    }

    /// As [`Entry::bytes`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Hot(entry) => entry.bytes(),
            Self::Paged(entry) => entry.bytes,
        }
    }

    /// As [`Entry::stored`].
    #[must_use]
    pub const fn stored(&self) -> bool {
        match self {
            Self::Hot(entry) => entry.stored,
            Self::Paged(entry) => entry.stored,
        }
    }

    /// Its place in the journal has been settled otherwise.
    pub const fn forget_record(&mut self) {
        match self {
            Self::Hot(entry) => entry.stored = false,
            Self::Paged(entry) => entry.stored = false,
        }
    }

    /// As [`Entry::deliveries`].
    #[must_use]
    pub const fn deliveries(&self) -> u32 {
        match self {
            Self::Hot(entry) => entry.deliveries,
            Self::Paged(entry) => entry.deliveries,
        }
    }

    /// Whether its message is on disk only.
    #[must_use]
    pub const fn is_paged(&self) -> bool {
        matches!(self, Self::Paged(_))
    }

    /// What there is of it if its message is on disk only.
    #[must_use]
    pub const fn paged(&self) -> Option<&PagedEntry> {
        match self {
            Self::Hot(_) => None,
            Self::Paged(entry) => Some(entry),
        }
    }

    /// What it takes in memory, about, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        match self {
            Self::Hot(entry) => entry.memory(),
            Self::Paged(_) => PAGED_ENTRY_MEMORY,
        }
    }

    /// The `priority` property of its message.
    pub(super) const fn priority(&self) -> Option<u8> {
        match self {
            Self::Hot(entry) => entry.message.priority(),
            Self::Paged(entry) => entry.priority,
        }
    }

    pub(super) const fn deadline(&self) -> Option<Millis> {
        match self {
            Self::Hot(entry) => entry.deadline,
            Self::Paged(entry) => entry.deadline,
        }
    }

    /// It came back.
    pub(super) const fn count_return(&mut self) {
        let (redelivered, deliveries) = match self {
            Self::Hot(entry) => (&mut entry.redelivered, &mut entry.deliveries),
            Self::Paged(entry) => (&mut entry.redelivered, &mut entry.deliveries),
        };
        *redelivered = true;
        *deliveries = deliveries.saturating_add(1);
    }
}

/// What an entry without its message takes in memory, about, in bytes.
pub const PAGED_ENTRY_MEMORY: u64 = size_of::<AnyEntry>() as u64 + 16;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Acknowledging moves them.
    #[test]
    fn to_have_no_message_costs_entries_no_space() {
        assert_eq!(size_of::<AnyEntry>(), size_of::<Entry>());
    }
}
