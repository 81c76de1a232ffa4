//! `/api/vhosts` and `/api/vhost-limits`.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use leveret_broker::access::Change;
use leveret_broker::{
    Administration, Changed, ChannelTotals, Vhost, VhostLimits, VhostMetadata, VhostNotDeleted,
};
use serde_json::{Map, Value, json};

use super::limit;
use crate::answer::{Answer, Failure, Outcome};
use crate::call::{Call, given_flag};
use crate::client::Peer;
use crate::list::{self, Field};
use crate::message_stats::{self, ASIDE, OF_CHANNEL, READY, UNACKED, details};
use crate::node::Node;
use crate::rates::{Key, PerSecond};
use crate::sampler::Lengths;
use crate::vhost_totals::VhostTotals;

/// A vhost as it is listed.
struct Item {
    node: Arc<Node>,
    vhost: Arc<Vhost>,
    metadata: VhostMetadata,
    /// Read once for all that are listed.
    totals: Arc<OnceLock<VhostTotals>>,
    numbers: OnceCell<Numbers>,
}

/// What is in a vhost and goes through it.
struct Numbers {
    lengths: Lengths,
    totals: ChannelTotals,
    rates: PerSecond,
}

impl Item {
    fn numbers(&self) -> &Numbers {
        self.numbers.get_or_init(|| Numbers {
            lengths: Lengths::of(&self.vhost),
            totals: self
                .totals
                .get_or_init(|| VhostTotals::read(&self.node.broker))
                .of(&self.vhost),
            rates: self.node.rates.of(&Key::Vhost(Arc::clone(self.vhost.name()))),
        })
    }
}

const FIELDS: &[Field<Item>] = &[
    ("cluster_state", |item| Some(json!({ item.node.name.as_str(): "running" }))),
    ("default_queue_type", |item| Some(queue_type(&item.metadata).into())),
    ("description", |item| Some(item.metadata.description.as_str().into())),
    ("message_stats", |item| {
        let Numbers { totals, rates, .. } = item.numbers();
        message_stats::to_json(OF_CHANNEL, &message_stats::of_channels(totals), rates)
    }),
    ("messages", |item| Some(item.numbers().lengths.sum().into())),
    ("messages_details", |item| Some(details(item.numbers().rates.sum(&[READY, UNACKED, ASIDE])))),
    ("messages_ready", |item| Some(item.numbers().lengths.ready.into())),
    ("messages_ready_details", |item| Some(details(item.numbers().rates.at(READY)))),
    ("messages_unacknowledged", |item| Some(item.numbers().lengths.unacked.into())),
    ("messages_unacknowledged_details", |item| Some(details(item.numbers().rates.at(UNACKED)))),
    ("metadata", |item| Some(metadata_json(&item.metadata))),
    ("name", |item| Some(item.vhost.name().as_ref().into())),
    ("protected_from_deletion", |item| Some(item.metadata.protected_from_deletion.into())),
    ("tags", |item| Some(json!(item.metadata.tags))),
    ("tracing", |item| Some(item.vhost.is_traced().into())),
];

pub(crate) fn list(call: &Call) -> Outcome {
    let vhosts = call.vhosts()?.into_iter();
    let totals = Arc::default();
    list::list(call, vhosts.map(|vhost| item(call, vhost, &totals)).collect(), FIELDS)
}

pub(crate) fn show(call: &Call) -> Outcome {
    Ok(list::object(call, &item(call, named(call)?, &Arc::default()), FIELDS))
}

/// `/api/leveret/entry/<vhost>`: whether the user may do there what clients do. RabbitMQ has no such
/// endpoint.
pub(crate) fn entry(call: &Call) -> Outcome {
    Ok(Answer::json(&json!({ "may_enter": call.session().is_ok() })))
}

pub(crate) fn put(call: &Call) -> Outcome {
    let body = call.object()?;
    let metadata = read_metadata(&body)?;
    let is_traced = given_flag(&body, "tracing")?;
    let name = call.part("name");
    let changed = put_vhost(call.administration(), name, metadata)?;
    let mut commit = changed.commit;
    if changed.change == Change::Created && call.peer != Peer::Operator {
        // RabbitMQ gives a new vhost's maker all permissions in it.
        commit = commit.max(super::permissions::grant_everything(call, name)?);
    }
    if let (Some(is_traced), Some(vhost)) = (is_traced, call.broker().vhost(name)) {
        call.administration().trace(&vhost, is_traced);
    }
    let answer = match changed.change {
        Change::Created => Answer::created(),
        Change::Updated => Answer::done(),
    };
    Ok(answer.after(commit))
}

/// Creates a vhost, or changes it.
///
/// # Errors
/// 400 when there are as many as there may be.
pub(crate) fn put_vhost(
    administration: Administration<'_>,
    name: &str,
    metadata: impl FnOnce(VhostMetadata) -> VhostMetadata,
) -> Result<Changed, Failure> {
    let changed = administration.put_vhost(name, metadata);
    changed.map_err(|refused| Failure::bad_request(refused.to_string()))
}

pub(crate) fn delete(call: &Call) -> Outcome {
    let name = call.part("name");
    match call.administration().delete_vhost(name, &mut call.turn()) {
        Ok(commit) => Ok(Answer::done().after(commit)),
        Err(VhostNotDeleted::NotFound) => Err(Failure::NotFound),
        Err(VhostNotDeleted::Protected) => Err(Failure::Protected(format!(
            "Refusing to delete virtual host '{name}' because it is protected from deletion"
        ))),
    }
}

pub(crate) fn protect(call: &Call) -> Outcome {
    set_protection(call, true)
}

pub(crate) fn unprotect(call: &Call) -> Outcome {
    set_protection(call, false)
}

