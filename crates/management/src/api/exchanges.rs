//! `/api/exchanges`, publishing included.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leveret_broker::policy::AppliedPolicies;
use leveret_broker::{DeclareExchange, Publish, Session, Staged, Vhost};
use leveret_codec::{Properties, TableBuf, TableLimits};
use leveret_engine::{Body, Exchange, ExchangeSpec, ExchangeTraffic};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Failure, Outcome};
use crate::call::{CHANNEL, Call, flag, text};
use crate::json_table;
use crate::list::{self, Field};
use crate::message_stats::{self, Names};
use crate::node::Node;
use crate::properties;
use crate::rates::{Key, Values};

/// An exchange as it is listed.
struct Item {
    vhost: Arc<Vhost>,
    /// Empty for the default exchange.
    name: Arc<str>,
    kind: &'static str,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: TableBuf,
    policies: AppliedPolicies,
    traffic: Arc<ExchangeTraffic>,
    node: Arc<Node>,
}

/// What an exchange counts.
const COUNTED: Names = &[("publish_in", 0), ("publish_out", 1)];

/// What an exchange has counted, as a reading.
pub(crate) fn reading(traffic: &ExchangeTraffic) -> Values {
    let mut values = Values::default();
    let all = [(0, traffic.published_in()), (1, traffic.published_out())];
    message_stats::fill(&mut values, &all);
    values
}

const FIELDS: &[Field<Item>] = &[
    ("arguments", |item| Some(json_table::to_json(item.arguments.as_table()))),
    ("auto_delete", |item| Some(item.auto_delete.into())),
    ("durable", |item| Some(item.durable.into())),
    ("internal", |item| Some(item.internal.into())),
    ("message_stats", |item| {
        let key = Key::Exchange(Arc::clone(item.vhost.name()), Arc::clone(&item.name));
        message_stats::to_json(COUNTED, &reading(&item.traffic), &item.node.rates.of(&key))
    }),
    ("name", |item| Some(item.name.as_ref().into())),
    ("policy", |item| item.policies.policy().map(|policy| policy.name().as_ref().into())),
    ("type", |item| Some(item.kind.into())),
    ("user_who_performed_action", |item| {
        let is_builtin = item.name.is_empty() || item.name.starts_with("amq.");
        is_builtin.then(|| "rmq-internal".into())
    }),
    ("vhost", |item| Some(item.vhost.name().as_ref().into())),
];

/// What one exchange says besides; who publishes to it and where that goes is not counted.
const DETAILS: &[Field<Item>] =
    &[("incoming", |_| Some(json!([]))), ("outgoing", |_| Some(json!([])))];

pub(crate) fn list(call: &Call) -> Outcome {
    let mut items = Vec::new();
    for vhost in call.vhosts()? {
        let mut all: Vec<Found> =
            vhost.topology(|topology| topology.exchanges().map(found).collect());
        all.sort_unstable_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        items.push(default_exchange(call, &vhost));
        items.extend(all.into_iter().map(|found| item(call, &vhost, found)));
    }
    list::list(call, items, FIELDS)
}

/// What the map shows of exchanges; those that are gone by now are left out.
pub(crate) fn on_map(call: &Call, vhost: &Arc<Vhost>, names: &[String]) -> Vec<Value> {
    let found: Vec<Found> = vhost.topology(|topology| {
        names.iter().filter_map(|name| topology.exchange(name)).map(found).collect()
    });
    let items = found.into_iter().map(|found| item(call, vhost, found));
    items.map(|item| list::some_of(&item, FIELDS, &["name", "type", "message_stats"])).collect()
}

pub(crate) fn show(call: &Call) -> Outcome {
    let item = named(call)?;
    let fields: Vec<Field<Item>> = FIELDS.iter().chain(DETAILS).copied().collect();
    Ok(list::object(call, &item, &fields))
}

pub(crate) fn put(call: &Call) -> Outcome {
    let body = call.object()?;
    let existed = named(call).is_ok();
    let declared =
        declare(&mut call.session()?, &name(call), &body, &call.node.config().amqp.tables)?;
    let answer = if existed { Answer::done() } else { Answer::created() };
    Ok(answer.after(declared))
}

/// Declares an exchange as a body or a definition says it.
///
/// # Errors
/// As the session's, and 400 for a body that says something else.
pub(crate) fn declare(
    session: &mut Session,
    name: &str,
    body: &Map<String, Value>,
    tables: &TableLimits,
) -> Result<Option<leveret_store::Lsn>, Failure> {
    let arguments = arguments(body, tables)?;
    let kind = if body.contains_key("type") { text(body, "type")? } else { "direct" };
    let declared = session.declare_exchange(DeclareExchange {
        name,
        kind,
        durable: flag(body, "durable", false)?,
        auto_delete: flag(body, "auto_delete", false)?,
        internal: flag(body, "internal", false)?,
        arguments: arguments.as_table(),
    })?;
    session.finish();
    Ok(declared)
}

