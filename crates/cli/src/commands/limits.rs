//! Limits of vhosts and users.

use serde_json::{Map, Value, json};

use super::{policies, users, vhosts};
use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::Failure;
use crate::http::part;
use crate::output::{Output, Rows};
use crate::program::Program::{Ctl, Diagnostics};

const LIMITS: Command = Command::of("Limits", &[Ctl]);
const LISTS: Command = Command::of("Limits", &[Ctl, Diagnostics]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "set_vhost_limits",
        arguments: "<definition>",
        about: "Limits the connections and queues of a vhost",
        example: "set_vhost_limits -p v1 '{\"max-queues\":100,\"max-connections\":50}'",
        banner: Some(|call| {
            let (definition, vhost) = (call.argument(0), call.vhost());
            format!("Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ...")
        }),
        run: Run::With(set_of_vhost),
        ..LIMITS
    },
    Command {
        name: "clear_vhost_limits",
        about: "Takes the limits of a vhost away",
        example: "clear_vhost_limits -p v1",
        banner: Some(|call| format!("Clearing vhost \"{}\" limits ...", call.vhost())),
        run: Run::With(|call| {
            vhosts::check(call, call.vhost())?;
            for name in ["max-connections", "max-queues"] {
                call.broker.delete(&format!("/api/vhost-limits/{}/{name}", part(call.vhost())))?;
            }
            Ok(Output::Nothing)
        }),
        ..LIMITS
    },
    Command {
        name: "list_vhost_limits",
        switches: &[Switch::flag("global", "Of all vhosts")],
        about: "Shows the limits of a vhost, or of all",
        example: "list_vhost_limits -p v1",
        banner: Some(|call| match call.has("global") {
            true => "Listing limits for all vhosts ...".to_owned(),
            false => format!("Listing limits for vhost \"{}\" ...", call.vhost()),
        }),
        run: Run::With(list_of_vhosts),
        ..LISTS
    },
    Command {
        name: "set_user_limits",
        arguments: "<username> <definition>",
        about: "Limits the connections and channels of a user",
        example: "set_user_limits anna '{\"max-connections\":5,\"max-channels\":20}'",
        banner: Some(|call| {
            let (user, definition) = (call.argument(0), call.argument(1));
            format!("Setting user limits to \"{definition}\" for user \"{user}\" ...")
        }),
        run: Run::With(set_of_user),
        ..LIMITS
    },
    Command {
        name: "clear_user_limits",
        arguments: "<username> <limit>",
        about: "Takes a limit of a user away, or all of them",
        example: "clear_user_limits anna max-channels\nclear_user_limits anna all",
        banner: Some(|call| match call.argument(1) {
            "all" => format!("Clearing all limits for user \"{}\" ...", call.argument(0)),
            limit => format!("Clearing \"{limit}\" limit for user \"{}\" ...", call.argument(0)),
        }),
        run: Run::With(clear_of_user),
        ..LIMITS
    },
    Command {
        name: "list_user_limits",
        switches: &[
            Switch::flag("global", "Of all users"),
            Switch::value("user", "username", "Whose [default: guest]"),
        ],
        about: "Shows the limits of a user, or of all",
        example: "list_user_limits --user anna",
        banner: Some(|call| match call.has("global") {
            true => "Listing limits for all users ...".to_owned(),
            false => format!("Listing limits for user \"{}\" ...", user(call)),
        }),
        run: Run::With(list_of_users),
        ..LISTS
    },
];

fn user(call: &Call) -> &str {
    call.switch("user").unwrap_or("guest")
}

fn definition(text: &str) -> Result<Map<String, Value>, Failure> {
    match policies::json(text)? {
        Value::Object(limits) => Ok(limits),
        _ => Err(Failure::refused("Validation failed\n\nthe limits should be a JSON object\n")),
    }
}

/// All limits at once; those that aren't named are none.
fn set_of_vhost(call: &Call) -> Result<Output, Failure> {
    let limits = Value::Object(definition(call.argument(0))?);
    vhosts::check(call, call.vhost())?;
    let path = format!("/api/parameters/vhost-limits/{}/limits", part(call.vhost()));
    call.broker.put(&path, &json!({ "value": limits }))?;
    Ok(Output::Nothing)
}

fn set_of_user(call: &Call) -> Result<Output, Failure> {
    let limits = definition(call.argument(1))?;
    users::named(call, call.argument(0))?;
    for (name, value) in limits {
        let path = format!("/api/user-limits/{}/{}", part(call.argument(0)), part(&name));
        call.broker.put(&path, &json!({ "value": value }))?;
    }
    Ok(Output::Nothing)
}

fn clear_of_user(call: &Call) -> Result<Output, Failure> {
    users::named(call, call.argument(0))?;
    let limits: &[&str] = match call.argument(1) {
        "all" => &["max-connections", "max-channels"],
        limit => &[limit],
    };
    for limit in limits {
        let path = format!("/api/user-limits/{}/{}", part(call.argument(0)), part(limit));
        call.broker.delete(&path)?;
    }
    Ok(Output::Nothing)
}

fn list_of_vhosts(call: &Call) -> Result<Output, Failure> {
    if call.has("global") {
        return all(call, "/api/vhost-limits", "vhost");
    }
    vhosts::check(call, call.vhost())?;
    let limits = call.broker.list(&format!("/api/vhost-limits/{}", part(call.vhost())))?;
    Ok(one(&limits, ""))
}

fn list_of_users(call: &Call) -> Result<Output, Failure> {
    if call.has("global") {
        return all(call, "/api/user-limits", "user");
    }
    users::named(call, user(call))?;
    let limits = call.broker.list(&format!("/api/user-limits/{}", part(user(call))))?;
    Ok(one(&limits, "{}"))
}

fn all(call: &Call, path: &str, whose: &str) -> Result<Output, Failure> {
    let mut rows = Rows::new(&[whose, "limits"]);
    for item in call.broker.list(path)? {
        if item.at("value").as_object().is_none_or(Map::is_empty) {
            continue;
        }
        rows.push([item.at(whose).clone(), item.at("value").to_string().into()]);
    }
    Ok(rows.into())
}

/// The limits of one, as JSON whatever the format.
fn one(limits: &[Value], none: &str) -> Output {
    match limits.first().map(|one| one.at("value").clone()) {
        None => Output::Report(none.to_owned(), json!({})),
        Some(limits) => Output::Report(limits.to_string(), limits),
    }
}
