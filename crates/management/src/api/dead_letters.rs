//! `/api/leveret/dead-letters` and `/api/leveret/replays`: where messages are that have died, and their way
//! back. RabbitMQ has no such endpoints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use leveret_broker::{Browsed, SharedQueue};
use leveret_codec::{Properties, TableLimits};
use serde_json::{Map, Value, json};

use super::queues;
use crate::answer::{Answer, Failure, Outcome};
use crate::call::{Call, flag};
use crate::json_table;
use crate::login;
use crate::looked_through::Sorted;
use crate::message_filter::{self, Filter, deaths};
use crate::replay::{Order, Replay, Target, Wanted, plan};
use crate::text_search::TextSearch;

/// Messages in front of a queue that say whether it has dead letters.
const LOOKED_AT: usize = 10;
const LOOKED_AT_BYTES: u64 = 1 << 20;
/// How long queues are looked through for one answer, and how many are in any case. Of a queue whose
/// messages are on disk it takes a tenth of a millisecond and more.
const LOOKING: Duration = Duration::from_millis(100);
const QUEUES_AT_ONCE: usize = 256;
/// Queues that are listed.
const QUEUES_MAX: usize = 1000;
/// Messages a second, unless the request says otherwise, and at most.
const RATE: u32 = 100;
const RATE_MAX: u32 = 100_000;
/// Messages that a replay names.
const IDS_MAX: usize = 10_000;

/// The queues that have dead letters in front, of those the user may read. Queues that have changed
/// are looked through for a moment only; the answer says how many are left for the next request.
///
/// # Errors
/// 404 for a vhost that is not there.
pub(crate) fn list(call: &Call) -> Outcome {
    let looked_through = &call.node.looked_through;
    let begun = Instant::now();
    let (mut found, mut looked_at, mut left) = (Vec::new(), 0_usize, 0);
    for vhost in call.vhosts()? {
        // One that sees the vhost for its tag may have no permission there.
        let Ok(mut session) = call.session_in(vhost.name()) else { continue };
        let Sorted { with: mut here, unknown } = looked_through.sort(vhost.queues());
        here.retain(|(queue, _)| session.may_consume(queue) == Some(true));
        let mut noted = Vec::new();
        let mut unknown = unknown.into_iter();
        for (queue, state) in unknown.by_ref() {
            // What the user may not read has not been looked through.
            let browsed = session.browse(queue.name(), 0, LOOKED_AT, LOOKED_AT_BYTES);
            if let Ok(browsed) = browsed {
                let shown = dead_letters(&queue, &browsed).map(Arc::new);
                noted.push((queue.id(), state, shown.clone()));
                here.extend(shown.map(|shown| (queue, shown)));
            }
            looked_at += 1;
            if looked_at >= QUEUES_AT_ONCE && begun.elapsed() > LOOKING {
                break;
            }
        }
        looked_through.note(noted, call.broker());
        left += unknown.len();
        found.extend(first(here, QUEUES_MAX - found.len()));
    }
    Ok(Answer::json(&found.into_iter().map(Arc::unwrap_or_clone).collect()).with_left(left))
}

/// What is shown of those whose names are first, at most so many, in their order.
fn first(
    mut queues: Vec<(Arc<SharedQueue>, Arc<Value>)>,
    most: usize,
) -> impl Iterator<Item = Arc<Value>> {
    if most < queues.len() {
        queues.select_nth_unstable_by(most, |(a, _), (b, _)| a.name().cmp(b.name()));
        queues.truncate(most);
    }
    queues.sort_unstable_by(|(a, _), (b, _)| a.name().cmp(b.name()));
    queues.into_iter().map(|(_, shown)| shown)
}

fn dead_letters(queue: &SharedQueue, browsed: &Browsed) -> Option<Value> {
    let first = browsed.messages.iter().find_map(|(_, entry)| {
        let properties = Properties::parse(entry.message.properties(), &TableLimits::ACCEPTED);
        let death = deaths(&entry.message, &properties.ok()?).next().map(json_table::to_json)?;
        Some((death, entry.message.timestamp().0))
    });
    let (death, arrived_at) = first?;
    Some(json!({
        "vhost": queue.vhost().as_ref(),
        "queue": queue.name().as_ref(),
        "type": queue.queue_type().as_str(),
        "messages": browsed.end - browsed.first,
        "first_death": death,
        "first_arrived_at": arrived_at,
    }))
}

