//! What a run does, as plain data.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Serialize, Serializer};
use thiserror::Error;

/// One thing to measure.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Scenario {
    /// Messages from publishers to consumers.
    Flow(Flow),
    /// The flow's publishers first, and its consumers when those are done.
    Backlog(Flow),
    /// Connections opened and closed, one after the other on each thread.
    ConnectionChurn(ConnectionChurn),
    /// Connections opened and kept, for what they cost in memory.
    IdleConnections(IdleConnections),
    /// Queues declared and deleted.
    QueueChurn(QueueChurn),
}

/// Messages: who sends them where, how, and for how long.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Flow {
    /// Connections that publish, a thread each.
    pub publishers: u16,
    /// Connections that consume, a thread each. Fewer than queues: each consumes from several.
    pub consumers: u16,
    /// Queues.
    pub queues: u16,
    /// How queues are bound and messages routed.
    pub exchange: ExchangeKind,
    /// Bindings of the exchange, evenly spread over the queues. Only for direct, topic and headers
    /// exchanges; each message matches exactly one.
    pub bindings: u32,
    /// Which queues a publisher reaches.
    pub spread: QueueSpread,
    /// Body sizes in bytes, used in turn.
    pub sizes: Vec<usize>,
    /// Messages a second of each publisher; `None` for as many as the broker takes.
    pub rate: Option<u64>,
    /// Unconfirmed messages of a publisher; `None` for no confirms.
    pub confirm_window: Option<u32>,
    /// How deliveries are settled.
    pub settle: Settle,
    /// Whether messages are persistent.
    pub persistent: bool,
    /// Whether queues and exchange are durable.
    pub durable: bool,
    /// Further arguments of the queues, such as `x-queue-type`.
    pub queue_arguments: Vec<QueueArgument>,
    /// Messages of all publishers together; `None` for no limit but time.
    pub messages: Option<u64>,
    /// How long is published.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// How much of that is not measured.
    #[serde(serialize_with = "seconds")]
    pub warmup: Duration,
    /// How long the consumers may go without a delivery before what is missing counts as lost.
    #[serde(serialize_with = "seconds")]
    pub drain_timeout: Duration,
    /// The most bytes a publisher writes at once.
    pub write_bytes: usize,
    /// Whether queues and what is in them are left in place.
    pub keep: bool,
}

/// How queues are bound and messages routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    /// The default exchange: the routing key is the queue's name.
    Default,
    /// `direct`: bindings `key.N`.
    Direct,
    /// `topic`: bindings `perf.N.*`, routing keys `perf.N.event`.
    Topic,
    /// `fanout`: every queue gets every message.
    Fanout,
    /// `headers`: bindings that match the header `key` = N.
    Headers,
}

/// Which queues a publisher reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum QueueSpread {
    /// All of them, in turn.
    Rotate,
    /// Its own: publisher N queue N, counted modulo the number of queues.
    Own,
}

/// How deliveries are settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settle {
    /// By the broker when sent.
    Auto,
    /// By the consumer.
    Ack {
        /// After this many deliveries, all of them at once.
        every: u32,
        /// Unacknowledged deliveries of each subscription, 0 for no limit.
        prefetch: u16,
    },
}

/// An argument of `queue.declare`: an integer if it looks like one, a text otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct QueueArgument {
    /// Such as `x-queue-type`.
    pub name: String,
    /// Such as `quorum`.
    pub value: String,
}

/// Connections opened and closed.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ConnectionChurn {
    /// Threads, each with at most one connection.
    pub threads: u16,
    /// Whether a channel is opened on each.
    pub channel: bool,
    /// For how long.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// At most this many connections.
    pub connections: u64,
}

/// Connections opened and kept.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct IdleConnections {
    /// How many, each with a channel and a consumer.
    pub connections: u32,
    /// Threads that open them.
    pub threads: u16,
    /// How long they are kept before the memory is looked at.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
}

/// Queues declared and deleted.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct QueueChurn {
    /// How many.
    pub queues: u32,
    /// Declarations sent ahead of their answers.
    pub in_flight: u32,
    /// Whether the queues are durable.
    pub durable: bool,
    /// Whether the queues are left in place.
    pub keep: bool,
}

