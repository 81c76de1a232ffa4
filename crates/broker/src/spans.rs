//! Spans: what became of single messages, step by step, for distributed tracing.
//!
//! Whether a message is followed is decided when it is published, by the `traceparent` header it
//! comes with (W3C Trace Context) or else by chance. One that is has its trace in its annotations
//! ([`Traced`]), so that it is followed through its queues, over a restart, and as a dead letter; to
//! one that isn't nothing happens after that. Where spans go, and the clock they are timed by, is a
//! [`SpanSink`]. Without one there is only a look at whether there is one.

mod followed;
mod publish;
mod traceparent;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use leveret_engine::{AnyEntry, ConsumerId, Entry, Message};
use parking_lot::Mutex;

use self::followed::{Delivered, Followed, Key, Settled};
pub(crate) use self::publish::PublishSpan;
pub(crate) use self::traceparent::PARENT as TRACE_PARENT;
use self::traceparent::TraceParent;
use crate::annotations::{self, Traced};
use crate::dead_letter::{Death, Onward};
use crate::queue::{SharedQueue, properties};
use crate::session::Client;

/// Where spans go that have ended.
pub trait SpanSink: fmt::Debug + Send + Sync {
    /// The time, in nanoseconds since the Unix epoch.
    fn now(&self) -> u64;

    /// Takes a span. Called with a queue locked: it does not wait.
    fn record(&self, span: Span);
}

/// How messages are followed.
#[derive(Clone, Debug)]
pub struct SpanOptions {
    /// Where their spans go.
    pub sink: Arc<dyn SpanSink>,
    /// How many millionths are followed of the messages that come without a trace.
    pub sampled_millionths: u32,
    /// What consumers get to see of the trace.
    pub header: TraceHeader,
}

/// Whether the broker writes the `traceparent` header of messages that are followed, so that what
/// consumers do with them comes below the span of their publishing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceHeader {
    /// Messages are delivered as they were published.
    #[default]
    Keep,
    /// Those without one get one.
    Add,
    /// All of them get one, instead of the publisher's.
    Replace,
}

/// A step of a message that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    /// The trace it is of.
    pub trace: u128,
    /// Its identity.
    pub id: u64,
    /// The span it is below.
    pub parent: Option<u64>,
    /// Whether that one is a publisher's, not the broker's.
    pub is_parent_remote: bool,
    /// When it began, in nanoseconds since the Unix epoch.
    pub began: u64,
    /// When it ended.
    pub ended: u64,
    /// The message.
    pub message: Arc<SpanMessage>,
    /// What happened.
    pub step: Step,
}

/// What spans say of their message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanMessage {
    /// Where it is.
    pub vhost: Arc<str>,
    /// The exchange it was published to.
    pub exchange: Box<str>,
    /// Its routing key.
    pub routing_key: Box<str>,
    /// Bytes of its body.
    pub size: u64,
    /// Its `message-id`.
    pub message_id: Option<Box<str>>,
    /// Its `correlation-id`.
    pub correlation_id: Option<Box<str>>,
    /// The `tracestate` it came with.
    pub trace_state: Option<Box<str>>,
}

/// What happens to messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client publishes it: until it is in its queues.
    Publish {
        /// The client's connection.
        connection: Arc<str>,
        /// The channel.
        channel: u16,
    },
    /// Its queues are found.
    Route {
        /// How many there are.
        queues: usize,
    },
    /// It is in a queue, until it is delivered or dies.
    Queue {
        /// The queue.
        queue: Arc<str>,
        /// How it died, if it did, in the words of `x-death`.
        died: Option<&'static str>,
    },
    /// It is handed to a client.
    Deliver {
        /// The queue it comes from.
        queue: Arc<str>,
        /// The tag of the consumer; `None` for `basic.get`.
        consumer_tag: Option<Arc<str>>,
        /// The client's connection.
        connection: Arc<str>,
        /// The channel.
        channel: u16,
        /// Whether it may have been delivered before.
        redelivered: bool,
    },
    /// The client settles it.
    Settle {
        /// The queue it came from.
        queue: Arc<str>,
        /// How.
        outcome: SettleOutcome,
    },
    /// It goes to a dead-letter exchange.
    DeadLetter {
        /// The queue it died in.
        queue: Arc<str>,
        /// How it died, in the words of `x-death`.
        reason: &'static str,
        /// How many queues it goes to.
        queues: usize,
    },
}

