//! A message inside a queue.

use crate::ids::{Lsn, Millis};
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

/// What a delivery sends of a message, about, in bytes: the properties if they are large as well.
pub(crate) fn sent_len(message: &Message) -> usize {
    message.size() + message.head_len().saturating_sub(HEAD_MEMORY)
}

/// As [`Entry::large_head`].
pub(crate) fn large_head(message: &Message) -> u64 {
    message.head_len().saturating_sub(HEAD_MEMORY) as u64
}
