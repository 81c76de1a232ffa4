//! What a run found, for machines and for people.

mod table;
mod text;

use std::time::Duration;

use serde::Serialize;

pub use crate::latency::Percentiles;

use crate::process::Sample;
use crate::scenario::Scenario;

pub(crate) use self::table::Table;

/// What a run found.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// The preset's name, or `custom`.
    pub scenario: String,
    /// What was done.
    pub settings: Scenario,
    /// What was measured.
    pub broker: BrokerInfo,
    /// What was measured about it, one after the other.
    pub phases: Vec<Phase>,
    /// What became of the messages, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Messages>,
    /// From when a message was due until it was delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Percentiles>,
    /// From when a message was due until it was confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_latency: Option<Percentiles>,
    /// How late the generator's own timer was, which is not in the latencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_lateness: Option<Percentiles>,
}

/// A broker as it was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BrokerInfo {
    /// The name it was given.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// What it says it is.
    pub product: String,
    /// Of the product.
    pub version: String,
}

/// A stretch of a run with a figure of its own.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Phase {
    /// Such as `drain`.
    pub name: &'static str,
    /// What is counted.
    pub unit: Unit,
    /// How many.
    pub operations: u64,
    /// How long it took.
    pub seconds: f64,
    /// Operations a second.
    pub rate: f64,
    /// What the broker used, if its process is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<Usage>,
    /// What the generator used.
    pub generator: Usage,
}

/// What a phase counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Messages published.
    Publish,
    /// Messages delivered.
    Delivery,
    /// Connections opened.
    Connection,
    /// Queues.
    Queue,
}

/// What a process used during a phase.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Usage {
    /// User and system time.
    pub cpu_seconds: f64,
    /// The same for a million operations; also microseconds for one.
    pub cpu_seconds_per_million: f64,
    /// Cores in use on average.
    pub cores: f64,
    /// Bytes of memory at the start.
    pub resident_start: u64,
    /// Bytes of memory at the end.
    pub resident_end: u64,
    /// The most bytes of memory seen.
    pub resident_peak: u64,
    /// Bytes written to disk; `None` if that could not be seen.
    pub written: Option<u64>,
    /// Bytes read from disk; `None` if that could not be seen.
    pub read: Option<u64>,
}

/// What became of the messages.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Messages {
    /// Sent by publishers.
    pub published: u64,
    /// Received by consumers.
    pub delivered: u64,
    /// Confirmed by the broker.
    pub confirmed: u64,
    /// Of the deliveries, how many were marked as redelivered.
    pub redelivered: u64,
    /// How often the broker told a publisher that it was short of something.
    pub blocked: u64,
    /// How carefully it was looked.
    pub checked: Checked,
    /// What was wrong.
    pub faults: Faults,
}

/// How carefully messages were looked at.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checked {
    /// Each by its publisher and number.
    #[default]
    EachMessage,
    /// Only how many they are: bodies are too short for a number, or nothing consumes them.
    CountOnly,
}

/// What must not happen.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Faults {
    /// Messages that never came.
    pub lost: u64,
    /// Deliveries of messages that had come before.
    pub duplicated: u64,
    /// Deliveries after one of the same publisher with a higher number.
    pub reordered: u64,
    /// Deliveries from the wrong queue.
    pub misrouted: u64,
    /// Bodies that no publisher sent.
    pub damaged: u64,
    /// Messages given back as unroutable.
    pub returned: u64,
    /// Publishes refused with `basic.nack`.
    pub refused: u64,
    /// Publishes without a confirm.
    pub unconfirmed: u64,
    /// Messages left in queues that everything was consumed from.
    pub left_over: u64,
}

impl Report {
    /// Whether nothing happened that must not.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.messages.is_none_or(|messages| messages.faults == Faults::default())
    }
}

impl Faults {
    /// Those that happened, with their names.
    pub(crate) fn list(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("misrouted", self.misrouted),
            ("damaged", self.damaged),
            ("returned", self.returned),
            ("refused", self.refused),
            ("unconfirmed", self.unconfirmed),
            ("left over", self.left_over),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

impl Phase {
    pub(crate) fn new(name: &'static str, unit: Unit, operations: u64, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        let rate = if seconds > 0.0 { operations as f64 / seconds } else { 0.0 };
        let generator = Usage::default();
        Self { name, unit, operations, seconds, rate, broker: None, generator }
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self::between(&Sample::default(), &Sample::default(), 0, 0, Duration::ZERO)
    }
}

impl Usage {
    /// What was used from one sample to the next, for so many operations in that time.
    pub(crate) fn between(
        start: &Sample,
        end: &Sample,
        resident_peak: u64,
        operations: u64,
        time: Duration,
    ) -> Self {
        let cpu_seconds = end.cpu.saturating_sub(start.cpu).as_secs_f64();
        let per = |divisor: f64| if divisor > 0.0 { cpu_seconds / divisor } else { 0.0 };
        let difference = |end: Option<u64>, start: Option<u64>| Some(end?.saturating_sub(start?));
        Self {
            cpu_seconds,
            cpu_seconds_per_million: per(operations as f64 / 1e6),
            cores: per(time.as_secs_f64()),
            resident_start: start.resident,
            resident_end: end.resident,
            resident_peak: resident_peak.max(start.resident).max(end.resident),
            written: difference(end.written, start.written),
            read: difference(end.read, start.read),
        }
    }
}
