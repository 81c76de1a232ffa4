//! A direct reply's way into the outbox of the connection that asked.

use std::sync::Arc;

use leveret_broker::{Subscriber, Wake};
use leveret_engine::{Admission, Entry};

use crate::outbox::{Address, Outbox};

/// Bytes waiting for a requester beyond which replies to it are lost: nobody can be made to wait
/// for it, and direct replies come at most once.
const UNREAD_REPLIES_MAX: usize = 64 * 1024 * 1024;

/// See [`Subscriber`].
pub(crate) struct ReplySink {
    outbox: Arc<Outbox>,
    channel: u16,
    tag: Arc<str>,
}

impl ReplySink {
    pub(crate) fn new(outbox: Arc<Outbox>, channel: u16, tag: Arc<str>) -> Self {
        Self { outbox, channel, tag }
    }
}

impl Subscriber for ReplySink {
    fn admit(&self, pending: usize) -> Admission {
        if self.outbox.queued() + pending > UNREAD_REPLIES_MAX {
            return Admission::Blocked;
        }
        Admission::Ready
    }

    fn deliver(&self, entries: &mut Vec<Entry>) -> Wake {
        let to =
            Address { channel: self.channel, consumer_tag: &self.tag, source: None, queue: None };
        self.outbox.deliver(to, entries)
    }

    fn wake(&self) {
        self.outbox.wake();
    }

    /// There is no queue that could go away.
    fn cancelled(&self) {}
}
