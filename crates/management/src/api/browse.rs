//! `/api/leveret/messages`: what is in a queue, without taking it. RabbitMQ has no such endpoint.

use leveret_broker::Session;
use leveret_codec::{Properties, TableLimits};
use leveret_engine::Entry;
use serde_json::{Value, json};

use super::queues::{self, Encoding, payload};
use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::message_filter::{self, Filter};
use crate::properties;
use crate::room::Room;
use crate::text_search::TextSearch;

/// Messages that one request shows, unless it says how many, and at most.
const COUNT: usize = 20;
const COUNT_MAX: usize = 1000;
/// Messages that one request looks at to find those it shows, and their bytes.
const LOOKED_AT_MAX: u64 = 10_000;
const LOOKED_AT_BYTES_MAX: usize = 64 << 20;
/// Bytes that messages take in an answer.
const SHOWN_BYTES_MAX: usize = 16 << 20;
/// Messages and their bytes that are looked at at a time.
const AT_ONCE: usize = 256;
const AT_ONCE_BYTES: u64 = 4 << 20;

/// # Errors
/// 400 for parameters that are none, 404 for a queue that is not there, and what the session says.
pub(crate) fn browse(call: &Call) -> Outcome {
    queues::named(call)?;
    let mut session = call.session()?;
    let wanted = Wanted::read(call)?;
    let queue = call.part("queue");
    let found = wanted.find(&mut session, queue)?;
    let Found { messages, first, next, end, looked_at } = found;
    let counts = json!({ "first": first, "next": next, "end": end, "looked_at": looked_at });
    let counts = counts.to_string();
    let messages = messages.join(",");
    let answer = format!("{{\"messages\":[{messages}],{}", counts.trim_start_matches('{'));
    let mut room = Room::of(&call.node.budgets.requests);
    room.take(answer.capacity() as u64)?;
    Ok(Answer::bytes(answer.into_bytes()).within(room))
}

struct Wanted {
    /// From the end, if it is negative.
    offset: i64,
    count: usize,
    filter: Filter,
    encoding: Encoding,
    truncate: Option<usize>,
}

#[derive(Default)]
struct Found {
    /// Written already: as values of JSON small things take many times their bytes.
    messages: Vec<String>,
    first: u64,
    next: u64,
    end: u64,
    looked_at: u64,
}

impl Wanted {
    fn read(call: &Call) -> Result<Self, Failure> {
        let number = |name| {
            let wrong = |_| Failure::BadRequest(json!(["not_integer", name]));
            call.parameter(name).map(str::parse::<i64>).transpose().map_err(wrong)
        };
        let size = |name| {
            let wrong = |_| Failure::BadRequest(json!(["not_a_size", name]));
            call.parameter(name).map(str::parse::<usize>).transpose().map_err(wrong)
        };
        let text = |name| {
            let text = call.parameter(name).map(|text| message_filter::text(name, text));
            text.transpose().map(Option::flatten)
        };
        Ok(Self {
            offset: number("offset")?.unwrap_or_default(),
            count: size("count")?.unwrap_or(COUNT).min(COUNT_MAX),
            filter: Filter {
                contains: text("contains")?.as_deref().map(TextSearch::new),
                is_dead: call.flag("dead"),
                reason: text("reason")?,
                died_in: text("died_in")?,
            },
            encoding: call.parameter("encoding").map_or(Ok(Encoding::Auto), Encoding::parse)?,
            truncate: size("truncate")?,
        })
    }

    fn find(&self, session: &mut Session, queue: &str) -> Result<Found, Failure> {
        let ends = session.browse(queue, 0, 0, 0)?;
        let start = match u64::try_from(self.offset) {
            Ok(offset) => offset.max(ends.first),
            Err(_) => ends.end.saturating_sub(self.offset.unsigned_abs()).max(ends.first),
        };
        let mut found = Found { first: ends.first, next: start, end: ends.end, ..Found::default() };
        let (mut looked_at_bytes, mut shown_bytes) = (0, 0);
        while found.messages.len() < self.count && found.looked_at < LOOKED_AT_MAX {
            let missing = self.count - found.messages.len();
            let most = if self.filter.is_open() { missing } else { AT_ONCE };
            let browsed = session.browse(queue, found.next, most.min(AT_ONCE), AT_ONCE_BYTES)?;
            (found.first, found.end) = (browsed.first, browsed.end);
            if browsed.next <= found.next {
                break;
            }
            for (position, entry) in browsed.messages {
                found.next = position + 1;
                found.looked_at += 1;
                looked_at_bytes += entry.message.head_len() + entry.message.size();
                let Some(shown) = self.show(position, &entry) else { continue };
                let shown = shown.to_string();
                shown_bytes += shown.len();
                found.messages.push(shown);
                if found.messages.len() == self.count || shown_bytes >= SHOWN_BYTES_MAX {
                    return Ok(found);
                }
            }
            found.next = browsed.next;
            if looked_at_bytes >= LOOKED_AT_BYTES_MAX {
                break;
            }
        }
        Ok(found)
    }

    /// A message, if it is one of those meant.
    fn show(&self, position: u64, entry: &Entry) -> Option<Value> {
        let message = &entry.message;
        let properties = Properties::parse(message.properties(), &TableLimits::ACCEPTED);
        let properties = properties.unwrap_or_default();
        if !self.filter.matches(message, &properties) {
            return None;
        }
        let (payload, encoding) = payload(message.body(), self.encoding, self.truncate);
        Some(json!({
            "position": position,
            "id": entry.lsn.0,
            "exchange": message.exchange(),
            "routing_key": message.routing_key(),
            "redelivered": entry.redelivered,
            "delivery_count": entry.deliveries,
            "arrived_at": message.timestamp().0,
            "expires_at": entry.deadline.map(|deadline| deadline.0),
            "properties": properties::to_json(&properties),
            "payload_bytes": message.size(),
            "payload": payload,
            "payload_encoding": encoding,
        }))
    }
}
