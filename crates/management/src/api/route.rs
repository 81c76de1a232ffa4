//! `/api/leveret/route`: where a message would go, and why. RabbitMQ has no such endpoint.

use leveret_broker::refusal;
use leveret_codec::{Properties, TableBuf, Value as Field};
use leveret_engine::{BindingRef, DestinationName, ExchangeKind, Explanation, Routable, Visit};
use serde_json::{Value, json};

use super::{bindings, exchanges};
use crate::answer::{Answer, Failure, Outcome};
use crate::call::{Call, text};
use crate::json_table;
use crate::properties;

/// Exchanges that are told.
const EXCHANGES_MAX: usize = 1000;
/// Bindings of an exchange that are told; those a message takes come first.
const BINDINGS_MAX: usize = 1000;
/// What the bindings of all of them take together.
const BYTES_MAX: usize = 1 << 20;
/// What a binding takes besides its names and arguments.
const FIELD_NAMES: usize = 100;

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
    let way = vhost.topology(|topology| {
        if !exchange.is_empty() && topology.exchange(&exchange).is_none() {
            return Err(Failure::NotFound);
        }
        let message = Routable { keys: &keys, properties: &properties, drawn: call.now.0 };
        let explanation = topology
            .explain(&exchange, message)
            .map_err(|many| refusal::routing_steps(&exchange, vhost.name(), many))?;
        Ok(Way::of(&explanation))
    })?;
    let Way { queues, exchanges, exchanges_total } = way;
    let exchanges: Vec<Value> = exchanges.into_iter().map(Visited::into_json).collect();
    Ok(Answer::json(&json!({
        "queues": queues,
        "exchanges": exchanges,
        "exchanges_total": exchanges_total,
    })))
}

/// What is told of a way, by itself: while it is written the vhost's directory is nobody's to wait for.
struct Way {
    queues: Vec<String>,
    exchanges: Vec<Visited>,
    exchanges_total: usize,
}

struct Visited {
    name: String,
    kind: ExchangeKind,
    bindings: Vec<(Bound, bool)>,
    bindings_total: usize,
    alternate: Option<String>,
    is_delayed: bool,
}

struct Bound {
    is_to_queue: bool,
    destination: String,
    key: String,
    arguments: TableBuf,
}

impl Way {
    fn of(Explanation { visits, queues }: &Explanation<'_>) -> Self {
        let mut left = BYTES_MAX;
        let told = visits.iter().take(EXCHANGES_MAX);
        Self {
            queues: queues.iter().copied().map(str::to_owned).collect(),
            exchanges: told.map(|visit| Visited::of(visit, &mut left)).collect(),
            exchanges_total: visits.len(),
        }
    }
}

impl Visited {
    /// With as many of its bindings as there is space left for.
    fn of(visit: &Visit<'_>, left: &mut usize) -> Self {
        let some = visit.bindings().take(BINDINGS_MAX).map_while(|(binding, is_taken)| {
            let bound = Bound::of(&binding);
            *left = left.checked_sub(bound.bytes())?;
            Some((bound, is_taken))
        });
        Self {
            name: visit.exchange.name().to_owned(),
            kind: visit.exchange.spec().kind,
            bindings: some.collect(),
            bindings_total: visit.bindings_total(),
            alternate: visit.alternate.map(str::to_owned),
            is_delayed: visit.is_delayed,
        }
    }

    fn into_json(self) -> Value {
        let bindings = self.bindings.into_iter().map(|(binding, is_taken)| {
            json!({
                "destination": binding.destination,
                "destination_type": bindings::destination_type(binding.is_to_queue),
                "routing_key": binding.key,
                "arguments": json_table::to_json(binding.arguments.as_table()),
                "matches": is_taken,
            })
        });
        json!({
            "name": self.name,
            "type": self.kind.name(),
            "by_chance": matches!(self.kind, ExchangeKind::Random | ExchangeKind::LocalRandom),
            "bindings": bindings.collect::<Value>(),
            "bindings_total": self.bindings_total,
            "alternate": self.alternate,
            "delayed": self.is_delayed,
        })
    }
}

impl Bound {
    fn of(binding: &BindingRef<'_>) -> Self {
        let (is_to_queue, destination) = match binding.destination {
            DestinationName::Queue(name) => (true, name),
            DestinationName::Exchange(name) => (false, name),
        };
        let (destination, key) = (destination.to_owned(), binding.key.to_owned());
        Self { is_to_queue, destination, key, arguments: binding.arguments.clone() }
    }

    /// What it takes in the answer, about.
    fn bytes(&self) -> usize {
        FIELD_NAMES + self.destination.len() + self.key.len() + self.arguments.as_bytes().len()
    }
}
