//! Health checks: RabbitMQ's under `/api/health/checks`, and `/health` for probes without a login.

use leveret_broker::{DeclareQueue, Publish, Resource, Staged};
use leveret_codec::{Properties, Table};
use leveret_engine::Body;
use serde_json::{Value, json};

use super::node;
use crate::answer::{Answer, Failure, Outcome};
use crate::call::{CHANNEL, Call};
use crate::node::{Listening, now};

/// The process answers.
pub(crate) fn live(call: &Call) -> Outcome {
    ok(call)
}

/// Whether clients can connect, which they can before this answers, and publish: 503 while an alarm
/// keeps publishers waiting.
pub(crate) fn ready(call: &Call) -> Outcome {
    alarms(call)
}

/// Whether nothing is short.
pub(crate) fn alarms(call: &Call) -> Outcome {
    let shortage = call.broker().alarms().shortage();
    let resources = [(Resource::Memory, "memory"), (Resource::Disk, "disk")];
    let short = resources.into_iter().filter(|(resource, _)| shortage.has(*resource));
    let short: Vec<Value> = short.map(|(_, name)| alarm(call, name)).collect();
    if short.is_empty() {
        return ok(call);
    }
    Err(Failure::Unhealthy(json!({
        "status": "failed",
        "reason": "There are alarms in effect in the cluster",
        "alarms": short,
    })))
}

/// Who has not logged in isn't told the node's name.
fn alarm(call: &Call, resource: &str) -> Value {
    match call.principal {
        Some(_) => json!({ "node": call.node.name, "resource": resource }),
        None => json!({ "resource": resource }),
    }
}

/// Without other nodes nothing depends on this one.
pub(crate) fn quorum_critical(_: &Call) -> Outcome {
    Ok(Answer::json(&json!({ "status": "ok", "reason": "single node cluster" })))
}

/// Whether no certificate of a listener expires soon.
pub(crate) fn certificates(call: &Call) -> Outcome {
    const DAY: u64 = 24 * 60 * 60;
    let days = match call.part("unit") {
        "days" => 1,
        "weeks" => 7,
        "months" => 28,
        "years" => 365,
        _ => {
            let reason = "Time unit not recognised. Supported units: days, weeks, months, years.";
            return Err(Failure::bad_request(reason));
        }
    };
    let within: u32 = call
        .part("within")
        .parse()
        .map_err(|_| Failure::bad_request("Invalid expiration value."))?;
    let until = now().0 / 1000 + u64::from(within) * days * DAY;
    let until = i64::try_from(until).unwrap_or(i64::MAX);
    let expiring: Vec<Value> =
        call.node.listeners.iter().filter_map(|one| expiring(call, one, until)).collect();
    if expiring.is_empty() {
        return ok(call);
    }
    let reason = "Certificates expiring";
    Err(Failure::Unhealthy(json!({ "status": "failed", "reason": reason, "expired": expiring })))
}

/// A listener with its certificates that aren't valid at that time any more.
fn expiring(call: &Call, listener: &Listening, until: i64) -> Option<Value> {
    let certificates = listener.tls.as_ref()?.certificates();
    let expiring = certificates.iter().filter(|one| one.valid_until <= until);
    let expiring: Vec<Value> = expiring
        .map(|one| {
            json!({
                "file": one.file.as_ref().map(|path| path.to_string_lossy()),
                "subject": one.subject,
                "validity": one.validity(),
            })
        })
        .collect();
    (!expiring.is_empty()).then(|| {
        json!({
            "node": call.node.name,
            "protocol": listener.protocol,
            "interface": listener.address.ip().to_string(),
            "port": listener.address.port(),
            "certificates": expiring,
        })
    })
}

/// Whether the node takes more connections.
pub(crate) fn connection_limit(call: &Call) -> Outcome {
    let open = call.broker().connections().len();
    match call.node.config().amqp.connection_max {
        Some(max) if open >= usize::try_from(max).unwrap_or(usize::MAX) => {
            let reason = "node connection limit is reached";
            let failed = json!({ "status": "failed", "reason": reason, "connections": open });
            Err(Failure::Unhealthy(failed))
        }
        _ => ok(call),
    }
}

/// `/api/healthchecks/node`, as it was before there were checks of single things.
pub(crate) fn node(call: &Call) -> Outcome {
    if !call.part("node").is_empty() {
        node::check_name(call)?;
    }
    alarms(call)
}

/// Whether a message gets through: it is published and fetched.
pub(crate) fn aliveness(call: &Call) -> Outcome {
    const QUEUE: &str = "aliveness-test";
    let mut session = call.session()?;
    let request = DeclareQueue {
        name: QUEUE,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: Table::EMPTY,
    };
    session.declare_queue(request)?;
    let publish = Publish {
        channel: CHANNEL,
        exchange: "",
        routing_key: QUEUE,
        properties: &Properties::default(),
        raw_properties: &[0, 0],
        body: Body::Copy(b"test_message"),
        replies_to: None,
    };
    let staged = session.publish(publish, None)?;
    session.flush(&mut Vec::new());
    let fetched = session.get(CHANNEL, QUEUE, true)?;
    session.finish();
    if staged == Staged::Routed && fetched.is_some() {
        return ok(call);
    }
    Err(Failure::Unhealthy(json!({ "status": "failed", "reason": "no message came through" })))
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
        ("amqp/ssl", &["amqps", "amqp/ssl", "amqp091/ssl"]),
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
