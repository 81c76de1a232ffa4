//! Metrics of queues, channels, connections and exchanges: by object, or summed up.

use std::sync::Arc;
use std::time::Duration;

use ahash::HashMap;
use leveret_broker::{
    OpenChannel, OpenConnection, QueueStatus, QueueTotals, QueueType, SharedQueue, Vhost,
};
use leveret_engine::{ExchangeTraffic, QueueId};

use super::exposition::{Exposition, Kind, Label};
use crate::call::Call;

/// A metric of a kind of object.
struct Metric<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    get: fn(&T) -> u64,
}

/// Metrics that are asked for together, by RabbitMQ's name for them.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) write: fn(&Call, &[Arc<Vhost>], &mut Exposition),
}

/// A queue and what was read of it.
type Queue = (Arc<SharedQueue>, QueueStatus);
/// A channel of a connection.
type Channel = (Arc<OpenConnection>, Arc<OpenChannel>);
/// An exchange of a vhost.
struct Exchange {
    vhost: Arc<str>,
    name: Arc<str>,
    traffic: Arc<ExchangeTraffic>,
}

const FAMILIES: &[Family] = &[
    Family {
        name: "queue_coarse_metrics",
        write: |_, vhosts, out| write_queues(vhosts, COARSE, out),
    },
    Family { name: CONSUMER_COUNT, write: |_, vhosts, out| write_queues(vhosts, CONSUMERS, out) },
    Family { name: QUEUE_METRICS, write: write_queue_metrics },
    Family {
        name: "queue_delivery_metrics",
        write: |_, vhosts, out| write_queues(vhosts, DELIVERIES, out),
    },
    Family {
        name: "channel_queue_exchange_metrics",
        write: |_, vhosts, out| write_queues(vhosts, PUBLISHES, out),
    },
    Family {
        name: "channel_metrics",
        write: |call, vhosts, out| write_channels(call, vhosts, CHANNELS, out),
    },
    Family {
        name: "channel_exchange_metrics",
        write: |call, vhosts, out| write_channels(call, vhosts, CHANNEL_PUBLISHES, out),
    },
    Family {
        name: "channel_queue_metrics",
        write: |call, vhosts, out| write_channels(call, vhosts, CHANNEL_DELIVERIES, out),
    },
    Family {
        name: "connection_coarse_metrics",
        write: |call, vhosts, out| write_connections(call, vhosts, CONNECTION_BYTES, out),
    },
    Family {
        name: "connection_metrics",
        write: |call, vhosts, out| write_connections(call, vhosts, CONNECTIONS, out),
    },
    Family { name: "exchange_metrics", write: |_, vhosts, out| write_exchanges(vhosts, out) },
];

const QUEUE_METRICS: &str = "queue_metrics";
/// The one metric of this family is in [`QUEUE_METRICS`] as well, and may be on a page once.
const CONSUMER_COUNT: &str = "queue_consumer_count";

/// The families that are wanted.
pub(super) fn write_families(
    call: &Call,
    vhosts: &[Arc<Vhost>],
    is_wanted: impl Fn(&str) -> bool,
    out: &mut Exposition,
) {
    for Family { name, write } in FAMILIES.iter().filter(|family| is_wanted(family.name)) {
        if *name != CONSUMER_COUNT || !is_wanted(QUEUE_METRICS) {
            write(call, vhosts, out);
        }
    }
}

const fn gauge<T>(name: &'static str, help: &'static str, get: fn(&T) -> u64) -> Metric<T> {
    Metric { name, kind: Kind::Gauge, help, get }
}

const fn counter<T>(name: &'static str, help: &'static str, get: fn(&T) -> u64) -> Metric<T> {
    Metric { name, kind: Kind::Counter, help, get }
}

fn totals((_, status): &Queue) -> QueueTotals {
    status.totals.unwrap_or_default()
}

const COARSE: &[Metric<Queue>] = &[
    gauge("queue_messages_ready", "Messages ready to be delivered to consumers", |(_, s)| s.ready),
    gauge(
        "queue_messages_unacked",
        "Messages delivered to consumers but not yet acknowledged",
        |(_, s)| s.unacked,
    ),
    gauge(
        "queue_messages",
        "Sum of ready and unacknowledged messages - total queue depth",
        |(_, s)| s.messages(),
    ),
];