/// How a delivery was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// `basic.ack`.
    Acknowledged,
    /// `basic.reject` or `basic.nack` for good.
    Rejected,
    /// It went back, also because its channel closed.
    Returned,
}

impl SpanMessage {
    fn of(vhost: &Arc<str>, message: &Message) -> Self {
        let properties = properties(message);
        let text = |bytes: &[u8]| str::from_utf8(bytes).ok().map(Into::into);
        let headers = properties.headers.unwrap_or_default();
        Self {
            vhost: Arc::clone(vhost),
            exchange: message.exchange().into(),
            routing_key: message.routing_key().into(),
            size: message.size() as u64,
            message_id: properties.message_id.and_then(text),
            correlation_id: properties.correlation_id.and_then(text),
            trace_state: traceparent::text(headers, traceparent::STATE).map(Into::into),
        }
    }
}

/// Follows messages.
#[derive(Debug)]
pub(crate) struct Spans {
    options: SpanOptions,
    random: RandomState,
    /// Identities drawn so far.
    drawn: AtomicU64,
    /// A leaf among the locks, taken under a queue's.
    followed: Mutex<Followed>,
}

/// To whom deliveries go.
pub(crate) struct Receiver<'a> {
    pub(crate) client: &'a Client,
    pub(crate) channel: u16,
    /// Its identity and tag, unless it is `basic.get`.
    pub(crate) consumer: Option<(ConsumerId, &'a Arc<str>)>,
    /// Deliveries are settled as they leave.
    pub(crate) no_ack: bool,
}

/// Deliveries of messages that are followed, on their way.
pub(crate) struct Leaving<'a> {
    spans: &'a Spans,
    queue: &'a SharedQueue,
    to: Receiver<'a>,
    since: u64,
    messages: Vec<Delivery>,
}

struct Delivery {
    lsn: u64,
    trace: u128,
    parent: u64,
    redelivered: bool,
    message: Arc<SpanMessage>,
}

/// The end of a message that is followed, while it is being dead-lettered.
pub(crate) struct DeathSpan<'a> {
    spans: &'a Spans,
    traced: Traced,
    /// What it died of: a settlement, or what happened to it in its queue.
    cause: Option<u64>,
    began: u64,
}

impl Spans {
    pub(crate) fn new(options: SpanOptions) -> Self {
        Self {
            options,
            random: RandomState::new(),
            drawn: AtomicU64::new(0),
            followed: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        self.options.sink.now()
    }

    /// A number nobody can foresee, and not 0.
    fn draw(&self) -> u64 {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        self.random.hash_one(number).max(1)
    }

    fn record(&self, span: Span) {
        self.options.sink.record(span);
    }

    /// Notes what leaves a queue for a client and is followed. `None` if nothing is.
    pub(crate) fn leave<'a>(
        &'a self,
        queue: &'a SharedQueue,
        to: Receiver<'a>,
        entries: &[Entry],
    ) -> Option<Leaving<'a>> {
        let mut messages = Vec::new();
        let mut since = 0;
        for entry in entries {
            let Some(traced) = annotations::traced(&entry.message) else { continue };
            if messages.is_empty() {
                since = self.now();
            }
            let message = Arc::new(SpanMessage::of(&queue.vhost, &entry.message));
            let returned = match entry.redelivered {
                true => self.followed.lock().take_settled(settled_key(queue, entry.lsn.0)),
                false => None,
            };
            let Settled { span, at } =
                returned.unwrap_or(Settled { span: traced.span, at: traced.since });
            let id = self.draw();
            self.record(Span {
                trace: traced.trace,
                id,
                parent: Some(span),
                is_parent_remote: false,
                began: at,
                ended: since,
                message: Arc::clone(&message),
                step: Step::Queue { queue: Arc::clone(&queue.name), died: None },
            });
            messages.push(Delivery {
                lsn: entry.lsn.0,
                trace: traced.trace,
                parent: id,
                redelivered: entry.redelivered,
                message,
            });
        }
        (!messages.is_empty()).then_some(Leaving { spans: self, queue, to, since, messages })
    }

    /// Deliveries are settled. `goes_on` says whether something else will happen to them.
    pub(crate) fn settle(
        &self,
        queue: &SharedQueue,
        consumer: Option<ConsumerId>,
        entries: &[AnyEntry],
        outcome: SettleOutcome,
        goes_on: bool,
    ) {
        let mut followed = self.followed.lock();
        if followed.is_empty() {
            return;
        }
        let began = self.now();
        for entry in entries {
            let lsn = entry.lsn().0;
            let key = Key { queue: queue.id, consumer, lsn };
            let Some(Delivered { trace, span, message }) = followed.take_delivered(key) else {
                continue;
            };
            let (id, ended) = (self.draw(), self.now());
            if goes_on {
                followed.settled(settled_key(queue, lsn), Settled { span: id, at: ended });
            }
            self.record(Span {
                trace,
                id,
                parent: Some(span),
                is_parent_remote: false,
                began,
                ended,
                message,
                step: Step::Settle { queue: Arc::clone(&queue.name), outcome },
            });
        }
    }

    /// A message that is followed is about to be dead-lettered.
    pub(crate) fn die(&self, death: &Death) -> Option<DeathSpan<'_>> {
        let before = annotations::traced(&death.entry.message)?;
        if death.source.onward == Onward::Delayed {
            return None;
        }
        let began = self.now();
        let key = Key { queue: death.source.queue, consumer: None, lsn: death.entry.lsn.0 };
        let cause = self.followed.lock().take_settled(key).map(|settled| settled.span);
        let traced = Traced { trace: before.trace, span: self.draw(), since: began };
        Some(DeathSpan { spans: self, traced, cause, began })
    }
}

