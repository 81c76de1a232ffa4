//! The firehose: while a vhost is traced, whatever clients publish in it or are given is published
//! once more, to [`TRACE_EXCHANGE`], with RabbitMQ's keys and headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret_codec::{
    ArrayBuf, ArrayBuilder, Properties, Table, TableBuf, TableBuilder, TableLimits, Value,
};
use leveret_engine::{Body, Entry, Message, MessageArena, Millis, NewMessage, Routable, RouteSet};
use leveret_store::Batch;
use smallvec::SmallVec;

use crate::annotations;
use crate::broker::Broker;
use crate::buckets::{self, Buckets, Origin};
use crate::direct_reply;
use crate::queue::{Purpose, SharedQueue, parsed, properties};
use crate::session::Client;
use crate::spans::Spans;
use crate::turn::Turn;
use crate::vhost::{Directory, Vhost};

/// Where it comes out. Every vhost has one, which takes no publishes of clients.
pub(crate) const TRACE_EXCHANGE: &str = "amq.rabbitmq.trace";

/// Who is told of a vhost's messages: its queues look at the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracing(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    firehose: AtomicBool,
    spans: Option<Arc<Spans>>,
}

impl Tracing {
    pub(crate) fn new(spans: Option<Arc<Spans>>) -> Self {
        Self(Arc::new(Told { firehose: AtomicBool::new(false), spans }))
    }

    /// Whether the firehose is.
    pub(crate) fn is_on(&self) -> bool {
        self.0.firehose.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, is_on: bool) {
        self.0.firehose.store(is_on, Ordering::Relaxed);
    }

    /// What follows single messages, if something does.
    pub(crate) fn spans(&self) -> Option<&Arc<Spans>> {
        self.0.spans.as_ref()
    }
}

/// A message that a client was given.
pub(crate) struct TracedDelivery {
    pub(crate) queue: Arc<SharedQueue>,
    pub(crate) entry: Entry,
    pub(crate) client: Arc<Client>,
    pub(crate) channel: u16,
}

/// Notes deliveries to a client, to be told of at the end of the turn. What comes from the firehose
/// is left out: there would be no end.
pub(crate) fn note(
    queue: &Arc<SharedQueue>,
    entries: &[Entry],
    client: &Arc<Client>,
    channel: u16,
    traced: &mut Vec<TracedDelivery>,
) {
    let entries = entries.iter().filter(|entry| entry.message.exchange() != TRACE_EXCHANGE);
    traced.extend(entries.map(|entry| TracedDelivery {
        queue: Arc::clone(queue),
        entry: entry.clone(),
        client: Arc::clone(client),
        channel,
    }));
}

/// Where something was seen, and with whom.
pub(crate) struct Tap<'a> {
    pub(crate) node: &'a str,
    pub(crate) vhost: &'a Vhost,
    pub(crate) client: &'a Client,
    pub(crate) channel: u16,
}

/// What was seen, to be published.
pub(crate) struct Sighting<'a> {
    routing_key: String,
    headers: TableBuf,
    seen: &'a Message,
}

impl Tap<'_> {
    /// A publish, and where it goes.
    pub(crate) fn publish<'m>(
        &self,
        message: &'m Message,
        queues: &[Arc<SharedQueue>],
    ) -> Sighting<'m> {
        let routed = routed_queues(message, queues);
        let headers = self.message(message, properties(message));
        let headers = self.client(headers).put("routed_queues", routed.as_array());
        Sighting {
            routing_key: format!("publish.{}", message.exchange()),
            headers: headers.build(),
            seen: message,
        }
    }

    /// A delivery, with the properties its queue gives it.
    pub(crate) fn delivery<'m>(&self, queue: &SharedQueue, entry: &'m Entry) -> Sighting<'m> {
        let mut scratch = Vec::new();
        let delivered = queue.delivered_properties(entry, &mut scratch);
        let headers = self.message(&entry.message, parsed(delivered));
        let headers = headers.put("redelivered", i32::from(entry.redelivered));
        Sighting {
            routing_key: format!("deliver.{}", queue.name),
            headers: self.client(headers).build(),
            seen: &entry.message,
        }
    }

    fn message(&self, message: &Message, properties: Properties<'_>) -> TableBuilder {
        TableBuilder::new()
            .put("exchange_name", message.exchange())
            .put("routing_keys", texts(annotations::routing_keys(message)).as_array())
            .put("properties", table_of(&properties).as_table())
            .put("node", self.node)
    }

    fn client(&self, headers: TableBuilder) -> TableBuilder {
        headers
            .put("vhost", &**self.vhost.name())
            .put("connection", &*self.client.connection)
            .put("channel", i32::from(self.channel))
            .put("user", self.client.user.name.as_str())
    }
}

