//! A load generator against any AMQP 0-9-1 broker, made to cost far less CPU than the broker.
//!
//! Publishers, consumers, connections and queues are driven from blocking threads with a socket
//! each: a publisher encodes its messages once and afterwards patches numbers and times into the
//! buffer it writes; a consumer reads into one large buffer and looks at frames in place. Every
//! message carries its publisher, number and time, so that what is lost, duplicated or reordered is
//! found, and latencies count from when a message was due (no coordinated omission). The broker's
//! CPU, memory and disk come from `/proc`. Everything is bounded in number and time, and stays on
//! this machine unless told otherwise.
//!
//! Deliberately absent: the broker, TLS, asynchronous I/O, and a client library for anything but
//! load.
//!
//! Read first: [`Scenario`], which is what is done; [`run`] and [`compare`], which do it;
//! [`Report`], which is what was found. [`PerfArgs`] is the command line of `leveret perf`.

mod assembly;
mod broker;
mod cli;
mod client;
mod clock;
mod compare;
mod connections;
mod consumer;
mod control;
mod error;
mod flow;
mod latency;
mod layout;
mod ledger;
mod limits;
mod observer;
mod output;
mod pace;
mod preset;
mod process;
mod publisher;
mod queues;
mod report;
mod run;
mod scenario;
mod stamp;
mod start;
mod target;
mod template;
mod units;
mod window;

pub use broker::Broker;
pub use cli::PerfArgs;
pub use compare::{Comparison, Row, Spread, compare};
pub use error::{ClientError, PerfError};
pub use limits::{Limits, Opened, Relayed, Synced, limits};
pub use observer::Progress;
pub use preset::{PRESETS, Preset};
pub use report::{BrokerInfo, Checked, Faults, Messages, Percentiles, Phase, Report, Unit, Usage};
pub use run::{Named, run};
pub use scenario::{
    ConnectionChurn, ExchangeKind, Flow, IdleConnections, QueueArgument, QueueChurn, QueueSpread,
    Scenario, ScenarioError, Settle,
};
pub use start::{Starts, Stop, start};
pub use target::{Reach, Target, TargetError};
