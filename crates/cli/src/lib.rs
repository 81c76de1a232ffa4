//! The command line tools: `leveret ctl` and, by the name the program is called with, RabbitMQ's
//! `rabbitmqctl`, `rabbitmq-diagnostics`, `rabbitmq-plugins`, `rabbitmq-queues`,
//! `rabbitmq-streams`, `rabbitmq-upgrade` and `rabbitmqadmin`.
//!
//! All but the last ask the broker on this machine, through the control socket in its data
//! directory: who may open it needs no login. `rabbitmqadmin` speaks to any broker over HTTP.
//! Output, formatters and exit codes are RabbitMQ's, as measured on 3.10.8 and read in 4.3.
//!
//! Read first: `table.rs`, the table of all commands, then a file of `commands/`.

mod admin;
mod at;
mod broker;
mod call;
mod command;
mod commands;
mod failure;
mod http;
mod migrate;
mod output;
mod parse;
mod program;
mod table;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use leveret_server::config::Sources;

use self::failure::Failure;
pub use self::migrate::MigrateArgs;
pub use self::parse::command_line;
pub use self::program::Program;

/// Runs a tool with its arguments (without the program's name); `sources` say where the broker's
/// data is.
pub fn run(program: Program, arguments: Vec<OsString>, sources: Sources) -> ExitCode {
    ended(match program {
        Program::Admin => admin::run(&arguments),
        tool => commands::run(tool, &arguments, sources),
    })
}

/// Runs `leveret migrate`; `sources` say where the data is of the broker to migrate to.
pub fn migrate(arguments: &MigrateArgs, sources: &Sources) -> ExitCode {
    ended(migrate::run(arguments, sources))
}

fn ended(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With a closed stderr the exit code has to do.
            let _ = writeln!(io::stderr(), "{}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}
