//! Policies and operator policies.

use serde_json::{Value, json};

use super::vhosts;
use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::Failure;
use crate::http::part;
use crate::output::{Output, Rows};
use crate::program::Program::{Ctl, Diagnostics};

const POLICIES: Command = Command::of("Policies", &[Ctl]);
const LISTS: Command = Command::of("Policies", &[Ctl, Diagnostics]);

const SETTING: &[Switch] = &[
    Switch::value("priority", "priority", "Which of several policies counts [default: 0]"),
    Switch::value(
        "apply-to",
        "apply-to",
        "queues, classic_queues, quorum_queues, streams, exchanges or all [default: all]",
    ),
];

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "set_policy",
        arguments: "<name> <pattern> <definition>",
        switches: SETTING,
        about: "Makes or changes a policy",
        example: "set_policy --apply-to queues --priority 7 short '^short\\.' '{\"max-length\":100}'",
        banner: Some(|call| setting(call, "policy")),
        run: Run::With(|call| set(call, "policies")),
        ..POLICIES
    },
    Command {
        name: "clear_policy",
        arguments: "<name>",
        about: "Removes a policy",
        example: "clear_policy short",
        banner: Some(|call| {
            let (name, vhost) = (call.argument(0), call.vhost());
            format!("Clearing policy \"{name}\" on vhost \"{vhost}\" ...")
        }),
        run: Run::With(|call| clear(call, "policies")),
        ..POLICIES
    },
    Command {
        name: "list_policies",
        about: "Lists the policies of a vhost",
        example: "list_policies -p v1",
        banner: Some(|call| format!("Listing policies for vhost \"{}\" ...", call.vhost())),
        run: Run::With(|call| list(call, "policies")),
        ..LISTS
    },
    Command {
        name: "list_policies_that_match",
        tools: &[Diagnostics],
        arguments: "<name>",
        switches: &[Switch::value("object-type", "type", "queues or exchanges [default: queues]")],
        about: "Shows the policy that a queue or exchange has",
        example: "list_policies_that_match --object-type queues short.1",
        banner: Some(|call| {
            let (name, vhost) = (call.argument(0), call.vhost());
            format!("Listing policies that match queue '{name}' in vhost '{vhost}' ...")
        }),
        run: Run::With(list_matching),
        ..LISTS
    },
    Command {
        name: "set_operator_policy",
        arguments: "<name> <pattern> <definition>",
        switches: SETTING,
        about: "Makes or changes a policy that limits what the others may set",
        example: "set_operator_policy --apply-to queues short '.*' '{\"max-length\":100000}'",
        banner: Some(|call| setting(call, "operator policy override")),
        run: Run::With(|call| set(call, "operator-policies")),
        ..POLICIES
    },
    Command {
        name: "clear_operator_policy",
        arguments: "<name>",
        about: "Removes an operator policy",
        example: "clear_operator_policy short",
        banner: Some(|call| {
            let (name, vhost) = (call.argument(0), call.vhost());
            format!("Clearing operator policy \"{name}\" on vhost \"{vhost}\" ...")
        }),
        run: Run::With(|call| clear(call, "operator-policies")),
        ..POLICIES
    },
    Command {
        name: "list_operator_policies",
        about: "Lists the operator policies of a vhost",
        example: "list_operator_policies -p v1",
        banner: Some(|call| {
            format!("Listing operator policy overrides for vhost \"{}\" ...", call.vhost())
        }),
        run: Run::With(|call| list(call, "operator-policies")),
        ..LISTS
    },
];

fn setting(call: &Call, what: &str) -> String {
    let [name, pattern, definition] = [0, 1, 2].map(|place| call.argument(place));
    let priority = call.switch("priority").unwrap_or("0");
    format!(
        "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \
         \"{priority}\" for vhost \"{}\" ...",
        call.vhost()
    )
}

/// A text that is JSON.
///
/// # Errors
/// 69 when it isn't.
pub(crate) fn json(text: &str) -> Result<Value, Failure> {
    let parsed = serde_json::from_str(text);
    parsed.map_err(|error| Failure::refused(format!("JSON decoding error. Reason: {error}")))
}

fn path(call: &Call, kind: &str) -> String {
    format!("/api/{kind}/{}/{}", part(call.vhost()), part(call.argument(0)))
}

fn set(call: &Call, kind: &str) -> Result<Output, Failure> {
    let priority = match call.switch("priority") {
        None => 0.into(),
        Some(text) => json(text)?,
    };
    let body = json!({
        "pattern": call.argument(1),
        "definition": json(call.argument(2))?,
        "priority": priority,
        "apply-to": call.switch("apply-to").unwrap_or("all"),
    });
    vhosts::check(call, call.vhost())?;
    call.broker.put(&path(call, kind), &body)?;
    Ok(Output::Nothing)
}

fn clear(call: &Call, kind: &str) -> Result<Output, Failure> {
    vhosts::check(call, call.vhost())?;
    if call.broker.delete(&path(call, kind))? {
        return Ok(Output::Nothing);
    }
    Err(Failure::refused("Parameter does not exist"))
}

fn list(call: &Call, kind: &str) -> Result<Output, Failure> {
    let found = call.broker.find(&format!("/api/{kind}/{}", part(call.vhost())))?;
    let found = found.ok_or_else(|| Failure::no_vhost(call.vhost()))?;
    let policies = found.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(rows(policies))
}

fn rows(policies: &[Value]) -> Output {
    let columns = ["vhost", "name", "pattern", "apply-to", "definition", "priority"];
    let mut rows = Rows::new(&columns);
    for policy in policies {
        rows.push(columns.iter().map(|column| match *column {
            "definition" => policy.at("definition").to_string().into(),
            column => policy.at(column).clone(),
        }));
    }
    rows.into()
}

/// The policy the broker has applied is the one that counts, so it is asked.
fn list_matching(call: &Call) -> Result<Output, Failure> {
    let kind = call.switch("object-type").unwrap_or("queues");
    let kind = match kind {
        "queue" | "queues" => "queues",
        "exchange" | "exchanges" => "exchanges",
        other => return Err(call.bad_argument(&format!("unknown object type {other}"))),
    };
    let (vhost, name) = (part(call.vhost()), part(call.argument(0)));
    let found = call.broker.find(&format!("/api/{kind}/{vhost}/{name}"))?;
    let found = found.ok_or_else(|| Failure::refused("not_found"))?;
    let Some(policy) = found.at("policy").as_str() else { return Ok(rows(&[])) };
    let policy = call.broker.find(&format!("/api/policies/{vhost}/{}", part(policy)))?;
    Ok(rows(policy.as_slice()))
}
