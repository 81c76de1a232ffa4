//! The `leveret` binary: reads its settings, runs the broker, stops it on a signal.

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: leveret_allocator::Allocator = leveret_allocator::Allocator;

mod arguments;
mod logging;
mod self_signed;
mod serve;
mod store_tools;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use leveret_cli::Program;
use leveret_server::config::{Config, Sources};
use leveret_server::{check_tls, report_panics};

use crate::arguments::{Arguments, Command, completion};

fn main() -> ExitCode {
    let begun = Instant::now();
    let mut words = std::env::args_os();
    if let Some(tool) = words.next().as_deref().and_then(Program::called_as) {
        let sources = Sources::new().environment(std::env::vars_os());
        return leveret_cli::run(tool, words.collect(), sources);
    }
    match run(&Arguments::read(), begun) {
        Ok(code) => code,
        Err(error) => {
            // The one line an operator gets: each of our errors says in it what caused it. With a
            // closed stderr the exit code has to do.
            let _ = writeln!(io::stderr(), "leveret: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, begun: Instant) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Some(Command::CheckConfig(_)) => check_config(arguments)?,
        Some(Command::Store(tool)) => return store_tools::run(tool, arguments),
        Some(Command::Tls(tool)) => self_signed::run(tool)?,
        Some(Command::Perf(perf)) => return Ok(perf.run()?),
        Some(Command::Ctl { words }) => {
            let sources = sources(arguments);
            return Ok(leveret_cli::run(Program::Leveret, words.clone(), sources));
        }
        Some(Command::Migrate(migrate)) => {
            return Ok(leveret_cli::migrate(&migrate.arguments, &sources(arguments)));
        }
        Some(Command::Completion { shell, tool }) => print(&completion(*shell, *tool))?,
        None => {
            #[cfg(target_os = "linux")]
            leveret_allocator::give_back_sooner();
            let (config, warnings) = Config::load(&sources(arguments))?;
            let level = logging::start(config.log);
            report_panics();
            let warn = |warnings: Vec<_>| {
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            };
            warn(warnings);
            let load = || {
                let (config, warnings) = Config::load(&sources(arguments))?;
                warn(warnings);
                Ok(config)
            };
            serve::serve(config, load, &level, begun)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything settings come from. Under the name of RabbitMQ's server also what that reads.
fn sources(arguments: &Arguments) -> Sources {
    let sources = arguments.sources(std::env::vars_os());
    let path = std::env::args_os().next().unwrap_or_default();
    if Path::new(&path).file_name().is_some_and(|name| name == "rabbitmq-server") {
        return sources.rabbitmq();
    }
    sources
}

fn check_config(arguments: &Arguments) -> anyhow::Result<()> {
    let (config, warnings) = Config::load(&sources(arguments))?;
    for warning in warnings {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    check_tls(&config)?;
    print(config.to_toml().as_bytes())
}

fn print(text: &[u8]) -> anyhow::Result<()> {
    match io::stdout().write_all(text) {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
