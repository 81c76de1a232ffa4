//! `/api/leveret/map`: how messages come to some of a vhost's queues. RabbitMQ has no such endpoint.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ahash::HashSet;
use leveret_broker::SharedQueue;
use leveret_engine::{BindingRef, DestinationName, Topology};
use serde_json::{Value, json};

use super::{bindings, exchanges, queues};
use crate::answer::{Answer, Outcome};
use crate::call::Call;
use crate::json_table;

/// Queues, and exchanges, that are shown at most: more would be a picture of nothing.
const SHOWN: usize = 100;
/// Bindings between the same two ends that are told one by one.
const TOLD: usize = 10;

/// The first queues by name, of those whose name contains the parameter `name`, and from there
/// backwards the exchanges by which messages come to them.
///
/// # Errors
/// 404 for a vhost that is not there.
pub(crate) fn show(call: &Call) -> Outcome {
    let vhost = call.vhost()?;
    let mut found = vhost.queues();
    let queues_total = found.len();
    let part = call.parameter("name").unwrap_or_default().to_lowercase();
    found.retain(|queue| queue.name().to_lowercase().contains(&part));
    let by_name =
        |a: &Arc<SharedQueue>, b: &Arc<SharedQueue>| -> Ordering { a.name().cmp(b.name()) };
    if SHOWN < found.len() {
        found.select_nth_unstable_by(SHOWN, by_name);
        found.truncate(SHOWN);
    }
    found.sort_unstable_by(by_name);
    let names: Vec<&str> = found.iter().map(|queue| queue.name().as_ref()).collect();
    let (sources, links, exchanges_total) = vhost.topology(|topology| {
        let Traced { exchanges, links } = Traced::back_from(&names, topology);
        let links: Vec<Value> = links.iter().map(|(ends, link)| link.to_json(ends)).collect();
        let exchanges: Vec<String> = exchanges.into_iter().map(str::to_owned).collect();
        // With the default exchange, which reaches every queue and is not shown.
        (exchanges, links, 1 + topology.exchanges().count())
    });
    Ok(Answer::json(&json!({
        "queues": queues::on_map(call, &found),
        "queues_total": queues_total,
        "exchanges": exchanges::on_map(call, &vhost, &sources),
        "exchanges_total": exchanges_total,
        "links": links,
    })))
}

/// What leads to some queues.
#[derive(Default)]
struct Traced<'t> {
    /// Sorted by name.
    exchanges: Vec<&'t str>,
    links: BTreeMap<Ends<'t>, Link<'t>>,
}

/// From which exchange to which exchange or queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ends<'t> {
    source: &'t str,
    is_to_queue: bool,
    destination: &'t str,
}

/// The bindings between two ends.
#[derive(Default)]
struct Link<'t> {
    count: usize,
    told: Vec<BindingRef<'t>>,
}

impl<'t> Traced<'t> {
    fn back_from(queues: &[&str], topology: &'t Topology) -> Self {
        let mut traced = Self::default();
        let mut known = HashSet::default();
        for queue in queues {
            for binding in topology.bindings_to_queue(queue) {
                traced.add(binding, &mut known);
            }
        }
        // Exchanges that are found on the way are at the end, and are looked at in their turn.
        let mut ahead: VecDeque<&'t str> = traced.exchanges.iter().copied().collect();
        while let Some(exchange) = ahead.pop_front() {
            for binding in topology.bindings_to_exchange(exchange) {
                if traced.add(binding, &mut known) {
                    ahead.push_back(binding.source);
                }
            }
        }
        traced.exchanges.sort_unstable();
        traced
    }

    /// Adds a binding if there is room for its source; tells whether that is a new one.
    fn add(&mut self, binding: BindingRef<'t>, known: &mut HashSet<&'t str>) -> bool {
        let is_new = !known.contains(binding.source);
        if is_new {
            if self.exchanges.len() == SHOWN {
                return false;
            }
            known.insert(binding.source);
            self.exchanges.push(binding.source);
        }
        let (is_to_queue, destination) = match binding.destination {
            DestinationName::Queue(name) => (true, name),
            DestinationName::Exchange(name) => (false, name),
        };
        let link = self
            .links
            .entry(Ends { source: binding.source, is_to_queue, destination })
            .or_default();
        link.count += 1;
        if link.told.len() < TOLD {
            link.told.push(binding);
        }
        is_new
    }
}

impl Link<'_> {
    fn to_json(&self, ends: &Ends<'_>) -> Value {
        let told = self.told.iter().map(|binding| {
            json!({
                "routing_key": binding.key,
                "arguments": json_table::to_json(binding.arguments.as_table()),
            })
        });
        json!({
            "source": ends.source,
            "destination": ends.destination,
            "destination_type": bindings::destination_type(ends.is_to_queue),
            "bindings": told.collect::<Value>(),
            "bindings_total": self.count,
        })
    }
}
