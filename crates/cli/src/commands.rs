//! Runs commands; each file here has those of one topic.

pub(crate) mod access;
pub(crate) mod alerts;
pub(crate) mod checks;
pub(crate) mod cluster;
pub(crate) mod connections;
pub(crate) mod definitions;
pub(crate) mod features;
pub(crate) mod limits;
pub(crate) mod lists;
pub(crate) mod node;
pub(crate) mod parameters;
pub(crate) mod plugins;
pub(crate) mod policies;
pub(crate) mod queues;
pub(crate) mod refused;
pub(crate) mod status;
pub(crate) mod tool;
pub(crate) mod users;
pub(crate) mod vhosts;

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

use leveret_server::config::{CONTROL_SOCKET, Config, Sources, Storage};

use crate::broker::Broker;
use crate::call::Call;
use crate::command::Run;
use crate::failure::{CONFIG, Failure, SOFTWARE, UNAVAILABLE};
use crate::http::{Http, Place};
use crate::parse::{Asked, Parsed, parse};
use crate::program::Program;

/// Runs a command.
///
/// # Errors
/// What to print, and the exit code.
pub(crate) fn run(tool: Program, words: &[OsString], sources: Sources) -> Result<(), Failure> {
    let parsed = match parse(tool, words)? {
        Asked::Help(text) => {
            // Whoever closes the pipe has seen enough.
            let _ = io::stdout().write_all(text.as_bytes());
            return Ok(());
        }
        Asked::Command(parsed) => *parsed,
    };
    let call = call(tool, parsed, sources)?;
    let run = match call.command.run {
        Run::With(run) => run,
        Run::Refused(code, why) => return Err(Failure::error(code, why)),
    };
    if let Some(check) = call.command.check {
        check(&call)?;
    }
    let is_for_programs = call.options.format.is_some_and(|format| format.is_for_programs());
    if let Some(banner) = call.command.banner
        && !(call.options.is_quiet || call.options.is_silent || is_for_programs)
    {
        let banner = banner(&call);
        if !banner.is_empty() {
            let _ = writeln!(io::stdout(), "{banner}");
        }
    }
    let output = run(&call)?;
    output.print(&call).map_err(|error| Failure::error(SOFTWARE, error))
}

fn call(tool: Program, parsed: Parsed, sources: Sources) -> Result<Call, Failure> {
    let sources = match parsed.config {
        Some(file) => sources.file(file),
        None => sources,
    };
    let sources = sources.flag("--data-dir", "data_dir", parsed.data_dir);
    let (config, _) =
        Config::load(&sources).map_err(|error| Failure::plain(CONFIG, error.to_string()))?;
    let node = node(parsed.node.as_deref(), &config)?;
    let timeout = Duration::from_secs(parsed.options.timeout.unwrap_or(parsed.command.patience));
    let http = Http::new(control_socket(&config)?, timeout);
    let http = http.map_err(|error| Failure::plain(SOFTWARE, error.to_string()))?;
    Ok(Call {
        tool,
        command: parsed.command,
        given: parsed.given,
        arguments: parsed.arguments,
        switches: parsed.switches,
        options: parsed.options,
        version: config.server_properties.version,
        broker: Broker::new(http, node),
    })
}

/// Where the broker of this machine takes commands.
///
/// # Errors
/// 69 when it has its data in memory.
pub(crate) fn control_socket(config: &Config) -> Result<Place, Failure> {
    match &config.storage {
        Storage::Directory(directory) => Ok(Place::Socket(directory.join(CONTROL_SOCKET))),
        Storage::Ephemeral => {
            Err(Failure::plain(UNAVAILABLE, "a broker in memory has no control socket"))
        }
    }
}

/// The node, by the name it was given, which has to be this machine's.
///
/// # Errors
/// 69 for a node of another machine: its socket is not here.
fn node(asked: Option<&str>, config: &Config) -> Result<String, Failure> {
    let own = config.node_name();
    let Some(asked) = asked else { return Ok(own) };
    let host = |name: &str| name.rsplit_once('@').map_or("", |(_, host)| host).to_owned();
    let short = |host: &str| host.split('.').next().unwrap_or_default().to_owned();
    let (asked_host, own_host) = (host(asked), host(&own));
    let is_here = ["", "localhost", "127.0.0.1"].contains(&asked_host.as_str())
        || short(&asked_host) == short(&own_host)
        || short(&asked_host) == short(&leveret_server::config::host_name());
    if is_here {
        return Ok(own);
    }
    Err(Failure::plain(
        UNAVAILABLE,
        format!(
            "Error: unable to perform an operation on node '{asked}'. Please see diagnostics \
             information and suggestions below.\n\n \
             * {asked} is another machine's node, and commands go to the broker of this machine, \
             {own}, only\n \
             * Run the command there, or use rabbitmqadmin --host\n"
        ),
    ))
}
