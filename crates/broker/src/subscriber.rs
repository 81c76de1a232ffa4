//! Where deliveries go: the side of a consumer that a front end implements.

use leveret_engine::{Admission, Entry};

/// A consumer's way out of the broker.
///
/// [`admit`](Self::admit) and [`deliver`](Self::deliver) are called under the queue's lock; an
/// implementation may take its own outbox lock (lock order: vhost directory, queue, outbox) and
/// nothing else.
pub trait Subscriber: Send + Sync {
    /// Whether one more delivery fits now: the outbox is below its mark and the channel has credit.
    ///
    /// `pending` bytes, about, were admitted before in this dispatch and not yet delivered. `Ready`
    /// reserves the place for one delivery that follows at once. After `Blocked` the
    /// implementation must call [`SharedQueue::unblock`](crate::SharedQueue::unblock) when it can
    /// take more; until then the queue passes the consumer over.
    fn admit(&self, pending: usize) -> Admission;

    /// Takes all of `entries`, in order; each was admitted.
    fn deliver(&self, entries: &mut Vec<Entry>) -> Wake;

    /// Starts the writer after `deliver` answered [`Wake::Needed`]. Called once per turn, with no
    /// lock held.
    fn wake(&self);

    /// The queue is gone: tell the client. No lock is held.
    fn cancelled(&self);
}

/// Whether the writer behind a subscriber sleeps and has to be woken at the end of the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wake {
    /// It was idle: wake it.
    Needed,
    /// It is already going to run.
    NotNeeded,
}
