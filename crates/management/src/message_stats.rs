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
    has_counted(names, values).then(|| all_to_json(names, values, rates))
}

fn has_counted(names: Names, values: &Values) -> bool {
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    names.iter().any(|(_, index)| at(*index) != 0)
}

/// One of the numbers in `message_stats`.
pub(crate) struct Number {
    /// The places that are added up.
    places: Vec<usize>,
    is_rate: bool,
}

/// The number that a path into `message_stats` leads to: `publish`, `publish_details.rate`.
pub(crate) fn number(names: Names, path: &str) -> Option<Number> {
    let (name, is_rate) = match path.strip_suffix("_details.rate") {
        Some(name) => (name, true),
        None => (path, false),
    };
    let places = match names.iter().find(|(it, _)| *it == name) {
        Some((_, place)) => vec![*place],
        None if name == "deliver_get" && has_deliveries(names) => DELIVER_GET.to_vec(),
        None => return None,
    };
    Some(Number { places, is_rate })
}

impl Number {
    /// What it is with these totals and rates; `None` where nothing was ever counted.
    pub(crate) fn of(
        &self,
        names: Names,
        values: &Values,
        rates: impl FnOnce() -> PerSecond,
    ) -> Option<Value> {
        if !has_counted(names, values) {
            return None;
        }
        if self.is_rate {
            return Some(rates().sum(&self.places).into());
        }
        let at = |place: &usize| values.get(*place).copied().unwrap_or_default();
        Some(self.places.iter().map(at).sum::<u64>().into())
    }
}

fn has_deliveries(names: Names) -> bool {
    names.iter().any(|(name, _)| *name == "deliver")
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
    if has_deliveries(names) {
        put("deliver_get", DELIVER_GET.map(at).iter().sum(), rates.sum(&DELIVER_GET));
    }
    Value::Object(all)
}

/// What stands beside a number that changes.
pub(crate) fn details(rate: f64) -> Value {
    json!({ "rate": rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a path names directly is what stands there in the object.
    #[test]
    fn a_number_is_what_its_path_leads_to() {
        let mut values = Values::default();
        for (index, value) in (1..).zip(&mut values) {
            *value = index;
        }
        let mut rates = PerSecond::default();
        rates.add(&PerSecond::of([0.5; 16]));
        for names in [OF_QUEUE, OF_CHANNEL] {
            let object = all_to_json(names, &values, &rates);
            for (name, expected) in object.as_object().unwrap() {
                let (path, expected) = match expected.get("rate") {
                    Some(rate) => (format!("{name}.rate"), rate),
                    None => (name.clone(), expected),
                };
                let number = number(names, &path).expect(&path);
                assert_eq!(number.of(names, &values, || rates).as_ref(), Some(expected), "{path}");
                assert_eq!(number.of(names, &Values::default(), || rates), None);
            }
        }
        for none in ["", "publish_details", "confirm", "rate", "publish.rate"] {
            assert!(number(OF_QUEUE, none).is_none(), "{none}");
        }
    }
}
