//! What a queue was told to be: arguments and policies, already merged by the caller.

use super::delayed::DelayedRetry;
use crate::ids::Millis;
use crate::message::Message;

/// The effective settings of a queue. The default is a plain queue without limits.
///
/// Arguments and policies are merged outside (the lower of two numbers, the argument of two
/// words); [`Queue::set_settings`](crate::Queue::set_settings) takes a new result at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// `x-max-priority`: highest priority level; `None` ignores message priorities.
    pub max_priority: Option<u8>,
    /// The priority of messages without one, if priorities mean something.
    pub default_priority: u8,
    /// `x-message-ttl`: life of every message, counted from its arrival in this queue.
    pub message_ttl: Option<Millis>,
    /// `x-max-length`: most ready and delayed messages kept.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`: most body bytes of ready and delayed messages kept.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`: what gives way when a limit is reached.
    pub overflow: Overflow,
    /// `x-single-active-consumer`: only one consumer is served until it leaves; then the one with
    /// the highest priority, of several the longest subscribed.
    pub single_active_consumer: bool,
    /// `x-delivery-limit`: most times a message may come back; the next return drops it.
    pub delivery_limit: Option<u32>,
    /// Whether what comes back waits before it is delivered again.
    pub delayed_retry: Option<DelayedRetry>,
}

impl QueueSettings {
    /// When `message`, having arrived at `arrival`, expires: the shorter of the queue's and the
    /// message's own time to live.
    #[must_use]
    pub fn deadline(&self, message: &Message, arrival: Millis) -> Option<Millis> {
        self.deadline_of(message.expiration(), arrival)
    }

    /// As [`deadline`](Self::deadline), of a message with this time to live of its own.
    #[must_use]
    pub fn deadline_of(&self, expiration: Option<Millis>, arrival: Millis) -> Option<Millis> {
        let ttl = match (self.message_ttl, expiration) {
            (Some(queue), Some(own)) => queue.min(own),
            (queue, own) => queue.or(own)?,
        };
        Some(arrival.saturating_add(ttl))
    }

    /// The priority level `message` belongs to: none counts as the default, above the maximum as
    /// the maximum.
    pub(super) fn level(&self, message: &Message) -> u8 {
        self.level_of(message.priority())
    }

    /// The priority level of a message with this priority.
    pub(super) fn level_of(&self, priority: Option<u8>) -> u8 {
        match self.max_priority {
            None => 0,
            Some(max) => priority.unwrap_or(self.default_priority).min(max),
        }
    }
}

/// What gives way when a queue is over its length limit (`x-overflow`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The message next to be delivered is dropped or dead-lettered.
    #[default]
    DropHead,
    /// The new message is refused; its publisher gets a nack.
    RejectPublish,
    /// As [`Overflow::RejectPublish`], and the caller dead-letters the refused message.
    RejectPublishDlx,
}
