//! Runtime parameters and global ones.

use serde_json::json;

use super::{policies, vhosts};
use crate::at::At;
use crate::call::Call;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::http::part;
use crate::output::{Output, Rows};
use crate::program::Program::{Ctl, Diagnostics};

const PARAMETERS: Command = Command::of("Parameters", &[Ctl]);
const LISTS: Command = Command::of("Parameters", &[Ctl, Diagnostics]);

pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "set_parameter",
        arguments: "<component> <name> <value>",
        about: "Sets a parameter of a vhost",
        example: "set_parameter vhost-limits limits '{\"max-queues\":100}'",
        banner: Some(|call| {
            let [component, name, value] = [0, 1, 2].map(|place| call.argument(place));
            format!(
                "Setting runtime parameter \"{name}\" for component \"{component}\" to \
                 \"{value}\" in vhost \"{}\" ...",
                call.vhost()
            )
        }),
        run: Run::With(|call| {
            let value = policies::json(call.argument(2))?;
            vhosts::check(call, call.vhost())?;
            call.broker.put(&path(call), &json!({ "value": value }))?;
            Ok(Output::Nothing)
        }),
        ..PARAMETERS
    },
    Command {
        name: "clear_parameter",
        arguments: "<component> <name>",
        about: "Removes a parameter of a vhost",
        example: "clear_parameter vhost-limits limits",
        banner: Some(|call| {
            let (component, name) = (call.argument(0), call.argument(1));
            format!(
                "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \
                 \"{}\" ...",
                call.vhost()
            )
        }),
        run: Run::With(|call| {
            vhosts::check(call, call.vhost())?;
            cleared(call.broker.delete(&path(call))?)
        }),
        ..PARAMETERS
    },
    Command {
        name: "list_parameters",
        about: "Lists the parameters of a vhost, policies and limits aside",
        example: "list_parameters -p v1",
        banner: Some(|call| {
            format!("Listing runtime parameters for vhost \"{}\" ...", call.vhost())
        }),
        run: Run::With(|call| {
            vhosts::check(call, call.vhost())?;
            let mut rows = Rows::new(&["component", "name", "value"]);
            for item in call.broker.list("/api/parameters")? {
                let is_shown =
                    item.at("vhost") == call.vhost() && item.at("component") != "operator_policy";
                if is_shown {
                    let value = item.at("value").to_string();
                    rows.push([
                        item.at("component").clone(),
                        item.at("name").clone(),
                        value.into(),
                    ]);
                }
            }
            Ok(rows.into())
        }),
        ..LISTS
    },
    Command {
        name: "set_global_parameter",
        arguments: "<name> <value>",
        about: "Sets a parameter of the whole broker",
        example: "set_global_parameter site '\"north\"'",
        banner: Some(|call| {
            let (name, value) = (call.argument(0), call.argument(1));
            format!("Setting global runtime parameter \"{name}\" to \"{value}\" ...")
        }),
        run: Run::With(|call| {
            let value = policies::json(call.argument(1))?;
            call.broker.put(&global(call), &json!({ "name": call.argument(0), "value": value }))?;
            Ok(Output::Nothing)
        }),
        ..PARAMETERS
    },
    Command {
        name: "clear_global_parameter",
        arguments: "<name>",
        about: "Removes a parameter of the whole broker",
        example: "clear_global_parameter site",
        banner: Some(|call| {
            format!("Clearing global runtime parameter \"{}\" ...", call.argument(0))
        }),
        run: Run::With(|call| cleared(call.broker.delete(&global(call))?)),
        ..PARAMETERS
    },
    Command {
        name: "list_global_parameters",
        about: "Lists the parameters of the whole broker",
        banner: Some(|_| "Listing global runtime parameters ...".to_owned()),
        run: Run::With(|call| {
            let mut rows = Rows::new(&["name", "value"]);
            for item in call.broker.list("/api/global-parameters")? {
                rows.push([item.at("name").clone(), item.at("value").to_string().into()]);
            }
            Ok(rows.into())
        }),
        ..LISTS
    },
];

fn path(call: &Call) -> String {
    let parts = [call.argument(0), call.vhost(), call.argument(1)].map(part);
    format!("/api/parameters/{}", parts.join("/"))
}

fn global(call: &Call) -> String {
    format!("/api/global-parameters/{}", part(call.argument(0)))
}

fn cleared(was_there: bool) -> Result<Output, Failure> {
    if was_there { Ok(Output::Nothing) } else { Err(Failure::refused("Parameter does not exist")) }
}
