//! `/control`: what only who runs the broker may ask, through the control socket.

use std::net::Ipv4Addr;
use std::path::Path;

use leveret_auth::Credentials;
use leveret_broker::{DeleteIf, Resource};
use leveret_server::config::{Limit, LogLevel, Reloaded};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::connections;
use crate::answer::{Answer, Failure, Outcome};
use crate::call::{Call, flag, text};
use crate::order::Order;

/// Ends the process, after this answer.
pub(crate) fn stop(call: &Call) -> Outcome {
    give(call, Order::Stop)?;
    Ok(Answer::done())
}

/// Copies what is durable to `{"directory": "/path"}`, from which a broker can be started unless `damages` says that
/// some of it is not what was written.
pub(crate) fn back_up(call: &Call) -> Outcome {
    let body = call.object_with(&["directory"])?;
    let directory = text(&body, "directory")?;
    let report = call.broker().store().backup(Path::new(directory));
    let report = report.map_err(|error| {
        tracing::error!("the backup to {directory} failed: {error}");
        Failure::bad_request(error.to_string())
    })?;
    let seconds = report.took.as_secs_f64();
    tracing::info!("backed up to {directory} in {seconds:.3} s");
    for damage in &report.damages {
        tracing::error!("{damage}, and so is what was backed up of it to {directory}");
    }
    Ok(Answer::json(&json!({
        "segments": report.segments,
        "bytes": report.bytes,
        "last_lsn": report.last_lsn.0,
        "seconds": seconds,
        "damages": report.damages.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })))
}

/// Reads the configuration again; 400 with the line that is wrong in it.
pub(crate) fn reload(call: &Call) -> Outcome {
    let (sender, receiver) = oneshot::channel();
    give(call, Order::Reload(sender))?;
    let reloaded = receiver.blocking_recv().map_err(|_| Failure::Internal)?;
    let Reloaded { changed, at_next_start } = reloaded.map_err(Failure::bad_request)?;
    Ok(Answer::json(&json!({ "changed": changed, "at_next_start": at_next_start })))
}

pub(crate) fn set_log_level(call: &Call) -> Outcome {
    let body = call.object_with(&["level"])?;
    let level = text(&body, "level")?;
    let level = LogLevel::parse(level).ok_or_else(|| {
        Failure::bad_request(format!(
            "level {level} is not supported. Try one of debug, info, warning, error, critical, none"
        ))
    })?;
    give(call, Order::LogLevel(level))?;
    Ok(Answer::done())
}

/// `{"value": "0.5"}`, a size, or `"none"`; until the next start.
pub(crate) fn set_memory_watermark(call: &Call) -> Outcome {
    set_limit(call, Resource::Memory, 1)
}

/// `{"value": "50MB"}`, or as many times the memory; until the next start.
pub(crate) fn set_disk_free_limit(call: &Call) -> Outcome {
    set_limit(call, Resource::Disk, 10)
}

fn set_limit(call: &Call, resource: Resource, most: u8) -> Outcome {
    let body = call.object_with(&["value"])?;
    let value = text(&body, "value")?;
    let invalid = || Failure::bad_request(format!("Unable to parse information unit: {value}"));
    let limit = Limit::parse(value, most).ok_or_else(invalid)?;
    leveret_server::set_limit(call.broker(), resource, limit);
    Ok(Answer::done())
}

/// Whether a password is right; the login is no attempt of the user's.
pub(crate) fn authenticate(call: &Call) -> Outcome {
    let body = call.object_with(&["username", "password"])?;
    let (user, password) = (text(&body, "username")?, text(&body, "password")?);
    let credentials = Credentials {
        user: user.to_owned(),
        password: Some(password.as_bytes().to_vec()),
        address: Ipv4Addr::LOCALHOST.into(),
        is_local: true,
        vhost: None,
    };
    let found = Handle::current().block_on(call.node.backends.log_in(&credentials));
    Ok(Answer::json(&json!({ "ok": found.is_ok() })))
}

/// The connections by the names that take the place of RabbitMQ's process identifiers.
pub(crate) fn pids(call: &Call) -> Outcome {
    let named = connections::visible(call)?;
    let named = named.into_iter().map(|one| {
        let pid = Value::from(format!("<{}.{}.0>", call.node.name, one.id().0));
        (one.about().name.as_ref().to_owned(), pid)
    });
    Ok(Answer::json(&Value::Object(named.collect())))
}

/// Closes all connections, or those of a vhost, up to a number of them.
pub(crate) fn close_connections(call: &Call) -> Outcome {
    let body = call.object()?;
    let vhost = body.get("vhost").and_then(Value::as_str);
    let limit = body.get("limit").and_then(Value::as_u64).filter(|limit| *limit > 0);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let mut open = call.broker().connections().all();
    open.retain(|one| vhost.is_none_or(|vhost| **one.vhost().name() == *vhost));
    open.truncate(limit);
    open.iter().for_each(|one| one.close(connections::reason(call)));
    Ok(Answer::json(&json!({ "closed": open.len() })))
}

/// `{"tracing": true}`, and the rest of the vhost stays as it is.
pub(crate) fn trace(call: &Call) -> Outcome {
    let body = call.object_with(&["tracing"])?;
    call.administration().trace(&*call.vhost()?, flag(&body, "tracing", false)?);
    Ok(Answer::done())
}

/// Deletes a queue and says how many messages were in it, as the API doesn't.
pub(crate) fn delete_queue(call: &Call) -> Outcome {
    let queue = call.part("queue");
    call.vhost()?.queue(queue).ok_or(Failure::NotFound)?;
    let mut session = call.session()?;
    let when = DeleteIf { unused: call.flag("if-unused"), empty: call.flag("if-empty") };
    let deleted = session.delete_queue(queue, when)?;
    session.finish();
    Ok(Answer::json(&json!({ "messages": deleted.messages })).after(deleted.commit))
}

fn give(call: &Call, order: Order) -> Result<(), Failure> {
    let orders = call.node.orders.as_ref().ok_or(Failure::Internal)?;
    orders.try_send(order).map_err(|_| Failure::Internal)
}
