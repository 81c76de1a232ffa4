//! `leveret migrate`: definitions and messages from a running RabbitMQ to the broker of this machine.
//!
//! Definitions come from the management API there and go to the control socket here. Messages come
//! over AMQP, queue by queue, and are acknowledged there once they are on disk here: what breaks in
//! between is moved again, so a message may be here twice and is never lost. They are not published
//! here but put into their queues as they were delivered ([`mover`]).
//!
//! Read first: [`run`], [`mover`], then [`amqp`].

mod amqp;
mod differences;
mod mover;
mod options;
mod progress;
mod report;
mod source;
mod stop;

use std::io::{self, Write};
use std::time::Duration;

use leveret_server::config::{Config, Sources};
use serde_json::Value;
use tokio::runtime;

use self::differences::differences;
use self::mover::Mover;
pub use self::options::MigrateArgs;
use self::report::Report;
use self::source::Source;
use self::stop::Stop;
use crate::at::At;
use crate::broker::Broker;
use crate::commands::control_socket;
use crate::failure::{CONFIG, Failure, SOFTWARE};
use crate::http::Http;

/// How long a broker may take to answer: a sync of its disk may take a while.
const PATIENCE: Duration = Duration::from_secs(120);

/// Messages stay where they were, or it was interrupted.
const INCOMPLETE: u8 = 1;

/// Runs it.
///
/// # Errors
/// What to print, and the exit code: 1 when messages stay where they were, though all else went well.
pub(crate) fn run(arguments: &MigrateArgs, sources: &Sources) -> Result<(), Failure> {
    let (config, _) =
        Config::load(sources).map_err(|error| Failure::plain(CONFIG, error.to_string()))?;
    let http = Http::new(control_socket(&config)?, PATIENCE);
    let http = http.map_err(|error| Failure::error(SOFTWARE, error))?;
    let target = Broker::new(http, config.node_name());
    let source = Source::of(arguments)?;

    let definitions = source.definitions()?;
    let queues = source.queues(&definitions)?;
    let before = target.get("/api/definitions")?;
    let path = if arguments.dry_run {
        "/control/definitions?dry-run=true"
    } else {
        "/control/definitions"
    };
    let refused = target.post(path, &definitions)?;
    let about = source.about()?;
    let max = config.amqp.max_message_bytes;
    let differences = differences(&about, &definitions, &queues, &before, &refused, max);
    say(&format!(
        "{} {} at {}: {}\n",
        if arguments.dry_run { "Would migrate from" } else { "Migrating from" },
        source.product(),
        source.shown(),
        counted(&definitions)
    ));

    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::error(SOFTWARE, error))?;
    let moved = runtime.block_on(async {
        let stop = Stop::on_signals();
        let mut mover = Mover::new(&source, target.http(), &stop, arguments.dry_run);
        mover.move_all(&queues).await;
        (mover.into_queues(), stop.is_asked())
    });
    let report =
        Report { queues: moved.0, was_stopped: moved.1, differences, dry_run: arguments.dry_run };
    say(&report.text());
    if report.is_complete() { Ok(()) } else { Err(Failure::plain(INCOMPLETE, report.verdict())) }
}

/// How many there are of what.
fn counted(definitions: &Value) -> String {
    const SECTIONS: [&str; 8] = [
        "vhosts",
        "users",
        "permissions",
        "policies",
        "parameters",
        "exchanges",
        "queues",
        "bindings",
    ];
    let counts = SECTIONS.iter().map(|section| {
        let count = definitions.at(section).as_array().map_or(0, Vec::len);
        format!("{count} {section}")
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// Whoever closes the pipe has seen enough.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
