//! What an operator asks of the process that runs the broker.

use leveret_server::config::{LogLevel, Reloaded};
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait to be carried out; who gives one more is refused.
const WAITING_MAX: usize = 16;

/// Something only the process can do, not the broker in it.
#[derive(Debug)]
pub enum Order {
    /// Stop, as on SIGTERM.
    Stop,
    /// Read the configuration again, as on SIGHUP, and say what came of it.
    Reload(oneshot::Sender<Result<Reloaded, String>>),
    /// Log from this level on.
    LogLevel(LogLevel),
}

/// The way to the process. A broker inside a test has none.
pub type Orders = mpsc::Sender<Order>;

/// A way for orders, and where they arrive.
pub fn orders() -> (Orders, mpsc::Receiver<Order>) {
    mpsc::channel(WAITING_MAX)
}
