//! From the words of the command line to a command and what it was given.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use crate::call::{Options, misused};
use crate::command::Command;
use crate::failure::{Failure, USAGE};
use crate::output::Format;
use crate::program::Program;
use crate::table::COMMANDS;

/// What was asked for.
pub(crate) enum Asked {
    /// Help, to be printed.
    Help(String),
    Command(Box<Parsed>),
}

/// A command as it was given.
pub(crate) struct Parsed {
    pub(crate) command: &'static Command,
    pub(crate) given: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) switches: BTreeMap<&'static str, String>,
    pub(crate) options: Options,
    pub(crate) node: Option<String>,
    /// Where the broker keeps its data, and its configuration file.
    pub(crate) data_dir: Option<String>,
    pub(crate) config: Option<PathBuf>,
}

/// Reads the words.
///
/// # Errors
/// 64, with RabbitMQ's words where it has some.
pub(crate) fn parse(tool: Program, words: &[OsString]) -> Result<Asked, Failure> {
    let given: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut clap = command_line(tool);
    if given.is_empty() {
        return Err(Failure::plain(USAGE, clap.render_help().to_string()));
    }
    let words = std::iter::once(OsString::from(tool.name())).chain(words.iter().cloned());
    match clap.try_get_matches_from_mut(words) {
        Ok(matches) => match matches.subcommand() {
            Some((name, own)) => read(tool, name, own, given),
            None => Err(Failure::plain(USAGE, clap.render_help().to_string())),
        },
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Asked::Help(error.to_string()))
            }
            _ => Err(refused(tool, &mut clap, &given, &error)),
        },
    }
}

/// All of a tool's command line, also for completions; that of `rabbitmqadmin` is its own.
pub fn command_line(tool: Program) -> clap::Command {
    let own = COMMANDS.iter().copied().flatten().filter(|command| command.is_of(tool));
    let mut seen = Vec::new();
    let mut clap = clap::Command::new(tool.name())
        .about("Asks the Leveret broker of this machine, as RabbitMQ's tool of this name does")
        .after_help(groups(tool))
        .help_template("{about}\n\n{usage-heading} {usage}\n\n{options}\n{after-help}")
        .override_usage(format!("{} [options] <command> [arguments]", tool.name()))
        .subcommand_required(true)
        .args_override_self(true)
        .max_term_width(100)
        .args(common());
    for command in own {
        if seen.contains(&command.name) {
            continue;
        }
        seen.push(command.name);
        clap = clap.subcommand(subcommand(tool, command));
    }
    clap
}

fn subcommand(tool: Program, command: &'static Command) -> clap::Command {
    let mut clap = clap::Command::new(command.name)
        .about(command.about)
        .override_usage(command.usage(tool))
        .disable_version_flag(true)
        .args_override_self(true);
    if !command.example.is_empty() {
        let lines = command.example.lines().map(|line| format!("\n  {} {line}", tool.name()));
        clap = clap.after_help(format!("Example:{}", lines.collect::<String>()));
    }
    for argument in command.each_argument() {
        let mut arg = Arg::new(argument.name).value_name(argument.name);
        arg = match (argument.is_many, argument.is_required) {
            (false, is_required) => arg.required(is_required),
            (true, is_required) => arg.num_args(usize::from(is_required)..).required(is_required),
        };
        clap = clap.arg(arg);
    }
    for switch in command.switches {
        let mut arg = Arg::new(switch.long).long(switch.long).help(switch.about);
        if let Some(short) = switch.short {
            arg = arg.short(short);
        }
        arg = match switch.value {
            None => arg.action(ArgAction::SetTrue),
            Some(value) => arg.value_name(value),
        };
        clap = clap.arg(arg);
    }
    clap
}

/// The options that stand before or behind every command.
fn common() -> impl Iterator<Item = Arg> {
    let flag = |long: &'static str, about: &'static str| {
        Arg::new(format!("global-{long}"))
            .long(long)
            .help(about)
            .global(true)
            .action(ArgAction::SetTrue)
    };
    let value = |long: &'static str, name: &'static str, about: &'static str| {
        Arg::new(format!("global-{long}")).long(long).value_name(name).help(about).global(true)
    };
    let formats = Format::NAMES.map(|(name, _)| name);
    [
        value("node", "node", "The node, which has to be the one of this machine").short('n'),
        value("vhost", "vhost", "The virtual host [default: /]").short('p'),
        value(
            "timeout",
            "seconds",
            "How long to wait for the broker [default: 60, a day for a backup]",
        )
        .short('t'),
        flag("quiet", "Print the result only").short('q'),
        flag("silent", "Print the result only, without a header").short('s'),
        flag("no-table-headers", "Print tables without a header"),
        value("formatter", "format", "How to print the result")
            .value_parser(PossibleValuesParser::new(formats)),
        flag("longnames", "Taken for RabbitMQ's sake: names of nodes have no two forms here")
            .short('l'),
        value("data-dir", "dir", "Where the broker keeps its data, as in its configuration"),
        value("config", "file", "The broker's configuration file, for its data directory"),
    ]
    .into_iter()
}

