//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use leveret_perf::PerfArgs;
use leveret_server::config::Sources;

/// A message broker that speaks AMQP 0-9-1 as RabbitMQ does.
///
/// Settings come from the configuration file, then from environment variables (LEVERET_ and the
/// setting's name, as in LEVERET_AMQP_HEARTBEAT), then from the flags here.
#[derive(Debug, Parser)]
#[command(name = "leveret", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Configuration file, in TOML
    #[arg(long, global = true, value_name = "FILE", env = "LEVERET_CONFIG")]
    config: Option<PathBuf>,

    /// Directory for messages and definitions [env: LEVERET_DATA_DIR=] [default: /var/lib/leveret
    /// when writable, else leveret in the user's state directory]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,

    /// Address for AMQP, repeatable; port 0 takes a free one, "none" is no listener
    /// [env: LEVERET_LISTEN=] [default: port 5672 of all interfaces]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    listen: Vec<String>,

    /// Address of the HTTP API, repeatable; port 0 takes a free one, "none" is no listener
    /// [env: LEVERET_MANAGEMENT=] [default: port 15672 of all interfaces]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    management: Vec<String>,

    /// Address of the Prometheus metrics, repeatable; port 0 takes a free one, "none" is no listener
    /// [env: LEVERET_METRICS=] [default: port 15692 of all interfaces]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    metrics: Vec<String>,

    /// Least severe level to log: none, error, warning, info, debug or trace [env: LEVERET_LOG=]
    /// [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do instead of running the broker.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the settings and print the result as a configuration file
    CheckConfig,
    /// Measure AMQP 0-9-1 brokers
    Perf(Box<PerfArgs>),
}

impl Arguments {
    /// Everything settings come from, given the environment.
    pub(crate) fn sources(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Sources {
        let sources = Sources::new()
            .environment(environment)
            .flag("--data-dir", "data_dir", self.data_dir.clone())
            .flag("--listen", "listen", self.listen.clone())
            .flag("--management", "management", self.management.clone())
            .flag("--metrics", "metrics", self.metrics.clone())
            .flag("--log", "log.level", self.log.clone());
        match &self.config {
            Some(path) => sources.file(path),
            None => sources,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
