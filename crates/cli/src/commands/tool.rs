//! The tools themselves.

use crate::command::{Command, Run};
use crate::output::Output;
use crate::program::Program::{Ctl, Diagnostics, Plugins, Queues, Streams, Upgrade};

const TOOL: Command = Command::of("Help", &[Ctl, Diagnostics, Plugins, Queues, Streams, Upgrade]);

pub(crate) static COMMANDS: &[Command] = &[Command {
    name: "version",
    about: "Prints the version of RabbitMQ that the broker says it is",
    run: Run::With(|call| Ok(Output::text(call.version.as_str()))),
    ..TOOL
}];
