//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use leveret_cli::{MigrateArgs, Program};
use leveret_perf::PerfArgs;
use leveret_server::config::Sources;

use crate::self_signed::TlsTool;
use crate::store_tools::StoreTool;

/// A message broker that speaks AMQP 0-9-1 as RabbitMQ does.
///
/// Settings come from the configuration file, then from environment variables (LEVERET_ and the
/// setting's name, as in LEVERET_AMQP_HEARTBEAT), then from the flags here.
#[derive(Debug, Parser)]
#[command(name = "leveret", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: Flags,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The broker's flags, which may stand before `check-config` or behind it.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Configuration file, in TOML
    #[arg(long, value_name = "FILE", env = "LEVERET_CONFIG")]
    config: Option<PathBuf>,

    /// Directory for messages and definitions [env: LEVERET_DATA_DIR=] [default: /var/lib/leveret
    /// when writable, else leveret in the user's state directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// Address for AMQP, repeatable; port 0 takes a free one, "none" is no listener
    /// [env: LEVERET_LISTEN=] [default: port 5672 of all interfaces]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<String>,

    /// Address of the HTTP API, repeatable; port 0 takes a free one, "none" is no listener
    /// [env: LEVERET_MANAGEMENT=] [default: port 15672 of all interfaces]
    #[arg(long, value_name = "ADDR:PORT")]
    management: Vec<String>,

    /// Address of the Prometheus metrics, repeatable; port 0 takes a free one, "none" is no listener
    /// [env: LEVERET_METRICS=] [default: port 15692 of all interfaces]
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Vec<String>,

    /// Memory from which on publishers wait: a part of what there is ("0.6", "60%"), a size ("2GB") or
    /// "none" [env: LEVERET_ALARMS_VM_MEMORY_HIGH_WATERMARK=] [default: 0.6]
    #[arg(long, value_name = "LIMIT")]
    vm_memory_high_watermark: Option<String>,

    /// Free disk space below which publishers wait: a size ("50MB"), a multiple of the memory ("1.0")
    /// or "none" [env: LEVERET_ALARMS_DISK_FREE_LIMIT=] [default: 50MB]
    #[arg(long, value_name = "LIMIT")]
    disk_free_limit: Option<String>,

    /// Least severe level to log: none, error, warning, info, debug or trace [env: LEVERET_LOG=]
    /// [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

/// What to do instead of running the broker.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the settings and print the result as a configuration file
    CheckConfig(Flags),
    /// Look at the data of a stopped broker, check it, repair it
    #[command(subcommand)]
    Store(StoreTool),
    /// Make certificates to try TLS with
    #[command(subcommand)]
    Tls(TlsTool),
    /// Measure AMQP 0-9-1 brokers
    Perf(Box<PerfArgs>),
    /// Ask the broker of this machine, and change it, as rabbitmqctl does
    #[command(disable_help_flag = true)]
    Ctl {
        /// A command and its arguments; without any they are listed
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Move everything from a running RabbitMQ to the broker of this machine
    Migrate(Migrate),
    /// Print a shell's completions
    Completion {
        /// Whose
        shell: Shell,
        /// Of rabbitmqctl or another tool of RabbitMQ's that this program can be called as
        #[arg(long = "for", value_name = "TOOL", value_parser = tool)]
        tool: Option<Program>,
    },
}

impl Arguments {
    /// Reads the command line, and ends the program if it makes no sense.
    pub(crate) fn read() -> Self {
        let mut command = Self::command();
        let matches = command.get_matches_mut();
        let read = Self::from_arg_matches(&matches);
        let arguments = read.unwrap_or_else(|error| error.format(&mut command).exit());
        if let Some(Command::Perf(_) | Command::Tls(_) | Command::Completion { .. }) =
            &arguments.command
            && let Some(flag) = given_flag(&matches)
        {
            let text = format!("the flag --{flag} is the broker's, and none is run here");
            command.error(ErrorKind::ArgumentConflict, text).exit();
        }
        arguments
    }

    /// Everything settings come from, given the environment.
    pub(crate) fn sources(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Sources {
        let sources = Sources::new().environment(environment);
        let sources = self.flags.add_to(sources);
        match &self.command {
            Some(Command::CheckConfig(flags)) => flags.add_to(sources),
            Some(Command::Store(tool)) => tool.place().add_to(sources),
            Some(Command::Migrate(migrate)) => migrate.place.add_to(sources),
            _ => sources,
        }
    }
}

/// What is migrated, and to where.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) arguments: MigrateArgs,
    #[command(flatten)]
    place: Place,
}

/// Where the data is: what the tools need of the broker's flags.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Configuration file of the broker, in TOML [env: LEVERET_CONFIG=]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Directory of messages and definitions [env: LEVERET_DATA_DIR=] [default: as the broker's]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

impl Place {
    fn add_to(&self, sources: Sources) -> Sources {
        let sources = sources.flag("--data-dir", "data_dir", self.data_dir.clone());
        match &self.config {
            Some(path) => sources.file(path),
            None => sources,
        }
    }
}

impl Flags {
    /// What is given again replaces what was given before.
    fn add_to(&self, sources: Sources) -> Sources {
        let sources = sources
            .flag("--data-dir", "data_dir", self.data_dir.clone())
            .flag("--listen", "listen", self.listen.clone())
            .flag("--management", "management", self.management.clone())
            .flag("--metrics", "metrics", self.metrics.clone())
            .flag(
                "--vm-memory-high-watermark",
                "alarms.vm_memory_high_watermark",
                self.vm_memory_high_watermark.clone(),
            )
            .flag("--disk-free-limit", "alarms.disk_free_limit", self.disk_free_limit.clone())
            .flag("--log", "log.level", self.log.clone());
        match &self.config {
            Some(path) => sources.file(path),
            None => sources,
        }
    }
}

/// Completions of the program, or of a tool it can be called as.
pub(crate) fn completion(shell: Shell, tool: Option<Program>) -> Vec<u8> {
    let (name, mut command) = match tool {
        Some(tool) => (tool.name(), leveret_cli::command_line(tool)),
        None => {
            let ctl = leveret_cli::command_line(Program::Leveret).name("ctl");
            ("leveret", Arguments::command().mut_subcommand("ctl", |_| ctl))
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

fn tool(name: &str) -> Result<Program, String> {
    let found = Program::called_as(name.as_ref()).filter(|tool| *tool != Program::Admin);
    found.ok_or_else(|| "there are completions for rabbitmqctl and its kin".to_owned())
}

/// A flag before the subcommand.
fn given_flag(matches: &ArgMatches) -> Option<&str> {
    let is_given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    matches.ids().map(clap::Id::as_str).find(is_given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
