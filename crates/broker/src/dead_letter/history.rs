//! What a dead message says of its deaths: the `x-death` header and its companions.
//!
//! As RabbitMQ 4.x writes them. `x-death` is an array of tables, one per queue and reason, the
//! latest death first; `x-first-death-*` stay as the first death set them, `x-last-death-*` follow
//! the latest.
//!
//! RabbitMQ's grow with each queue a message dies in, by all the keys it has. Here they have a bound, so
//! that a small message does not become a large one behind a row of queues.

use leveret_codec::{Array, ArrayBuf, ArrayBuilder, Table, TableBuf, TableBuilder, Value};
use leveret_engine::Millis;
use smallvec::SmallVec;

use super::Reason;

/// A death as its message tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event<'a> {
    /// Where it died.
    pub(super) queue: &'a str,
    pub(super) reason: Reason,
    pub(super) time: Millis,
    /// The exchange that had routed it there.
    pub(super) exchange: &'a str,
    /// The keys it was routed by, without those nobody may see.
    pub(super) routing_keys: &'a [&'a str],
    /// Its own time to live, which it loses now.
    pub(super) expiration: Option<Millis>,
}

/// Bytes of deaths beyond which those between the first and the latest don't tell their keys.
pub(super) const KEYS_BYTES: usize = 64 * 1024;
/// Deaths that are told, besides the first.
pub(super) const DEATHS_MAX: usize = 256;

const DEATHS: &str = "x-death";
const KEYS: &str = "routing-keys";
const FIRST: [&str; 3] = ["x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"];
const LAST: [&str; 3] = ["x-last-death-exchange", "x-last-death-queue", "x-last-death-reason"];

/// The headers after a death, and the deaths in them. Unless the message `has_died` before, what
/// its publisher claims of deaths is replaced.
pub(super) fn add(headers: Table<'_>, has_died: bool, event: &Event<'_>) -> (TableBuf, ArrayBuf) {
    let mut rest = TableBuilder::from_table(headers);
    let mut deaths = Array::EMPTY;
    if has_died {
        deaths = headers.get(DEATHS).and_then(|value| value.as_array()).unwrap_or_default();
    }
    for header in std::iter::once(DEATHS).chain(LAST).chain(FIRST) {
        let is_stale = !has_died || !FIRST.contains(&header);
        if is_stale && headers.get(header).is_some() {
            rest = rest.remove(header);
        }
    }
    let deaths = bounded(with(deaths, event), headers);
    rest = rest.put(DEATHS, deaths.as_array());
    let reports = if has_died { &[LAST][..] } else { &[FIRST, LAST] };
    for [exchange, queue, reason] in reports {
        rest = rest.put(exchange, event.exchange).put(queue, event.queue);
        rest = rest.put(reason, event.reason.as_str());
    }
    (rest.build_sorted(), deaths)
}

/// The queues that a message comes round to without a client's doing if it reaches them again: it died
/// there before, and was not rejected then or since. RabbitMQ drops it rather than have it run in
/// circles. If it has died so often since that not all of it can be told, these are all queues.
#[derive(Debug, Default)]
pub(super) struct Circle<'a>(SmallVec<[&'a str; 4]>);

impl<'a> Circle<'a> {
    pub(super) fn of(deaths: Array<'a>) -> Self {
        let deaths = deaths.iter().filter_map(|death| death.as_table());
        let text = |death: &Table<'a>, key| death.get(key).and_then(|value| value.as_str());
        let since =
            deaths.take_while(|death| text(death, "reason") != Some(Reason::Rejected.as_str()));
        // Both, the queues it died in and those it is routed to, may be thousands.
        let mut queues: SmallVec<_> = since.filter_map(|death| text(&death, "queue")).collect();
        queues.sort_unstable();
        Self(queues)
    }

    pub(super) fn contains(&self, queue: &str) -> bool {
        self.0.len() >= DEATHS_MAX || self.0.binary_search(&queue).is_ok()
    }
}

/// The deaths with one more in front. A death in the same queue for the same reason is counted and
/// keeps what it said of the first time.
fn with(deaths: Array<'_>, event: &Event<'_>) -> ArrayBuf {
    let same = |death: &Value<'_>| {
        let says =
            |key, value| death.as_table().and_then(|death| death.get(key)?.as_str()) == Some(value);
        says("queue", event.queue) && says("reason", event.reason.as_str())
    };
    let again = deaths.iter().find(same).and_then(|death| death.as_table()).map(|death| {
        let count = death.get("count").and_then(|count| count.as_integer()).unwrap_or_default();
        let count = i64::try_from(count).unwrap_or_default().saturating_add(1);
        TableBuilder::from_table(death).set("count", count).build()
    });
    let latest = again.unwrap_or_else(|| first(event));
    let others = deaths.iter().filter(|death| !same(death));
    let array = ArrayBuilder::new().push(latest.as_table());
    others.fold(array, |array, death| array.push(death)).build()
}

