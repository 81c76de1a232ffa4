//! Virtual hosts.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use crate::broker::accepted;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{DATA, Failure, USAGE};
use crate::http::part;
use crate::output::Output;
use crate::program::Program::Ctl;

const VHOSTS: Command = Command::of("Virtual hosts", &[Ctl]);

const METADATA: &[Switch] = &[
    Switch::value("description", "description", "What it is for"),
    Switch::value("tags", "tag1,tag2", "Tags, with commas between them"),
    Switch::value("default-queue-type", "type", "classic, quorum or stream"),
];

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "add_vhost",
        arguments: "<vhost>",
        switches: METADATA,
        about: "Makes a vhost",
        example: "add_vhost v1 --description \"of the shop\" --default-queue-type quorum",
        banner: Some(|call| format!("Adding vhost \"{}\" ...", call.argument(0))),
        run: Run::With(|call| {
            let metadata = metadata(call);
            match call.broker.find(&path(call.argument(0)))? {
                None => create(call, metadata),
                // One that is there stays as it is, but for what is said.
                Some(_) if metadata.is_empty() => Ok(Output::Nothing),
                Some(_) => change(call, &metadata),
            }
        }),
        ..VHOSTS
    },
    Command {
        name: "delete_vhost",
        arguments: "<vhost>",
        about: "Deletes a vhost with all that is in it",
        example: "delete_vhost v1",
        banner: Some(|call| format!("Deleting vhost \"{}\" ...", call.argument(0))),
        run: Run::With(delete),
        ..VHOSTS
    },
    Command {
        name: "update_vhost_metadata",
        arguments: "<vhost>",
        switches: METADATA,
        about: "Changes what a vhost says about itself",
        example: "update_vhost_metadata v1 --tags shop,live",
        banner: Some(|call| format!("Updating metadata of vhost \"{}\" ...", call.argument(0))),
        run: Run::With(|call| change(call, &metadata(call))),
        ..VHOSTS
    },
    Command {
        name: "set_vhost_tags",
        arguments: "<vhost> [<tag>...]",
        about: "Gives a vhost these tags in place of the ones it has",
        example: "set_vhost_tags v1 shop live",
        banner: Some(|call| {
            let tags = call.arguments.get(1..).unwrap_or_default().join(", ");
            format!("Setting tags for vhost \"{}\" to [{tags}] ...", call.argument(0))
        }),
        run: Run::With(|call| {
            let tags = call.arguments.get(1..).unwrap_or_default();
            change(call, &Map::from_iter([("tags".to_owned(), json!(tags))]))
        }),
        ..VHOSTS
    },
    Command {
        name: "enable_vhost_deletion_protection",
        arguments: "<vhost>",
        about: "Keeps a vhost from being deleted",
        example: "enable_vhost_deletion_protection v1",
        banner: Some(|call| {
            format!("Protecting virtual host '{}' from removal...", call.argument(0))
        }),
        run: Run::With(|call| protect(call, "POST")),
        ..VHOSTS
    },
    Command {
        name: "disable_vhost_deletion_protection",
        arguments: "<vhost>",
        about: "Lets a vhost be deleted again",
        example: "disable_vhost_deletion_protection v1",
        banner: Some(|call| {
            format!("Removing deletion protection from virtual host '{}'...", call.argument(0))
        }),
        run: Run::With(|call| protect(call, "DELETE")),
        ..VHOSTS
    },
    Command {
        name: "trace_on",
        about: "Publishes what goes through a vhost once more, to amq.rabbitmq.trace",
        example: "trace_on -p v1",
        banner: Some(|call| format!("Starting tracing for vhost \"{}\" ...", call.vhost())),
        run: Run::With(|call| trace(call, true)),
        ..VHOSTS
    },
    Command {
        name: "trace_off",
        about: "Ends what trace_on began",
        example: "trace_off -p v1",
        banner: Some(|call| format!("Stopping tracing for vhost \"{}\" ...", call.vhost())),
        run: Run::With(|call| trace(call, false)),
        ..VHOSTS
    },
    Command {
        name: "restart_vhost",
        about: "Starts a vhost that has failed, which one doesn't do without the broker",
        banner: Some(|call| {
            format!("Trying to restart vhost '{}' on node '{}' ...", call.vhost(), call.node())
        }),
        run: Run::With(|call| {
            check(call, call.vhost())?;
            let (vhost, node) = (call.vhost(), call.node());
            Ok(Output::text(format!("Vhost '{vhost}' is already running on node '{node}'")))
        }),
        ..VHOSTS
    },
    Command {
        name: "reconcile_vhosts",
        about: "Has all vhosts run on all nodes, which they do",
        banner: Some(|_| "Will initiate virtual host reconciliation in the background".to_owned()),
        run: Run::With(|call| call.broker.get("/api/vhosts?columns=name").map(|_| Output::Nothing)),
        ..VHOSTS
    },
];

