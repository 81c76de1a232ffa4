//! `/api/leveret/route`: where a message would go, and why. RabbitMQ has no such endpoint.

use leveret_broker::refusal;
use leveret_codec::{Properties, Value as Field};
use leveret_engine::{DestinationName, ExchangeKind, Explanation, Routable, Visit};
use serde_json::{Value, json};

use super::{bindings, exchanges};
use crate::answer::{Answer, Failure, Outcome};
use crate::call::{Call, text};
use crate::json_table;
use crate::properties;

/// Bindings of an exchange that are told; those a message takes come first.
const BINDINGS_MAX: usize = 1000;

/// Nothing is published. Permissions are not looked at, nor whether an exchange that deduplicates
/// has seen such a message.
///
/// # Errors
/// 404 for an exchange that is not there, 400 for a body that is no message or whose way takes too long
/// to find.
pub(crate) fn explain(call: &Call) -> Outcome {
    let body = call.object_with(&["routing_key"])?;
    let key = text(&body, "routing_key")?;
    let exchange = exchanges::name(call);
    let vhost = call.vhost()?;
    let given = body.get("properties").cloned().unwrap_or_else(|| json!({}));
    let tables = call.node.config().amqp.tables;
    let raw = properties::from_json(&given, &tables)?;
    let properties = Properties::parse(&raw, &tables)?;
    let mut keys = vec![key];
    for header in ["CC", "BCC"] {
        let copies = properties.headers.and_then(|headers| headers.get(header));
        if let Some(Field::Array(copies)) = copies {
            keys.extend(copies.iter().filter_map(|copy| copy.as_str()));
        }
    }
    vhost.topology(|topology| {
        if !exchange.is_empty() && topology.exchange(&exchange).is_none() {
            return Err(Failure::NotFound);
        }
        let message = Routable { keys: &keys, properties: &properties, drawn: call.now.0 };
        let Explanation { visits, queues } = topology
            .explain(&exchange, message)
            .map_err(|many| refusal::routing_steps(&exchange, vhost.name(), many))?;
        let exchanges: Vec<Value> = visits.iter().map(visit).collect();
        Ok(Answer::json(&json!({ "queues": queues, "exchanges": exchanges })))
    })
}

fn visit(visit: &Visit<'_>) -> Value {
    let kind = visit.exchange.spec().kind;
    let (taken, others): (Vec<_>, Vec<_>) = visit.bindings.iter().partition(|(_, taken)| *taken);
    let all = taken.iter().chain(&others).take(BINDINGS_MAX);
    let bindings = all.map(|(binding, is_taken)| {
        let (is_to_queue, destination) = match binding.destination {
            DestinationName::Queue(name) => (true, name),
            DestinationName::Exchange(name) => (false, name),
        };
        json!({
            "destination": destination,
            "destination_type": bindings::destination_type(is_to_queue),
            "routing_key": binding.key,
            "arguments": json_table::to_json(binding.arguments.as_table()),
            "matches": is_taken,
        })
    });
    json!({
        "name": visit.exchange.name(),
        "type": kind.name(),
        "by_chance": matches!(kind, ExchangeKind::Random | ExchangeKind::LocalRandom),
        "bindings": bindings.collect::<Value>(),
        "bindings_total": visit.bindings.len(),
        "alternate": visit.alternate,
        "delayed": visit.is_delayed,
    })
}
