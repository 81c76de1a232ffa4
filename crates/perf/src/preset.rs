//! The scenarios of the comparison table, by name.

use std::time::Duration;

use crate::scenario::{
    ConnectionChurn, ExchangeKind, Flow, IdleConnections, QueueChurn, QueueSpread, Scenario,
    ScenarioError, Settle,
};

/// A scenario with a name.
#[derive(Debug)]
pub struct Preset {
    /// What it is called on the command line and in reports.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    pub(crate) scenario: fn() -> Scenario,
}

impl Preset {
    /// What it does.
    pub fn scenario(&self) -> Scenario {
        (self.scenario)()
    }

    /// The preset with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn find(name: &str) -> Result<&'static Self, ScenarioError> {
        let found = PRESETS.iter().find(|preset| preset.name == name);
        found.ok_or_else(|| ScenarioError::UnknownPreset(name.to_owned()))
    }
}

/// All presets. One publisher and one consumer unless they say otherwise; queues are durable, which
/// costs transient messages nothing and works with every broker.
pub static PRESETS: &[Preset] = &[
    Preset {
        name: "transient-16",
        summary: "16 B transient, auto-ack",
        scenario: || Scenario::Flow(transient(16)),
    },
    Preset {
        name: "transient-1k",
        summary: "1 KiB transient, auto-ack",
        scenario: || Scenario::Flow(transient(1024)),
    },
    Preset {
        name: "ack-16",
        summary: "16 B transient, manual ack (multiple, every 100), prefetch 1000",
        scenario: || Scenario::Flow(Flow { settle: ACK, ..transient(16) }),
    },
    Preset {
        name: "ack-1k",
        summary: "1 KiB transient, manual ack (multiple, every 100), prefetch 1000",
        scenario: || Scenario::Flow(Flow { settle: ACK, ..transient(1024) }),
    },
    Preset {
        name: "persistent-1k",
        summary: "1 KiB persistent, confirm window 1000, consumer acks every 100, prefetch 1000",
        scenario: || Scenario::Flow(Flow { settle: ACK, ..persistent(1000) }),
    },
    Preset {
        name: "persistent-1k-auto",
        summary: "1 KiB persistent, confirm window 1000, auto-ack",
        scenario: || Scenario::Flow(persistent(1000)),
    },
    Preset {
        name: "persistent-1k-stored",
        summary: "1 KiB persistent, confirm window 1000, no consumer: all stays on disk",
        scenario: || {
            Scenario::Flow(Flow { consumers: 0, messages: Some(4_000_000), ..persistent(1000) })
        },
    },
    Preset {
        name: "pairs-2",
        summary: "2 publishers, 2 queues, 2 consumers, each publisher with its own queue, 16 B",
        scenario: || {
            Scenario::Flow(Flow {
                publishers: 2,
                consumers: 2,
                queues: 2,
                spread: QueueSpread::Own,
                ..transient(16)
            })
        },
    },
    Preset {
        name: "fanout-10",
        summary: "fanout exchange, 10 queues with a consumer each, 16 B; figures per delivery",
        scenario: || {
            Scenario::Flow(Flow {
                consumers: 10,
                queues: 10,
                exchange: ExchangeKind::Fanout,
                ..transient(16)
            })
        },
    },
    Preset {
        name: "topic-1000",
        summary: "topic exchange, 1,000 bindings on 10 queues, one consumer for all, 16 B",
        scenario: || {
            Scenario::Flow(Flow {
                queues: 10,
                exchange: ExchangeKind::Topic,
                bindings: 1000,
                ..transient(16)
            })
        },
    },
    Preset {
        name: "confirm-1",
        summary: "1 KiB persistent, confirm window 1, no consumer",
        scenario: || Scenario::Flow(Flow { consumers: 0, ..persistent(1) }),
    },
    Preset {
        name: "confirm-1-consumer",
        summary: "1 KiB persistent, confirm window 1, a ready auto-ack consumer",
        scenario: || Scenario::Flow(persistent(1)),
    },
    Preset {
        name: "latency-5000",
        summary: "5,000 msg/s of 16 B transient, auto-ack: latency from end to end",
        scenario: || Scenario::Flow(Flow { rate: Some(5000), ..transient(16) }),
    },
    Preset {
        name: "idle-connections",
        summary: "2,000 idle connections with a channel and a consumer each: memory",
        scenario: || {
            Scenario::IdleConnections(IdleConnections {
                connections: 2000,
                threads: 4,
                duration: Duration::from_secs(2),
            })
        },
    },
    Preset {
        name: "connection-churn",
        summary: "connections opened and closed on 8 threads",
        scenario: || Scenario::ConnectionChurn(CHURN),
    },
    Preset {
        name: "queue-churn",
        summary: "10,000 durable queues declared and deleted, 100 in flight",
        scenario: || {
            Scenario::QueueChurn(QueueChurn {
                queues: 10_000,
                in_flight: 100,
                durable: true,
                keep: false,
            })
        },
    },
    Preset {
        name: "backlog",
        summary: "1,000,000 persistent messages of 1 KiB: filled with confirms, then drained",
        scenario: || {
            Scenario::Backlog(Flow {
                messages: Some(1_000_000),
                settle: ACK,
                duration: Duration::from_mins(5),
                warmup: Duration::ZERO,
                ..persistent(1000)
            })
        },
    },
];

/// Of `connection-churn`.
pub(crate) const CHURN: ConnectionChurn = ConnectionChurn {
    threads: 8,
    channel: false,
    duration: Duration::from_secs(5),
    connections: 100_000,
};

const ACK: Settle = Settle::Ack { every: 100, prefetch: 1000 };

/// As many messages as the broker takes.
pub(crate) fn transient(size: usize) -> Flow {
    Flow {
        publishers: 1,
        consumers: 1,
        queues: 1,
        exchange: ExchangeKind::Default,
        bindings: 0,
        spread: QueueSpread::Rotate,
        sizes: vec![size],
        rate: None,
        confirm_window: None,
        settle: Settle::Auto,
        persistent: false,
        durable: true,
        queue_arguments: Vec::new(),
        messages: None,
        duration: Duration::from_secs(10),
        warmup: Duration::from_secs(1),
        drain_timeout: Duration::from_secs(20),
        write_bytes: 128 << 10,
        keep: false,
    }
}

fn persistent(confirm_window: u32) -> Flow {
    Flow { persistent: true, confirm_window: Some(confirm_window), ..transient(1024) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_preset_can_run() {
        for preset in PRESETS {
            assert_eq!(preset.scenario().check(), Ok(()), "{}", preset.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = PRESETS.iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), PRESETS.len());
        assert!(Preset::find("backlog").is_ok());
        assert!(Preset::find("nothing").is_err());
    }
}