fn path(name: &str) -> String {
    format!("/api/vhosts/{}", part(name))
}

fn metadata(call: &Call) -> Map<String, Value> {
    let mut body = Map::new();
    for (switch, key) in [
        ("description", "description"),
        ("tags", "tags"),
        ("default-queue-type", "default_queue_type"),
    ] {
        if let Some(value) = call.switch(switch) {
            body.insert(key.to_owned(), value.into());
        }
    }
    body
}

/// A vhost that is there.
///
/// # Errors
/// 65 when none is.
pub(crate) fn check(call: &Call, name: &str) -> Result<Value, Failure> {
    call.broker.find(&path(name))?.ok_or_else(|| Failure::no_vhost(name))
}

/// A new one.
///
/// # Errors
/// 64 when there are as many as there may be, or it can't be as is said.
fn create(call: &Call, metadata: Map<String, Value>) -> Result<Output, Failure> {
    let reply = call.broker.send("PUT", &path(call.argument(0)), &Value::Object(metadata))?;
    match reply.status {
        StatusCode::BAD_REQUEST => Err(Failure::error(USAGE, reply.reason())),
        _ => accepted(reply).map(|_| Output::Nothing),
    }
}

fn put(call: &Call, body: &Map<String, Value>) -> Result<Output, Failure> {
    call.broker.put(&path(call.argument(0)), &Value::Object(body.clone()))?;
    Ok(Output::Nothing)
}

/// What isn't said stays as it is.
fn change(call: &Call, body: &Map<String, Value>) -> Result<Output, Failure> {
    let old = check(call, call.argument(0))?;
    let mut changed = Map::new();
    for key in ["description", "tags", "default_queue_type", "protected_from_deletion"] {
        let value = body.get(key).or_else(|| old.get(key));
        changed.extend(value.map(|value| (key.to_owned(), value.clone())));
    }
    put(call, &changed)
}

fn delete(call: &Call) -> Result<Output, Failure> {
    let name = call.argument(0);
    let reply = call.broker.send("DELETE", &path(name), &Value::Null)?;
    match reply.status.as_u16() {
        404 => Err(Failure::no_vhost(name)),
        412 => Err(Failure::error(
            DATA,
            format!(
                "Virtual host '{name}' is protected from deletion. Use \
                 disable_vhost_deletion_protection first"
            ),
        )),
        _ => accepted(reply).map(|_| Output::Nothing),
    }
}

fn trace(call: &Call, is_on: bool) -> Result<Output, Failure> {
    let name = call.vhost();
    check(call, name)?;
    call.broker.put(&format!("/control/tracing/{}", part(name)), &json!({ "tracing": is_on }))?;
    let done = if is_on { "enabled" } else { "disabled" };
    Ok(Output::text(format!("Trace {done} for vhost {name}")))
}

fn protect(call: &Call, method: &str) -> Result<Output, Failure> {
    let name = call.argument(0);
    check(call, name)?;
    let path = format!("{}/deletion/protection", path(name));
    accepted(call.broker.send(method, &path, &Value::Null)?)?;
    Ok(Output::Nothing)
}