/// What is told of the deaths of a message that had these headers.
fn bounded(all: ArrayBuf, headers: Table<'_>) -> ArrayBuf {
    let deaths = all.as_array();
    let (bytes, count) = (deaths.as_bytes().len(), deaths.iter().count());
    if bytes <= KEYS_BYTES && count <= DEATHS_MAX {
        return all;
    }
    let [_, queue, reason] = FIRST.map(|header| headers.get(header));
    let is_first = |death: Value<'_>| {
        let says = |key, value| death.as_table().and_then(|death| death.get(key)) == value;
        queue.is_some() && says("queue", queue) && says("reason", reason)
    };
    let first = deaths.iter().position(is_first).unwrap_or_else(|| count.saturating_sub(1));
    let told = (0..).zip(&deaths).filter(|(at, _)| *at < DEATHS_MAX || *at == first);
    let array = told.fold(ArrayBuilder::new(), |array, (at, death)| match death.as_table() {
        Some(between) if bytes > KEYS_BYTES && at > 0 && at != first => {
            array.push(TableBuilder::from_table(between).remove(KEYS).build().as_table())
        }
        _ => array.push(death),
    });
    array.build()
}

/// An entry for the first death of its kind, fields in RabbitMQ's order.
fn first(event: &Event<'_>) -> TableBuf {
    let mut table = TableBuilder::new();
    if let Some(Millis(expiration)) = event.expiration {
        table = table.put("original-expiration", expiration.to_string().as_str());
    }
    let keys = event.routing_keys.iter();
    let keys = keys.fold(ArrayBuilder::new(), |keys, key| keys.push(*key)).build();
    table
        .put("count", 1_i64)
        .put("reason", event.reason.as_str())
        .put("queue", event.queue)
        .put("time", Value::Timestamp(event.time.0 / 1000))
        .put("exchange", event.exchange)
        .put(KEYS, keys.as_array())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The deaths after each of so many, in `q-0` and so on.
    fn die(count: usize, reason: Reason, routing_keys: &[&str]) -> Vec<ArrayBuf> {
        let mut headers = TableBuf::default();
        let one = |number| {
            let queue = format!("q-{number}");
            let (time, exchange, expiration) = (Millis(0), "x", None);
            let event = Event { queue: &queue, reason, time, exchange, routing_keys, expiration };
            let deaths;
            (headers, deaths) = add(headers.as_table(), number > 0, &event);
            deaths
        };
        (0..count).map(one).collect()
    }

    fn queues(deaths: &ArrayBuf, has_keys: bool) -> Vec<String> {
        let deaths = deaths.as_array().iter().filter_map(|death| death.as_table());
        let deaths = deaths.filter(|death| death.get(KEYS).is_some() == has_keys);
        deaths.map(|death| death.get("queue").unwrap().as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn deaths_do_not_tell_many_keys_again_and_again() {
        let keys: Vec<String> = (0..4000).map(|number| format!("key-{number}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let deaths = die(60, Reason::Expired, &keys);
        let size = |deaths: &ArrayBuf| deaths.as_array().as_bytes().len();
        let most = deaths.iter().map(size).max().unwrap();
        assert!(most <= 2 * size(&deaths[0]) + KEYS_BYTES, "{most}");
        let last = &deaths[59];
        assert_eq!(queues(last, true), ["q-59", "q-0"]);
        assert_eq!(queues(last, false).len(), 58);
        let circle = Circle::of(last.as_array());
        assert!(circle.contains("q-0") && circle.contains("q-30") && !circle.contains("q-60"));
        // Where they are few they are all told.
        assert_eq!(queues(&die(60, Reason::Expired, &["key"])[59], false), [""; 0]);
    }

    #[test]
    fn of_very_many_deaths_the_first_and_the_latest_are_told() {
        let deaths = die(3 * DEATHS_MAX, Reason::Rejected, &["key"]);
        let told = queues(deaths.last().unwrap(), true);
        let latest = (0..3 * DEATHS_MAX).rev().take(DEATHS_MAX).chain([0]);
        assert!(told.into_iter().eq(latest.map(|number| format!("q-{number}"))));
        assert!(!Circle::of(deaths.last().unwrap().as_array()).contains("other"));
    }

    /// It could come round to one that is not told any more.
    #[test]
    fn a_message_that_has_died_very_often_without_a_rejection_goes_nowhere() {
        for (before, deaths) in die(DEATHS_MAX + 2, Reason::Expired, &["key"]).iter().enumerate() {
            let circle = Circle::of(deaths.as_array());
            assert_eq!(circle.contains("other"), before + 1 >= DEATHS_MAX, "{before}");
        }
    }
}
