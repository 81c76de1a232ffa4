//! How long a broker takes from its start to its first connection.

use std::io;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::broker::Broker;
use crate::compare::Spread;
use crate::error::{ClientError, PerfError};
use crate::process::Process;

/// The longest a start may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often a connection is tried.
const RETRY: Duration = Duration::from_micros(500);
/// Bytes of a connection's buffer.
const READ_BYTES: usize = 16 << 10;

/// How a broker is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// It is asked to (SIGTERM), and waited for.
    Term,
    /// It is not asked (SIGKILL).
    Kill,
}

/// What several starts of a broker took.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Starts {
    /// From the start of the process to an open channel, in seconds.
    pub seconds: Spread,
    /// From the signal to the end of the process, in seconds.
    pub stop_seconds: Spread,
    /// Bytes of memory when the channel was open.
    pub resident: Spread,
}

/// Starts a broker `rounds` times and stops it again.
///
/// `command` must stay in the foreground and be the broker itself, because it is what gets the
/// signal.
///
/// # Errors
/// Something listens there already, the command does not run, ends early, or does not serve within
/// minutes.
pub fn start(
    broker: &Broker,
    command: &[String],
    stop: Stop,
    rounds: u32,
) -> Result<Starts, PerfError> {
    if broker.connect("nobody", READ_BYTES).is_ok() {
        return Err(PerfError::InUse(broker.address()));
    }
    let (mut seconds, mut stop_seconds, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        let mut running = Running::spawn(command)?;
        seconds.push(running.wait_until_open(broker)?.as_secs_f64());
        let memory = Process::new(running.child.id()).resident();
        resident.extend(memory.ok().map(|bytes| bytes as f64));
        stop_seconds.push(running.stop(stop)?.as_secs_f64());
    }
    let spread = |figures| Spread::of(figures).unwrap_or_default();
    Ok(Starts {
        seconds: spread(seconds),
        stop_seconds: spread(stop_seconds),
        resident: spread(resident),
    })
}

/// A broker's process, which does not outlive its measurement.
struct Running {
    child: Child,
    program: String,
    since: Instant,
}

impl Running {
    fn spawn(command: &[String]) -> Result<Self, PerfError> {
        let program = command.first().cloned().unwrap_or_default();
        let since = Instant::now();
        let child = Command::new(&program)
            .args(command.iter().skip(1))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Ok(Self { child, program, since }),
            Err(source) => Err(PerfError::Command { program, source }),
        }
    }

    /// The time it took until a channel was open.
    fn wait_until_open(&mut self, broker: &Broker) -> Result<Duration, PerfError> {
        loop {
            let error = match broker.open("first", READ_BYTES) {
                Ok(client) => {
                    let took = self.since.elapsed();
                    client.close().map_err(|source| broker.failed(source))?;
                    return Ok(took);
                }
                Err(error) => error,
            };
            let is_early = matches!(
                error,
                PerfError::Client {
                    source: ClientError::Io { .. } | ClientError::Disconnected { .. },
                    ..
                }
            );
            if !is_early || self.since.elapsed() > PATIENCE {
                return Err(error);
            }
            let ended = self.child.try_wait().map_err(|source| self.failed(source))?;
            if let Some(status) = ended {
                return Err(self.failed(io::Error::other(format!("it ended with {status}"))));
            }
            thread::sleep(RETRY);
        }
    }

    /// The time it took to end.
    fn stop(mut self, stop: Stop) -> Result<Duration, PerfError> {
        let since = Instant::now();
        let signal = match stop {
            Stop::Term => Signal::TERM,
            Stop::Kill => Signal::KILL,
        };
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.map_err(|source| self.failed(source.into()))?;
        self.child.wait().map_err(|source| self.failed(source))?;
        Ok(since.elapsed())
    }

    fn failed(&self, source: io::Error) -> PerfError {
        PerfError::Command { program: self.program.clone(), source }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing to a process that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
