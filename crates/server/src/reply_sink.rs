//! A direct reply's way into the outbox of the connection that asked.

use std::sync::Arc;

use leveret_broker::{Subscriber, Wake};
use leveret_engine::{Admission, Entry};

use crate::outbox::{Address, Outbox};

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
    /// Beyond its limit replies are lost: nobody can be made to wait for the requester, and direct
    /// replies come at most once.
    fn admit(&self, pending: usize) -> Admission {
        if self.outbox.takes_reply(pending) { Admission::Ready } else { Admission::Blocked }
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