/// Why a scenario cannot be run.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ScenarioError {
    /// A number out of its bounds.
    #[error("{what} must be from {least} to {most}")]
    Bounds {
        /// What the number is.
        what: &'static str,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// Bindings that cannot be spread evenly.
    #[error("bindings must be a multiple of the {queues} queues")]
    Bindings {
        /// How many queues there are.
        queues: u16,
    },
    /// Options that do not go together.
    #[error("{0}")]
    Conflict(&'static str),
    /// An option that means nothing to what is run.
    #[error("--{0} has no effect here")]
    NoEffect(&'static str),
    /// Something is said about a broker that is not among the targets.
    #[error("there is no target '{0}'")]
    UnknownTarget(String),
    /// No preset has this name.
    #[error("there is no preset '{0}'; `presets` lists them")]
    UnknownPreset(String),
}

impl Scenario {
    /// Refuses what cannot run or has no bound.
    ///
    /// # Errors
    /// Says which option is at fault.
    pub fn check(&self) -> Result<(), ScenarioError> {
        match self {
            Self::Flow(flow) => flow.check(),
            Self::Backlog(flow) => {
                flow.check()?;
                match (flow.messages, flow.consumers) {
                    (None, _) => Err(ScenarioError::Conflict("a backlog has a number of messages")),
                    (_, 0) => {
                        Err(ScenarioError::Conflict("a backlog needs a consumer to drain it"))
                    }
                    _ => Ok(()),
                }
            }
            Self::ConnectionChurn(churn) => {
                within("threads", churn.threads, 1, THREADS_MAX)?;
                within("connections", churn.connections, 1, 100_000_000)?;
                within_time("duration", churn.duration)
            }
            Self::IdleConnections(idle) => {
                within("threads", idle.threads, 1, THREADS_MAX)?;
                within("connections", idle.connections, 1, 1_000_000)?;
                within_time("duration", idle.duration)
            }
            Self::QueueChurn(churn) => {
                within("queues", churn.queues, 1, 10_000_000)?;
                within("in-flight", churn.in_flight, 1, 1000)
            }
        }
    }
}

impl Flow {
    fn check(&self) -> Result<(), ScenarioError> {
        within("publishers", self.publishers, 1, THREADS_MAX)?;
        within("consumers", self.consumers, 0, THREADS_MAX)?;
        within("queues", self.queues, 1, 10_000)?;
        within("bindings", self.bindings, 0, 1_000_000)?;
        within("sizes", self.sizes.len() as u64, 1, 100)?;
        for &size in &self.sizes {
            within("size", size as u64, 0, 512 << 20)?;
        }
        within("rate", self.rate.unwrap_or(1), 1, 100_000_000)?;
        within("confirm-window", self.confirm_window.unwrap_or(1), 1, 65_536)?;
        within("write-bytes", self.write_bytes as u64, 1, 64 << 20)?;
        within("messages", self.messages.unwrap_or(1), 1, 1 << 40)?;
        within_time("duration", self.duration)?;
        within_time("drain-timeout", self.drain_timeout)?;
        if self.warmup >= self.duration {
            return Err(ScenarioError::Conflict("the warm-up must be shorter than the duration"));
        }
        if !self.has_keys() && self.bindings != 0 {
            return Err(ScenarioError::Conflict(
                "only direct, topic and headers exchanges take a number of bindings",
            ));
        }
        if self.has_keys() && !self.bindings.max(1).is_multiple_of(u32::from(self.queues)) {
            return Err(ScenarioError::Bindings { queues: self.queues });
        }
        if self.spread == QueueSpread::Own
            && (self.exchange == ExchangeKind::Fanout || self.publishers < self.queues)
        {
            return Err(ScenarioError::Conflict(
                "--spread own needs a publisher for every queue, and no fanout exchange",
            ));
        }
        if let Settle::Ack { every, prefetch } = self.settle {
            within("ack-every", every, 1, 65_535)?;
            if prefetch != 0 && every > u32::from(prefetch) {
                return Err(ScenarioError::Conflict("ack-every must not be above prefetch"));
            }
        }
        Ok(())
    }

    /// Whether bindings have a key or an argument that picks the messages.
    pub(crate) fn has_keys(&self) -> bool {
        matches!(self.exchange, ExchangeKind::Direct | ExchangeKind::Topic | ExchangeKind::Headers)
    }
}

/// Threads of one kind.
const THREADS_MAX: u64 = 5000;
/// The longest run.
const TIME_MAX: Duration = Duration::from_hours(24);

fn within(
    what: &'static str,
    value: impl Into<u64>,
    least: u64,
    most: u64,
) -> Result<(), ScenarioError> {
    let in_bounds = (least..=most).contains(&value.into());
    if in_bounds { Ok(()) } else { Err(ScenarioError::Bounds { what, least, most }) }
}

fn within_time(what: &'static str, value: Duration) -> Result<(), ScenarioError> {
    if value <= TIME_MAX {
        return Ok(());
    }
    Err(ScenarioError::Bounds { what, least: 0, most: TIME_MAX.as_secs() })
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::PRESETS;

    fn flow() -> Flow {
        let scenario = PRESETS.iter().find(|preset| preset.name == "transient-16").unwrap();
        match (scenario.scenario)() {
            Scenario::Flow(flow) => flow,
            _ => panic!("a flow"),
        }
    }

    fn refused(change: impl FnOnce(&mut Flow)) -> String {
        let mut flow = flow();
        change(&mut flow);
        Scenario::Flow(flow).check().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_run_is_refused() {
        assert_eq!(refused(|f| f.publishers = 0), "publishers must be from 1 to 5000");
        assert_eq!(refused(|f| f.sizes.clear()), "sizes must be from 1 to 100");
        assert_eq!(
            refused(|f| f.settle = Settle::Ack { every: 11, prefetch: 10 }),
            "ack-every must not be above prefetch"
        );
        assert_eq!(
            refused(|f| f.warmup = f.duration),
            "the warm-up must be shorter than the duration"
        );
        assert_eq!(
            refused(|f| {
                f.exchange = ExchangeKind::Topic;
                f.queues = 10;
                f.bindings = 15;
            }),
            "bindings must be a multiple of the 10 queues"
        );
        assert_eq!(
            refused(|f| f.bindings = 5),
            "only direct, topic and headers exchanges take a number of bindings"
        );
    }

    #[test]
    fn a_backlog_has_a_size_and_an_end() {
        let mut flow = flow();
        assert!(Scenario::Backlog(flow.clone()).check().is_err());
        flow.messages = Some(10);
        assert_eq!(Scenario::Backlog(flow.clone()).check(), Ok(()));
        flow.consumers = 0;
        assert!(Scenario::Backlog(flow).check().is_err());
    }
}
