//! What there is, as definitions. Each of them counts as soon as it is there: there may be very many.

use std::sync::Arc;

use ahash::AHashSet;
use leveret_broker::access::PasswordHash;
use leveret_broker::policy::PolicyKind;
use leveret_broker::{Broker, Vhost, VhostLimits};
use leveret_engine::DestinationName;
use serde_json::{Map, Value, json};

use crate::answer::Failure;
use crate::api::{bindings, queues as queue_api, users, vhosts};
use crate::json_table::to_json;
use crate::node::Node;
use crate::space::Space;

/// Definitions of the whole node.
///
/// # Errors
/// 503 when others leave no room for them.
pub(crate) fn of_node(node: &Node, space: &mut Space) -> Result<Value, Failure> {
    let broker = &node.broker;
    let cluster = node.cluster_name();
    let mut all = versions(node);
    let mut put = |name: &str, value: Value| {
        all.insert(name.to_owned(), value);
    };
    put("rabbitmq_definition_format", "cluster".into());
    put("explanation", format!("Definitions of cluster '{cluster}'").into());
    put("original_cluster_name", cluster.into());
    put("users", users(broker));
    put("vhosts", broker.vhosts().iter().map(|vhost| vhost_json(vhost)).collect());
    put("permissions", permissions(broker));
    put("topic_permissions", topic_permissions(broker));
    let global = broker.global_parameters().into_iter();
    let global = global.map(|(name, value)| json!({ "name": name, "value": value }));
    put("global_parameters", global.collect());
    let vhosts = broker.vhosts();
    let sections: [(&str, Section); 5] = [
        ("parameters", parameters),
        ("policies", policies),
        ("queues", queues),
        ("exchanges", exchanges),
        ("bindings", bindings),
    ];
    for (name, section) in sections {
        let mut of_all = Vec::new();
        for vhost in &vhosts {
            of_all.extend(section(vhost, space)?.into_iter().map(|mut object| {
                object.insert("vhost".to_owned(), vhost.name().as_ref().into());
                Value::Object(object)
            }));
        }
        put(name, of_all.into());
    }
    Ok(Value::Object(all))
}

/// Definitions of one vhost, which may be imported into another.
///
/// # Errors
/// As [`of_node`].
pub(crate) fn of_vhost(
    node: &Node,
    vhost: &Arc<Vhost>,
    space: &mut Space,
) -> Result<Value, Failure> {
    let mut all = versions(node);
    let metadata = vhost.metadata();
    let mut put = |name: &str, value: Value| {
        all.insert(name.to_owned(), value);
    };
    let mut section = |section: Section| -> Result<Value, Failure> {
        Ok(section(vhost, space)?.into_iter().map(Value::Object).collect())
    };
    put("rabbitmq_definition_format", "single_virtual_host".into());
    put("explanation", format!("Definitions of virtual host '{}'", vhost.name()).into());
    put("original_vhost_name", vhost.name().as_ref().into());
    put("description", metadata.description.as_str().into());
    put("metadata", vhosts::metadata_json(&metadata));
    put("limits", vhosts::limits_value(vhost.limits()));
    put("parameters", section(parameters)?);
    put("policies", section(policies)?);
    put("queues", section(queues)?);
    put("exchanges", section(exchanges)?);
    put("bindings", section(bindings)?);
    Ok(Value::Object(all))
}

/// A part of a vhost's definitions, without the vhost's name.
type Section = fn(&Arc<Vhost>, &mut Space) -> Result<Vec<Definition>, Failure>;
type Definition = Map<String, Value>;

