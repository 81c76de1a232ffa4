//! Permissions, and those on topics.

use serde_json::{Value, json};

use super::users;
use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run};
use crate::failure::{Failure, NO_USER, UNAVAILABLE};
use crate::http::part;
use crate::output::{Output, Rows};
use crate::program::Program::{Ctl, Diagnostics};

const ACCESS: Command = Command::of("Access Control", &[Ctl]);
const LISTS: Command = Command::of("Access Control", &[Ctl, Diagnostics]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "clear_permissions",
        arguments: "<username>",
        about: "Takes a user's permissions in a vhost away",
        example: "clear_permissions -p v1 anna",
        banner: Some(|call| {
            let (user, vhost) = (call.argument(0), call.vhost());
            format!("Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ...")
        }),
        run: Run::With(clear),
        ..ACCESS
    },
    Command {
        name: "clear_topic_permissions",
        arguments: "<username> [<exchange>]",
        about: "Takes a user's topic permissions away, for one exchange or all",
        example: "clear_topic_permissions -p v1 anna amq.topic",
        banner: Some(|call| {
            let (user, exchange, vhost) = (call.argument(0), call.argument(1), call.vhost());
            let on =
                if exchange.is_empty() { String::new() } else { format!(" on \"{exchange}\"") };
            format!("Clearing topic permissions{on} for user \"{user}\" in vhost \"{vhost}\" ...")
        }),
        run: Run::With(clear_topics),
        ..ACCESS
    },
    Command {
        name: "list_permissions",
        about: "Lists the permissions in a vhost",
        example: "list_permissions -p v1",
        banner: Some(|call| format!("Listing permissions for vhost \"{}\" ...", call.vhost())),
        run: Run::With(|call| {
            of_vhost(call, "permissions", &["user", "configure", "write", "read"])
        }),
        ..LISTS
    },
    Command {
        name: "list_topic_permissions",
        about: "Lists the topic permissions in a vhost",
        example: "list_topic_permissions -p v1",
        banner: Some(|call| {
            format!("Listing topic permissions for vhost \"{}\" ...", call.vhost())
        }),
        run: Run::With(|call| {
            of_vhost(call, "topic-permissions", &["user", "exchange", "write", "read"])
        }),
        ..LISTS
    },
    Command {
        name: "list_user_permissions",
        arguments: "<username>",
        about: "Lists the permissions of a user",
        example: "list_user_permissions anna",
        banner: Some(|call| format!("Listing permissions for user \"{}\" ...", call.argument(0))),
        run: Run::With(|call| {
            of_user(call, "permissions", &["vhost", "configure", "write", "read"])
        }),
        ..LISTS
    },
    Command {
        name: "list_user_topic_permissions",
        arguments: "<username>",
        about: "Lists the topic permissions of a user",
        example: "list_user_topic_permissions anna",
        banner: Some(|call| {
            format!("Listing topic permissions for user \"{}\" ...", call.argument(0))
        }),
        run: Run::With(|call| {
            of_user(call, "topic-permissions", &["vhost", "exchange", "write", "read"])
        }),
        ..LISTS
    },
    Command {
        name: "set_permissions",
        arguments: "<username> <configure> <write> <read>",
        about: "Lets a user configure, write and read what these patterns match",
        example: "set_permissions -p v1 anna '^anna-.*' '.*' '.*'",
        banner: Some(|call| {
            let (user, vhost) = (call.argument(0), call.vhost());
            format!("Setting permissions for user \"{user}\" in vhost \"{vhost}\" ...")
        }),
        run: Run::With(|call| set(call, call.vhost())),
        ..ACCESS
    },
    Command {
        name: "set_permissions_globally",
        arguments: "<username> <configure> <write> <read>",
        about: "As set_permissions, in all vhosts there are",
        example: "set_permissions_globally anna '.*' '.*' '.*'",
        banner: Some(|call| {
            format!(
                "Setting permissions for user \"{}\" in all virtual hosts ...",
                call.argument(0)
            )
        }),
        run: Run::With(|call| {
            for vhost in call.broker.list("/api/vhosts?columns=name")? {
                set(call, vhost.at("name").as_str().unwrap_or_default())?;
            }
            Ok(Output::Nothing)
        }),
        ..ACCESS
    },
    Command {
        name: "set_topic_permissions",
        arguments: "<username> <exchange> <write> <read>",
        about: "Lets a user publish and bind with the routing keys these patterns match",
        example: "set_topic_permissions -p v1 anna amq.topic '^anna\\.' '.*'",
        banner: Some(|call| {
            let (user, exchange, vhost) = (call.argument(0), call.argument(1), call.vhost());
            format!(
                "Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \
                 \"{vhost}\" ..."
            )
        }),
        run: Run::With(set_topic),
        ..ACCESS
    },
];

