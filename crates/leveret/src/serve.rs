//! Runs the broker until a signal, or its own end.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process;
use std::time::Instant;

use anyhow::anyhow;
use leveret::Node;
use leveret_server::config::{Config, Storage};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Starts the broker, says so on standard output, and stops it on SIGTERM or SIGINT.
///
/// # Errors
/// When it does not start.
pub(crate) fn serve(config: Config, begun: Instant) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("leveret")
        .build()
        .map_err(|error| anyhow!("cannot start the threads of the broker: {error}"))?;
    runtime.block_on(async {
        let signals = Signals::new();
        let mut signals = signals.map_err(|error| anyhow!("cannot listen for signals: {error}"))?;
        let data = match &config.storage {
            Storage::Directory(directory) => format!("data in {}", directory.display()),
            Storage::Ephemeral => "data in memory".to_owned(),
        };
        tracing::info!("starting leveret {VERSION}, {data}");
        let node = tokio::select! {
            node = Node::start(config) => node?,
            name = signals.next() => exit_on(name),
        };
        announce(&node, &data, begun);
        // Not inside the macro, which evaluates nothing for a level that isn't logged.
        let signal = signals.next().await;
        tracing::info!("stopping on {signal}");
        let stopping = Instant::now();
        tokio::select! {
            () = node.stop() => {}
            name = signals.next() => exit_on(name),
        }
        tracing::info!("stopped after {} ms", stopping.elapsed().as_millis());
        Ok(())
    })
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The line that containers and test tools wait for.
fn announce(node: &Node, data: &str, begun: Instant) {
    let listeners = [
        ("AMQP", node.server().addresses()),
        ("management", node.management_addresses()),
        ("metrics", node.metrics_addresses()),
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
        format!("Server startup complete: {listeners} (leveret {VERSION}, {data}, {took} ms)");
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

/// The signals that ask the broker to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one and names it.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
