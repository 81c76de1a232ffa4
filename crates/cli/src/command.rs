//! What a command is: a row of the table in `table.rs`.

use crate::call::Call;
use crate::failure::{Failure, SOFTWARE};
use crate::output::Output;
use crate::program::Program;

/// A command.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// The tools that offer it, besides `leveret ctl`.
    pub(crate) tools: &'static [Program],
    /// The heading it stands under in the help.
    pub(crate) group: &'static str,
    /// Its arguments as the help shows them: `<name>`, `[<name>]` for one that may be left out,
    /// `[<name>...]` for any number.
    pub(crate) arguments: &'static str,
    pub(crate) switches: &'static [Switch],
    /// One line, for the help.
    pub(crate) about: &'static str,
    /// How it is used, without the name of the tool; empty where that is plain.
    pub(crate) example: &'static str,
    /// What can be wrong with the arguments, before anything is printed.
    pub(crate) check: Option<Check>,
    /// What is printed first, unless nobody wants to read it.
    pub(crate) banner: Option<fn(&Call) -> String>,
    /// How many seconds it may take unless another number is given.
    pub(crate) patience: u64,
    pub(crate) run: Run,
}

/// Finds what is wrong.
pub(crate) type Check = fn(&Call) -> Result<(), Failure>;

/// What a command does.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// This.
    With(fn(&Call) -> Result<Output, Failure>),
    /// Nothing: RabbitMQ has it, Leveret can't have it, and here is why.
    Refused(u8, &'static str),
}

/// A switch that only some commands have.
pub(crate) struct Switch {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// What its value is called, if it takes one.
    pub(crate) value: Option<&'static str>,
    pub(crate) about: &'static str,
}

impl Switch {
    pub(crate) const fn flag(long: &'static str, about: &'static str) -> Self {
        Self { long, short: None, value: None, about }
    }

    pub(crate) const fn value(
        long: &'static str,
        value: &'static str,
        about: &'static str,
    ) -> Self {
        Self { long, short: None, value: Some(value), about }
    }

    pub(crate) const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }
}

/// An argument, out of [`Command::arguments`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    pub(crate) name: &'static str,
    pub(crate) is_required: bool,
    pub(crate) is_many: bool,
}

impl Command {
    /// What the rows of a topic start from.
    pub(crate) const fn of(group: &'static str, tools: &'static [Program]) -> Self {
        Self {
            name: "",
            tools,
            group,
            arguments: "",
            switches: &[],
            about: "",
            example: "",
            check: None,
            banner: None,
            patience: 60,
            run: Run::Refused(SOFTWARE, ""),
        }
    }

    /// Its arguments, one by one.
    pub(crate) fn each_argument(&self) -> impl Iterator<Item = Argument> {
        self.arguments.split_whitespace().map(|word| {
            let inner = word.trim_start_matches('[').trim_end_matches(']');
            let is_many = inner.ends_with("...");
            let name = inner.trim_end_matches("...").trim_matches(['<', '>']);
            Argument { name, is_required: !word.starts_with('['), is_many }
        })
    }

    /// The line that says how it is called, in the form of RabbitMQ's.
    pub(crate) fn usage(&self, tool: Program) -> String {
        let mut usage =
            format!("{} [--node <node>] [--longnames] [--quiet] {}", tool.name(), self.name);
        for switch in self.switches {
            match switch.value {
                None => usage += &format!(" [--{}]", switch.long),
                Some(value) => usage += &format!(" [--{} <{value}>]", switch.long),
            }
        }
        if !self.arguments.is_empty() {
            usage.push(' ');
            usage += self.arguments;
        }
        usage
    }

    /// Whether a tool offers it. Those of `rabbitmq-plugins` are called `list` and the like, which
    /// says little among all the others.
    pub(crate) fn is_of(&self, tool: Program) -> bool {
        match tool {
            Program::Leveret => self.tools != [Program::Plugins],
            tool => self.tools.contains(&tool),
        }
    }
}
