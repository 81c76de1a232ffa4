use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use leveret_codec::AmqpError;
use thiserror::Error;

use crate::scenario::ScenarioError;
use crate::target::TargetError;

/// Why a measurement could not be made. A broker that loses messages is no error of this kind: that
/// is a result, and in the report.
#[derive(Debug, Error)]
pub enum PerfError {
    /// The target is not one, or is not to be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The scenario cannot be run as it is.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The broker refused something, or its answer made no sense, or it went away.
    #[error("{broker}: {source}")]
    Client {
        /// The broker's name.
        broker: String,
        /// What happened.
        #[source]
        source: ClientError,
    },
    /// The broker's process cannot be looked at.
    #[error("cannot read the resource use of process {pid}: {source}")]
    Process {
        /// As given with `--pid`.
        pid: u32,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The broker given as a command does not run.
    #[error("cannot run {program}: {source}")]
    Command {
        /// The program.
        program: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// What is to be started is running.
    #[error("something listens at {0} already")]
    InUse(SocketAddr),
    /// The loopback interface cannot be used.
    #[error("cannot measure the loopback interface: {0}")]
    Loopback(#[source] io::Error),
    /// A folder to measure the disk in cannot be used.
    #[error("cannot measure the disk in {}: {source}", dir.display())]
    Disk {
        /// The folder.
        dir: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A report cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Output {
        /// Where to.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A thread of the generator ended without a result.
    #[error("a thread of the generator was lost")]
    ThreadLost,
}

/// What goes wrong between the generator and a broker.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The connection could not be made, or broke.
    #[error("{during}: {source}")]
    Io {
        /// What was being done.
        during: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The broker closed the connection's socket without a word.
    #[error("{during}: the broker closed the connection")]
    Disconnected {
        /// What was being done.
        during: &'static str,
    },
    /// The broker did not answer in time.
    #[error("{during}: no answer from the broker in time")]
    Timeout {
        /// What was being done.
        during: &'static str,
    },
    /// The broker closed the channel or the connection and said why.
    #[error("closed by the broker: {code} {text}")]
    Closed {
        /// The reply code.
        code: u16,
        /// The reply text.
        text: String,
    },
    /// The broker cancelled a consumer.
    #[error("the broker cancelled a consumer")]
    Cancelled,
    /// The broker's bytes are not AMQP 0-9-1.
    #[error("the broker sent what is not AMQP 0-9-1: {0}")]
    Protocol(#[from] AmqpError),
    /// Frames in an order that makes no sense.
    #[error("the broker sent {0} where it cannot be")]
    Misplaced(&'static str),
}

impl ClientError {
    /// Wraps an error of a socket with a timeout.
    pub(crate) fn io(during: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout { during },
            io::ErrorKind::UnexpectedEof => Self::Disconnected { during },
            _ => Self::Io { during, source },
        }
    }
}
