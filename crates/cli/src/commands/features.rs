//! Feature flags and deprecated features.

use serde_json::Value;

use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run, Switch};
use crate::failure::{Failure, USAGE};
use crate::http::part;
use crate::output::{Output, Rows};
use crate::program::Program::{Ctl, Diagnostics};

const FEATURES: Command = Command::of("Feature flags", &[Ctl]);
const LISTS: Command = Command::of("Feature flags", &[Ctl, Diagnostics]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "enable_feature_flag",
        arguments: "<flag>",
        switches: &[
            Switch::flag("opt-in", "Also one that has to be asked for"),
            Switch::flag("experimental", "Also one that is experimental"),
        ],
        about: "Enables a feature flag, or all; all there are always are",
        example: "enable_feature_flag all",
        banner: Some(|call| match call.argument(0) {
            "all" => "Enabling all feature flags ...".to_owned(),
            name => format!("Enabling feature flag \"{name}\" ..."),
        }),
        run: Run::With(enable),
        ..FEATURES
    },
    Command {
        name: "list_feature_flags",
        arguments: "[<column>...]",
        about: "Lists the feature flags",
        example: "list_feature_flags name state",
        banner: Some(|_| "Listing feature flags ...".to_owned()),
        run: Run::With(|call| {
            let known = ["name", "state", "stability", "provided_by", "desc", "doc_url"];
            list(call, &call.broker.list("/api/feature-flags")?, &known, &["name", "state"])
        }),
        ..LISTS
    },
    Command {
        name: "list_deprecated_features",
        arguments: "[<column>...]",
        switches: &[Switch::flag("used", "Only those in use")],
        about: "Lists features that RabbitMQ means to remove",
        example: "list_deprecated_features --used name deprecation_phase",
        banner: Some(|call| match call.has("used") {
            true => "Listing deprecated features in use ...".to_owned(),
            false => "Listing deprecated features ...".to_owned(),
        }),
        run: Run::With(|call| {
            let path = match call.has("used") {
                true => "/api/deprecated-features/used",
                false => "/api/deprecated-features",
            };
            let known = ["name", "deprecation_phase", "provided_by", "desc", "doc_url"];
            list(call, &call.broker.list(path)?, &known, &["name", "deprecation_phase"])
        }),
        ..LISTS
    },
];

fn enable(call: &Call) -> Result<Output, Failure> {
    let name = call.argument(0);
    if name == "all" {
        return call.broker.get("/api/feature-flags").map(|_| Output::Nothing);
    }
    let path = format!("/api/feature-flags/{}/enable", part(name));
    let reply = call.broker.send("PUT", &path, &Value::Object(serde_json::Map::new()))?;
    if reply.status.is_success() {
        return Ok(Output::Nothing);
    }
    let why = format!("This feature flag is not supported by node {}", call.node());
    Err(Failure::error(USAGE, why))
}

fn list(call: &Call, items: &[Value], known: &[&str], default: &[&str]) -> Result<Output, Failure> {
    let given: Vec<&str> = call.arguments.iter().map(String::as_str).collect();
    let columns = if given.is_empty() { default } else { &given };
    if let Some(unknown) = columns.iter().find(|name| !known.contains(name)) {
        return Err(call.misused(USAGE, &format!("Info key(s) {unknown} are not supported")));
    }
    let mut rows = Rows::new(columns);
    for item in items {
        rows.push(columns.iter().map(|column| item.at(column).clone()));
    }
    Ok(rows.into())
}
