//! The receiving side of a channel: its mode, its consumers, the message it is being sent.

mod assembly;

use std::sync::Arc;

use ahash::HashMap;
use leveret_broker::{
    OpenChannel, Prepared, Repeatable, ReplyConsumer, Settlement, SharedQueue, refusal,
};
use leveret_codec::{AmqpError, PublishShape, basic};
use leveret_engine::ConsumerId;

pub(crate) use self::assembly::{Assembly, Content};
use crate::consumer::ConsumerSink;
use crate::outbox::TakenSlots;

/// A channel that is open, or that the broker has closed and the client not yet.
pub(crate) struct Channel {
    /// What operators see of it.
    pub(crate) open: Arc<OpenChannel>,
    pub(crate) mode: Mode,
    pub(crate) consumers: HashMap<Arc<str>, Subscription>,
    /// Its consumer of direct replies.
    pub(crate) replies: Option<ReplySubscription>,
    /// The queue an empty name stands for.
    pub(crate) last_queue: String,
    /// What `basic.qos` set for consumers to come.
    pub(crate) prefetch: u16,
    pub(crate) assembly: Assembly,
    /// What its client publishes again and again.
    pub(crate) repetition: Option<Box<Repetition>>,
    /// The broker has sent `channel.close`: everything but its answer is discarded.
    pub(crate) is_closing: bool,
}

/// What a channel's publishes and settlements are subject to.
pub(crate) enum Mode {
    /// Nothing.
    Plain,
    /// Publisher confirms; counts the publishes.
    Confirm { published: u64 },
    /// A transaction.
    Transaction(Transaction),
}

/// What waits for `tx.commit`.
#[derive(Default)]
pub(crate) struct Transaction {
    pub(crate) publishes: Vec<(Prepared, Mandatory)>,
    pub(crate) settlements: Vec<(Settlement, TakenSlots)>,
    /// What that takes in memory, about, in bytes.
    pub(crate) memory: u64,
}

/// Whether an unroutable message is returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mandatory {
    Yes,
    #[default]
    No,
}

impl Mandatory {
    pub(crate) fn of(publish: &basic::Publish<'_>) -> Self {
        if publish.mandatory { Self::Yes } else { Self::No }
    }
}

/// The last publish that came whole.
#[derive(Default)]
pub(crate) struct Repetition {
    pub(crate) shape: PublishShape,
    /// What it means; known from the second time on.
    pub(crate) like: Option<Repeatable>,
}

/// A consumer of the channel.
pub(crate) struct Subscription {
    pub(crate) queue: Arc<SharedQueue>,
    pub(crate) id: ConsumerId,
    /// Its index among the channel's sources; `None` if it settles nothing.
    pub(crate) source: Option<u32>,
    pub(crate) sink: Arc<ConsumerSink>,
}

/// A consumer of direct replies.
pub(crate) struct ReplySubscription {
    pub(crate) tag: Arc<str>,
    pub(crate) consumer: ReplyConsumer,
}

impl Channel {
    pub(crate) fn new(open: Arc<OpenChannel>) -> Self {
        Self {
            open,
            mode: Mode::Plain,
            consumers: HashMap::default(),
            replies: None,
            last_queue: String::new(),
            prefetch: 0,
            assembly: Assembly::default(),
            repetition: None,
            is_closing: false,
        }
    }

    /// Shows operators how many consumers it has.
    pub(crate) fn show_consumers(&self) {
        let replies = u64::from(self.replies.is_some());
        self.open.consumers.set(self.consumers.len() as u64 + replies);
    }

    /// Whether it may have one more consumer. Those whose queues are gone don't count; they are
    /// forgotten at the end of a turn.
    pub(crate) fn check_consumer_limit(&self, max: u32) -> Result<(), AmqpError> {
        let max_len = usize::try_from(max).unwrap_or(usize::MAX);
        if self.consumers.len() < max_len {
            return Ok(());
        }
        let live = self.consumers.values().filter(|one| one.queue.has_consumer(one.id)).count();
        if live < max_len { Ok(()) } else { Err(refusal::consumer_limit(max)) }
    }

    /// The queue a method names; empty stands for the one declared last.
    pub(crate) fn queue_name<'a>(&'a self, name: &'a str) -> Result<&'a str, AmqpError> {
        match (name, self.last_queue.as_str()) {
            ("", "") => Err(refusal::no_previously_declared_queue()),
            ("", last) => Ok(last),
            (name, _) => Ok(name),
        }
    }
}