/// What is kept of a settlement, for whatever happens to its message next.
fn settled_key(queue: &SharedQueue, lsn: u64) -> Key {
    Key { queue: queue.id, consumer: None, lsn }
}

impl Leaving<'_> {
    /// They are in the client's outbox. The queue is still locked, so none of them is settled yet.
    pub(crate) fn delivered(self) {
        let Self { spans, queue, to, since, messages } = self;
        let ended = spans.now();
        for Delivery { lsn, trace, parent, redelivered, message } in messages {
            let id = spans.draw();
            if !to.no_ack {
                let consumer = to.consumer.map(|(id, _)| id);
                let key = Key { queue: queue.id, consumer, lsn };
                let message = Arc::clone(&message);
                spans.followed.lock().delivered(key, Delivered { trace, span: id, message });
            }
            spans.record(Span {
                trace,
                id,
                parent: Some(parent),
                is_parent_remote: false,
                began: since,
                ended,
                message,
                step: Step::Deliver {
                    queue: Arc::clone(&queue.name),
                    consumer_tag: to.consumer.map(|(_, tag)| Arc::clone(tag)),
                    connection: Arc::clone(&to.client.connection),
                    channel: to.channel,
                    redelivered,
                },
            });
        }
    }
}

impl DeathSpan<'_> {
    /// What the dead letter is followed by.
    pub(crate) fn traced(&self) -> Traced {
        self.traced
    }

    /// It is on its way to so many queues.
    pub(crate) fn dead_lettered(self, death: &Death, letter: &Message, queues: usize) {
        let Self { spans, traced, cause, began } = self;
        let (source, reason) = (&death.source, death.reason.as_str());
        let parent = cause.or_else(|| {
            // Nobody has had it: what ended is its time in the queue.
            let before = annotations::traced(&death.entry.message)?;
            let id = spans.draw();
            spans.record(Span {
                trace: before.trace,
                id,
                parent: Some(before.span),
                is_parent_remote: false,
                began: before.since,
                ended: began,
                message: Arc::new(SpanMessage::of(&source.vhost, &death.entry.message)),
                step: Step::Queue { queue: Arc::clone(&source.queue_name), died: Some(reason) },
            });
            Some(id)
        });
        spans.record(Span {
            trace: traced.trace,
            id: traced.span,
            parent,
            is_parent_remote: false,
            began,
            ended: spans.now(),
            message: Arc::new(SpanMessage::of(&source.vhost, letter)),
            step: Step::DeadLetter { queue: Arc::clone(&source.queue_name), reason, queues },
        });
    }
}
