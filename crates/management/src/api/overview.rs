//! `/api/overview`, and what says who and what is here.

use std::cell::OnceCell;
use std::sync::Arc;

use leveret_broker::access::{Principal, Rights};
use leveret_broker::{ChannelTotals, ChurnTotals};
use serde_json::{Value, json};

use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::list::{self, Field};
use crate::login;
use crate::message_stats::{self, ASIDE, Names, OF_CHANNEL, READY, UNACKED, details};
use crate::node::Node;
use crate::rates::{Key, PerSecond, Values};
use crate::sampler::Lengths;
use crate::shared_readings::SharedReadings;
use crate::vhost_totals::VhostTotals;

/// What is counted for overviews at the moment, by how much of it is seen: every queue is looked at for it.
pub(crate) type Overviews = SharedReadings<Sight, Totals>;

/// How much somebody sees.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sight {
    vhosts: Vec<Arc<str>>,
    /// Whose connections; everybody's for those who monitor.
    user: Option<String>,
}

/// What is seen, summed up.
#[derive(Clone, Default)]
pub(crate) struct Totals {
    of_channels: ChannelTotals,
    lengths: Lengths,
    rates: PerSecond,
    channels: usize,
    connections: usize,
    consumers: usize,
    exchanges: usize,
    queues: usize,
}

/// An overview for one request.
struct Overview {
    node: Arc<Node>,
    sight: Sight,
    totals: OnceCell<Totals>,
}

const FIELDS: &[Field<Overview>] = &[
    ("churn_rates", |own| Some(churn_rates(&own.node))),
    ("cluster_name", |own| Some(own.node.cluster_name().into())),
    ("cluster_tags", |_| Some(json!({}))),
    ("default_queue_type", |_| Some("classic".into())),
    ("disable_stats", |_| Some(false.into())),
    ("enable_queue_totals", |_| Some(false.into())),
    ("erlang_full_version", |_| {
        Some(concat!("none (Leveret ", env!("CARGO_PKG_VERSION"), ")").into())
    }),
    ("erlang_version", |_| Some("none".into())),
    ("exchange_types", |_| Some(exchange_types())),
    ("is_op_policy_updating_enabled", |_| Some(true.into())),
    ("listeners", |own| own.sight.is_everybodys().then(|| listeners(&own.node))),
    ("management_version", |own| Some(own.node.version().into())),
    ("message_stats", |own| message_stats(own.totals())),
    ("node", |own| Some(own.node.name.as_str().into())),
    ("node_tags", |_| Some(json!({}))),
    ("object_totals", |own| Some(object_totals(own.totals()))),
    ("product_name", |own| Some(own.node.product().into())),
    ("product_version", |own| Some(own.node.version().into())),
    ("queue_totals", |own| Some(queue_totals(own.totals()))),
    ("rabbitmq_version", |own| Some(own.node.version().into())),
    ("rates_mode", |_| Some("basic".into())),
    ("release_series_support_status", |_| Some("supported".into())),
    ("sample_retention_policies", |_| {
        Some(
            json!({ "global": [600, 3600, 28800, 86400], "basic": [600, 3600], "detailed": [600] }),
        )
    }),
    ("statistics_db_event_queue", |_| Some(0.into())),
];

pub(crate) fn overview(call: &Call) -> Outcome {
    let overview =
        Overview { node: Arc::clone(&call.node), sight: Sight::of(call)?, totals: OnceCell::new() };
    Ok(list::object(call, &overview, FIELDS))
}

impl Overview {
    fn totals(&self) -> &Totals {
        let Self { node, sight, totals } = self;
        totals.get_or_init(|| node.overviews.get(sight, || sight.totals(node)))
    }
}

impl Sight {
    /// That of the user.
    fn of(call: &Call) -> Result<Self, Failure> {
        let (user, vhosts) = (call.user()?, call.vhosts()?);
        let user = (!login::is_monitor(user)).then(|| user.name.clone());
        Ok(Self { vhosts: vhosts.iter().map(|vhost| Arc::clone(vhost.name())).collect(), user })
    }

    /// Whether it is that of those who monitor.
    fn is_everybodys(&self) -> bool {
        self.user.is_none()
    }

    /// What there is to see, whoever has asked.
    fn totals(&self, node: &Node) -> Totals {
        let (mut totals, of_vhosts) = (Totals::default(), VhostTotals::read(&node.broker));
        let vhosts = self.vhosts.iter().filter_map(|name| node.broker.vhost(name));
        for vhost in vhosts {
            totals.of_channels.add(&of_vhosts.of(&vhost));
            totals.rates.add(&node.rates.of(&Key::Vhost(Arc::clone(vhost.name()))));
            for queue in vhost.queues() {
                let counts = queue.counts();
                totals.consumers += counts.consumers;
                totals.lengths.add(counts.into());
                totals.queues += 1;
            }
            // With the default exchange.
            totals.exchanges += 1 + vhost.topology(|topology| topology.exchanges().count());
        }
        let mut connections = node.broker.connections().all();
        if let Some(user) = &self.user {
            connections.retain(|one| *one.about().user == **user);
        }
        totals.connections = connections.len();
        totals.channels = connections.iter().map(|one| one.channel_count()).sum();
        totals
    }
}

