//! `message_stats` of queues, channels, vhosts and the node: totals and rates in RabbitMQ's names.

use leveret_broker::{ChannelTotals, QueueTotals};
use serde_json::{Map, Value, json};

use crate::rates::{PerSecond, Values};

/// Names of a reading's places; what isn't named isn't shown.
pub(crate) type Names = &'static [(&'static str, usize)];

const ACK: usize = 0;
const DELIVER: usize = 1;
const DELIVER_NO_ACK: usize = 2;
const GET: usize = 3;
const GET_EMPTY: usize = 4;
const GET_NO_ACK: usize = 5;
const PUBLISH: usize = 6;
const REDELIVER: usize = 7;
const CONFIRM: usize = 8;
const RETURN_UNROUTABLE: usize = 9;
const DROP_UNROUTABLE: usize = 10;
/// Where a reading has ready messages, if its object has any.
pub(crate) const READY: usize = 11;
/// Where a reading has unacknowledged messages.
pub(crate) const UNACKED: usize = 12;

/// Where a reading has messages that are neither.
pub(crate) const ASIDE: usize = 13;

/// What `deliver_get` adds up.
const DELIVER_GET: [usize; 4] = [DELIVER, DELIVER_NO_ACK, GET, GET_NO_ACK];

/// What a queue counts.
pub(crate) const OF_QUEUE: Names = &[
    ("ack", ACK),
    ("deliver", DELIVER),
    ("deliver_no_ack", DELIVER_NO_ACK),
    ("get", GET),
    ("get_empty", GET_EMPTY),
    ("get_no_ack", GET_NO_ACK),
    ("publish", PUBLISH),
    ("redeliver", REDELIVER),
];

/// What channels, vhosts and the node count.
pub(crate) const OF_CHANNEL: Names = &[
    ("ack", ACK),
    ("confirm", CONFIRM),
    ("deliver", DELIVER),
    ("deliver_no_ack", DELIVER_NO_ACK),
    ("drop_unroutable", DROP_UNROUTABLE),
    ("get", GET),
    ("get_empty", GET_EMPTY),
    ("get_no_ack", GET_NO_ACK),
    ("publish", PUBLISH),
    ("redeliver", REDELIVER),
    ("return_unroutable", RETURN_UNROUTABLE),
];

/// A queue's totals as a reading.
pub(crate) fn of_queue(totals: &QueueTotals) -> Values {
    let mut values = Values::default();
    let all = [
        (ACK, totals.ack),
        (DELIVER, totals.deliver),
        (DELIVER_NO_ACK, totals.deliver_no_ack),
        (GET, totals.get),
        (GET_EMPTY, totals.get_empty),
        (GET_NO_ACK, totals.get_no_ack),
        (PUBLISH, totals.publish),
        (REDELIVER, totals.redeliver),
    ];
    fill(&mut values, &all);
    values
}

/// The totals of a channel, or of many, as a reading.
pub(crate) fn of_channels(totals: &ChannelTotals) -> Values {
    let mut values = Values::default();
    let all = [
        (ACK, totals.ack),
        (CONFIRM, totals.confirm),
        (DELIVER, totals.deliver),
        (DELIVER_NO_ACK, totals.deliver_no_ack),
        (DROP_UNROUTABLE, totals.drop_unroutable),
        (GET, totals.get),
        (GET_EMPTY, totals.get_empty),
        (GET_NO_ACK, totals.get_no_ack),
        (PUBLISH, totals.publish),
        (REDELIVER, totals.redeliver),
        (RETURN_UNROUTABLE, totals.return_unroutable),
    ];
    fill(&mut values, &all);
    values
}

/// Puts numbers into their places.
pub(crate) fn fill(values: &mut Values, all: &[(usize, u64)]) {
    for (index, value) in all {
        if let Some(place) = values.get_mut(*index) {
            *place = *value;
        }
    }
}

/// Totals and rates as an object; `None` where nothing was ever counted.
pub(crate) fn to_json(names: Names, values: &Values, rates: &PerSecond) -> Option<Value> {
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    if names.iter().all(|(_, index)| at(*index) == 0) {
        return None;
    }
    Some(all_to_json(names, values, rates))
}

/// As [`to_json`], also where nothing was ever counted.
pub(crate) fn all_to_json(names: Names, values: &Values, rates: &PerSecond) -> Value {
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    let mut all = Map::new();
    let mut put = |name: &str, value: u64, rate: f64| {
        all.insert(name.to_owned(), value.into());
        all.insert(format!("{name}_details"), details(rate));
    };
    for (name, index) in names {
        put(name, at(*index), rates.at(*index));
    }
    if names.iter().any(|(name, _)| *name == "deliver") {
        put("deliver_get", DELIVER_GET.map(at).iter().sum(), rates.sum(&DELIVER_GET));
    }
    Value::Object(all)
}

/// What stands beside a number that changes.
pub(crate) fn details(rate: f64) -> Value {
    json!({ "rate": rate })
}
