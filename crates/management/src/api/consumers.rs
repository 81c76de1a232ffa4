//! `/api/consumers`.

use std::sync::Arc;

use leveret_broker::{OpenConnection, QueueConsumer, SessionId, SharedQueue};
use serde_json::{Value, json};

use crate::answer::Outcome;
use crate::call::Call;
use crate::json_table;
use crate::list::{self, Field};
use crate::node::Node;
use crate::space::Space;

/// A consumer as it is listed.
pub(crate) struct Item {
    node: Arc<Node>,
    queue: Arc<SharedQueue>,
    consumer: QueueConsumer,
    connection: Option<Arc<OpenConnection>>,
}

impl Item {
    /// Whether it is a consumer of this channel.
    pub(crate) fn belongs_to(&self, session: SessionId, channel: u16) -> bool {
        self.consumer.about.session == session && self.consumer.about.channel == channel
    }
}

const FIELDS: &[Field<Item>] = &[
    ("ack_required", |item| Some((!item.consumer.status.spec.no_ack).into())),
    ("active", |item| Some(item.consumer.status.active.into())),
    ("activity_status", |item| Some(activity(&item.consumer).into())),
    ("arguments", |item| Some(json_table::to_json(item.consumer.about.arguments.as_table()))),
    ("channel_details", |item| Some(channel_details(item))),
    ("consumer_timeout", |item| Some(ack_timeout(item).into())),
    ("consumer_tag", |item| Some(item.consumer.about.tag.as_ref().into())),
    ("exclusive", |item| Some(item.consumer.status.spec.exclusive.into())),
    ("next_offset", |item| Some(item.consumer.reading?.next.into())),
    ("offset_lag", |item| Some(item.consumer.reading?.lag.into())),
    ("prefetch_count", |item| Some(item.consumer.status.spec.prefetch.into())),
    ("queue", |item| {
        Some(json!({ "name": item.queue.name().as_ref(), "vhost": item.queue.vhost().as_ref() }))
    }),
];

pub(crate) fn list(call: &Call) -> Outcome {
    let mut items = Vec::new();
    for vhost in call.vhosts()? {
        let mut queues = vhost.queues();
        queues.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        items.extend(queues.iter().flat_map(|queue| items_of(&call.node, queue)));
    }
    list::unpaged(call, &items, FIELDS, Space::of(call))
}

/// The consumers of a queue, for the queue to show.
pub(crate) fn of_queue(node: &Arc<Node>, queue: &Arc<SharedQueue>) -> Value {
    items_of(node, queue).iter().map(to_json).collect()
}

/// A consumer as an object.
pub(crate) fn to_json(item: &Item) -> Value {
    let fields = FIELDS.iter().filter_map(|(name, get)| Some(((*name).to_owned(), get(item)?)));
    Value::Object(fields.collect())
}

/// The consumers of a queue.
pub(crate) fn items_of(node: &Arc<Node>, queue: &Arc<SharedQueue>) -> Vec<Item> {
    let consumers = queue.consumers().into_iter();
    let items = consumers.map(|consumer| Item {
        node: Arc::clone(node),
        queue: Arc::clone(queue),
        connection: node.broker.connections().get(consumer.about.session),
        consumer,
    });
    items.collect()
}

/// Whether the queue gives it messages.
fn activity(consumer: &QueueConsumer) -> &'static str {
    match (consumer.is_of_single_active, consumer.status.active) {
        (true, true) => "single_active",
        (true, false) => "waiting",
        (false, _) => "up",
    }
}

/// How long its deliveries may wait for their settlement, in ms; 0 for as long as it likes.
fn ack_timeout(item: &Item) -> u64 {
    let own = item.consumer.about.arguments.as_table().get("x-consumer-timeout");
    let own = own.and_then(|own| own.as_integer()).and_then(|own| u64::try_from(own).ok());
    let of_others = || {
        let of_queue = item.queue.consumer_timeout();
        let timeout = of_queue.or(item.node.config().amqp.consumer_timeout).unwrap_or_default();
        u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
    };
    own.unwrap_or_else(of_others)
}

/// An empty list for a connection that is just going.
fn channel_details(item: &Item) -> Value {
    let Some(connection) = &item.connection else { return json!([]) };
    let (about, number) = (connection.about(), item.consumer.about.channel);
    json!({
        "connection_name": about.name.as_ref(),
        "name": connection.channel_name(number),
        "node": item.node.name,
        "number": number,
        "peer_host": about.peer.ip().to_string(),
        "peer_port": about.peer.port(),
        "user": about.user.as_ref(),
    })
}
