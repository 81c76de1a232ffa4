//! Single queues, and what RabbitMQ has for replicated ones.

use serde_json::{Map, Value, json};

use super::vhosts;
use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{Failure, UNAVAILABLE, USAGE};
use crate::http::part;
use crate::output::{Format, Output, Rows};
use crate::program::Program::{Ctl, Diagnostics, Queues, Streams, Upgrade};

const OF_CTL: Command = Command::of("Queues", &[Ctl]);
/// How much of a body is shown in a look at a message.
const PEEKED_BYTES: u32 = 64;
const OF_QUEUES: Command = Command::of("Replication", &[Queues]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "delete_queue",
        arguments: "<queue>",
        switches: &[
            Switch::flag("if-empty", "Only if it has no messages").short('e'),
            Switch::flag("if-unused", "Only if it has no consumers").short('u'),
        ],
        about: "Deletes a queue",
        example: "delete_queue -p v1 tasks --if-empty",
        banner: Some(|call| {
            let conditions =
                [("if-empty", "if queue is empty"), ("if-unused", "if queue is unused")];
            let conditions: Vec<&str> = conditions
                .into_iter()
                .filter(|(switch, _)| call.has(switch))
                .map(|(_, text)| text)
                .collect();
            let when = match conditions.is_empty() {
                true => String::new(),
                false => format!(" {}", conditions.join(" and ")),
            };
            format!("Deleting queue '{}' on vhost '{}'{when} ...", call.argument(0), call.vhost())
        }),
        run: Run::With(delete),
        ..OF_CTL
    },
    Command {
        name: "purge_queue",
        arguments: "<queue>",
        about: "Deletes the messages of a queue that are ready",
        example: "purge_queue -p v1 tasks",
        banner: Some(|call| {
            format!("Purging queue '{}' in vhost '{}' ...", call.argument(0), call.vhost())
        }),
        run: Run::With(|call| {
            if call.broker.delete(&format!("{}/contents", path(call)))? {
                return Ok(Output::Nothing);
            }
            Err(Failure::refused("not_found"))
        }),
        ..OF_CTL
    },
    Command {
        name: "quorum_status",
        tools: &[Queues, Diagnostics],
        arguments: "<queue>",
        about: "Shows the members of a quorum queue",
        example: "quorum_status -p v1 orders",
        banner: Some(|call| {
            format!("Status of quorum queue {} on node {} ...", call.argument(0), call.node())
        }),
        run: Run::With(|call| status(call, "quorum")),
        ..OF_QUEUES
    },
    Command {
        name: "peek",
        arguments: "<queue> <position>",
        about: "Shows a message of a quorum queue in its place; 1 is the next to be delivered",
        example: "peek -p v1 orders 1",
        banner: Some(|call| {
            let [queue, position] = [call.argument(0), call.argument(1)];
            let node = call.node();
            format!("Peeking at quorum queue {queue} at position {position} on node {node} ...")
        }),
        check: Some(|call| match call.argument(1).parse::<u32>() {
            Ok(1..) => Ok(()),
            _ => Err(call.misused(USAGE, "position value must be a positive integer")),
        }),
        run: Run::With(peek),
        ..OF_QUEUES
    },
    Command {
        name: "stream_status",
        tools: &[Queues, Streams, Diagnostics],
        arguments: "<stream>",
        switches: &[Switch::flag("tracking", "Show the positions kept for readers")],
        about: "Shows the members of a stream",
        example: "stream_status -p v1 events",
        banner: Some(|call| {
            format!("Status of stream {} on node {} ...", call.argument(0), call.node())
        }),
        run: Run::With(|call| match call.has("tracking") {
            true => Err(Failure::refused("the positions of readers can't be listed")),
            false => status(call, "stream"),
        }),
        ..OF_QUEUES
    },
    Command {
        name: "rebalance",
        arguments: "<type>",
        switches: &[
            Switch::value("vhost-pattern", "pattern", "In which vhosts"),
            Switch::value("queue-pattern", "pattern", "Which queues"),
        ],
        about: "Spreads the leaders of queues over the nodes, of which there is one",
        example: "rebalance all",
        banner: Some(|call| format!("Re-balancing leaders of {} queues...", call.argument(0))),
        run: Run::With(|call| match call.argument(0) {
            "all" | "classic" | "quorum" | "stream" => {
                call.broker.post("/api/rebalance/queues", &Value::Null)?;
                Ok(Rows::new(&["Node name", "Number of queue leaders"]).into())
            }
            other => Err(call.misused(USAGE, &format!("type {other} is not supported"))),
        }),
        ..OF_QUEUES
    },
    Command {
        name: "check_if_node_is_quorum_critical",
        tools: &[Queues, Diagnostics],
        about: "Whether queues would be lost without this node; it is the only one",
        banner: Some(|call| {
            format!(
                "Checking if node {} is critical for quorum of any quorum queues ...",
                call.node()
            )
        }),
        run: Run::With(|call| {
            call.broker.get("/api/health/checks/node-is-quorum-critical")?;
            Ok(Output::text(format!(
                "Node {} seems to be the only one in a single node cluster, the check does not \
                 apply",
                call.node()
            )))
        }),
        ..OF_QUEUES
    },
    Command {
        name: "check_if_node_is_mirror_sync_critical",
        tools: &[Queues, Diagnostics],
        about: "Whether mirrors would be lost without this node; there are none",
        banner: Some(|call| {
            format!(
                "Checking if node {} is critical for data safety of any classic mirrored queues ...",
                call.node()
            )
        }),
        run: Run::With(|call| {
            call.broker.get("/api/health/checks/node-is-quorum-critical")?;
            Ok(Output::text(format!(
                "Node {} reported no classic mirrored queues without online synchronised mirrors",
                call.node()
            )))
        }),
        ..OF_QUEUES
    },
    Command {
        name: "await_online_quorum_plus_one",
        tools: &[Upgrade],
        about: "Waits until queues can spare this node; it is the only one",
        banner: Some(|_| {
            "Will wait for a quorum + 1 of nodes to be online for all quorum queues for 120 \
             seconds..."
                .to_owned()
        }),
        run: Run::With(|call| {
            call.broker.get("/api/health/checks/node-is-quorum-critical")?;
            Ok(Output::text(
                "Target node seems to be the only one in a single node cluster, the command does \
                 not apply",
            ))
        }),
        ..OF_QUEUES
    },
    Command {
        name: "post_upgrade",
        tools: &[Upgrade],
        about: "What is to be done after an upgrade, which is nothing",
        banner: Some(|_| "Executing post upgrade tasks...".to_owned()),
        run: Run::With(|call| {
            call.broker.post("/api/rebalance/queues", &Value::Null).map(|_| Output::Nothing)
        }),
        ..OF_QUEUES
    },
];