/// Checks that the vhost and the user are there, in RabbitMQ's order and words.
fn check(call: &Call, vhost: &str, user: &str) -> Result<(), Failure> {
    if call.broker.find(&format!("/api/vhosts/{}", part(vhost)))?.is_none() {
        let why = format!("Virtual host {vhost} does not exist");
        return Err(Failure::error(UNAVAILABLE, why));
    }
    if call.broker.find(&format!("/api/users/{}", part(user)))?.is_none() {
        return Err(Failure::error(NO_USER, format!("User {user} does not exist")));
    }
    Ok(())
}

fn set(call: &Call, vhost: &str) -> Result<Output, Failure> {
    let user = call.argument(0);
    check(call, vhost, user)?;
    let body = json!({
        "configure": call.argument(1),
        "write": call.argument(2),
        "read": call.argument(3),
    });
    call.broker.put(&format!("/api/permissions/{}/{}", part(vhost), part(user)), &body)?;
    Ok(Output::Nothing)
}

fn set_topic(call: &Call) -> Result<Output, Failure> {
    let (user, vhost) = (call.argument(0), call.vhost());
    check(call, vhost, user)?;
    let body = json!({
        "exchange": call.argument(1),
        "write": call.argument(2),
        "read": call.argument(3),
    });
    call.broker.put(&format!("/api/topic-permissions/{}/{}", part(vhost), part(user)), &body)?;
    Ok(Output::Nothing)
}

/// Permissions that aren't there are as good as cleared.
fn clear(call: &Call) -> Result<Output, Failure> {
    let (user, vhost) = (call.argument(0), call.vhost());
    check(call, vhost, user)?;
    call.broker.delete(&format!("/api/permissions/{}/{}", part(vhost), part(user)))?;
    Ok(Output::Nothing)
}

fn clear_topics(call: &Call) -> Result<Output, Failure> {
    let (user, exchange, vhost) = (call.argument(0), call.argument(1), call.vhost());
    check(call, vhost, user)?;
    let mut path = format!("/api/topic-permissions/{}/{}", part(vhost), part(user));
    if !exchange.is_empty() {
        path += &format!("/{}", part(exchange));
    }
    call.broker.delete(&path)?;
    Ok(Output::Nothing)
}

fn of_vhost(call: &Call, what: &str, columns: &[&str]) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let found = call.broker.find(&format!("/api/vhosts/{}/{what}", part(vhost)))?;
    Ok(rows(&found.ok_or_else(|| Failure::no_vhost(vhost))?, columns))
}

fn of_user(call: &Call, what: &str, columns: &[&str]) -> Result<Output, Failure> {
    let user = call.argument(0);
    users::named(call, user)?;
    let found = call.broker.get(&format!("/api/users/{}/{what}", part(user)))?;
    Ok(rows(&found, columns))
}

fn rows(items: &Value, columns: &[&str]) -> Output {
    let mut rows = Rows::new(columns);
    for item in items.as_array().into_iter().flatten() {
        rows.push(columns.iter().map(|column| item.at(column).clone()));
    }
    rows.into()
}