/// Begins a replay, or says what it would do.
///
/// # Errors
/// 400 for a body that says something else, 404 for a queue that is not there, 400 while too many
/// replays are running.
pub(crate) fn replay(call: &Call) -> Outcome {
    let body = call.object()?;
    queues::named(call)?;
    let (order, wanted) = (order(call, &body)?, wanted(&body)?);
    if flag(&body, "dry_run", false)? {
        return Ok(Answer::json(&plan(call, &order, &wanted)?));
    }
    // What the user may not is said at once.
    call.session()?.browse(&order.queue, 0, 0, 0)?;
    let (node, principal) = (&call.node, call.principal()?.clone());
    let actor = Arc::clone(&call.actor);
    let replay = node.replays.start(node, principal, actor, order, wanted.into(), call.now)?;
    Ok(Answer::created_with(&replay.to_json(), format!("/api/leveret/replays/{}", replay.id())))
}

fn order(call: &Call, body: &Map<String, Value>) -> Result<Order, Failure> {
    let rate = match body.get("rate") {
        None | Some(Value::Null) => RATE,
        Some(rate) => {
            let rate = rate.as_u64().and_then(|rate| u32::try_from(rate).ok());
            rate.filter(|rate| (1..=RATE_MAX).contains(rate)).ok_or_else(|| {
                Failure::bad_request(format!("rate should be a number from 1 to {RATE_MAX}"))
            })?
        }
    };
    let target = match text(body, "to")?.as_deref() {
        None | Some("exchange") => Target::Exchange,
        Some("queue") => Target::Queue,
        Some(_) => return Err(Failure::bad_request("to should be exchange or queue")),
    };
    let (vhost, queue) = (call.part("vhost").to_owned(), call.part("queue").to_owned());
    Ok(Order { vhost, queue, target, rate })
}

fn wanted(body: &Map<String, Value>) -> Result<Wanted, Failure> {
    let ids = match body.get("ids") {
        None | Some(Value::Null) => None,
        Some(Value::Array(ids)) if ids.len() > IDS_MAX => {
            return Err(Failure::bad_request(format!("ids should be {IDS_MAX} at most")));
        }
        Some(Value::Array(ids)) => {
            let ids: Option<_> = ids.iter().map(Value::as_u64).collect();
            Some(ids.ok_or_else(|| Failure::bad_request("ids should be numbers"))?)
        }
        Some(_) => return Err(Failure::bad_request("ids should be a list")),
    };
    let filter = Filter {
        contains: text(body, "contains")?.as_deref().map(TextSearch::new),
        is_dead: true,
        reason: text(body, "reason")?,
        died_in: text(body, "died_in")?,
    };
    Ok(Wanted { filter, ids })
}

fn text(body: &Map<String, Value>, key: &str) -> Result<Option<String>, Failure> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => message_filter::text(key, text),
        Some(_) => Err(Failure::bad_request(format!("{key} should be a string"))),
    }
}

/// # Errors
/// 401 where nobody has logged in.
pub(crate) fn replays(call: &Call) -> Outcome {
    let user = call.user()?;
    let all = call.node.replays.all();
    let theirs = all.iter().filter(|one| one.is_of(user) || login::is_administrator(user));
    Ok(Answer::json(&theirs.map(|replay| replay.to_json()).collect()))
}

/// # Errors
/// 404 for a replay that is not there, or not the user's.
pub(crate) fn show_replay(call: &Call) -> Outcome {
    Ok(Answer::json(&named(call)?.to_json()))
}

/// # Errors
/// As [`show_replay`].
pub(crate) fn cancel_replay(call: &Call) -> Outcome {
    named(call)?.cancel();
    Ok(Answer::done())
}

fn named(call: &Call) -> Result<Arc<Replay>, Failure> {
    let user = call.user()?;
    let id = call.part("id").parse().map_err(|_| Failure::NotFound)?;
    let replay = call.node.replays.get(id).ok_or(Failure::NotFound)?;
    let is_theirs = replay.is_of(user) || login::is_administrator(user);
    is_theirs.then_some(replay).ok_or(Failure::NotFound)
}
