//! What a replay would do.

use std::collections::BTreeMap;

use leveret_broker::refusal;
use leveret_codec::{Properties, TableLimits};
use leveret_engine::{Routable, TooManySteps};
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
    queues: Vec<String>,
    is_missing: bool,
}

/// Looks at the queue's messages and says where those would go that are meant. Nothing is moved.
///
/// # Errors
/// What the session says.
pub(crate) fn plan(call: &Call, order: &Order, wanted: &Wanted) -> Result<Value, Failure> {
    let mut session = call.session()?;
    let mut ways: BTreeMap<Way, u64> = BTreeMap::new();
    let (mut position, mut end, mut looked_at, mut bytes) = (0, 0, 0, 0);
    while looked_at < LOOKED_AT_MAX && bytes < LOOKED_AT_BYTES_MAX {
        let browsed = session.browse(&order.queue, position, AT_ONCE, AT_ONCE_BYTES)?;
        end = browsed.end;
        if browsed.next <= position {
            break;
        }
        position = browsed.next;
        for (_, entry) in browsed.messages {
            looked_at += 1;
            bytes += entry.message.head_len() + entry.message.size();
            let properties = Properties::parse(entry.message.properties(), &TableLimits::ACCEPTED);
            let properties = properties.unwrap_or_default();
            if !wanted.names(entry.lsn.0) || !wanted.filter.matches(&entry.message, &properties) {
                continue;
            }
            let Some(origin) = Origin::of(&properties, order.target) else { continue };
            *ways.entry(way(call, origin)?).or_default() += 1;
        }
    }
    let messages: u64 = ways.values().sum();
    let ways_total = ways.len();
    let mut ways: Vec<(Way, u64)> = ways.into_iter().collect();
    ways.sort_by_key(|(_, messages)| std::cmp::Reverse(*messages));
    let ways = ways.into_iter().take(WAYS_MAX).map(|(way, messages)| {
        json!({
            "exchange": way.exchange,
            "routing_key": way.routing_key,
            "queues": way.queues,
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

fn way(call: &Call, origin: Origin) -> Result<Way, Failure> {
    let Origin { exchange, routing_key, properties } = origin;
    let properties = Properties::parse(&properties, &TableLimits::ACCEPTED)?;
    let vhost = call.vhost()?;
    let found: Result<(Vec<String>, bool), TooManySteps> = vhost.topology(|topology| {
        let message =
            Routable { keys: &[&*routing_key], properties: &properties, drawn: call.now.0 };
        let is_missing = !exchange.is_empty() && topology.exchange(&exchange).is_none();
        let explained = topology.explain(&exchange, message)?;
        let queues = explained.queues.iter().map(ToString::to_string).collect();
        Ok((queues, is_missing))
    });
    let (queues, is_missing) =
        found.map_err(|many| refusal::routing_steps(&exchange, vhost.name(), many))?;
    Ok(Way { exchange, routing_key, queues, is_missing })
}
