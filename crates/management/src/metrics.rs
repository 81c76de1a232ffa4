//! Prometheus metrics, under RabbitMQ's names, so that its dashboards and alerts work.
//!
//! Written straight from the counters at each scrape: summed up (`/metrics`), by object
//! (`/metrics/per-object`), or the families and vhosts a request names (`/metrics/detailed`).

mod exposition;
mod global;
mod node;
mod objects;
mod shared_page;

use std::sync::Arc;

use leveret_broker::Vhost;

use self::exposition::Exposition;
pub(crate) use self::shared_page::SharedPage;
use crate::answer::{Answer, Outcome};
use crate::call::Call;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Everything, summed up. It needs no login unless that is configured, and every queue is looked at for it.
pub(crate) fn aggregated(call: &Call) -> Outcome {
    let page = call.node.metrics.get(|| {
        let mut out = Exposition::new("rabbitmq_");
        node::write(call, "aggregated", &mut out);
        objects::write_sums(call, &mut out);
        global::write(call, &mut out);
        out.finish()
    });
    Ok(Answer::text(CONTENT_TYPE, page.to_string()))
}

/// Everything, by object.
pub(crate) fn per_object(call: &Call) -> Outcome {
    let mut out = Exposition::new("rabbitmq_");
    node::write(call, "per_object", &mut out);
    let vhosts = call.broker().vhosts();
    objects::write_families(call, &vhosts, |_| true, &mut out);
    global::write(call, &mut out);
    Ok(Answer::text(CONTENT_TYPE, out.finish()))
}

/// The families that the request names, by object, in the vhosts it names.
pub(crate) fn detailed(call: &Call) -> Outcome {
    let mut out = Exposition::new("rabbitmq_detailed_");
    let wanted: Vec<&str> = parameters(call, "family").collect();
    let names: Vec<&str> = parameters(call, "vhost").collect();
    let mut vhosts: Vec<Arc<Vhost>> = call.broker().vhosts();
    vhosts.retain(|vhost| names.is_empty() || names.contains(&vhost.name().as_ref()));
    node::write_families(call, &wanted, &mut out);
    objects::write_families(call, &vhosts, |name| wanted.contains(&name), &mut out);
    objects::write_cluster(&wanted, &vhosts, &mut out);
    node::write_identity(call, "detailed", &mut out);
    Ok(Answer::text(CONTENT_TYPE, out.finish()))
}

/// What the memory goes to; all of it is the process's.
pub(crate) fn memory(call: &Call) -> Outcome {
    let mut out = Exposition::new("rabbitmq_");
    node::write_memory(&mut out);
    node::write_identity(call, "memory_breakdown", &mut out);
    Ok(Answer::text(CONTENT_TYPE, out.finish()))
}

/// All values of a parameter of the query.
fn parameters<'a>(call: &'a Call, name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = call.query.iter().filter(move |(own, _)| own == name);
    named.map(|(_, value)| value.as_str())
}
