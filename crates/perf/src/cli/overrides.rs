use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::run::Named;
use crate::scenario::{
    ExchangeKind, Flow, QueueArgument, QueueSpread, Scenario, ScenarioError, Settle,
};
use crate::units::{parse_count, parse_duration, parse_size};

/// Defines the options once: their fields, and which of them were given.
macro_rules! options {
    ($($(#[$attribute:meta])* $name:ident ($flag:literal): $type:ty,)+) => {
        /// Changes to what is run.
        #[derive(Clone, Default, Debug, Args)]
        #[command(next_help_heading = "Scenario")]
        pub(super) struct Overrides {
            $($(#[$attribute])* #[arg(long = $flag)] $name: Option<$type>,)+
            /// An argument of the queues, such as x-queue-type=quorum; may be repeated
            #[arg(long = "queue-argument", value_name = "NAME=VALUE")]
            queue_arguments: Vec<QueueArgument>,
        }

        impl Overrides {
            /// The names of the options that were given.
            fn given(&self) -> impl Iterator<Item = &'static str> {
                let queue_argument = (!self.queue_arguments.is_empty()).then_some("queue-argument");
                let given = [$(self.$name.is_some().then_some($flag),)+ queue_argument];
                given.into_iter().flatten()
            }
        }
    };
}

options! {
    /// Connections that publish
    publishers ("publishers"): u16,
    /// Connections that consume, 0 for none
    consumers ("consumers"): u16,
    /// Queues
    queues ("queues"): u32,
    /// How messages are routed
    #[arg(value_enum)]
    exchange ("exchange"): ExchangeKind,
    /// Bindings of a direct, topic or headers exchange, a multiple of the queues
    bindings ("bindings"): u32,
    /// Which queues a publisher reaches: all in turn, or its own
    #[arg(value_enum)]
    spread ("spread"): QueueSpread,
    /// Body sizes, used in turn: 16, 1KiB,4KiB
    #[arg(value_name = "SIZES", value_parser = parse_sizes)]
    sizes ("size"): Sizes,
    /// Messages a second of each publisher, 0 for as many as the broker takes
    #[arg(value_parser = parse_count)]
    rate ("rate"): u64,
    /// Unconfirmed messages of a publisher, 0 for no confirms
    confirm_window ("confirm-window"): u32,
    /// Acknowledge every so many deliveries at once, 0 for auto-ack
    ack_every ("ack-every"): u32,
    /// Unacknowledged deliveries of a consumer, 0 for no limit
    prefetch ("prefetch"): u16,
    /// Whether messages are persistent
    persistent ("persistent"): bool,
    /// Whether queues and exchange are durable
    durable ("durable"): bool,
    /// Messages of all publishers together, 0 for no limit but time
    #[arg(value_parser = parse_count)]
    messages ("messages"): u64,
    /// How long
    #[arg(value_parser = parse_duration)]
    duration ("duration"): Duration,
    /// How much of that is not measured
    #[arg(value_parser = parse_duration)]
    warmup ("warmup"): Duration,
    /// How long to wait for a delivery before what is missing counts as lost
    #[arg(value_parser = parse_duration)]
    drain_timeout ("drain-timeout"): Duration,
    /// The most bytes a publisher writes at once
    #[arg(value_parser = parse_size)]
    write_bytes ("write-bytes"): usize,
    /// Connections to open
    #[arg(value_parser = parse_count)]
    connections ("connections"): u64,
    /// Threads that open connections
    threads ("threads"): u16,
    /// Whether a channel is opened on each connection
    channel ("channel"): bool,
    /// Declarations sent ahead of their answers
    in_flight ("in-flight"): u32,
    /// Whether the queues are left in place
    keep ("keep"): bool,
}

/// The options that mean something to messages.
const FLOW: &[&str] = &[
    "publishers",
    "consumers",
    "queues",
    "exchange",
    "bindings",
    "spread",
    "size",
    "rate",
    "confirm-window",
    "ack-every",
    "prefetch",
    "persistent",
    "durable",
    "messages",
    "duration",
    "warmup",
    "drain-timeout",
    "write-bytes",
    "queue-argument",
    "keep",
];

impl Overrides {
    /// Changes the scenarios as far as the options mean something to them.
    ///
    /// # Errors
    /// An option means nothing to any of them.
    pub(super) fn apply(&self, scenarios: &mut [Named]) -> Result<(), ScenarioError> {
        let is_known = |option: &str| {
            scenarios.iter().any(|named| options_of(&named.scenario).contains(&option))
        };
        if let Some(option) = self.given().find(|option| !is_known(option)) {
            return Err(ScenarioError::NoEffect(option));
        }
        scenarios.iter_mut().try_for_each(|named| self.change(&mut named.scenario))
    }

    fn change(&self, scenario: &mut Scenario) -> Result<(), ScenarioError> {
        match scenario {
            Scenario::Flow(flow) | Scenario::Backlog(flow) => self.change_flow(flow)?,
            Scenario::ConnectionChurn(churn) => {
                set(&mut churn.threads, self.threads);
                set(&mut churn.channel, self.channel);
                set(&mut churn.duration, self.duration);
                set(&mut churn.connections, self.connections);
            }
            Scenario::IdleConnections(idle) => {
                let too_many =
                    ScenarioError::Bounds { what: "connections", least: 1, most: u32::MAX.into() };
                let connections = self.connections.map(u32::try_from).transpose();
                set(&mut idle.connections, connections.map_err(|_| too_many)?);
                set(&mut idle.threads, self.threads);
                set(&mut idle.duration, self.duration);
            }
            Scenario::QueueChurn(churn) => {
                set(&mut churn.queues, self.queues);
                set(&mut churn.in_flight, self.in_flight);
                set(&mut churn.durable, self.durable);
                set(&mut churn.keep, self.keep);
            }
        }
        Ok(())
    }

    fn change_flow(&self, flow: &mut Flow) -> Result<(), ScenarioError> {
        let too_many = ScenarioError::Bounds { what: "queues", least: 1, most: 10_000 };
        let queues = self.queues.map(u16::try_from).transpose().map_err(|_| too_many)?;
        set(&mut flow.publishers, self.publishers);
        set(&mut flow.consumers, self.consumers);
        set(&mut flow.queues, queues);
        set(&mut flow.exchange, self.exchange);
        set(&mut flow.bindings, self.bindings);
        set(&mut flow.spread, self.spread);
        set(&mut flow.sizes, self.sizes.clone().map(|Sizes(sizes)| sizes));
        set(&mut flow.rate, self.rate.map(none_if_zero));
        set(&mut flow.confirm_window, self.confirm_window.map(none_if_zero));
        set(&mut flow.persistent, self.persistent);
        set(&mut flow.durable, self.durable);
        set(&mut flow.messages, self.messages.map(none_if_zero));
        set(&mut flow.duration, self.duration);
        set(&mut flow.drain_timeout, self.drain_timeout);
        set(&mut flow.write_bytes, self.write_bytes);
        set(&mut flow.keep, self.keep);
        match self.warmup {
            Some(warmup) => flow.warmup = warmup,
            None => flow.warmup = flow.warmup.min(flow.duration / 5),
        }
        if self.ack_every.is_some() || self.prefetch.is_some() {
            let (every, prefetch) = match flow.settle {
                Settle::Auto => (1, 0),
                Settle::Ack { every, prefetch } => (every, prefetch),
            };
            let every = self.ack_every.unwrap_or(every);
            let prefetch = self.prefetch.unwrap_or(prefetch);
            flow.settle = if every == 0 { Settle::Auto } else { Settle::Ack { every, prefetch } };
        }
        flow.queue_arguments.extend(self.queue_arguments.iter().cloned());
        Ok(())
    }
}

fn options_of(scenario: &Scenario) -> &'static [&'static str] {
    match scenario {
        Scenario::Flow(_) | Scenario::Backlog(_) => FLOW,
        Scenario::ConnectionChurn(_) => &["connections", "threads", "channel", "duration"],
        Scenario::IdleConnections(_) => &["connections", "threads", "duration"],
        Scenario::QueueChurn(_) => &["queues", "in-flight", "durable", "keep"],
    }
}

/// Sizes as one value: an option given once.
#[derive(Clone, Debug)]
struct Sizes(Vec<usize>);

fn parse_sizes(text: &str) -> Result<Sizes, String> {
    text.split(',').map(parse_size).collect::<Result<_, _>>().map(Sizes)
}

impl FromStr for QueueArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("an argument is a name, =, and a value")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn none_if_zero<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}
