//! Closing connections.

use serde_json::{Map, Value};

use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::Failure;
use crate::http::part;
use crate::output::Output;
use crate::program::Program::Ctl;

const OPERATIONS: Command = Command::of("Operations", &[Ctl]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "close_connection",
        arguments: "<connection> <explanation>",
        about: "Closes a connection, by its pid or its name",
        example: "close_connection '<rabbit@host.12.0>' \"go away\"\n\
                  close_connection '127.0.0.1:50298 -> 127.0.0.1:5672' \"go away\"",
        banner: Some(|call| {
            format!("Closing connection {}, reason: {}...", call.argument(0), call.argument(1))
        }),
        run: Run::With(close),
        ..OPERATIONS
    },
    Command {
        name: "close_all_connections",
        arguments: "<explanation>",
        switches: &[
            Switch::flag("global", "Of all vhosts"),
            Switch::value("limit", "limit", "At most so many; 0 for all [default: 0]"),
            Switch::value(
                "per-connection-delay",
                "milliseconds",
                "The pause between two, which has to be 0",
            ),
        ],
        about: "Closes the connections to a vhost, or all there are",
        example: "close_all_connections -p v1 \"moving house\"\n\
                  close_all_connections --global --limit 100 \"moving house\"",
        banner: Some(|call| match call.has("global") {
            true => format!(
                "Closing all connections to node {} (across all vhosts), reason: {}...",
                call.node(),
                call.argument(0)
            ),
            false => format!(
                "Closing all connections in vhost {}, reason: {}...",
                call.vhost(),
                call.argument(0)
            ),
        }),
        run: Run::With(close_all),
        ..OPERATIONS
    },
    Command {
        name: "close_all_user_connections",
        arguments: "<username> <explanation>",
        about: "Closes the connections of a user",
        example: "close_all_user_connections anna \"go away\"",
        banner: Some(|call| {
            format!(
                "Closing connections of user {}, reason: {}...",
                call.argument(0),
                call.argument(1)
            )
        }),
        run: Run::With(|call| {
            let path = format!("/api/connections/username/{}", part(call.argument(0)));
            delete(call, &path, call.argument(1))?;
            Ok(Output::Nothing)
        }),
        ..OPERATIONS
    },
];

fn delete(call: &Call, path: &str, reason: &str) -> Result<bool, Failure> {
    let reason = reason.replace(char::is_control, " ");
    let headers = [("x-reason", reason.as_str())];
    let reply = call.broker.send_with("DELETE", path, &Value::Null, &headers)?;
    if reply.status == hyper::StatusCode::NOT_FOUND {
        return Ok(false);
    }
    crate::broker::accepted(reply).map(|_| true)
}

fn close(call: &Call) -> Result<Output, Failure> {
    let asked = call.argument(0);
    let pids = call.broker.get("/control/pids")?;
    let named = pids.as_object().into_iter().flatten();
    let name = named.filter(|(_, pid)| *pid == asked).map(|(name, _)| name.as_str()).next();
    let path = format!("/api/connections/{}", part(name.unwrap_or(asked)));
    if delete(call, &path, call.argument(1))? {
        return Ok(Output::Nothing);
    }
    Err(Failure::refused(format!("there is no connection {asked}")))
}

fn close_all(call: &Call) -> Result<Output, Failure> {
    if call.number("per-connection-delay", 0)? > 0 {
        return Err(Failure::refused("connections are closed all at once, without a delay"));
    }
    let limit = call.number("limit", 0)?;
    let mut body = Map::from_iter([("limit".to_owned(), Value::from(limit))]);
    if !call.has("global") {
        super::vhosts::check(call, call.vhost())?;
        body.insert("vhost".to_owned(), call.vhost().into());
    }
    let reason = call.argument(0).replace(char::is_control, " ");
    let headers = [("x-reason", reason.as_str())];
    let reply = call.broker.send_with(
        "POST",
        "/control/close-connections",
        &Value::Object(body),
        &headers,
    )?;
    let closed = crate::broker::accepted(reply)?.json().at("closed").as_u64().unwrap_or_default();
    Ok(Output::text(format!("Closed {closed} connections")))
}
