//! Whether a consumer can take a message.

use crate::ids::ConsumerId;

/// The caller's word on whether a consumer can take a message now.
pub trait Gate {
    /// Asked right before each delivery, for limits the queue does not know: room in the
    /// connection's outbox, a prefetch limit shared by a channel.
    ///
    /// After [`Admission::Ready`] exactly one delivery to `consumer` follows, so an
    /// implementation may count here. [`Admission::Blocked`] takes the consumer out of turn
    /// until [`Queue::unblock`](super::Queue::unblock).
    fn admit(&mut self, consumer: ConsumerId) -> Admission;

    /// Told of the delivery that followed and its body bytes, for limits in bytes: the effects
    /// of a dispatch are carried out only after all its admissions.
    fn delivered(&mut self, consumer: ConsumerId, bytes: usize) {
        let _ = (consumer, bytes);
    }
}

/// Answer of a [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The consumer takes one message.
    Ready,
    /// The consumer takes none until it is unblocked.
    Blocked,
}
