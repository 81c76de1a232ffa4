//! A publish that is followed.

use std::sync::Arc;

use leveret_codec::Table;
use leveret_engine::Message;

use super::{Span, SpanMessage, Spans, Step, TraceHeader, TraceParent, traceparent};
use crate::annotations::Traced;
use crate::session::Client;
use crate::vhost::Vhost;

/// From the moment a publish is looked at until it is in its queues, when this is dropped.
pub(crate) struct PublishSpan {
    spans: Arc<Spans>,
    trace: u128,
    id: u64,
    /// The publisher's.
    parent: Option<u64>,
    began: u64,
    /// When its queues were looked for.
    routing: (u64, u64),
    /// What was published, by whom. A publish that was refused has none, and no span.
    published: Option<(Arc<SpanMessage>, Step)>,
}

impl PublishSpan {
    /// Decides whether a message is followed: if its publisher's trace is, or else by chance.
    pub(crate) fn begin(spans: &Arc<Spans>, headers: Option<Table<'_>>) -> Option<Self> {
        let remote = headers.and_then(|headers| traceparent::text(headers, traceparent::PARENT));
        let (trace, parent) = match remote.and_then(TraceParent::parse) {
            Some(TraceParent { trace, span, is_sampled: true }) => (trace, Some(span)),
            Some(_) => return None,
            None => {
                let low = spans.draw();
                if low % 1_000_000 >= u64::from(spans.options.sampled_millionths) {
                    return None;
                }
                (u128::from(spans.draw()) << 64 | u128::from(low), None)
            }
        };
        let began = spans.now();
        Some(Self {
            spans: Arc::clone(spans),
            trace,
            id: spans.draw(),
            parent,
            began,
            routing: (began, began),
            published: None,
        })
    }

    /// What the message's `traceparent` is to be, if it is to be changed.
    pub(crate) fn header(&self) -> Option<String> {
        let is_written = match self.spans.options.header {
            TraceHeader::Keep => false,
            TraceHeader::Add => self.parent.is_none(),
            TraceHeader::Replace => true,
        };
        let own = TraceParent { trace: self.trace, span: self.id, is_sampled: true };
        is_written.then(|| own.to_string())
    }

    /// Its queues are looked for from now on.
    pub(crate) fn route(&mut self) {
        self.routing.0 = self.spans.now();
    }

    /// They are found. Returns what the message is followed by.
    pub(crate) fn routed(&mut self) -> Traced {
        self.routing.1 = self.spans.now();
        Traced { trace: self.trace, span: self.id, since: self.routing.1 }
    }

    /// It is this message, and goes to so many queues.
    pub(crate) fn published(
        &mut self,
        vhost: &Vhost,
        client: &Client,
        channel: u16,
        message: &Message,
        queues: usize,
    ) {
        let message = Arc::new(SpanMessage::of(vhost.name(), message));
        self.spans.record(Span {
            trace: self.trace,
            id: self.spans.draw(),
            parent: Some(self.id),
            is_parent_remote: false,
            began: self.routing.0,
            ended: self.routing.1,
            message: Arc::clone(&message),
            step: Step::Route { queues },
        });
        let step = Step::Publish { connection: Arc::clone(&client.connection), channel };
        self.published = Some((message, step));
    }
}

impl Drop for PublishSpan {
    fn drop(&mut self) {
        let Some((message, step)) = self.published.take() else { return };
        self.spans.record(Span {
            trace: self.trace,
            id: self.id,
            parent: self.parent,
            is_parent_remote: self.parent.is_some(),
            began: self.began,
            ended: self.spans.now(),
            message,
            step,
        });
    }
}
