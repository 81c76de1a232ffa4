//! Spans in OpenTelemetry's terms: its semantic conventions for messaging with RabbitMQ.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leveret_broker::{SettleOutcome, Span, SpanMessage, Step};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// A span as it is exported.
pub(super) fn span_data(span: Span) -> SpanData {
    let Span { trace, id, parent, is_parent_remote, began, ended, message, step } = span;
    let state = message.trace_state.as_deref();
    // One that can't be read is left out, as the specification has it.
    let state = state.and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
    let Told { operation, kind, operation_type, queue, attributes } = told(&step);
    let destination = destination(&message, queue);
    let mut all = vec![
        KeyValue::new("messaging.system", "rabbitmq"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.destination.name", destination.clone()),
        KeyValue::new("messaging.message.body.size", integer(message.size)),
        KeyValue::new("leveret.vhost", message.vhost.to_string()),
        KeyValue::new("leveret.exchange", message.exchange.to_string()),
    ];
    all.extend(operation_type.map(|kind| KeyValue::new("messaging.operation.type", kind)));
    if !message.routing_key.is_empty() {
        let key = message.routing_key.to_string();
        all.push(KeyValue::new("messaging.rabbitmq.destination.routing_key", key));
    }
    let text = |key, text: &Option<Box<str>>| {
        text.as_ref().map(|text| KeyValue::new(key, text.to_string()))
    };
    all.extend(text("messaging.message.id", &message.message_id));
    all.extend(text("messaging.message.conversation_id", &message.correlation_id));
    all.extend(attributes);
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(trace),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            state,
        ),
        parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: is_parent_remote,
        span_kind: kind,
        name: format!("{operation} {destination}").into(),
        start_time: time(began),
        end_time: time(ended.max(began)),
        attributes: all,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("leveret").build(),
    }
}

/// What is said of a step.
struct Told<'a> {
    operation: &'static str,
    kind: SpanKind,
    /// For those the conventions have a word for.
    operation_type: Option<&'static str>,
    queue: Option<&'a str>,
    attributes: Vec<KeyValue>,
}

fn told(step: &Step) -> Told<'_> {
    let client = |connection: &str, channel: u16| {
        [
            KeyValue::new("messaging.client.id", connection.to_owned()),
            KeyValue::new("leveret.channel", i64::from(channel)),
        ]
    };
    match step {
        Step::Publish { connection, channel } => Told {
            operation: "publish",
            kind: SpanKind::Server,
            operation_type: Some("send"),
            queue: None,
            attributes: client(connection, *channel).into(),
        },
        Step::Route { queues } => Told {
            operation: "route",
            kind: SpanKind::Internal,
            operation_type: None,
            queue: None,
            attributes: vec![KeyValue::new("leveret.queues", integer(*queues as u64))],
        },
        Step::Queue { queue, died } => Told {
            operation: "queue",
            kind: SpanKind::Internal,
            operation_type: None,
            queue: Some(queue),
            attributes: died.iter().map(|how| KeyValue::new("leveret.died", *how)).collect(),
        },
        Step::Deliver { queue, consumer_tag, connection, channel, redelivered } => {
            let mut attributes = Vec::from(client(connection, *channel));
            attributes.push(KeyValue::new("leveret.redelivered", *redelivered));
            let tag = consumer_tag.as_ref();
            attributes
                .extend(tag.map(|tag| KeyValue::new("leveret.consumer_tag", tag.to_string())));
            let is_got = consumer_tag.is_none();
            Told {
                operation: if is_got { "get" } else { "deliver" },
                kind: if is_got { SpanKind::Server } else { SpanKind::Internal },
                operation_type: Some("receive"),
                queue: Some(queue),
                attributes,
            }
        }
        Step::Settle { queue, outcome } => Told {
            operation: match outcome {
                SettleOutcome::Acknowledged => "ack",
                SettleOutcome::Rejected => "reject",
                SettleOutcome::Returned => "requeue",
            },
            kind: SpanKind::Server,
            operation_type: Some("settle"),
            queue: Some(queue),
            attributes: Vec::new(),
        },
        Step::DeadLetter { queue, reason, queues } => Told {
            operation: "dead-letter",
            kind: SpanKind::Internal,
            operation_type: None,
            queue: None,
            attributes: vec![
                KeyValue::new("leveret.died", *reason),
                KeyValue::new("leveret.died_in", queue.to_string()),
                KeyValue::new("leveret.queues", integer(*queues as u64)),
            ],
        },
    }
}

/// The conventions' name of a destination: exchange, routing key and queue, those that are there.
fn destination(message: &SpanMessage, queue: Option<&str>) -> String {
    let SpanMessage { exchange, routing_key, .. } = message;
    let queue = queue.filter(|queue| **queue != **routing_key);
    let parts = [Some(&**exchange), Some(&**routing_key), queue];
    let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
    let name = parts.collect::<Vec<_>>().join(":");
    if name.is_empty() { "amq.default".to_owned() } else { name }
}

fn integer(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn time(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_named_as_the_conventions_say() {
        for (exchange, key, queue, name) in [
            ("", "", None, "amq.default"),
            ("", "q", None, "q"),
            ("x", "", None, "x"),
            ("x", "k", None, "x:k"),
            ("x", "k", Some("q"), "x:k:q"),
            ("x", "", Some("q"), "x:q"),
            ("", "q", Some("q"), "q"),
        ] {
            let message = SpanMessage {
                vhost: "/".into(),
                exchange: exchange.into(),
                routing_key: key.into(),
                size: 0,
                message_id: None,
                correlation_id: None,
                trace_state: None,
            };
            assert_eq!(destination(&message, queue), name);
        }
    }
}
