//! Counters of the whole node by protocol and type of queue: they outlive what they count.

use leveret_broker::{QueueTotals, QueueType, SIZE_CLASSES};

use super::exposition::{Exposition, Kind};
use super::objects::type_label;
use crate::call::Call;
use crate::vhost_totals::VhostTotals;

/// A counter of queues: part of its name, of its help, and how to get it.
type Counted = (&'static str, &'static str, fn(&QueueTotals) -> u64);

/// The only protocol there is.
const PROTOCOL: (&str, &str) = ("protocol", "amqp091");

pub(super) fn write(call: &Call, out: &mut Exposition) {
    by_protocol(call, out);
    by_type(call, out);
    sizes(call, out);
}

fn by_protocol(call: &Call, out: &mut Exposition) {
    let totals = VhostTotals::read(call.broker()).sum();
    let (mut publishers, mut consumers) = (0_u64, 0);
    for channel in call.broker().connections().all().iter().flat_map(|one| one.channels()) {
        publishers += u64::from(channel.counters.publish.get() > 0);
        consumers += channel.consumers.get();
    }
    let routed = totals
        .publish
        .saturating_sub(totals.drop_unroutable)
        .saturating_sub(totals.return_unroutable);
    let counters = [
        ("received", "received from publishers", totals.publish),
        (
            "received_confirm",
            "received from publishers expecting confirmations",
            totals.publish_to_confirm,
        ),
        ("confirmed", "confirmed to publishers", totals.confirm),
        ("routed", "routed to queues or streams", routed),
        (
            "unroutable_dropped",
            "published as non-mandatory and dropped as unroutable",
            totals.drop_unroutable,
        ),
        (
            "unroutable_returned",
            "published as mandatory and returned to the publisher as unroutable",
            totals.return_unroutable,
        ),
    ];
    for (name, help, value) in counters {
        let (name, help) =
            (format!("global_messages_{name}_total"), format!("Total number of messages {help}"));
        out.metric(&name, Kind::Counter, &help);
        out.sample(&name, &[PROTOCOL], value);
    }
    let gauges = [
        ("publishers", "Publishers currently connected", publishers),
        ("consumers", "Consumers", consumers),
    ];
    for (name, help, value) in gauges {
        let name = format!("global_{name}");
        out.metric(&name, Kind::Gauge, help);
        out.sample(&name, &[PROTOCOL], value);
    }
}

fn by_type(call: &Call, out: &mut Exposition) {
    let broker = call.broker();
    let mut totals = QueueType::ALL.map(|queue_type| (queue_type, broker.past_queues(queue_type)));
    for queue in broker.vhosts().iter().flat_map(|vhost| vhost.queues()) {
        let Some(own) = queue.totals() else { continue };
        for (_, totals) in totals.iter_mut().filter(|(one, _)| *one == queue.queue_type()) {
            totals.add(&own);
        }
    }
    let all: [Counted; 8] = [
        ("delivered", "delivered to consumers", |totals| {
            totals.deliver + totals.deliver_no_ack + totals.get + totals.get_no_ack
        }),
        (
            "delivered_consume_auto_ack",
            "delivered to consumers using basic.consume with automatic acknowledgment",
            |totals| totals.deliver_no_ack,
        ),
        (
            "delivered_consume_manual_ack",
            "delivered to consumers using basic.consume with manual acknowledgment",
            |totals| totals.deliver,
        ),
        (
            "delivered_get_auto_ack",
            "delivered to consumers using basic.get with automatic acknowledgment",
            |totals| totals.get_no_ack,
        ),
        (
            "delivered_get_manual_ack",
            "delivered to consumers using basic.get with manual acknowledgment",
            |totals| totals.get,
        ),
        ("get_empty", "that basic.get looked for in empty queues", |totals| totals.get_empty),
        ("redelivered", "redelivered to consumers", |totals| totals.redeliver),
        ("acknowledged", "acknowledged by consumers", |totals| totals.ack),
    ];
    for (name, help, get) in all {
        let (name, help) =
            (format!("global_messages_{name}_total"), format!("Total number of messages {help}"));
        out.metric(&name, Kind::Counter, &help);
        for (queue_type, totals) in &totals {
            let queue_type = type_label(*queue_type);
            out.sample(&name, &[PROTOCOL, ("queue_type", &queue_type)], get(totals));
        }
    }
}

fn sizes(call: &Call, out: &mut Exposition) {
    let sizes = call.broker().connections().message_sizes();
    let name = "message_size_bytes";
    out.metric(name, Kind::Histogram, "Size of messages received from publishers");
    let bounds = SIZE_CLASSES.iter().map(u64::to_string).chain(["+Inf".to_owned()]);
    let mut sum = 0;
    for (bound, count) in bounds.zip(sizes.classes) {
        sum += count;
        out.sample("message_size_bytes_bucket", &[PROTOCOL, ("le", &bound)], sum);
    }
    out.sample("message_size_bytes_count", &[PROTOCOL], sum);
    out.sample("message_size_bytes_sum", &[PROTOCOL], sizes.bytes);
}