pub(crate) fn whoami(call: &Call) -> Outcome {
    Ok(Answer::json(&about(call.principal()?)))
}

/// What a user is told about themselves.
pub(crate) fn about(principal: &Principal) -> Value {
    let Principal { user, rights, .. } = principal;
    let is_internal = matches!(rights, Rights::Internal);
    json!({ "name": user.name, "tags": user.tags, "is_internal_user": is_internal })
}

pub(crate) fn version(call: &Call) -> Outcome {
    Ok(Answer::json(&call.node.version().into()))
}

/// Scripts of RabbitMQ's web interface; there is one.
pub(crate) fn extensions(_: &Call) -> Outcome {
    Ok(Answer::json(&json!([{ "javascript": "dispatcher.js" }])))
}

/// What the channels of the vhosts have counted.
fn message_stats(totals: &Totals) -> Option<Value> {
    let counted = message_stats::of_channels(&totals.of_channels);
    message_stats::to_json(OF_CHANNEL, &counted, &totals.rates)
}

fn queue_totals(totals: &Totals) -> Value {
    let Totals { lengths, rates, .. } = totals;
    json!({
        "messages": lengths.sum(),
        "messages_details": details(rates.sum(&[READY, UNACKED, ASIDE])),
        "messages_ready": lengths.ready,
        "messages_ready_details": details(rates.at(READY)),
        "messages_unacknowledged": lengths.unacked,
        "messages_unacknowledged_details": details(rates.at(UNACKED)),
    })
}

fn object_totals(totals: &Totals) -> Value {
    let Totals { channels, connections, consumers, exchanges, queues, .. } = totals;
    json!({
        "channels": channels,
        "connections": connections,
        "consumers": consumers,
        "exchanges": exchanges,
        "queues": queues,
    })
}

/// RabbitMQ's names for what comes and goes, and the places of a reading of it.
pub(crate) const CHURN: Names = &[
    ("channel_closed", 0),
    ("channel_created", 1),
    ("connection_closed", 2),
    ("connection_created", 3),
    ("queue_created", 4),
    ("queue_declared", 5),
    ("queue_deleted", 6),
];

/// What has come and gone, as a reading.
pub(crate) fn churn_reading(churn: &ChurnTotals) -> Values {
    let mut values = Values::default();
    let all = [
        (0, churn.channels_closed),
        (1, churn.channels_opened),
        (2, churn.connections_closed),
        (3, churn.connections_opened),
        (4, churn.queues_created),
        (5, churn.queues_declared),
        (6, churn.queues_deleted),
    ];
    message_stats::fill(&mut values, &all);
    values
}

fn churn_rates(node: &Node) -> Value {
    let values = churn_reading(&node.broker.churn());
    let rates = node.rates.of(&Key::Node);
    message_stats::all_to_json(CHURN, &values, &rates)
}

fn listeners(node: &Node) -> Value {
    let all = node.listeners.iter().map(|one| {
        json!({
            "node": node.name,
            "protocol": one.protocol,
            "ip_address": one.address.ip().to_string(),
            "port": one.address.port(),
            "socket_opts": [],
            "tls": one.tls.is_some(),
        })
    });
    all.collect()
}

/// The exchange types there are, with RabbitMQ's descriptions of its own.
pub(crate) fn exchange_types() -> Value {
    let described = [
        ("direct", "AMQP direct exchange, as per the AMQP specification"),
        ("fanout", "AMQP fanout exchange, as per the AMQP specification"),
        ("headers", "AMQP headers exchange, as per the AMQP specification"),
        ("topic", "AMQP topic exchange, as per the AMQP specification"),
        ("x-consistent-hash", "Consistent Hashing Exchange"),
        ("x-delayed-message", "Delayed Message Exchange."),
        ("x-jms-topic", "JMS selector exchange"),
        ("x-local-random", "Picks one random local binding (queue) to route via (to)."),
        ("x-message-deduplication", "Message Deduplication Exchange."),
        ("x-modulus-hash", "Modulus Hashing Exchange"),
        ("x-random", "Randomly picks a binding (queue) to route via (to)."),
        ("x-recent-history", "Recent History Exchange."),
    ];
    let all = described.into_iter().map(
        |(name, description)| json!({ "name": name, "description": description, "enabled": true }),
    );
    all.collect()
}
