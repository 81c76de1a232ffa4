//! What will not be here as it was there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::source::Queue;
use crate::at::At;
use crate::commands::plugins;

/// Settings that say how a cluster places queues, or how old versions kept them.
const WITHOUT_EFFECT: [&str; 15] = [
    "ha-mode",
    "ha-params",
    "ha-promote-on-failure",
    "ha-promote-on-shutdown",
    "ha-sync-batch-size",
    "ha-sync-mode",
    "initial-cluster-size",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "queue-leader-locator",
    "queue-master-locator",
    "queue-mode",
    "queue-version",
    "quorum-initial-group-size",
    "target-group-size",
];

/// RabbitMQ's plugins that take part in logins. They are built in, and set up in `rabbitmq.conf`.
const OF_LOGINS: &str = "rabbitmq_auth_";

/// The largest message of RabbitMQ before 4.0, unless told otherwise.
const LARGEST_BEFORE_4: u64 = 128 << 20;

/// One sentence for each. `about` is what [`Source::about`](super::source::Source::about) says,
/// `before` are the definitions here, and `refused` is what will not be one.
pub(super) fn differences(
    about: &Value,
    definitions: &Value,
    queues: &[Queue],
    before: &Value,
    refused: &Value,
    max_message_bytes: u64,
) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(of_refused(refused));
    all.extend(of_existing(definitions, before));
    all.extend(of_nodes(about));
    all.extend(of_plugins(about));
    all.extend(of_logins(about));
    all.extend(of_vhosts(about));
    all.extend(without_effect(definitions));
    let is_older = is_before_4(about);
    all.extend(of_queues(queues, is_older));
    if is_older && max_message_bytes < LARGEST_BEFORE_4 {
        all.push(format!(
            "messages of more than {max_message_bytes} bytes are refused here \
             (amqp.max_message_size), and there of more than {LARGEST_BEFORE_4} unless it was told \
             otherwise"
        ));
    }
    all.extend(of_exchanges(about));
    all
}

fn of_refused(refused: &Value) -> impl Iterator<Item = String> {
    list(refused, "refused").iter().map(|entry| {
        let text = |key| entry.at(key).as_str().unwrap_or_default();
        let place = match entry.at("vhost").as_str() {
            Some(vhost) => format!(" in vhost '{vhost}'"),
            None => String::new(),
        };
        let one = match text("section") {
            "parameters" => "parameter",
            "permissions" => "permission of",
            "topic_permissions" => "topic permission of",
            "global_parameters" => "global parameter",
            "policies" => "policy",
            section => section.trim_end_matches('s'),
        };
        let reason = text("reason").lines().map(str::trim).filter(|line| !line.is_empty());
        let reason = reason.collect::<Vec<_>>().join(" ");
        format!("{one} '{}'{place} is not taken: {reason}", text("name"))
    })
}

/// What has a name that is taken here.
fn of_existing(definitions: &Value, before: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for (section, one) in [("exchanges", "exchange"), ("queues", "queue")] {
        let name =
            |entry: &Value| ["vhost", "name"].map(|key| entry.at(key).as_str().map(str::to_owned));
        let here: BTreeMap<_, _> =
            list(before, section).iter().map(|one| (name(one), one)).collect();
        for there in list(definitions, section) {
            let Some(here) = here.get(&name(there)) else { continue };
            let differing = ["type", "durable", "auto_delete", "internal", "arguments"]
                .into_iter()
                .filter(|key| said(here, key) != said(there, key));
            let differing: Vec<&str> = differing.collect();
            if !differing.is_empty() {
                all.push(format!(
                    "{one} '{}' in vhost '{}' is here already and stays as it is, with another {}",
                    there.at("name").as_str().unwrap_or_default(),
                    there.at("vhost").as_str().unwrap_or_default(),
                    differing.join(" and ")
                ));
            }
        }
    }
    for there in list(definitions, "users") {
        let here = list(before, "users").iter().find(|here| here.at("name") == there.at("name"));
        if here.is_some_and(|here| here.at("password_hash") != there.at("password_hash")) {
            let name = there.at("name").as_str().unwrap_or_default();
            all.push(format!("user '{name}', who is here already, gets the password of there"));
        }
    }
    all
}

/// A setting; what is left out and what says nothing are the same. The type may be among the arguments.
fn said(entry: &Value, key: &str) -> Value {
    match (key, entry.at(key)) {
        ("type", Value::Null) => {
            let argument = entry.at("arguments").at("x-queue-type");
            if argument.is_null() { "classic".into() } else { argument.clone() }
        }
        ("arguments", Value::Object(arguments)) => {
            let mut arguments = arguments.clone();
            arguments.remove("x-queue-type");
            if arguments.is_empty() { Value::Null } else { Value::Object(arguments) }
        }
        ("arguments", Value::Array(none)) if none.is_empty() => Value::Null,
        (_, Value::Bool(false)) => Value::Null,
        (_, value) => value.clone(),
    }
}