const CONSUMERS: &[Metric<Queue>] =
    &[gauge("queue_consumers", "Consumers on a queue", |(_, s)| s.consumers as u64)];

const SIZES: &[Metric<Queue>] = &[
    gauge("queue_process_memory_bytes", "Memory in bytes used by the queue", |(_, s)| {
        s.bytes_in_memory()
    }),
    gauge("queue_messages_ram", "Messages in memory", |(_, s)| s.messages_in_memory()),
    gauge("queue_messages_ram_bytes", "Size in bytes of messages in memory", |(_, s)| {
        s.bytes_in_memory()
    }),
    gauge(
        "queue_messages_bytes",
        "Size in bytes of ready and unacknowledged messages",
        |(_, s)| s.bytes(),
    ),
    gauge("queue_messages_ready_bytes", "Size in bytes of ready messages", |(_, s)| {
        s.ready_bytes + s.delayed_bytes
    }),
    gauge(
        "queue_messages_unacked_bytes",
        "Size in bytes of all unacknowledged messages",
        |(_, s)| s.unacked_bytes,
    ),
];

const DELIVERIES: &[Metric<Queue>] = &[
    counter(
        "queue_get_ack_total",
        "Total number of messages fetched from a queue with basic.get in manual acknowledgement mode",
        |queue| totals(queue).get,
    ),
    counter(
        "queue_get_total",
        "Total number of messages fetched from a queue with basic.get in automatic acknowledgement \
         mode",
        |queue| totals(queue).get_no_ack,
    ),
    counter(
        "queue_messages_delivered_ack_total",
        "Total number of messages delivered from a queue to consumers in manual acknowledgement mode",
        |queue| totals(queue).deliver,
    ),
    counter(
        "queue_messages_delivered_total",
        "Total number of messages delivered from a queue to consumers in automatic acknowledgement \
         mode",
        |queue| totals(queue).deliver_no_ack,
    ),
    counter(
        "queue_messages_redelivered_total",
        "Total number of messages redelivered from a queue to consumers",
        |queue| totals(queue).redeliver,
    ),
    counter(
        "queue_messages_acked_total",
        "Total number of messages acknowledged by consumers on a queue",
        |queue| totals(queue).ack,
    ),
    counter(
        "queue_get_empty_total",
        "Total number of times basic.get operations fetched no message on a queue",
        |queue| totals(queue).get_empty,
    ),
];

const PUBLISHES: &[Metric<Queue>] = &[counter(
    "queue_messages_published_total",
    "Total number of messages published into a queue",
    |queue| totals(queue).publish,
)];

const CHANNELS: &[Metric<Channel>] = &[
    gauge("channel_consumers", "Consumers on a channel", |(_, c)| c.consumers.get()),
    gauge("channel_messages_unacked", "Delivered but not yet acknowledged messages", |(_, c)| {
        c.unacknowledged.get()
    }),
    gauge("channel_messages_unconfirmed", "Published but not yet confirmed messages", |(_, c)| {
        c.unconfirmed.get()
    }),
    gauge(
        "channel_messages_uncommitted",
        "Messages received in a transaction but not yet committed",
        |(_, c)| c.uncommitted.get(),
    ),
    gauge(
        "channel_acks_uncommitted",
        "Message acknowledgements in a transaction not yet committed",
        |(_, c)| c.uncommitted_acks.get(),
    ),
    gauge("consumer_prefetch", "Limit of unacknowledged messages for each consumer", |(_, c)| {
        c.prefetch.get()
    }),
    gauge(
        "channel_prefetch",
        "Total limit of unacknowledged messages for all consumers on a channel",
        |(_, c)| c.shared_prefetch.get(),
    ),
];

