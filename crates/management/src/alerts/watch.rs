//! The task that looks at the broker and hands on what is to be told.

use std::sync::Arc;

use leveret_broker::{Broker, Resource};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::State;
use super::courier::Courier;
use super::machine::{Look, NodeSample, QueueSample};
use super::notice::Telling;
use super::silence::Silences;
use crate::node::{Node, now};
use crate::vhost_totals::VhostTotals;

/// Looks at the rules until the broker stops.
pub(crate) async fn run(node: Arc<Node>, stop: CancellationToken) {
    let mut changes = node.config_changes();
    let looks = async {
        loop {
            let config = node.config();
            node.alerts.state.lock().take_over(&config.alerts, &stop);
            if config.alerts.rules.is_empty() {
                // Nothing to look at, until there are other settings.
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let looking = Arc::clone(&node);
            // It does not panic; were it to, the next one tries again.
            let _ = tokio::task::spawn_blocking(move || look(&looking)).await;
            tokio::select! {
                () = sleep(config.alerts.interval) => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    };
    stop.run_until_cancelled(looks).await;
}

impl State {
    /// New settings: rules that stay the same go on, as do receivers.
    fn take_over(
        &mut self,
        config: &leveret_server::config::AlertsConfig,
        stop: &CancellationToken,
    ) {
        if self.config == *config {
            return;
        }
        self.machine.set_rules(&config.rules);
        let is_same_way = self.config.smtp == config.smtp && self.config.ca_file == config.ca_file;
        self.couriers.retain(|name, _| {
            is_same_way && self.config.receivers.get(name) == config.receivers.get(name)
        });
        for (name, receiver) in &config.receivers {
            if !self.couriers.contains_key(name) {
                let courier = Courier::start(name, receiver, config, stop.child_token());
                self.couriers.insert(name.clone(), courier);
            }
        }
        self.config = config.clone();
    }
}

fn look(node: &Node) {
    let now = now();
    let mut state = node.alerts.state.lock();
    let State { machine, couriers, looked_at, .. } = &mut *state;
    let needs_queues = machine.needs_queues();
    let mut look = machine.look(now);
    if needs_queues {
        look_at_queues(&node.broker, &mut look);
    }
    look.node(&node_sample(&node.broker));
    let notices = look.end(&Silences::of(&node.broker));
    *looked_at = Some(now);
    for notice in notices {
        let status = if notice.is_firing { "is firing" } else { "is over" };
        let telling = Arc::new(Telling::new(&notice, &node.name, now));
        tracing::warn!("alert {} {status}: {}", notice.rule.name, telling.summary);
        for name in &notice.rule.notify {
            if let Some(courier) = couriers.get(name) {
                courier.hand(Arc::clone(&telling));
            }
        }
    }
}

fn look_at_queues(broker: &Broker, look: &mut Look<'_>) {
    for vhost in broker.vhosts() {
        for queue in vhost.queues() {
            let status = queue.status();
            let sample = QueueSample {
                id: queue.id().0,
                ready: status.ready,
                unacked: status.unacked,
                consumers: status.consumers,
                received: status.totals.map_or(0, |totals| totals.publish),
                first_published: status.head_published,
            };
            look.queue(vhost.name(), queue.name(), &sample);
        }
    }
}

fn node_sample(broker: &Broker) -> NodeSample {
    let totals = VhostTotals::read(broker).sum();
    let memory = broker.alarms().status(Resource::Memory);
    let disk = broker.alarms().status(Resource::Disk);
    NodeSample {
        memory_bytes: memory.bytes,
        memory_alarm: memory.is_set,
        disk_free_bytes: disk.bytes,
        disk_alarm: disk.is_set,
        unroutable: totals.drop_unroutable.saturating_add(totals.return_unroutable),
    }
}
