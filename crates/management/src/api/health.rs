//! Health checks: RabbitMQ's under `/api/health/checks`, and `/health` for probes without a login.

use serde_json::{Value, json};

use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;

/// The process answers.
pub(crate) fn live(call: &Call) -> Outcome {
    ok(call)
}

/// What holds whenever a node can answer at all.
pub(crate) fn ok(_: &Call) -> Outcome {
    Ok(Answer::json(&json!({ "status": "ok" })))
}

pub(crate) fn port_listener(call: &Call) -> Outcome {
    let port: u16 = call.part("port").parse().map_err(|_| Failure::bad_request("Invalid port"))?;
    let ports: Vec<u16> = call.node.listeners.iter().map(|one| one.address.port()).collect();
    if ports.contains(&port) {
        return Ok(Answer::json(&json!({ "status": "ok", "port": port })));
    }
    Err(no_listener("ports", json!(ports), port.into()))
}

pub(crate) fn protocol_listener(call: &Call) -> Outcome {
    let asked = call.part("protocol");
    let mut protocols: Vec<&str> = call.node.listeners.iter().map(|one| one.protocol).collect();
    protocols.sort_unstable();
    protocols.dedup();
    if protocols.contains(&protocol(asked)) {
        return Ok(Answer::json(&json!({ "status": "ok", "protocols": protocols })));
    }
    Err(no_listener("protocols", json!(protocols), json!([asked])))
}

/// RabbitMQ's name for a protocol, which goes by several.
fn protocol(name: &str) -> &str {
    let aliases = [
        ("amqp", &["amqp", "amqp091", "amqp0.9.1", "amqp-0.9.1", "amqp0-9-1", "amqp-0-9-1"][..]),
        ("http/prometheus", &["prometheus", "http/prometheus"]),
    ];
    let found = aliases
        .into_iter()
        .find(|(_, aliases)| aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name)));
    found.map_or(name, |(protocol, _)| protocol)
}

fn no_listener(listeners: &str, there: Value, missing: Value) -> Failure {
    Failure::Unhealthy(json!({
        "status": "failed",
        "reason": "No active listener",
        listeners: there,
        "missing": missing,
    }))
}
