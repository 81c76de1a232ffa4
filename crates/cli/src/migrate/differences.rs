//! What will not be here as it was there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::source::Queue;
use crate::at::At;
use crate::commands::plugins;

/// Settings that say how a cluster places queues, or how old versions kept them.
const WITHOUT_EFFECT: [&str; 13] = [
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
    "target-group-size",
];

/// One sentence for each. `about` is what [`Source::about`](super::source::Source::about) says,
/// `before` are the definitions here, and `refused` is what will not be one.
pub(super) fn differences(
    about: &Value,
    definitions: &Value,
    queues: &[Queue],
    before: &Value,
    refused: &Value,
) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(of_refused(refused));
    all.extend(of_existing(definitions, before));
    all.extend(of_nodes(about));
    all.extend(of_plugins(about));
    all.extend(without_effect(definitions));
    all.extend(of_queues(queues));
    all.extend(of_delayed(about));
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
    let mut missing = BTreeSet::new();
    for node in list(about, "nodes") {
        let enabled = list(node, "enabled_plugins").iter().filter_map(Value::as_str);
        missing.extend(enabled.filter(|name| plugins::is_built_in(name) == Some(false)));
    }
    if missing.is_empty() {
        return None;
    }
    let missing = missing.into_iter().collect::<Vec<_>>().join(", ");
    Some(format!("plugins that are on there and not here: {missing}"))
}

fn without_effect(definitions: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let has_none = |key: &str| WITHOUT_EFFECT.contains(&key);
    let mut say = |what: &str, entry: &Value, keys: Vec<&str>| {
        if !keys.is_empty() {
            let text = |key| entry.at(key).as_str().unwrap_or_default();
            let (name, vhost) = (text("name"), text("vhost"));
            let keys = keys.join(", ");
            all.push(format!("{what} '{name}' in vhost '{vhost}': {keys} has no effect here"));
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

fn of_queues(queues: &[Queue]) -> Vec<String> {
    let mut all = Vec::new();
    let mut say = |what: &str, chosen: &dyn Fn(&Queue) -> bool| {
        let chosen = queues.iter().filter(|queue| chosen(queue));
        let names: Vec<&str> = chosen.map(|queue| queue.name.as_str()).collect();
        if let Some((first, others)) = names.split_first() {
            let others = match others.len() {
                0 => String::new(),
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
    say(
        "consumers are connected there, which take messages meanwhile; what they hold \
         unacknowledged stays there",
        &|queue| !queue.exclusive && queue.consumers > 0,
    );
    all
}

/// Messages that wait in an exchange, where nobody can get them.
fn of_delayed(about: &Value) -> Vec<String> {
    let exchanges = list(about, "exchanges").iter();
    let delayed = exchanges.filter(|exchange| exchange.at("type") == "x-delayed-message");
    let delayed = delayed.map(|exchange| {
        let name = exchange.at("name").as_str().unwrap_or_default();
        format!("exchange '{name}': messages whose delay isn't over stay there")
    });
    delayed.collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.at(key).as_array().map(Vec::as_slice).unwrap_or_default()
}

fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_said_once_each() {
        let about = json!({
            "nodes": [
                { "enabled_plugins": ["rabbitmq_management", "rabbitmq_shovel", "cowboy"] },
                { "enabled_plugins": ["rabbitmq_shovel", "rabbitmq_mqtt"] },
            ],
            "exchanges": [{ "name": "later", "type": "x-delayed-message" }],
        });
        let definitions = json!({
            "users": [{ "name": "guest", "password_hash": "a" }],
            "policies": [
                { "name": "ha", "vhost": "/", "definition": { "ha-mode": "all", "max-length": 1 } },
            ],
            "exchanges": [{ "name": "x", "vhost": "/", "type": "topic", "durable": true }],
            "queues": [
                { "name": "same", "vhost": "/", "type": "quorum", "durable": true,
                  "auto_delete": false, "arguments": { "x-queue-type": "quorum" } },
                { "name": "other", "vhost": "/", "durable": true,
                  "arguments": { "x-max-length": 1, "x-queue-mode": "lazy" } },
            ],
        });
        let before = json!({
            "users": [{ "name": "guest", "password_hash": "b" }],
            "exchanges": [{ "name": "x", "vhost": "/", "type": "fanout", "durable": true }],
            "queues": [
                { "name": "same", "vhost": "/", "durable": true,
                  "arguments": { "x-queue-type": "quorum" } },
                { "name": "other", "vhost": "/", "durable": false, "arguments": {} },
            ],
        });
        let refused = json!({ "refused": [
            { "section": "parameters", "vhost": "/", "name": "shovel s",
              "reason": "Validation failed\n\ncomponent shovel not found" },
        ] });
        let queue = |name: &str, kind: &str| Queue {
            vhost: "/".to_owned(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            auto_delete: false,
            exclusive: name.starts_with("own"),
            is_defined: !name.starts_with("own"),
            consumers: 1,
            message_bytes: None,
        };
        let queues = [queue("own1", "classic"), queue("own2", "classic"), queue("log", "stream")];
        let said = differences(&about, &definitions, &queues, &before, &refused);
        let expected = [
            "parameter 'shovel s' in vhost '/' is not taken: Validation failed component shovel \
             not found",
            "exchange 'x' in vhost '/' is here already and stays as it is, with another type",
            "queue 'other' in vhost '/' is here already and stays as it is, with another durable \
             and arguments",
            "user 'guest', who is here already, gets the password of there",
            "there are 2 nodes there, and one here: nothing is replicated",
            "plugins that are on there and not here: rabbitmq_mqtt, rabbitmq_shovel",
            "policy 'ha' in vhost '/': ha-mode has no effect here",
            "queue 'other' in vhost '/': queue-mode has no effect here",
            "'own1' and 1 others: exclusive, so only its own connection has it, and it stays there",
            "'log': streams; their messages are copied and also stay there",
            "'log': consumers are connected there, which take messages meanwhile; what they hold \
             unacknowledged stays there",
            "exchange 'later': messages whose delay isn't over stay there",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn nothing_is_said_of_what_is_the_same() {
        let definitions = json!({ "queues": [{ "name": "q", "vhost": "/", "durable": true }] });
        let nothing = json!({});
        let said = differences(&nothing, &definitions, &[], &definitions, &nothing);
        assert_eq!(said, Vec::<String>::new());
    }
}
