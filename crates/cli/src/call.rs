//! A command as it was given.

use std::collections::BTreeMap;

use crate::broker::Broker;
use crate::command::Command;
use crate::failure::{DATA, Failure, USAGE};
use crate::output::Format;
use crate::program::Program;

/// A command with its arguments, and the broker it is for.
pub(crate) struct Call {
    pub(crate) tool: Program,
    pub(crate) command: &'static Command,
    /// The words of the command line, for messages.
    pub(crate) given: Vec<String>,
    pub(crate) arguments: Vec<String>,
    /// The command's own switches by their long names; flags have no text.
    pub(crate) switches: BTreeMap<&'static str, String>,
    pub(crate) options: Options,
    /// The version of RabbitMQ that the broker says it is.
    pub(crate) version: String,
    pub(crate) broker: Broker,
}

/// What most commands take.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) vhost: Option<String>,
    /// In seconds.
    pub(crate) timeout: Option<u64>,
    pub(crate) format: Option<Format>,
    pub(crate) is_quiet: bool,
    pub(crate) is_silent: bool,
    pub(crate) has_headers: bool,
}

impl Call {
    /// An argument; empty where it was left out.
    pub(crate) fn argument(&self, place: usize) -> &str {
        self.arguments.get(place).map_or("", String::as_str)
    }

    /// The value of a switch.
    pub(crate) fn switch(&self, long: &str) -> Option<&str> {
        self.switches.get(long).map(String::as_str)
    }

    /// Whether a switch was given.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.switches.contains_key(long)
    }

    pub(crate) fn vhost(&self) -> &str {
        self.options.vhost.as_deref().unwrap_or("/")
    }

    pub(crate) fn node(&self) -> &str {
        self.broker.node()
    }

    /// A switch that is a number.
    ///
    /// # Errors
    /// 64 when it is none.
    pub(crate) fn number(&self, long: &str, absent: u64) -> Result<u64, Failure> {
        let Some(text) = self.switch(long) else { return Ok(absent) };
        text.parse().map_err(|_| {
            self.misused(USAGE, &format!("Invalid options for this command:\n--{long} : {text}"))
        })
    }

    /// An argument that doesn't do.
    pub(crate) fn bad_argument(&self, why: &str) -> Failure {
        self.misused(DATA, &format!("Bad argument: {why}"))
    }

    /// A command line that makes no sense.
    pub(crate) fn misused(&self, code: u8, why: &str) -> Failure {
        misused(self.tool, self.command, &self.given, code, why)
    }
}

/// A command line that makes no sense, in RabbitMQ's words.
pub(crate) fn misused(
    tool: Program,
    command: &Command,
    given: &[String],
    code: u8,
    why: &str,
) -> Failure {
    let usage = command.usage(tool);
    let given = given.join(" ");
    Failure::plain(
        code,
        format!(
            "Error (argument validation): {why}\nArguments given:\n\t{given}\n\nUsage\n\n{usage}"
        ),
    )
}
