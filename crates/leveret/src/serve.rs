//! Runs the broker until a signal, or its own end.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process;
use std::time::Instant;

use anyhow::anyhow;
use leveret::Node;
use leveret_management::{Order, orders};
use leveret_server::config::{Config, ConfigError, Reloaded, Storage};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::logging::Level;

/// Starts the broker, says so on standard output, and stops it on SIGTERM or SIGINT. SIGHUP has it
/// read its configuration again, which `load` does.
///
/// # Errors
/// When it does not start.
pub(crate) fn serve(
    config: Config,
    load: impl Fn() -> Result<Config, ConfigError>,
    level: &Level,
    begun: Instant,
) -> anyhow::Result<()> {
    take_descriptors();
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("leveret")
        .build()
        .map_err(|error| anyhow!("cannot start the threads of the broker: {error}"))?;
    runtime.block_on(async {
        let signals = Signals::new();
        let signals = signals.map_err(|error| anyhow!("cannot listen for signals: {error}"))?;
        let Signals { mut end, mut hangup } = signals;
        let data = match &config.storage {
            Storage::Directory(directory) => format!("data in {}", directory.display()),
            Storage::Ephemeral => "data in memory".to_owned(),
        };
        tracing::info!("starting leveret {VERSION}, {data}");
        let (orders, mut ordered) = orders();
        let node = tokio::select! {
            node = Node::start_operated(config, orders) => node?,
            name = end.next() => exit_on(name),
        };
        announce(&node, &data, begun);
        let why = loop {
            tokio::select! {
                name = end.next() => break name,
                _ = hangup.recv() => {
                    // It has been logged.
                    let _ = reload(&node, &load, level);
                }
                Some(order) = ordered.recv() => match order {
                    Order::Stop => break "an operator's order",
                    // Who asked may have left.
                    Order::Reload(answer) => drop(answer.send(reload(&node, &load, level))),
                    Order::LogLevel(new) => level.set(new),
                },
            }
        };
        tracing::info!("stopping on {why}");
        let stopping = Instant::now();
        tokio::select! {
            () = node.stop() => {}
            name = end.next() => exit_on(name),
        }
        tracing::info!("stopped after {} ms", stopping.elapsed().as_millis());
        Ok(())
    })
}

/// A process may have as many files open as its hard limit says, and is often started with a low soft
/// one, for the sake of programs that use select(2).
fn take_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!("the limit of open files stays what it is: {error}");
    }
}

/// Takes over what may change of the configuration as it is now. With one that is wrong nothing
/// changes.
fn reload(
    node: &Node,
    load: &impl Fn() -> Result<Config, ConfigError>,
    level: &Level,
) -> Result<Reloaded, String> {
    let new = load().map_err(|error| {
        tracing::error!("the configuration is not taken over: {error}");
        error.to_string()
    })?;
    let reloaded = node.server().reload(&new);
    level.set(new.log.level);
    match reloaded.changed.as_slice() {
        [] => tracing::info!("the configuration was read again, nothing changes"),
        changed => tracing::info!("the configuration was read again: {}", changed.join(", ")),
    }
    if !reloaded.at_next_start.is_empty() {
        let keys = reloaded.at_next_start.join(", ");
        tracing::warn!("these settings change at the next start only: {keys}");
    }
    Ok(reloaded)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The line that containers and test tools wait for.
fn announce(node: &Node, data: &str, begun: Instant) {
    let listeners = [
        ("AMQP", node.server().addresses()),
        ("AMQP over TLS", node.server().tls_addresses()),
        ("management", node.management_addresses()),
        ("management over TLS", node.management_tls_addresses()),
        ("metrics", node.metrics_addresses()),
        ("metrics over TLS", node.metrics_tls_addresses()),
    ];
    let listeners = listeners.iter().filter(|(_, addresses)| !addresses.is_empty());
    let listeners = listeners.map(|(name, addresses)| {
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        format!("{name} on {}", addresses.join(", "))
    });
    let listeners = match listeners.collect::<Vec<_>>().as_slice() {
        [] => "no listener".to_owned(),
        listeners => listeners.join("; "),
    };
    let took = begun.elapsed().as_millis();
    let line =
        format!("Server startup complete; {listeners} (leveret {VERSION}, {data}, {took} ms)");
    tracing::debug!("{line}");
    let mut stdout = io::stdout().lock();
    // Nobody has to listen: the broker runs on with standard output closed.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Leaves without ceremony, which costs nothing that was confirmed.
fn exit_on(signal: &str) -> ! {
    tracing::warn!("ended at once by {signal}");
    process::exit(1)
}

/// The signals the broker knows.
struct Signals {
    end: End,
    hangup: Signal,
}

/// Those that end it.
struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { end: End { terminate, interrupt }, hangup })
    }
}

impl End {
    /// Waits for the next one and names it.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