fn versions(node: &Node) -> Map<String, Value> {
    let (product, version) = (node.product(), node.version());
    let all = [
        ("product_name", product),
        ("product_version", version),
        ("rabbit_version", version),
        ("rabbitmq_version", version),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn users(broker: &Broker) -> Value {
    let users = broker.access().users().into_iter().map(|user| {
        let hash = user.password_hash.as_ref().map(PasswordHash::to_text).unwrap_or_default();
        json!({
            "name": user.name,
            "password_hash": hash,
            "hashing_algorithm": user.hashing_algorithm().name(),
            "tags": user.tags,
            "limits": users::limits_value(user.limits),
        })
    });
    users.collect()
}

fn vhost_json(vhost: &Vhost) -> Value {
    let metadata = vhost.metadata();
    json!({
        "name": vhost.name().as_ref(),
        "description": metadata.description,
        "tags": metadata.tags,
        "metadata": vhosts::metadata_json(&metadata),
        "limits": vhosts::limits_value(vhost.limits()),
    })
}

fn permissions(broker: &Broker) -> Value {
    let all = broker.access().permissions().into_iter().map(|(key, permission)| {
        json!({
            "user": key.user,
            "vhost": key.vhost,
            "configure": permission.configure.as_str(),
            "write": permission.write.as_str(),
            "read": permission.read.as_str(),
        })
    });
    all.collect()
}

fn topic_permissions(broker: &Broker) -> Value {
    let all = broker.access().topic_permissions().into_iter().map(|(key, permission)| {
        json!({
            "user": key.user,
            "vhost": key.vhost,
            "exchange": key.exchange,
            "write": permission.write,
            "read": permission.read,
        })
    });
    all.collect()
}

/// Limits and operator policies are parameters.
fn parameters(vhost: &Arc<Vhost>, space: &mut Space) -> Result<Vec<Definition>, Failure> {
    let parameter = |component: &str, name: &str, value: Value| {
        object(json!({ "component": component, "name": name, "value": value }))
    };
    let limits = vhost.limits();
    let mut all = Vec::new();
    if limits != VhostLimits::default() {
        all.push(parameter("vhost-limits", "limits", vhosts::limits_value(limits)));
    }
    let kind = PolicyKind::Operator;
    for policy in vhost.policies(kind) {
        all.push(parameter(kind.component(), policy.name(), policy.policy().to_json()));
    }
    counted(all, space)
}

fn policies(vhost: &Arc<Vhost>, space: &mut Space) -> Result<Vec<Definition>, Failure> {
    let all = vhost.policies(PolicyKind::User).into_iter().map(|policy| {
        let mut json = object(policy.policy().to_json());
        json.insert("name".to_owned(), policy.name().as_ref().into());
        json
    });
    counted(all, space)
}

/// All but those that belong to a connection.
fn queues(vhost: &Arc<Vhost>, space: &mut Space) -> Result<Vec<Definition>, Failure> {
    let mut queues = vhost.queues();
    queues.retain(|queue| queue.owner().is_none());
    queues.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    let all = queues.iter().map(|queue| {
        object(json!({
            "name": queue.name().as_ref(),
            "durable": queue.is_durable(),
            "auto_delete": queue.is_auto_delete(),
            "type": queue.queue_type().as_str(),
            "arguments": queue_api::arguments(queue),
        }))
    });
    counted(all, space)
}

/// All but those every vhost has.
fn exchanges(vhost: &Arc<Vhost>, space: &mut Space) -> Result<Vec<Definition>, Failure> {
    let mut specs: Vec<_> = vhost.topology(|topology| {
        let specs = topology.exchanges().map(|exchange| exchange.spec());
        let declared = specs.filter(|spec| !Vhost::has_from_the_start(&spec.name));
        declared.cloned().collect()
    });
    specs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let all = specs.into_iter().map(|spec| {
        object(json!({
            "name": spec.name.as_ref(),
            "type": spec.kind.name(),
            "durable": spec.durable,
            "auto_delete": spec.auto_delete,
            "internal": spec.internal,
            "arguments": to_json(spec.arguments.as_table()),
        }))
    });
    counted(all, space)
}

/// All but the default exchange's and those of queues that belong to a connection.
fn bindings(vhost: &Arc<Vhost>, space: &mut Space) -> Result<Vec<Definition>, Failure> {
    let queues = vhost.queues();
    let exclusive = queues.iter().filter(|queue| queue.owner().is_some());
    let exclusive: AHashSet<&str> = exclusive.map(|queue| &**queue.name()).collect();
    let is_exported = |destination: DestinationName<'_>| match destination {
        DestinationName::Queue(name) => !exclusive.contains(name),
        DestinationName::Exchange(_) => true,
    };
    let all = bindings::copies_where(vhost, is_exported, space)?;
    counted(all.into_iter().map(|binding| object(binding.definition())), space)
}

/// As they are made, in memory.
fn counted(
    all: impl IntoIterator<Item = Definition>,
    space: &mut Space,
) -> Result<Vec<Definition>, Failure> {
    let counted = all.into_iter().map(|one| {
        space.take(bytes_of(&one))?;
        Ok(one)
    });
    counted.collect()
}

/// What an object takes of memory, about.
fn bytes_of(object: &Definition) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len(),
            Value::Array(all) => all.iter().map(|value| size_of::<Value>() + of(value)).sum(),
            Value::Object(object) => bytes_of(object),
            _ => 0,
        }
    }
    let entry = size_of::<(String, Value)>();
    let entries = object.iter().map(|(key, value)| entry + key.len() + of(value));
    // With the place for the vhost's name.
    entries.sum::<usize>() + 2 * entry
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
