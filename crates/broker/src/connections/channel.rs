//! What a channel counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::count::Count;
use super::sizes::MessageSizes;
use crate::totals::totals;

/// A channel that is open.
#[derive(Debug)]
pub struct OpenChannel {
    number: u16,
    mode: AtomicU8,
    /// How large the messages are that its connection publishes.
    pub sizes: Arc<MessageSizes>,
    /// What went through it.
    pub counters: ChannelCounters,
    /// Deliveries its client has not settled.
    pub unacknowledged: Count,
    /// Publishes it has not confirmed.
    pub unconfirmed: Count,
    /// Publishes that wait for the commit.
    pub uncommitted: Count,
    /// Settlements that wait for the commit.
    pub uncommitted_acks: Count,
    /// Its consumers.
    pub consumers: Count,
    /// The prefetch of its next consumer, 0 for no bound.
    pub prefetch: Count,
    /// The prefetch its consumers share, 0 for no bound.
    pub shared_prefetch: Count,
}

/// What a channel's publishes are subject to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChannelMode {
    /// Nothing.
    Plain = 0,
    /// Publisher confirms.
    Confirm = 1,
    /// Transactions.
    Transactional = 2,
}

impl OpenChannel {
    pub(super) fn new(number: u16, sizes: Arc<MessageSizes>) -> Self {
        Self {
            number,
            sizes,
            mode: AtomicU8::new(ChannelMode::Plain as u8),
            counters: ChannelCounters::default(),
            unacknowledged: Count::default(),
            unconfirmed: Count::default(),
            uncommitted: Count::default(),
            uncommitted_acks: Count::default(),
            consumers: Count::default(),
            prefetch: Count::default(),
            shared_prefetch: Count::default(),
        }
    }

    /// Its number on its connection.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// What its publishes are subject to.
    pub fn mode(&self) -> ChannelMode {
        match self.mode.load(Ordering::Relaxed) {
            1 => ChannelMode::Confirm,
            2 => ChannelMode::Transactional,
            _ => ChannelMode::Plain,
        }
    }

    /// See [`mode`](Self::mode).
    pub fn set_mode(&self, mode: ChannelMode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Messages that went through a channel, in RabbitMQ's names.
        #[derive(Debug, Default)]
        pub struct ChannelCounters {
            $($(#[$doc])+ pub $name: Count,)+
        }

        impl ChannelCounters {
            /// The numbers at this moment.
            pub fn read(&self) -> ChannelTotals {
                ChannelTotals { $($name: self.$name.get(),)+ }
            }
        }

        totals! {
            /// A reading of [`ChannelCounters`], or the sum of several.
            ChannelTotals,
            /// What channels that are closed have counted.
            PastChannels
            { $($(#[$doc])+ $name,)+ }
        }
    };
}

counters! {
    /// Published.
    publish,
    /// Published on channels that confirm.
    publish_to_confirm,
    /// Confirmed to their publishers.
    confirm,
    /// Sent back to their publishers because no queue took them.
    return_unroutable,
    /// Dropped because no queue took them.
    drop_unroutable,
    /// Delivered to consumers that acknowledge.
    deliver,
    /// Delivered to consumers that don't.
    deliver_no_ack,
    /// Fetched to be acknowledged.
    get,
    /// Fetched and done with.
    get_no_ack,
    /// Fetches of nothing.
    get_empty,
    /// Acknowledged.
    ack,
    /// Delivered or fetched once more.
    redeliver,
}
