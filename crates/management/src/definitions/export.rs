//! What there is, as definitions.

use std::sync::Arc;

use ahash::AHashSet;
use leveret_broker::access::PasswordHash;
use leveret_broker::policy::PolicyKind;
use leveret_broker::{Broker, Vhost, VhostLimits};
use leveret_engine::{DestinationName, Topology};
use serde_json::{Map, Value, json};

use crate::api::{bindings, queues as queue_api, users, vhosts};
use crate::json_table::to_json;
use crate::node::Node;

/// Definitions of the whole node.
pub(crate) fn of_node(node: &Node) -> Value {
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
        let of_all = vhosts.iter().flat_map(|vhost| {
            section(vhost).into_iter().map(|mut object| {
                object.insert("vhost".to_owned(), vhost.name().as_ref().into());
                Value::Object(object)
            })
        });
        put(name, of_all.collect());
    }
    Value::Object(all)
}

/// Definitions of one vhost, which may be imported into another.
pub(crate) fn of_vhost(node: &Node, vhost: &Arc<Vhost>) -> Value {
    let mut all = versions(node);
    let metadata = vhost.metadata();
    let mut put = |name: &str, value: Value| {
        all.insert(name.to_owned(), value);
    };
    let section =
        |section: Section| -> Value { section(vhost).into_iter().map(Value::Object).collect() };
    put("rabbitmq_definition_format", "single_virtual_host".into());
    put("explanation", format!("Definitions of virtual host '{}'", vhost.name()).into());
    put("original_vhost_name", vhost.name().as_ref().into());
    put("description", metadata.description.as_str().into());
    put("metadata", vhosts::metadata_json(&metadata));
    put("limits", vhosts::limits_value(vhost.limits()));
    put("parameters", section(parameters));
    put("policies", section(policies));
    put("queues", section(queues));
    put("exchanges", section(exchanges));
    put("bindings", section(bindings));
    Value::Object(all)
}

/// A part of a vhost's definitions, without the vhost's name.
type Section = fn(&Arc<Vhost>) -> Vec<Map<String, Value>>;

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
fn parameters(vhost: &Arc<Vhost>) -> Vec<Map<String, Value>> {
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
    all
}

fn policies(vhost: &Arc<Vhost>) -> Vec<Map<String, Value>> {
    let all = vhost.policies(PolicyKind::User).into_iter().map(|policy| {
        let mut json = object(policy.policy().to_json());
        json.insert("name".to_owned(), policy.name().as_ref().into());
        json
    });
    all.collect()
}

/// All but those that belong to a connection.
fn queues(vhost: &Arc<Vhost>) -> Vec<Map<String, Value>> {
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
    all.collect()
}

/// All but those every vhost has.
fn exchanges(vhost: &Arc<Vhost>) -> Vec<Map<String, Value>> {
    let of = |topology: &Topology| {
        let specs = topology.exchanges().map(|exchange| exchange.spec());
        let declared = specs.filter(|spec| !Vhost::has_from_the_start(&spec.name));
        let all = declared.map(|spec| {
            object(json!({
                "name": spec.name.as_ref(),
                "type": spec.kind.name(),
                "durable": spec.durable,
                "auto_delete": spec.auto_delete,
                "internal": spec.internal,
                "arguments": to_json(spec.arguments.as_table()),
            }))
        });
        all.collect()
    };
    sorted_by_name(vhost.topology(of))
}

/// All but the default exchange's and those of queues that belong to a connection.
fn bindings(vhost: &Arc<Vhost>) -> Vec<Map<String, Value>> {
    let queues = vhost.queues();
    let exclusive = queues.iter().filter(|queue| queue.owner().is_some());
    let exclusive: AHashSet<&str> = exclusive.map(|queue| &**queue.name()).collect();
    let is_exported = |destination: DestinationName<'_>| match destination {
        DestinationName::Queue(name) => !exclusive.contains(name),
        DestinationName::Exchange(_) => true,
    };
    let of = |topology: &Topology| {
        let exported = topology.bindings().filter(|binding| is_exported(binding.destination));
        let all = exported.map(|binding| {
            let (is_to_queue, destination) = match binding.destination {
                DestinationName::Queue(name) => (true, name),
                DestinationName::Exchange(name) => (false, name),
            };
            object(json!({
                "source": binding.source,
                "destination": destination,
                "destination_type": bindings::destination_type(is_to_queue),
                "routing_key": binding.key,
                "arguments": to_json(binding.arguments.as_table()),
            }))
        });
        all.collect()
    };
    let mut all: Vec<Map<String, Value>> = vhost.topology(of);
    let key = |binding: &Map<String, Value>| {
        ["source", "destination", "routing_key"]
            .map(|part| binding.get(part).and_then(Value::as_str).unwrap_or_default().to_owned())
    };
    all.sort_by_cached_key(key);
    all
}

fn sorted_by_name(mut all: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    let name = |object: &Map<String, Value>| {
        object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    all.sort_by_cached_key(name);
    all
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