impl Sighting<'_> {
    /// The message that tells of it, which is not persistent, and the queues it goes to. `None` if
    /// headers nest too deep: what was dead-lettered on from the firehose has told of itself before.
    pub(crate) fn route(
        &self,
        directory: &Directory,
        arena: &mut MessageArena,
        drawn: u64,
        now: Millis,
    ) -> Option<(Message, SmallVec<[Arc<SharedQueue>; 4]>)> {
        Table::parse(self.headers.as_table().as_bytes(), &TableLimits::ACCEPTED).ok()?;
        let properties =
            Properties { headers: Some(self.headers.as_table()), ..Properties::default() };
        let mut raw_properties = Vec::new();
        properties.encode(&mut raw_properties);
        let message = arena.make(NewMessage {
            now,
            exchange: TRACE_EXCHANGE,
            routing_key: &self.routing_key,
            properties: &properties,
            raw_properties: &raw_properties,
            annotations: &[],
            body: Body::Shared(self.seen.shared_body()),
        });
        let mut routes = RouteSet::default();
        let routable = Routable { keys: &[message.routing_key()], properties: &properties, drawn };
        directory.route(TRACE_EXCHANGE, routable, now, &mut routes).ok()?;
        let queues = routes.as_slice().iter().filter_map(|id| directory.queue_by_id(*id));
        let queues = queues.cloned().collect();
        Some((message, queues))
    }
}

impl Broker {
    /// Publishes what the turn has noted of deliveries.
    pub(crate) fn trace_deliveries(&self, turn: &mut Turn) {
        let mut records = Batch::new();
        let (mut buckets, mut arena) = (Buckets::default(), MessageArena::new());
        for TracedDelivery { queue, entry, client, channel } in std::mem::take(&mut turn.traced) {
            let Some(vhost) = self.vhost(&queue.vhost) else { continue };
            let tap = Tap { node: &self.node, vhost: &vhost, client: &client, channel };
            let sighting = tap.delivery(&queue, &entry);
            let routed = sighting.route(&vhost.directory.read(), &mut arena, entry.lsn.0, turn.now);
            let Some((message, queues)) = routed else { continue };
            buckets.add(message, &queues, Origin::default(), &mut records);
        }
        let mut first = leveret_store::Lsn(0);
        if !records.is_empty() {
            first = buckets::append(self.store(), &mut records, &mut [&mut buckets], turn).first;
        }
        buckets.enqueue(self.store(), first, turn, &mut Vec::new());
    }
}

/// The names RabbitMQ has routed a publish to: at the default exchange whatever the keys name,
/// there or not, but no client that waits for a direct reply.
fn routed_queues(message: &Message, queues: &[Arc<SharedQueue>]) -> ArrayBuf {
    if message.exchange().is_empty() {
        let mut keys = annotations::routing_keys(message);
        keys.retain(|key| !direct_reply::is_token(key));
        keys.sort_unstable();
        keys.dedup();
        return texts(keys);
    }
    let queues = queues.iter().filter(|queue| queue.purpose == Purpose::Clients);
    texts(queues.map(|queue| &*queue.name))
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> ArrayBuf {
    texts.into_iter().fold(ArrayBuilder::new(), |array, text| array.push(text)).build()
}

/// Properties as a table, in RabbitMQ's order, which is that of the wire backwards.
fn table_of(properties: &Properties<'_>) -> TableBuf {
    fn text(bytes: Option<&[u8]>) -> Option<Value<'_>> {
        bytes.map(Value::LongStr)
    }
    let number = |number: Option<u8>| number.map(|number| Value::I32(number.into()));
    // RabbitMQ has 32 bits for it.
    let time = properties.timestamp.map(|seconds| match i32::try_from(seconds) {
        Ok(seconds) => Value::I32(seconds),
        Err(_) => Value::I64(i64::try_from(seconds).unwrap_or(i64::MAX)),
    });
    let entries = [
        ("cluster_id", text(properties.cluster_id)),
        ("app_id", text(properties.app_id)),
        ("user_id", text(properties.user_id)),
        ("type", text(properties.kind)),
        ("timestamp", time),
        ("message_id", text(properties.message_id)),
        ("expiration", text(properties.expiration)),
        ("reply_to", text(properties.reply_to)),
        ("correlation_id", text(properties.correlation_id)),
        ("priority", number(properties.priority)),
        ("delivery_mode", number(properties.delivery_mode)),
        ("headers", properties.headers.map(Value::Table)),
        ("content_encoding", text(properties.content_encoding)),
        ("content_type", text(properties.content_type)),
    ];
    let present = entries.into_iter().filter_map(|(name, value)| Some((name, value?)));
    present.fold(TableBuilder::new(), |table, (name, value)| table.put(name, value)).build()
}
