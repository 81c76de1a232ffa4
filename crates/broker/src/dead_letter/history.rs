//! What a dead message says of its deaths: the `x-death` header and its companions.
//!
//! As RabbitMQ 4.x writes them. `x-death` is an array of tables, one per queue and reason, the
//! latest death first; `x-first-death-*` stay as the first death set them, `x-last-death-*` follow
//! the latest.

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

const DEATHS: &str = "x-death";
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
    let deaths = with(deaths, event);
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
/// circles.
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
        self.0.binary_search(&queue).is_ok()
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
        .put("routing-keys", keys.as_array())
        .build()
}
