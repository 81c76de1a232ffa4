//! The task that reads all counters every few seconds, for the rates.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{Broker, ChannelTotals, QueueCounts, Vhost};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::api::{connections, exchanges, overview};
use crate::message_stats::{self, ASIDE, READY, UNACKED};
use crate::node::{Node, now};
use crate::rates::{INTERVAL, Key, Values};
use crate::vhost_totals::VhostTotals;

/// Samples until the broker stops. Reading takes no lock for longer than one object.
pub(crate) async fn run(node: Arc<Node>, stop: CancellationToken) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let samples = async {
        loop {
            interval.tick().await;
            let node = Arc::clone(&node);
            let read = move || node.rates.sample(now(), readings(&node.broker));
            // It does not panic; were it to, the next one tries again.
            let _ = tokio::task::spawn_blocking(read).await;
        }
    };
    stop.run_until_cancelled(samples).await;
}

fn readings(broker: &Broker) -> Vec<(Key, Values)> {
    let mut all = vec![(Key::Node, overview::churn_reading(&broker.churn()))];
    let totals = VhostTotals::read(broker);
    for vhost in broker.vhosts() {
        let mut lengths = Lengths::default();
        for queue in vhost.queues() {
            let (counts, totals) = queue.counts_and_totals();
            let mut values = totals.as_ref().map(message_stats::of_queue).unwrap_or_default();
            let one = Lengths::from(counts);
            one.fill(&mut values);
            lengths.add(one);
            if values != Values::default() {
                all.push((Key::Queue(queue.id()), values));
            }
        }
        let exchanges: Vec<(Arc<str>, Values)> = vhost.topology(|topology| {
            let named =
                topology.exchanges().map(|one| (Arc::clone(&one.spec().name), one.traffic()));
            let default = topology.traffic("").map(|traffic| ("".into(), traffic));
            let read = named.chain(default).map(|(name, one)| (name, exchanges::reading(one)));
            read.filter(|(_, values)| *values != Values::default()).collect()
        });
        all.extend(
            exchanges
                .into_iter()
                .map(|(name, values)| (Key::Exchange(Arc::clone(vhost.name()), name), values)),
        );
        let values = lengths.beside(&totals.of(&vhost));
        all.push((Key::Vhost(Arc::clone(vhost.name())), values));
    }
    let noted_at = Duration::from_millis(now().0);
    for connection in broker.connections().all() {
        connection.note_deliveries(noted_at);
        all.push((Key::Connection(connection.id()), connections::reading(&connection)));
        for channel in connection.channels() {
            let values = message_stats::of_channels(&channel.counters.read());
            all.push((Key::Channel(connection.id(), channel.number()), values));
        }
    }
    all
}

/// Messages of many queues.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lengths {
    pub(crate) ready: u64,
    pub(crate) unacked: u64,
    /// Delayed, or dead letters that are kept.
    pub(crate) aside: u64,
}

impl Lengths {
    /// Those of a vhost's queues.
    pub(crate) fn of(vhost: &Vhost) -> Self {
        let mut lengths = Self::default();
        for queue in vhost.queues() {
            lengths.add(Self::from(queue.counts()));
        }
        lengths
    }

    /// A reading of totals and lengths.
    pub(crate) fn beside(self, totals: &ChannelTotals) -> Values {
        let mut values = message_stats::of_channels(totals);
        self.fill(&mut values);
        values
    }

    /// All of them.
    pub(crate) fn sum(self) -> u64 {
        self.ready + self.unacked + self.aside
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.aside += other.aside;
    }

    fn fill(self, values: &mut Values) {
        let Self { ready, unacked, aside } = self;
        message_stats::fill(values, &[(READY, ready), (UNACKED, unacked), (ASIDE, aside)]);
    }
}

impl From<QueueCounts> for Lengths {
    fn from(counts: QueueCounts) -> Self {
        Self {
            ready: counts.ready,
            unacked: counts.unacked,
            aside: counts.delayed + counts.dead_letters,
        }
    }
}
