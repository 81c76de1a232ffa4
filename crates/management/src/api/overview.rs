//! `/api/overview`, and what says who and what is here.

use std::sync::Arc;

use leveret_broker::access::{Principal, Rights};
use leveret_broker::{ChannelTotals, ChurnTotals};
use serde_json::{Value, json};

use super::connections;
use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::list::{self, Field};
use crate::login;
use crate::message_stats::{self, ASIDE, Names, OF_CHANNEL, READY, UNACKED, details};
use crate::rates::{Key, PerSecond, Values};
use crate::sampler::{self, Lengths};

const FIELDS: &[Field<Call>] = &[
    ("churn_rates", |call| Some(churn_rates(call))),
    ("cluster_name", |call| Some(call.node.cluster_name().into())),
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
    ("listeners", |call| monitored(call, listeners)),
    ("management_version", |call| Some(call.node.version().into())),
    ("message_stats", message_stats),
    ("node", |call| Some(call.node.name.as_str().into())),
    ("node_tags", |_| Some(json!({}))),
    ("object_totals", |call| object_totals(call).ok()),
    ("product_name", |call| Some(call.node.product().into())),
    ("product_version", |call| Some(call.node.version().into())),
    ("queue_totals", queue_totals),
    ("rabbitmq_version", |call| Some(call.node.version().into())),
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
    Ok(list::object(call, call, FIELDS))
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

/// What only those see who monitor.
fn monitored(call: &Call, get: fn(&Call) -> Value) -> Option<Value> {
    let is_monitor = call.user().is_ok_and(|user| login::is_monitor(user));
    is_monitor.then(|| get(call))
}

/// What the channels of the vhosts that the user sees have counted.
fn message_stats(call: &Call) -> Option<Value> {
    let mut totals = ChannelTotals::default();
    let mut rates = PerSecond::default();
    for vhost in call.vhosts().ok()? {
        totals.add(&sampler::vhost_totals(call.broker(), &vhost));
        rates.add(&call.node.rates.of(&Key::Vhost(Arc::clone(vhost.name()))));
    }
    message_stats::to_json(OF_CHANNEL, &message_stats::of_channels(&totals), &rates)
}

fn queue_totals(call: &Call) -> Option<Value> {
    let (mut lengths, mut rates) = (Lengths::default(), PerSecond::default());
    for vhost in call.vhosts().ok()? {
        lengths.add(Lengths::of(&vhost));
        rates.add(&call.node.rates.of(&Key::Vhost(Arc::clone(vhost.name()))));
    }
    Some(json!({
        "messages": lengths.sum(),
        "messages_details": details(rates.sum(&[READY, UNACKED, ASIDE])),
        "messages_ready": lengths.ready,
        "messages_ready_details": details(rates.at(READY)),
        "messages_unacknowledged": lengths.unacked,
        "messages_unacknowledged_details": details(rates.at(UNACKED)),
    }))
}

fn object_totals(call: &Call) -> Result<Value, Failure> {
    let (mut consumers, mut exchanges, mut queues) = (0, 0, 0);
    for vhost in call.vhosts()? {
        let all = vhost.queues();
        queues += all.len();
        consumers += all.iter().map(|queue| queue.counts().consumers).sum::<usize>();
        // With the default exchange.
        exchanges += 1 + vhost.topology(|topology| topology.exchanges().count());
    }
    let connections = connections::visible(call)?;
    Ok(json!({
        "channels": connections.iter().map(|one| one.channel_count()).sum::<usize>(),
        "connections": connections.len(),
        "consumers": consumers,
        "exchanges": exchanges,
        "queues": queues,
    }))
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

fn churn_rates(call: &Call) -> Value {
    let values = churn_reading(&call.broker().churn());
    let rates = call.node.rates.of(&Key::Node);
    message_stats::all_to_json(CHURN, &values, &rates)
}

fn listeners(call: &Call) -> Value {
    let node = &call.node;
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
