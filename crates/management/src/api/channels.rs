//! `/api/channels`.

use std::cell::OnceCell;
use std::sync::Arc;

use leveret_broker::{ChannelMode, OpenChannel, OpenConnection};
use serde_json::{Value, json};

use super::{connections, consumers};
use crate::answer::{Failure, Outcome};
use crate::call::Call;
use crate::list::{self, Field};
use crate::login::is_monitor;
use crate::message_stats::{self, OF_CHANNEL, details};
use crate::node::Node;
use crate::rates::{Key, PerSecond};

/// A channel as it is listed.
struct Item {
    node: Arc<Node>,
    connection: Arc<OpenConnection>,
    channel: Arc<OpenChannel>,
    rates: OnceCell<PerSecond>,
}

impl Item {
    fn rates(&self) -> &PerSecond {
        let key = || Key::Channel(self.connection.id(), self.channel.number());
        self.rates.get_or_init(|| self.node.rates.of(&key()))
    }
}

const FIELDS: &[Field<Item>] = &[
    ("acks_uncommitted", |item| Some(item.channel.uncommitted_acks.get().into())),
    ("confirm", |item| Some((item.channel.mode() == ChannelMode::Confirm).into())),
    ("connection_details", |item| {
        let about = item.connection.about();
        Some(json!({
            "name": about.name.as_ref(),
            "peer_host": about.peer.ip().to_string(),
            "peer_port": about.peer.port(),
        }))
    }),
    ("consumer_count", |item| Some(item.channel.consumers.get().into())),
    ("garbage_collection", |_| Some(json!({}))),
    ("global_prefetch_count", |item| Some(item.channel.shared_prefetch.get().into())),
    ("message_stats", |item| {
        let values = message_stats::of_channels(&item.channel.counters.read());
        message_stats::to_json(OF_CHANNEL, &values, item.rates())
    }),
    ("messages_unacknowledged", |item| Some(item.channel.unacknowledged.get().into())),
    ("messages_uncommitted", |item| Some(item.channel.uncommitted.get().into())),
    ("messages_unconfirmed", |item| Some(item.channel.unconfirmed.get().into())),
    ("name", |item| Some(item.connection.channel_name(item.channel.number()).into())),
    ("node", |item| Some(item.node.name.as_str().into())),
    ("number", |item| Some(item.channel.number().into())),
    ("pending_raft_commands", |_| Some(0.into())),
    ("prefetch_count", |item| Some(item.channel.prefetch.get().into())),
    ("reductions", |_| Some(0.into())),
    ("reductions_details", |_| Some(details(0.0))),
    ("state", |_| Some("running".into())),
    ("transactional", |item| Some((item.channel.mode() == ChannelMode::Transactional).into())),
    ("user", |item| Some(item.connection.about().user.as_ref().into())),
    ("user_who_performed_action", |item| Some(item.connection.about().user.as_ref().into())),
    ("vhost", |item| Some(item.connection.vhost().name().as_ref().into())),
];

/// What one channel says besides; where it publishes and what it gets from where is not counted.
const DETAILS: &[Field<Item>] = &[
    ("consumer_details", |item| Some(consumer_details(item))),
    ("deliveries", |_| Some(json!([]))),
    ("publishes", |_| Some(json!([]))),
];

pub(crate) fn list(call: &Call) -> Outcome {
    answer(call, connections::visible(call)?)
}

pub(crate) fn of_connection(call: &Call) -> Outcome {
    let user = call.user()?;
    answer(call, vec![connections::named(call, is_monitor(user))?])
}

fn answer(call: &Call, connections: Vec<Arc<OpenConnection>>) -> Outcome {
    let items = connections.into_iter().flat_map(|connection| {
        let channels = connection.channels().into_iter();
        channels.map(move |channel| item(call, Arc::clone(&connection), channel))
    });
    list::list(call, items.collect(), FIELDS)
}

pub(crate) fn show(call: &Call) -> Outcome {
    // `127.0.0.1:50298 -> 127.0.0.1:5672 (1)`
    let (connection, number) = call.part("channel").rsplit_once(" (").ok_or(Failure::NotFound)?;
    let number = number.strip_suffix(')').and_then(|number| number.parse().ok());
    let connection = call.broker().connections().find(connection).ok_or(Failure::NotFound)?;
    let user = call.user()?;
    if !is_monitor(user) && *connection.about().user != *user.name {
        return Err(Failure::Refused("User not authorised to access object".into()));
    }
    let channel = number.and_then(|number| connection.channel(number)).ok_or(Failure::NotFound)?;
    let fields: Vec<Field<Item>> = FIELDS.iter().chain(DETAILS).copied().collect();
    Ok(list::object(call, &item(call, connection, channel), &fields))
}

/// The channel's consumers, which their queues know.
fn consumer_details(item: &Item) -> Value {
    let (session, number) = (item.connection.id(), item.channel.number());
    if item.channel.consumers.get() == 0 {
        return json!([]);
    }
    let mut queues = item.connection.vhost().queues();
    queues.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    let all = queues.iter().flat_map(|queue| consumers::items_of(&item.node, queue));
    all.filter(|one| one.belongs_to(session, number)).map(|one| consumers::to_json(&one)).collect()
}

fn item(call: &Call, connection: Arc<OpenConnection>, channel: Arc<OpenChannel>) -> Item {
    Item { node: Arc::clone(&call.node), connection, channel, rates: OnceCell::new() }
}