const CHANNEL_PUBLISHES: &[Metric<Channel>] = &[
    counter(
        "channel_messages_published_total",
        "Total number of messages published into an exchange on a channel",
        |(_, c)| c.counters.publish.get(),
    ),
    counter(
        "channel_messages_confirmed_total",
        "Total number of messages published into an exchange and confirmed on the channel",
        |(_, c)| c.counters.confirm.get(),
    ),
    counter(
        "channel_messages_unroutable_returned_total",
        "Total number of messages published as mandatory into an exchange and returned to the \
         publisher as unroutable",
        |(_, c)| c.counters.return_unroutable.get(),
    ),
    counter(
        "channel_messages_unroutable_dropped_total",
        "Total number of messages published as non-mandatory into an exchange and dropped as \
         unroutable",
        |(_, c)| c.counters.drop_unroutable.get(),
    ),
];

const CHANNEL_DELIVERIES: &[Metric<Channel>] = &[
    counter(
        "channel_get_ack_total",
        "Total number of messages fetched with basic.get in manual acknowledgement mode",
        |(_, c)| c.counters.get.get(),
    ),
    counter(
        "channel_get_total",
        "Total number of messages fetched with basic.get in automatic acknowledgement mode",
        |(_, c)| c.counters.get_no_ack.get(),
    ),
    counter(
        "channel_messages_delivered_ack_total",
        "Total number of messages delivered to consumers in manual acknowledgement mode",
        |(_, c)| c.counters.deliver.get(),
    ),
    counter(
        "channel_messages_delivered_total",
        "Total number of messages delivered to consumers in automatic acknowledgement mode",
        |(_, c)| c.counters.deliver_no_ack.get(),
    ),
    counter(
        "channel_messages_redelivered_total",
        "Total number of messages redelivered to consumers",
        |(_, c)| c.counters.redeliver.get(),
    ),
    counter(
        "channel_messages_acked_total",
        "Total number of messages acknowledged by consumers",
        |(_, c)| c.counters.ack.get(),
    ),
    counter(
        "channel_get_empty_total",
        "Total number of times basic.get operations fetched no message",
        |(_, c)| c.counters.get_empty.get(),
    ),
];

const CONNECTION_BYTES: &[Metric<Arc<OpenConnection>>] = &[
    counter(
        "connection_incoming_bytes_total",
        "Total number of bytes received on a connection",
        |one| one.traffic().received_bytes.get(),
    ),
    counter(
        "connection_outgoing_bytes_total",
        "Total number of bytes sent on a connection",
        |one| one.traffic().sent_bytes.get(),
    ),
];

const CONNECTIONS: &[Metric<Arc<OpenConnection>>] = &[
    counter(
        "connection_incoming_packets_total",
        "Total number of packets received on a connection",
        |one| one.traffic().reads.get(),
    ),
    counter(
        "connection_outgoing_packets_total",
        "Total number of packets sent on a connection",
        |one| one.traffic().writes.get(),
    ),
    gauge(
        "connection_pending_packets",
        "Number of packets waiting to be sent on a connection",
        |one| u64::from(one.pending_bytes() > 0),
    ),
    gauge("connection_channels", "Channels on a connection", |one| one.channel_count() as u64),
];

/// RabbitMQ's name for a type of queue.
pub(super) fn type_label(queue_type: QueueType) -> String {
    format!("rabbit_{queue_type}_queue")
}

fn queues(vhosts: &[Arc<Vhost>]) -> Vec<Queue> {
    let all = vhosts.iter().flat_map(|vhost| vhost.queues());
    all.map(|queue| {
        let status = queue.status();
        (queue, status)
    })
    .collect()
}

fn connections(call: &Call, vhosts: &[Arc<Vhost>]) -> Vec<Arc<OpenConnection>> {
    let mut all = call.broker().connections().all();
    all.retain(|one| vhosts.iter().any(|vhost| Arc::ptr_eq(vhost, one.vhost())));
    all
}

fn channels(call: &Call, vhosts: &[Arc<Vhost>]) -> Vec<Channel> {
    let all = connections(call, vhosts).into_iter().flat_map(|connection| {
        let channels = connection.channels().into_iter();
        channels.map(move |channel| (Arc::clone(&connection), channel))
    });
    all.collect()
}

fn exchanges(vhosts: &[Arc<Vhost>]) -> Vec<Exchange> {
    let all = vhosts.iter().flat_map(|vhost| {
        vhost.topology(|topology| {
            let named = topology.exchanges().map(|exchange| Arc::clone(&exchange.spec().name));
            let all = std::iter::once("".into()).chain(named).filter_map(|name: Arc<str>| {
                let traffic = Arc::clone(topology.traffic(&name)?);
                Some(Exchange { vhost: Arc::clone(vhost.name()), name, traffic })
            });
            all.collect::<Vec<_>>()
        })
    });
    all.collect()
}