fn set_protection(call: &Call, protected_from_deletion: bool) -> Outcome {
    let vhost = named(call)?;
    let metadata = |before| VhostMetadata { protected_from_deletion, ..before };
    let changed = put_vhost(call.administration(), vhost.name(), metadata)?;
    Ok(Answer::done().after(changed.commit))
}

/// All vhosts run as long as the node does.
pub(crate) fn start(call: &Call) -> Outcome {
    named(call)?;
    let node = call.part("node");
    if node != call.node.name {
        return Err(Failure::bad_request(format!("Unknown node: {node}")));
    }
    Ok(Answer::done())
}

pub(crate) fn all_limits(call: &Call) -> Outcome {
    let vhosts = call.vhosts()?;
    let all = vhosts.iter().map(|vhost| limits_json(vhost));
    Ok(Answer::json(&all.collect()))
}

pub(crate) fn limits(call: &Call) -> Outcome {
    let vhost = call.vhost()?;
    let none = vhost.limits() == VhostLimits::default();
    Ok(Answer::json(&if none { json!([]) } else { json!([limits_json(&vhost)]) }))
}

pub(crate) fn put_limit(call: &Call) -> Outcome {
    let body = call.object_with(&["value"])?;
    let vhost = call.vhost().map_err(|_| Failure::Missing("vhost_not_found".to_owned()))?;
    let name = call.part("name");
    let value = body.get("value").unwrap_or(&Value::Null);
    let invalid = |reason| Failure::bad_request(format!("Validation failed\n\n{reason}\n"));
    let mut limits = vhost.limits();
    let place = limit_mut(&mut limits, name)
        .ok_or_else(|| invalid(limit::unrecognised(name, value, "limits")))?;
    *place = Some(limit::number(name, value).map_err(invalid)?);
    set(call, &vhost, limits)
}

pub(crate) fn delete_limit(call: &Call) -> Outcome {
    let vhost = call.vhost()?;
    let mut limits = vhost.limits();
    if let Some(place) = limit_mut(&mut limits, call.part("name")) {
        *place = None;
    }
    set(call, &vhost, limits)
}

fn set(call: &Call, vhost: &Vhost, limits: VhostLimits) -> Outcome {
    let set = call.administration().set_vhost_limits(vhost.name(), limits);
    Ok(Answer::done().after(set.map_err(|_| Failure::NotFound)?))
}

fn limits_json(vhost: &Vhost) -> Value {
    json!({ "vhost": vhost.name().as_ref(), "value": limits_value(vhost.limits()) })
}

/// A vhost's limits as an object.
pub(crate) fn limits_value(limits: VhostLimits) -> Value {
    let VhostLimits { max_connections, max_queues } = limits;
    let all = [("max-connections", max_connections), ("max-queues", max_queues)];
    let set = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
    json!(set.collect::<BTreeMap<_, _>>())
}

pub(crate) fn limit_mut<'a>(
    limits: &'a mut VhostLimits,
    name: &str,
) -> Option<&'a mut Option<i64>> {
    match name {
        "max-connections" => Some(&mut limits.max_connections),
        "max-queues" => Some(&mut limits.max_queues),
        _ => None,
    }
}

fn item(call: &Call, vhost: Arc<Vhost>, totals: &Arc<OnceLock<VhostTotals>>) -> Item {
    let (node, totals) = (Arc::clone(&call.node), Arc::clone(totals));
    Item { node, metadata: vhost.metadata(), vhost, totals, numbers: OnceCell::new() }
}

fn named(call: &Call) -> Result<Arc<Vhost>, Failure> {
    call.broker().vhost(call.part("name")).ok_or(Failure::NotFound)
}

fn queue_type(metadata: &VhostMetadata) -> &'static str {
    metadata.default_queue_type.unwrap_or_default().as_str()
}

pub(crate) fn metadata_json(metadata: &VhostMetadata) -> Value {
    json!({
        "default_queue_type": queue_type(metadata),
        "description": metadata.description,
        "protected_from_deletion": metadata.protected_from_deletion,
        "tags": metadata.tags,
    })
}

/// What a body makes of what is said of a vhost: only its protection stays without being named, as in
/// RabbitMQ, so that a program which puts the same again and again doesn't take it away.
///
/// # Errors
/// 400 for an unknown queue type.
pub(crate) fn read_metadata(
    body: &Map<String, Value>,
) -> Result<impl FnOnce(VhostMetadata) -> VhostMetadata + use<>, Failure> {
    let default_queue_type = match body.get("default_queue_type") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if name == "undefined" => None,
        Some(value) => {
            let name = value.as_str().unwrap_or_default();
            let parsed = serde_json::from_value(value.clone());
            let invalid = |_| Failure::bad_request(format!("{name} is not a valid queue type"));
            Some(parsed.map_err(invalid)?)
        }
    };
    let description = body.get("description").and_then(Value::as_str).unwrap_or("").to_owned();
    let tags = tags(body.get("tags"));
    let protection = given_flag(body, "protected_from_deletion")?;
    Ok(move |before: VhostMetadata| VhostMetadata {
        description,
        tags,
        default_queue_type,
        protected_from_deletion: protection.unwrap_or(before.protected_from_deletion),
    })
}

/// Tags as a list, or in one text with commas between them.
pub(crate) fn tags(value: Option<&Value>) -> Vec<String> {
    let trimmed = |tag: &str| Some(tag.trim().to_owned()).filter(|tag| !tag.is_empty());
    match value {
        Some(Value::String(all)) => all.split(',').filter_map(trimmed).collect(),
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).filter_map(trimmed).collect()
        }
        _ => Vec::new(),
    }
}