fn of_nodes(about: &Value) -> Option<String> {
    let nodes = list(about, "nodes").len();
    (nodes > 1)
        .then(|| format!("there are {nodes} nodes there, and one here: nothing is replicated"))
}

fn of_plugins(about: &Value) -> Option<String> {
    let missing = plugins_there(about, |name| plugins::is_built_in(name) == Some(false))?;
    Some(format!("plugins that are on there and not here: {missing}"))
}

fn of_logins(about: &Value) -> Option<String> {
    let built_in = |name: &str| plugins::is_built_in(name) == Some(true);
    let own = plugins_there(about, |name| name.starts_with(OF_LOGINS) && built_in(name))?;
    Some(format!("logins may depend on {own} there, whose settings are no definitions"))
}

/// The names of those that are on there and `chosen`.
fn plugins_there(about: &Value, chosen: impl Fn(&str) -> bool) -> Option<String> {
    let mut all = BTreeSet::new();
    for node in list(about, "nodes") {
        let enabled = list(node, "enabled_plugins").iter().filter_map(Value::as_str);
        all.extend(enabled.filter(|name| chosen(name)));
    }
    (!all.is_empty()).then(|| all.into_iter().collect::<Vec<_>>().join(", "))
}

fn of_vhosts(about: &Value) -> impl Iterator<Item = String> {
    let traced = list(about, "vhosts").iter().filter(|vhost| vhost.at("tracing") == true);
    traced.map(|vhost| {
        let name = vhost.at("name").as_str().unwrap_or_default();
        format!("vhost '{name}': tracing is on there, which is no definition")
    })
}

/// Whether its defaults are those of RabbitMQ 3.
fn is_before_4(about: &Value) -> bool {
    let version = about.at("overview").at("rabbitmq_version").as_str().unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major < 4)
}

fn without_effect(definitions: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let has_none = |key: &str| WITHOUT_EFFECT.contains(&key);
    let mut say = |what: &str, entry: &Value, keys: Vec<&str>| {
        if !keys.is_empty() {
            let text = |key| entry.at(key).as_str().unwrap_or_default();
            let (name, vhost) = (text("name"), text("vhost"));
            let has = if keys.len() == 1 { "has" } else { "have" };
            let keys = keys.join(", ");
            all.push(format!("{what} '{name}' in vhost '{vhost}': {keys} {has} no effect here"));
        }
    };
    for policy in list(definitions, "policies") {
        say("policy", policy, keys(policy.at("definition")).filter(|key| has_none(key)).collect());
    }
    for queue in list(definitions, "queues") {
        let own = keys(queue.at("arguments")).filter_map(|key| key.strip_prefix("x-"));
        say("queue", queue, own.filter(|key| has_none(key)).collect());
    }
    all
}

fn of_queues(queues: &[Queue], is_before_4: bool) -> Vec<String> {
    let mut all = Vec::new();
    let mut say = |what: &str, chosen: &dyn Fn(&Queue) -> bool| {
        let chosen = queues.iter().filter(|queue| chosen(queue));
        let names: Vec<&str> = chosen.map(|queue| queue.name.as_str()).collect();
        if let Some((first, others)) = names.split_first() {
            let others = match others.len() {
                0 => String::new(),
                1 => " and 1 other".to_owned(),
                count => format!(" and {count} others"),
            };
            all.push(format!("'{first}'{others}: {what}"));
        }
    };
    say("exclusive, so only its own connection has it, and it stays there", &|queue| {
        queue.exclusive
    });
    say("not among the definitions there, and its messages stay there", &|queue| {
        !queue.exclusive && !queue.is_defined
    });
    say("streams; their messages are copied and also stay there", &|queue| queue.is_stream());
    say("of a plugin there, and nothing here takes messages from it", &|queue| queue.is_internal);
    say(
        "no delivery limit there, and here that of RabbitMQ 4, after 20 returns; a policy can lift it",
        &|queue| is_before_4 && queue.kind == "quorum" && !queue.has_delivery_limit,
    );
    say(
        "consumers are connected there, which take messages meanwhile; what they hold \
         unacknowledged stays there",
        &|queue| !queue.exclusive && queue.consumers > 0,
    );
    all
}

/// Messages that are in an exchange, where nobody can get them.
fn of_exchanges(about: &Value) -> impl Iterator<Item = String> {
    list(about, "exchanges").iter().filter_map(|exchange| {
        let what = match exchange.at("type").as_str()? {
            "x-delayed-message" => "messages whose delay isn't over stay there",
            "x-recent-history" => "what it keeps for new bindings stays there",
            _ => return None,
        };
        let name = exchange.at("name").as_str().unwrap_or_default();
        Some(format!("exchange '{name}': {what}"))
    })
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.at(key).as_array().map(Vec::as_slice).unwrap_or_default()
}

fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str())
}

#[cfg(test)]
mod tests;
