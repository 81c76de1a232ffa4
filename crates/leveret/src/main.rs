//! The `leveret` binary: reads its settings, runs the broker, stops it on a signal.

mod arguments;
mod logging;
mod serve;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use leveret_server::config::Config;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    let begun = Instant::now();
    match run(&Arguments::parse(), begun) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The one line an operator gets: each of our errors says in it what caused it. With a
            // closed stderr the exit code has to do.
            let _ = writeln!(io::stderr(), "leveret: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, begun: Instant) -> anyhow::Result<()> {
    let (config, warnings) = Config::load(&arguments.sources(std::env::vars_os()))?;
    match arguments.command {
        Some(Command::CheckConfig) => {
            for warning in warnings {
                writeln!(io::stderr(), "warning: {warning}")?;
            }
            io::stdout().write_all(config.to_toml().as_bytes())?;
            Ok(())
        }
        None => {
            logging::start(config.log);
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            serve::serve(config, begun)
        }
    }
}
