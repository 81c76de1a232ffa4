//! Requests and what RabbitMQ answered, played back in order.

use leveret_tests::{Api, Broker};
use serde_json::Value;

/// Where Leveret is meant to answer something else, by method, start of the path and part of the
/// body, and why.
const DIFFERENT: &[(&str, &str, &str, &str)] = &[
    ("PUT", "/permissions/mv/mu", "\"(\"", "RabbitMQ prints what its regex library says in bytes"),
    ("PUT", "/topic-permissions/mv/mu", "\"(\"", "as above"),
    ("POST", "/bindings/mv/e/x/q/qc", "\"x\":", "the hash of arguments is another"),
    ("GET", "/bindings/mv/e/x/q/qc", "", "as above"),
    ("GET", "/exchanges/mv/x/bindings/source", "", "as above, and their order follows it"),
    ("GET", "/queues/mv/qc/bindings", "", "as above"),
    ("GET", "/definitions/mv", "", "as above"),
    ("GET", "/health/checks/protocol-listener", "", "there are other listeners"),
    ("POST", "/definitions", "\"nope\"}]}", "the texts of AMQP stand here as well"),
    ("POST", "/definitions", "\"(\"", "the regex library says it in other words"),
    ("PUT", "/policies/mv/p", "\"(\"", "as above"),
];

/// Fields Leveret leaves out, or has other figures in.
const NOT_COMPARED: &[&str] = &[
    // There is no Erlang.
    "garbage_collection",
    "memory",
    "reductions",
    "reductions_details",
    // Not counted.
    "consumer_capacity",
    "consumer_utilisation",
    "message_bytes_persistent",
    "messages_persistent",
    "user_who_performed_action",
    // Different each time.
    "ok",
    "password_hash",
    // Another version is announced.
    "product_version",
    "rabbit_version",
    "rabbitmq_version",
];

#[test]
fn answers_are_rabbitmqs() {
    // As RabbitMQ, so that what it says of hashes can be compared.
    let config = "management = \"127.0.0.1:0\"\n[auth]\npassword_hashing = \"sha256\"\n";
    let Some(broker) = Broker::configured(config, "hashes passwords as RabbitMQ") else { return };
    let api = Api::new(broker.management_address());
    let node = api.get("/overview")["node"].as_str().unwrap().to_owned();
    let mut failures = Vec::new();
    for row in include_str!("recorded.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [method, path, body, status, answer, location] = columns.as_slice() else {
            panic!("{row}")
        };
        let json = [("content-type", "application/json")];
        let target = format!("/api{}", path.replace("$NODE", &node));
        let reply = api.send(method, &target, &json, body);
        let is_different = DIFFERENT.iter().any(|(other_method, start, part, _)| {
            method == other_method && path.starts_with(start) && body.contains(part)
        });
        if is_different {
            continue;
        }
        let answer = answer.replace("$NODE", &node);
        let mut difference = None;
        if reply.status.to_string() != *status {
            difference = Some(format!("{status} {answer}"));
        } else if reply.header("location") != *location {
            difference = Some(format!("location {location}"));
        } else if let Ok(expected) = serde_json::from_str(&answer) {
            difference = compare(&expected, &reply.json());
        } else if answer != reply.text {
            difference = Some(answer);
        }
        if let Some(difference) = difference {
            let (status, text) = (reply.status, reply.text);
            failures.push(format!(
                "{method} {path} {body}\n  RabbitMQ {difference}\n  Leveret  {status} {text}"
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What of RabbitMQ's answer isn't in ours. We may say more.
fn compare(expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let compared = expected.iter().filter(|(key, _)| !NOT_COMPARED.contains(&key.as_str()));
            compared.into_iter().find_map(|(key, value)| match found.get(key) {
                None => Some(format!("has {key}")),
                Some(own) => compare(value, own).map(|difference| format!("{key}: {difference}")),
            })
        }
        (Value::Array(none), Value::Object(found)) if none.is_empty() && found.is_empty() => None,
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            expected.iter().zip(found).find_map(|(expected, found)| compare(expected, found))
        }
        _ if expected == found => None,
        _ => Some(expected.to_string()),
    }
}