fn path(call: &Call) -> String {
    format!("/api/queues/{}/{}", part(call.vhost()), part(call.argument(0)))
}

fn delete(call: &Call) -> Result<Output, Failure> {
    vhosts::check(call, call.vhost())?;
    let conditions: Vec<String> = ["if-empty", "if-unused"]
        .into_iter()
        .filter(|switch| call.has(switch))
        .map(|switch| format!("{switch}=true"))
        .collect();
    let path = path(call).replacen("/api", "/control", 1);
    let reply =
        call.broker.send("DELETE", &format!("{path}?{}", conditions.join("&")), &Value::Null)?;
    match reply.status.as_u16() {
        404 => Err(Failure::error(USAGE, "Queue not found")),
        400 => Err(Failure::error(UNAVAILABLE, reply.reason())),
        _ => {
            let deleted = crate::broker::accepted(reply)?.json();
            let messages = deleted.at("messages").as_u64().unwrap_or_default();
            Ok(Output::text(format!(
                "Queue was successfully deleted with {messages} ready messages"
            )))
        }
    }
}

/// Nobody gets the message for it: it stays as it is.
fn peek(call: &Call) -> Result<Output, Failure> {
    let is_quorum = |queue: &Value| queue.at("type").as_str() == Some("quorum");
    if !call.broker.find(&path(call))?.as_ref().is_some_and(is_quorum) {
        let why = format!("Target queue was not found in virtual host '{}'", call.vhost());
        return Err(Failure::refused(why));
    }
    let place = call.argument(1).parse::<u32>().unwrap_or(1).saturating_sub(1);
    let path = path(call).replacen("/api/queues", "/api/leveret/messages", 1);
    let wanted = format!("offset={place}&count=1&truncate={PEEKED_BYTES}");
    let browsed = call.broker.get(&format!("{path}?{wanted}"))?;
    let Some(message) = browsed.at("messages").get(0) else {
        return Err(Failure::refused("Target queue does not have a message at that position"));
    };
    let mut shown = Map::new();
    let properties = message.at("properties").as_object().into_iter().flatten();
    for (name, value) in properties {
        match value.as_object().filter(|_| name == "headers") {
            Some(headers) => shown.extend(
                headers.iter().map(|(name, value)| (format!("header.{name}"), value.clone())),
            ),
            None => _ = shown.insert(name.clone(), value.clone()),
        }
    }
    shown.insert("exchange".to_owned(), message.at("exchange").clone());
    shown.insert("routing_keys".to_owned(), json!([message.at("routing_key")]));
    shown.insert(format!("payload (max {PEEKED_BYTES} bytes)"), message.at("payload").clone());
    if call.options.format.is_some_and(Format::is_for_programs) {
        let value = json!({ "result": "ok", "message": shown });
        return Ok(Output::Report(String::new(), value));
    }
    shown.insert("routing_keys".to_owned(), message.at("routing_key").clone());
    let mut rows = Rows::new(&["keys", "values"]);
    shown.into_iter().for_each(|(key, value)| rows.push([key.into(), value]));
    Ok(rows.into())
}

/// The queue's only member is its leader.
fn status(call: &Call, kind: &str) -> Result<Output, Failure> {
    let queue = call.broker.find(&path(call))?.ok_or_else(|| Failure::refused("not_found"))?;
    let found = queue.at("type").as_str().unwrap_or_default();
    if found != kind {
        let why = format!("Cannot get status of a {found} queue, {kind} is required");
        return Err(Failure::refused(why));
    }
    let node = call.node();
    Ok(match kind {
        "quorum" => {
            let mut rows = Rows::new(&["Node Name", "Raft State", "Membership"]);
            rows.push([node.into(), "leader".into(), "voter".into()]);
            rows.into()
        }
        _ => {
            let mut rows = Rows::new(&["role", "node"]);
            rows.push(["writer".into(), node.into()]);
            rows.into()
        }
    })
}