fn read(
    tool: Program,
    name: &str,
    matches: &ArgMatches,
    given: Vec<String>,
) -> Result<Asked, Failure> {
    let found = find(tool, name);
    let command = found.ok_or_else(|| Failure::plain(USAGE, not_found(tool, name)))?;
    let text = |id: &str| matches.get_one::<String>(id).cloned();
    let flag = |id: &str| matches.get_flag(id);
    let mut arguments = Vec::new();
    for argument in command.each_argument() {
        arguments.extend(matches.get_many::<String>(argument.name).into_iter().flatten().cloned());
    }
    let mut switches = BTreeMap::new();
    for switch in command.switches {
        match switch.value {
            None if flag(switch.long) => drop(switches.insert(switch.long, String::new())),
            None => {}
            Some(_) => switches.extend(text(switch.long).map(|value| (switch.long, value))),
        }
    }
    let timeout = match text("global-timeout").as_deref() {
        None | Some("infinity") => None,
        Some(seconds) => Some(seconds.parse().map_err(|_| {
            let why = format!("Invalid options for this command:\n--timeout : {seconds}");
            misused(tool, command, &given, USAGE, &why)
        })?),
    };
    let format = text("global-formatter");
    let format = format.and_then(|name| Format::NAMES.into_iter().find(|(own, _)| *own == name));
    let options = Options {
        vhost: text("global-vhost"),
        timeout,
        format: format.map(|(_, format)| format),
        is_quiet: flag("global-quiet"),
        is_silent: flag("global-silent"),
        has_headers: !flag("global-no-table-headers"),
    };
    Ok(Asked::Command(Box::new(Parsed {
        command,
        given,
        arguments,
        switches,
        options,
        node: text("global-node"),
        data_dir: text("global-data-dir"),
        config: text("global-config").map(PathBuf::from),
    })))
}

/// A tool's command of this name.
pub(crate) fn find(tool: Program, name: &str) -> Option<&'static Command> {
    let mut all = COMMANDS.iter().copied().flatten();
    all.find(|command| command.name == name && command.is_of(tool))
}

/// A command line that makes no sense, in RabbitMQ's words.
fn refused(
    tool: Program,
    clap: &mut clap::Command,
    given: &[String],
    error: &clap::Error,
) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    if error.kind() == ErrorKind::InvalidSubcommand {
        return Failure::plain(USAGE, not_found(tool, context(ContextKind::InvalidSubcommand)));
    }
    let command = given.iter().find_map(|word| find(tool, word));
    let Some(command) = command else {
        let help = clap.render_help();
        return Failure::plain(USAGE, format!("{error}\n{help}"));
    };
    let unknown = context(ContextKind::InvalidArg);
    let why = match error.kind() {
        ErrorKind::MissingRequiredArgument => "not enough arguments.".to_owned(),
        ErrorKind::UnknownArgument if unknown.starts_with('-') => {
            format!("Invalid options for this command:\n{unknown} : ")
        }
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => "too many arguments.".to_owned(),
        _ => error
            .to_string()
            .trim_start_matches("error: ")
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    misused(tool, command, given, USAGE, &why)
}

/// How alike a name must be to be suggested.
const ALIKE_MIN: f64 = 0.7;

fn not_found(tool: Program, name: &str) -> String {
    let own = COMMANDS.iter().copied().flatten().filter(|command| command.is_of(tool));
    let nearest = own
        .map(|command| (strsim::jaro_winkler(name, command.name), command.name))
        .filter(|(alike, _)| *alike > ALIKE_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((_, nearest)) => {
            format!("\nCommand '{name}' not found. \nDid you mean '{nearest}'? \n")
        }
        None => {
            let help = command_line(tool).render_help();
            format!("\nCommand '{name}' not found. \n\n{help}")
        }
    }
}

/// The commands under their headings.
fn groups(tool: Program) -> String {
    let mut text = String::new();
    let own = || COMMANDS.iter().copied().flatten().filter(|command| command.is_of(tool));
    let width = own().map(|command| command.name.len()).max().unwrap_or_default();
    let mut groups: Vec<&str> = Vec::new();
    for command in own() {
        if !groups.contains(&command.group) {
            groups.push(command.group);
        }
    }
    for group in groups {
        text += &format!("\n{group}:\n");
        for command in own().filter(|command| command.group == group) {
            text += &format!("  {:width$}  {}\n", command.name, command.about);
        }
    }
    text + &format!("\nUse '{} help <command>' to learn more about a command\n", tool.name())
}
