//! Prometheus metrics, under RabbitMQ's names, so that its dashboards and alerts work.
//!
//! Written straight from the counters at each scrape: summed up (`/metrics`), by object
//! (`/metrics/per-object`), or the families and vhosts a request names (`/metrics/detailed`).

mod exposition;
mod global;
mod node;
mod objects;

use std::sync::Arc;

use leveret_broker::Vhost;

use self::exposition::Exposition;
use crate::answer::{Answer, FREE, Outcome};
use crate::call::Call;
use crate::client::Peer;
use crate::room::Room;
use crate::shared_readings::SharedReadings;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// What each kind of page says at the moment. Every queue is looked at for them, and they may need no login.
#[derive(Default)]
pub(crate) struct Pages {
    sums: SharedReadings<(), Page>,
    objects: SharedReadings<(), Page>,
    details: SharedReadings<Details, Page>,
}

type Page = Arc<String>;

/// The families that a request names, by object, in the vhosts it names; in all if it names none.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Details {
    families: Vec<String>,
    vhosts: Vec<String>,
}

/// Everything, summed up.
pub(crate) fn aggregated(call: &Call) -> Outcome {
    let page = call.node.metrics.sums.get(&(), || {
        let mut out = Exposition::new("rabbitmq_");
        node::write(call, "aggregated", &mut out);
        objects::write_sums(call, &mut out);
        global::write(call, &mut out);
        out.finish().into()
    });
    answer(call, page)
}

/// Everything, by object.
pub(crate) fn per_object(call: &Call) -> Outcome {
    let page = call.node.metrics.objects.get(&(), || {
        let mut out = Exposition::new("rabbitmq_");
        node::write(call, "per_object", &mut out);
        let vhosts = call.broker().vhosts();
        objects::write_families(call, &vhosts, |_| true, &mut out);
        global::write(call, &mut out);
        out.finish().into()
    });
    answer(call, page)
}

/// The families that the request names, by object, in the vhosts it names.
pub(crate) fn detailed(call: &Call) -> Outcome {
    let details =
        Details { families: parameters(call, "family"), vhosts: parameters(call, "vhost") };
    answer(call, call.node.metrics.details.get(&details, || details.page(call).into()))
}

impl Details {
    fn page(&self, call: &Call) -> String {
        let mut out = Exposition::new("rabbitmq_detailed_");
        let wanted: Vec<&str> = self.families.iter().map(String::as_str).collect();
        let mut vhosts: Vec<Arc<Vhost>> = call.broker().vhosts();
        let is_named = |vhost: &Vhost| self.vhosts.iter().any(|name| **name == **vhost.name());
        vhosts.retain(|vhost| self.vhosts.is_empty() || is_named(vhost));
        node::write_families(call, &wanted, &mut out);
        objects::write_families(call, &vhosts, |name| wanted.contains(&name), &mut out);
        objects::write_cluster(&wanted, &vhosts, &mut out);
        node::write_identity(call, "detailed", &mut out);
        out.finish()
    }
}

/// What the memory goes to; all of it is the process's.
pub(crate) fn memory(call: &Call) -> Outcome {
    let mut out = Exposition::new("rabbitmq_");
    node::write_memory(&mut out);
    node::write_identity(call, "memory_breakdown", &mut out);
    Ok(Answer::text(CONTENT_TYPE, out.finish()))
}

/// A page to one of those who share it. What is copied for each takes room before it is there.
fn answer(call: &Call, page: Page) -> Outcome {
    let mut room = Room::of(&call.node.budgets.requests);
    if matches!(call.peer, Peer::Client(_)) && page.len() >= FREE {
        room.claim(page.len() as u64)?;
    }
    Ok(Answer::text(CONTENT_TYPE, Arc::unwrap_or_clone(page)).within(room))
}

/// All values of a parameter of the query, each once and in one order.
fn parameters(call: &Call, name: &str) -> Vec<String> {
    let named = call.query.iter().filter(|(own, _)| own == name);
    let mut values: Vec<String> = named.map(|(_, value)| value.clone()).collect();
    values.sort_unstable();
    values.dedup();
    values
}
