//! What a replay would do.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use leveret_broker::{Vhost, published_keys, refusal};
use leveret_codec::{Properties, TableLimits};
use leveret_engine::{Millis, QueueId, Routable, RouteSet, TooManySteps};
use serde_json::{Value, json};

use super::origin::Origin;
use super::{Order, Wanted};
use crate::answer::Failure;
use crate::call::Call;

/// Messages that are looked at, and their bytes.
const LOOKED_AT_MAX: u64 = 10_000;
const LOOKED_AT_BYTES_MAX: usize = 64 << 20;
const AT_ONCE: usize = 256;
const AT_ONCE_BYTES: u64 = 4 << 20;
/// Ways that are told of, those of the most messages.
const WAYS_MAX: usize = 100;

/// Where messages would go that have their exchange, key and queues in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    exchange: String,
    routing_key: String,
    queues: Vec<QueueId>,
    is_missing: bool,
}

/// Looks at the queue's messages and says where those would go that are meant. Nothing is moved.
///
/// # Errors
/// What the session says.
pub(crate) fn plan(call: &Call, order: &Order, wanted: &Wanted) -> Result<Value, Failure> {
    let mut session = call.session()?;
    let vhost = call.vhost()?;
    let (mut ways, mut routes) = (BTreeMap::<Way, u64>::new(), RouteSet::new());
    let (mut position, mut end, mut looked_at, mut bytes) = (0, 0, 0, 0);
    'looking: while looked_at < LOOKED_AT_MAX && bytes < LOOKED_AT_BYTES_MAX {
        let browsed = session.browse(&order.queue, position, AT_ONCE, AT_ONCE_BYTES)?;
        end = browsed.end;
        if browsed.next <= position {
            break;
        }
        for (at, entry) in browsed.messages {
            // It may have far to go, and the broker waits for it when it stops.
            if call.node.stop.is_cancelled() {
                position = at;
                break 'looking;
            }
            looked_at += 1;
            bytes += entry.message.head_len() + entry.message.size();
            let properties = Properties::parse(entry.message.properties(), &TableLimits::ACCEPTED);
            let properties = properties.unwrap_or_default();
            if !wanted.names(entry.lsn.0) || !wanted.filter.matches(&entry.message, &properties) {
                continue;
            }
            let Some(origin) = Origin::of(&entry.message, &properties, order.target) else {
                continue;
            };
            // Without one it stays.
            let Some(way) = way(&vhost, origin, call.now, &mut routes)? else { continue };
            // What is noted of it stays in memory with what has been looked at.
            if !ways.contains_key(&way) {
                bytes += size_of_val(&*way.queues);
            }
            *ways.entry(way).or_default() += 1;
        }
        position = browsed.next;
    }
    let messages: u64 = ways.values().sum();
    let ways_total = ways.len();
    let mut ways: Vec<(Way, u64)> = ways.into_iter().collect();
    ways.sort_by_key(|(_, messages)| std::cmp::Reverse(*messages));
    ways.truncate(WAYS_MAX);
    let names = names(&vhost, ways.iter().flat_map(|(way, _)| &way.queues));
    let ways = ways.into_iter().map(|(way, messages)| {
        let queues = way.queues.iter().filter_map(|id| names.get(id));
        json!({
            "exchange": way.exchange,
            "routing_key": way.routing_key,
            "queues": queues.map(|name| &**name).collect::<Vec<&str>>(),
            "exchange_is_missing": way.is_missing,
            "messages": messages,
        })
    });
    Ok(json!({
        "messages": messages,
        "looked_at": looked_at,
        "is_whole": position >= end,
        "ways": ways.collect::<Value>(),
        "ways_total": ways_total,
    }))
}

fn way(
    vhost: &Vhost,
    origin: Origin,
    now: Millis,
    routes: &mut RouteSet,
) -> Result<Option<Way>, Failure> {
    let Origin { exchange, routing_key, properties } = origin;
    let properties = Properties::parse(&properties, &TableLimits::ACCEPTED)?;
    // No client could have published it.
    let Ok(keys) = published_keys(&routing_key, &properties) else { return Ok(None) };
    let is_missing: Result<bool, TooManySteps> = vhost.topology(|topology| {
        let message = Routable { keys: &keys, properties: &properties, drawn: now.0 };
        topology.route(&exchange, message, routes)?;
        Ok(!exchange.is_empty() && topology.exchange(&exchange).is_none())
    });
    let is_missing =
        is_missing.map_err(|many| refusal::routing_steps(&exchange, vhost.name(), many))?;
    drop(keys);
    let queues = routes.as_slice().to_vec();
    Ok(Some(Way { exchange, routing_key, queues, is_missing }))
}

/// The names of these queues. What an exchange keeps messages in has none.
fn names<'a>(
    vhost: &Vhost,
    queues: impl Iterator<Item = &'a QueueId>,
) -> HashMap<QueueId, Arc<str>> {
    let wanted: HashSet<&QueueId> = queues.collect();
    let all = vhost.queues().into_iter().map(|queue| (queue.id(), Arc::clone(queue.name())));
    all.filter(|(id, _)| wanted.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::extract::Request;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use leveret_broker::{Actor, Place};

    use super::super::tests::{node, set_up};
    use super::*;
    use crate::client::Peer;
    use crate::dispatch;
    use crate::routes::ROUTES;

    #[tokio::test]
    async fn a_plan_ends_where_the_broker_stops() {
        let (server, node) = node().await;
        set_up(&node, &Arc::new(Actor::at(Place::ControlSocket)), 3);
        let router = TowerToHyperService::new(dispatch::router(&node, &[ROUTES]));
        let plan = async || {
            let order = json!({ "to": "queue", "dry_run": true }).to_string();
            let request = Request::post("/api/leveret/replays/%2F/dead").extension(Peer::Operator);
            let answer = router.call(request.body(Body::from(order)).unwrap()).await.unwrap();
            let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            serde_json::from_slice::<Value>(&body).unwrap()
        };
        let whole = plan().await;
        assert_eq!((&whole["looked_at"], &whole["is_whole"]), (&json!(3), &json!(true)));
        assert_eq!(
            (&whole["messages"], &whole["ways"][0]["queues"]),
            (&json!(3), &json!(["orders"]))
        );
        node.stop.cancel();
        let begun = plan().await;
        assert_eq!((&begun["looked_at"], &begun["is_whole"]), (&json!(0), &json!(false)));
        server.stop().await;
    }
}