pub(crate) fn delete(call: &Call) -> Outcome {
    named(call)?;
    let mut session = call.session()?;
    let commit = session.delete_exchange(&name(call), call.flag("if-unused"))?;
    session.finish();
    Ok(Answer::done().after(commit))
}

/// # Errors
/// 503 while publishers have to wait, and what the session says.
pub(crate) fn publish(call: &Call) -> Outcome {
    let keys = ["routing_key", "properties", "payload", "payload_encoding"];
    let body = call.object_with(&keys)?;
    let mut session = call.session()?;
    named(call).map_err(|_| Failure::Missing("exchange_not_found".to_owned()))?;
    call.check_room()?;
    let Some(Value::String(payload)) = body.get("payload") else {
        return Err(Failure::bad_request("payload_not_string"));
    };
    let payload = match text(&body, "payload_encoding")? {
        "string" => payload.clone().into_bytes(),
        "base64" => STANDARD
            .decode(payload)
            .map_err(|_| Failure::BadRequest(json!(["not_base64", payload])))?,
        other => return Err(Failure::BadRequest(json!(["unsupported_encoding", other]))),
    };
    let config = call.node.config();
    let (max, tables) = (config.amqp.max_message_bytes, &config.amqp.tables);
    if payload.len() as u64 > max {
        let error = leveret_broker::refusal::message_too_large(payload.len() as u64, max);
        return Err(Failure::of_closed_channel(&error));
    }
    let given = body.get("properties").unwrap_or(&Value::Null);
    let raw_properties = properties::from_json(given, tables)?;
    let properties = Properties::parse(&raw_properties, tables)?;
    let staged = session.publish(
        Publish {
            channel: CHANNEL,
            exchange: &name(call),
            routing_key: text(&body, "routing_key")?,
            properties: &properties,
            raw_properties: &raw_properties,
            body: Body::Copy(&payload),
            replies_to: None,
        },
        None,
    );
    let staged = staged.map_err(|error| Failure::of_closed_channel(&error))?;
    // Messages aren't waited for: nobody was promised that they are on disk.
    session.flush(&mut Vec::new());
    session.finish();
    Ok(Answer::json(&json!({ "routed": staged == Staged::Routed })))
}

/// The exchange that the path names; the default one has a name there.
pub(crate) fn name(call: &Call) -> String {
    real_name(call.part("exchange")).to_owned()
}

/// What `amq.default` stands for in paths.
pub(crate) fn real_name(name: &str) -> &str {
    if name == "amq.default" { "" } else { name }
}

/// The arguments of a body, within these limits.
///
/// # Errors
/// 400 for something else than an object, and for what no client could send.
pub(crate) fn arguments(
    body: &Map<String, Value>,
    limits: &TableLimits,
) -> Result<TableBuf, Failure> {
    match body.get("arguments") {
        None | Some(Value::Null) => Ok(TableBuf::default()),
        // Empty tables come as lists from clients in languages that have one type for both.
        Some(Value::Array(none)) if none.is_empty() => Ok(TableBuf::default()),
        Some(Value::Object(arguments)) => json_table::from_json(arguments, limits),
        Some(_) => Err(Failure::bad_request("arguments should be an object")),
    }
}

fn named(call: &Call) -> Result<Item, Failure> {
    let (vhost, name) = (call.vhost()?, name(call));
    if name.is_empty() {
        return Ok(default_exchange(call, &vhost));
    }
    let exchange = vhost.topology(|topology| topology.exchange(&name).map(found));
    Ok(item(call, &vhost, exchange.ok_or(Failure::NotFound)?))
}

/// What is read of an exchange.
type Found = (ExchangeSpec, Arc<ExchangeTraffic>);

fn found(exchange: &Exchange) -> Found {
    (exchange.spec().clone(), Arc::clone(exchange.traffic()))
}

fn item(call: &Call, vhost: &Arc<Vhost>, (spec, traffic): Found) -> Item {
    Item {
        node: Arc::clone(&call.node),
        traffic,
        policies: vhost.exchange_policies(&spec.name).unwrap_or_default(),
        vhost: Arc::clone(vhost),
        name: spec.name,
        kind: spec.kind.name(),
        durable: spec.durable,
        auto_delete: spec.auto_delete,
        internal: spec.internal,
        arguments: spec.arguments,
    }
}

fn default_exchange(call: &Call, vhost: &Arc<Vhost>) -> Item {
    let traffic = vhost.topology(|topology| topology.traffic("").cloned());
    Item {
        node: Arc::clone(&call.node),
        traffic: traffic.unwrap_or_default(),
        vhost: Arc::clone(vhost),
        name: "".into(),
        kind: "direct",
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: TableBuf::default(),
        policies: AppliedPolicies::default(),
    }
}