fn write_each<T>(
    items: &[T],
    metrics: &[Metric<T>],
    labels: impl Fn(&T, &mut dyn FnMut(&[Label<'_>])),
    out: &mut Exposition,
) {
    for Metric { name, kind, help, get } in metrics {
        out.metric(name, *kind, help);
        for item in items {
            labels(item, &mut |labels| out.sample(name, labels, get(item)));
        }
    }
}

fn write_queues(vhosts: &[Arc<Vhost>], metrics: &[Metric<Queue>], out: &mut Exposition) {
    write_each(&queues(vhosts), metrics, queue_labels, out);
}

fn queue_labels((queue, _): &Queue, write: &mut dyn FnMut(&[Label<'_>])) {
    write(&[("vhost", queue.vhost().as_ref()), ("queue", queue.name().as_ref())]);
}

fn write_queue_metrics(call: &Call, vhosts: &[Arc<Vhost>], out: &mut Exposition) {
    let queues = queues(vhosts);
    write_each(&queues, CONSUMERS, queue_labels, out);
    write_each(&queues, SIZES, queue_labels, out);
    let name = "queue_head_message_timestamp";
    out.metric(name, Kind::Gauge, "Timestamp of the first message in the queue, if any");
    for queue in &queues {
        let at = queue.1.head_timestamp.map_or_else(|| "NaN".to_owned(), |at| at.to_string());
        queue_labels(queue, &mut |labels| out.sample(name, labels, &at));
    }
    let name = "leveret_queue_head_age_seconds";
    let help = "How long ago the message next to be delivered was published, if it is in memory";
    out.metric_named(name, Kind::Gauge, help);
    for queue in &queues {
        let Some(published) = queue.1.head_published else { continue };
        let age = Duration::from_millis(call.now.0.saturating_sub(published.0)).as_secs_f64();
        queue_labels(queue, &mut |labels| out.sample_named(name, labels, age));
    }
    let name = "leveret_queue_unacked_age_seconds";
    let help = "How long a consumer has held the message it has held longest, to five seconds";
    out.metric_named(name, Kind::Gauge, help);
    let held = held_for(call);
    for queue in &queues {
        let Some(age) = held.get(&queue.0.id()).map(Duration::as_secs_f64) else { continue };
        queue_labels(queue, &mut |labels| out.sample_named(name, labels, age));
    }
    let name = "queue_info";
    out.metric(name, Kind::Gauge, "A metric with a constant '1' value and labels about the queue");
    for (queue, _) in &queues {
        let queue_type = type_label(queue.queue_type());
        let labels = [
            ("vhost", queue.vhost().as_ref()),
            ("queue", queue.name().as_ref()),
            ("queue_type", &queue_type),
            ("membership", "leader"),
            ("node", &call.node.name),
        ];
        out.sample(name, &labels, 1);
    }
}

/// How long the oldest unsettled delivery of each queue has been held.
fn held_for(call: &Call) -> HashMap<QueueId, Duration> {
    let mut held = HashMap::default();
    let now = Duration::from_millis(call.now.0);
    for connection in call.broker().connections().all() {
        connection.held_for(now, &mut |queue, age| {
            let longest: &mut Duration = held.entry(queue.id()).or_default();
            *longest = age.max(*longest);
        });
    }
    held
}

fn write_channels(
    call: &Call,
    vhosts: &[Arc<Vhost>],
    metrics: &[Metric<Channel>],
    out: &mut Exposition,
) {
    let labels = |(connection, channel): &Channel, write: &mut dyn FnMut(&[Label<'_>])| {
        let name = connection.channel_name(channel.number());
        write(&[("channel", &name), ("vhost", connection.vhost().name().as_ref())]);
    };
    write_each(&channels(call, vhosts), metrics, labels, out);
}

fn write_connections(
    call: &Call,
    vhosts: &[Arc<Vhost>],
    metrics: &[Metric<Arc<OpenConnection>>],
    out: &mut Exposition,
) {
    let labels = |connection: &Arc<OpenConnection>, write: &mut dyn FnMut(&[Label<'_>])| {
        let vhost = connection.vhost().name().as_ref();
        write(&[("connection", connection.about().name.as_ref()), ("vhost", vhost)]);
    };
    write_each(&connections(call, vhosts), metrics, labels, out);
}

const EXCHANGE_PUBLISHES: (&str, &str) =
    ("exchange_messages_published_total", "Total number of messages published into an exchange");

fn write_exchanges(vhosts: &[Arc<Vhost>], out: &mut Exposition) {
    let (name, help) = EXCHANGE_PUBLISHES;
    out.metric(name, Kind::Counter, help);
    for Exchange { vhost, name: exchange, traffic } in exchanges(vhosts) {
        let labels = [("vhost", vhost.as_ref()), ("exchange", exchange.as_ref())];
        out.sample(name, &labels, traffic.published_in());
    }
}

/// Everything, each metric summed up over all objects.
pub(super) fn write_sums(call: &Call, out: &mut Exposition) {
    let vhosts = call.broker().vhosts();
    let queues = queues(&vhosts);
    for metrics in [COARSE, CONSUMERS, SIZES, DELIVERIES, PUBLISHES] {
        write_sum(&queues, metrics, out);
    }
    let channels = channels(call, &vhosts);
    for metrics in [CHANNELS, CHANNEL_PUBLISHES, CHANNEL_DELIVERIES] {
        write_sum(&channels, metrics, out);
    }
    let connections = connections(call, &vhosts);
    for metrics in [CONNECTION_BYTES, CONNECTIONS] {
        write_sum(&connections, metrics, out);
    }
    let (name, help) = EXCHANGE_PUBLISHES;
    let published = exchanges(&vhosts).iter().map(|one| one.traffic.published_in()).sum::<u64>();
    out.single(name, Kind::Counter, help, published);
    let consumers = queues.iter().map(|(_, status)| status.consumers).sum::<usize>();
    let counts = [
        ("connections", "Connections currently open", connections.len()),
        ("channels", "Channels currently open", channels.len()),
        ("consumers", "Consumers currently connected", consumers),
        ("queues", "Queues available", queues.len()),
    ];
    for (name, help, count) in counts {
        out.single(name, Kind::Gauge, help, count);
    }
}

fn write_sum<T>(items: &[T], metrics: &[Metric<T>], out: &mut Exposition) {
    for Metric { name, kind, help, get } in metrics {
        out.single(name, *kind, help, items.iter().map(get).sum::<u64>());
    }
}

/// What is the same on all nodes of a cluster, if it is wanted.
pub(super) fn write_cluster(wanted: &[&str], vhosts: &[Arc<Vhost>], out: &mut Exposition) {
    if wanted.contains(&"vhost_status") {
        let name = "rabbitmq_cluster_vhost_status";
        out.metric_named(name, Kind::Gauge, "Whether a given vhost is running");
        for vhost in vhosts {
            out.sample_named(name, &[("vhost", vhost.name().as_ref())], 1);
        }
    }
    let families = [
        ("exchange_bindings", "rabbitmq_cluster_exchange_bindings", "Number of bindings"),
        ("exchange_names", "rabbitmq_cluster_exchange_name", "Enumerates exchanges"),
    ];
    for (family, name, help) in families {
        if !wanted.contains(&family) {
            continue;
        }
        out.metric_named(name, Kind::Gauge, help);
        for vhost in vhosts {
            let all: Vec<(Arc<str>, &'static str, usize)> = vhost.topology(|topology| {
                let exchanges = topology.exchanges();
                let named = exchanges.map(|one| {
                    (Arc::clone(&one.spec().name), one.spec().kind.name(), one.binding_count())
                });
                named.collect()
            });
            for (exchange, kind, bindings) in all {
                let labels = [
                    ("vhost", vhost.name().as_ref()),
                    ("exchange", exchange.as_ref()),
                    ("type", kind),
                ];
                let value = if family == "exchange_names" { 1 } else { bindings };
                out.sample_named(name, &labels, value);
            }
        }
    }
}
