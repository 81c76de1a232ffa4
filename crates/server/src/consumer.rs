//! A consumer's way from its queue into its connection's outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret_broker::{SharedQueue, Subscriber, Wake};
use leveret_codec::basic;
use leveret_engine::{Admission, ConsumerId, Entry};

use crate::outbox::{Address, Cancelled, Outbox};

/// See [`Subscriber`].
pub(crate) struct ConsumerSink {
    outbox: Arc<Outbox>,
    queue: Arc<SharedQueue>,
    id: ConsumerId,
    channel: u16,
    tag: Arc<str>,
    source: Option<u32>,
    /// The client wants to hear of a cancel that it didn't ask for.
    notify_cancel: bool,
    /// Its consume-ok has left.
    started: AtomicBool,
    /// The client ended it, or its channel.
    ended: AtomicBool,
}

/// What a consumer is made of.
pub(crate) struct ConsumerSpec {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) queue: Arc<SharedQueue>,
    pub(crate) id: ConsumerId,
    pub(crate) channel: u16,
    pub(crate) tag: Arc<str>,
    /// Its index among the channel's sources; `None` if it settles nothing.
    pub(crate) source: Option<u32>,
    pub(crate) notify_cancel: bool,
}

impl ConsumerSink {
    pub(crate) fn new(spec: ConsumerSpec) -> Self {
        let ConsumerSpec { outbox, queue, id, channel, tag, source, notify_cancel } = spec;
        let (started, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { outbox, queue, id, channel, tag, source, notify_cancel, started, ended }
    }

    /// Deliveries may come: consume-ok has been written.
    pub(crate) fn start(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// The client ends it, or its channel, and will be answered: it is told of no cancel from now on,
    /// whoever deletes the queue meanwhile.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn address(&self) -> Address<'_> {
        Address {
            channel: self.channel,
            consumer_tag: &self.tag,
            source: self.source,
            queue: Some(&self.queue),
        }
    }
}

impl Subscriber for ConsumerSink {
    fn admit(&self, pending: usize) -> Admission {
        if !self.started.load(Ordering::Acquire) {
            return Admission::Blocked;
        }
        let blocked = || (Arc::clone(&self.queue), self.id);
        self.outbox.admit(self.address(), pending, blocked)
    }

    fn deliver(&self, entries: &mut Vec<Entry>) -> Wake {
        self.outbox.deliver(self.address(), entries)
    }

    fn wake(&self) {
        self.outbox.wake();
    }

    fn cancelled(&self) {
        // `ended` is looked at under the outbox's lock: the answer to the end is written under it as well.
        self.outbox.cancel(|out| {
            if self.ended.load(Ordering::Acquire) {
                return None;
            }
            if self.notify_cancel {
                let cancel = basic::Cancel { consumer_tag: &self.tag, nowait: true };
                cancel.encode_frame(self.channel, out);
            }
            Some(Cancelled { channel: self.channel, tag: Arc::clone(&self.tag), id: self.id })
        });
    }
}
