//! `/api/queues`, getting messages and purging included.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leveret_broker::{
    DeclareQueue, DeleteIf, Fetched, QueueCounts, QueueStatus, QueueType, Session, SettleGroup,
    Settlement, SharedQueue,
};
use leveret_codec::{Properties, TableLimits};
use leveret_engine::Return;
use leveret_store::Lsn;
use serde_json::{Map, Value, json};

use super::{consumers, exchanges};
use crate::answer::{Answer, Failure, Outcome};
use crate::call::{CHANNEL, Call, flag, text};
use crate::json_table;
use crate::list::{self, Field, SortKey, Sorting};
use crate::message_stats::{self, ASIDE, OF_QUEUE, READY, UNACKED, details};
use crate::node::Node;
use crate::properties;
use crate::rates::{Key, PerSecond};
use crate::room::Room;
use crate::space::Space;

/// Bytes of messages that one request gets at most, or of its answer; what is beyond stays in its queue.
const GET_BYTES_MAX: usize = 64 << 20;
/// For how much of a message there has to be room before it is taken from its queue.
const ROOM_MIN: usize = 64 << 10;

/// A queue as it is listed. Its numbers are read when the first of them is asked for.
pub(crate) struct Item {
    node: Arc<Node>,
    queue: Arc<SharedQueue>,
    // In boxes: of most queues of a long list neither is asked for.
    status: OnceCell<Box<QueueStatus>>,
    rates: OnceCell<Box<PerSecond>>,
}

impl Item {
    fn new(node: &Arc<Node>, queue: Arc<SharedQueue>) -> Self {
        let (status, rates) = (OnceCell::new(), OnceCell::new());
        Self { node: Arc::clone(node), queue, status, rates }
    }

    fn status(&self) -> &QueueStatus {
        self.status.get_or_init(|| Box::new(self.queue.status()))
    }

    fn rates(&self) -> &PerSecond {
        self.rates.get_or_init(|| Box::new(self.node.rates.of(&Key::Queue(self.queue.id()))))
    }

    fn is_quorum(&self) -> bool {
        self.queue.queue_type() == QueueType::Quorum
    }

    /// What only quorum queues show.
    fn of_quorum(&self, show: fn(&QueueStatus) -> Value) -> Option<Value> {
        self.is_quorum().then(|| show(self.status()))
    }

    /// Whether it is of a type that has replicas where there are several nodes.
    fn is_replicated(&self) -> bool {
        self.queue.queue_type() != QueueType::Classic
    }
}

/// What a queue was declared with. Its type is always there, as RabbitMQ 4 writes it down.
pub(crate) fn arguments(queue: &SharedQueue) -> Value {
    let mut arguments = json_table::to_json(queue.arguments().as_table());
    if let Value::Object(arguments) = &mut arguments {
        arguments.entry("x-queue-type").or_insert_with(|| queue.queue_type().as_str().into());
    }
    arguments
}

/// What a queue is.
const DEFINITION: &[Field<Item>] = &[
    ("arguments", |item| Some(arguments(&item.queue))),
    ("auto_delete", |item| Some(item.queue.is_auto_delete().into())),
    ("durable", |item| Some(item.queue.is_durable().into())),
    ("exclusive", |item| Some(item.queue.owner().is_some().into())),
    ("internal", |_| Some(false.into())),
    ("internal_owner", |_| Some(false.into())),
    ("name", |item| Some(item.queue.name().as_ref().into())),
    ("node", |item| Some(item.node.name.as_str().into())),
    ("state", |_| Some("running".into())),
    ("type", |item| Some(item.queue.queue_type().as_str().into())),
    ("vhost", |item| Some(item.queue.vhost().as_ref().into())),
];

const POLICIES: &[Field<Item>] = &[
    ("effective_policy_definition", |item| {
        Some(Value::Object(item.status().policies.effective_definition()))
    }),
    ("operator_policy", |item| {
        Some(item.status().policies.operator_policy().map(|policy| policy.name().as_ref()).into())
    }),
    ("policy", |item| {
        Some(item.status().policies.policy().map(|policy| policy.name().as_ref()).into())
    }),
];

const TOTALS: &[Field<Item>] = &[
    ("messages", |item| Some(item.status().messages().into())),
    ("messages_ready", |item| Some(item.status().ready.into())),
    ("messages_unacknowledged", |item| Some(item.status().unacked.into())),
];

/// What is in a queue and what goes through it.
const NUMBERS: &[Field<Item>] = &[
    ("consumer_capacity", |item| Some(utilisation(item))),
    ("consumer_utilisation", |item| Some(utilisation(item))),
    ("consumers", |item| Some(item.status().consumers.into())),
    ("memory", |item| Some(item.status().bytes_in_memory().into())),
    ("message_bytes", |item| Some(item.status().bytes().into())),
    ("message_bytes_dlx", |item| item.of_quorum(|status| status.dead_letter_bytes.into())),
    ("message_bytes_ram", |item| Some(item.status().bytes_in_memory().into())),
    // With those that are delayed, as RabbitMQ has it.
    ("message_bytes_ready", |item| {
        Some((item.status().ready_bytes + item.status().delayed_bytes).into())
    }),
    ("message_bytes_unacknowledged", |item| Some(item.status().unacked_bytes.into())),
    ("message_stats", |item| {
        let values = message_stats::of_queue(&item.status().totals?);
        message_stats::to_json(OF_QUEUE, &values, item.rates())
    }),
    ("messages_delayed", |item| item.of_quorum(|status| status.delayed.into())),
    ("messages_details", |item| Some(details(item.rates().sum(&[READY, UNACKED, ASIDE])))),
    ("messages_dlx", |item| item.of_quorum(|status| status.dead_letters.into())),
    ("messages_ram", |item| Some(item.status().messages_in_memory().into())),
    ("messages_ready_details", |item| Some(details(item.rates().at(READY)))),
    ("messages_ready_ram", |item| Some((item.status().ready - item.status().paged).into())),
    ("messages_unacknowledged_details", |item| Some(details(item.rates().at(UNACKED)))),
    ("messages_unacknowledged_ram", |item| {
        Some((item.status().unacked - item.status().unacked_paged).into())
    }),
    ("reductions", |_| Some(0.into())),
    ("reductions_details", |_| Some(details(0.0))),
    ("storage_version", |item| (!item.is_replicated()).then(|| 2.into())),
];

/// What one queue says besides.
const DETAILS: &[Field<Item>] = &[
    ("consumer_details", |item| Some(consumers::of_queue(&item.node, &item.queue))),
    ("deliveries", |_| Some(json!([]))),
    ("delayed_retry", |item| item.of_quorum(|status| status.delayed_retry().into())),
    ("delivery_limit", |item| {
        item.of_quorum(|status| match status.delivery_limit {
            None => "unlimited".into(),
            Some(limit) => limit.into(),
        })
    }),
    ("exclusive_consumer_tag", |item| Some(exclusive_consumer_tag(item).into())),
    ("garbage_collection", |_| Some(json!({}))),
    ("head_message_timestamp", |item| Some(item.status().head_timestamp.into())),
    ("incoming", |_| Some(json!([]))),
    ("last_delayed_at", |item| Some(item.status().last_delayed_at?.0.into())),
    ("leader", |item| item.is_replicated().then(|| item.node.name.as_str().into())),
    ("members", |item| item.is_replicated().then(|| json!([item.node.name]))),
    ("next_delayed_at", |item| Some(item.status().next_delayed_at?.0.into())),
    ("online", |item| item.is_replicated().then(|| json!([item.node.name]))),
    ("open_files", |item| item.is_quorum().then(|| json!({ item.node.name.as_str(): 0 }))),
    ("owner_pid_details", |item| {
        let owner = item.node.broker.connections().get(item.queue.owner()?)?;
        let about = owner.about();
        Some(json!({
            "name": about.name.as_ref(),
            "peer_host": about.peer.ip().to_string(),
            "peer_port": about.peer.port(),
        }))
    }),
    ("single_active_consumer_tag", |item| Some(single_active_consumer_tag(item).into())),
];

pub(crate) fn list(call: &Call) -> Outcome {
    let without_stats = [DEFINITION, POLICIES];
    let with_totals = [DEFINITION, POLICIES, TOTALS];
    let all = [DEFINITION, POLICIES, TOTALS, NUMBERS];
    let fields = match (call.flag("disable_stats"), call.flag("enable_queue_totals")) {
        (true, false) => without_stats.concat(),
        (true, true) => with_totals.concat(),
        (false, _) => all.concat(),
    };
    list_with(call, &fields)
}

pub(crate) fn list_detailed(call: &Call) -> Outcome {
    list_with(call, &[DEFINITION, POLICIES, TOTALS, NUMBERS, DETAILS].concat())
}

/// What the map shows of queues.
pub(crate) fn on_map(call: &Call, queues: &[Arc<SharedQueue>]) -> Vec<Value> {
    let fields = [DEFINITION, TOTALS, NUMBERS].concat();
    let names = ["name", "type", "messages", "consumers", "message_stats"];
    let items = queues.iter().map(|queue| Item::new(&call.node, Arc::clone(queue)));
    items.map(|item| list::some_of(&item, &fields, &names)).collect()
}

fn list_with(call: &Call, fields: &[Field<Item>]) -> Outcome {
    let mut items = Vec::new();
    for vhost in call.vhosts()? {
        let mut queues = vhost.queues();
        // All of them are looked at: in the order they have in memory that is half the work.
        queues.sort_unstable_by_key(Arc::as_ptr);
        items.extend(queues.into_iter().map(|queue| Item::new(&call.node, queue)));
    }
    let usual: list::Usual<Item> = |a, b| by_name(&a.queue, &b.queue);
    let sorting = Sorting { usual, key: sort_key };
    list::list_unordered(call, &items, fields, &sorting, Space::of(call))
}

/// What queues are sorted by, read from the queue alone: of all queues but those on the page nothing
/// else is looked at.
fn sort_key(path: &str) -> Option<SortKey<'static, Item>> {
    let count: fn(&QueueCounts) -> u64 = match path {
        "messages" => QueueCounts::messages,
        "messages_ready" => |counts| counts.ready,
        "messages_unacknowledged" => |counts| counts.unacked,
        "consumers" => |counts| counts.consumers as u64,
        _ => return stats_key(path),
    };
    Some(Box::new(move |item| Some(count(&item.queue.counts()).into())))
}

/// A number within `message_stats`.
fn stats_key(path: &str) -> Option<SortKey<'static, Item>> {
    let path = path.strip_prefix("message_stats.")?;
    let number = message_stats::number(OF_QUEUE, path)?;
    Some(Box::new(move |item| {
        let totals = message_stats::of_queue(&item.queue.totals()?);
        let rates = || item.node.rates.of(&Key::Queue(item.queue.id()));
        number.of(OF_QUEUE, &totals, rates)
    }))
}

fn by_name(a: &SharedQueue, b: &SharedQueue) -> Ordering {
    a.vhost().cmp(b.vhost()).then_with(|| a.name().cmp(b.name()))
}

pub(crate) fn show(call: &Call) -> Outcome {
    let item = Item::new(&call.node, named(call)?);
    let fields = if call.flag("disable_stats") {
        [DEFINITION, POLICIES].concat()
    } else {
        [DEFINITION, POLICIES, TOTALS, NUMBERS, DETAILS].concat()
    };
    Ok(list::object(call, &item, &fields))
}

pub(crate) fn put(call: &Call) -> Outcome {
    let body = call.object()?;
    if let Some(Value::String(node)) = body.get("node")
        && *node != call.node.name
        && !node.is_empty()
    {
        return Err(Failure::bad_request(format!("Node {node} is not a cluster member")));
    }
    let existed = named(call).is_ok();
    let commit =
        declare(&mut call.session()?, call.part("queue"), &body, &call.node.config().amqp.tables)?;
    let answer = if existed { Answer::done() } else { Answer::created() };
    Ok(answer.after(commit))
}

/// Declares a queue as a body or a definition says it; nobody owns it.
///
/// # Errors
/// As the session's, and 400 for a body that says something else.
pub(crate) fn declare(
    session: &mut Session,
    name: &str,
    body: &Map<String, Value>,
    tables: &TableLimits,
) -> Result<Option<Lsn>, Failure> {
    let arguments = exchanges::arguments(body, tables)?;
    let declared = session.declare_queue(DeclareQueue {
        name,
        durable: flag(body, "durable", false)?,
        exclusive: false,
        auto_delete: flag(body, "auto_delete", false)?,
        arguments: arguments.as_table(),
    })?;
    session.finish();
    Ok(declared.commit)
}

pub(crate) fn delete(call: &Call) -> Outcome {
    named(call)?;
    let mut session = call.session()?;
    let when = DeleteIf { unused: call.flag("if-unused"), empty: call.flag("if-empty") };
    let deleted = session.delete_queue(call.part("queue"), when)?;
    session.finish();
    Ok(Answer::done().after(deleted.commit))
}

pub(crate) fn purge(call: &Call) -> Outcome {
    named(call)?;
    let mut session = call.session()?;
    session.purge_queue(call.part("queue"))?;
    session.finish();
    Ok(Answer::done())
}

/// Queues have no mirrors to synchronise.
pub(crate) fn act(call: &Call) -> Outcome {
    let body = call.object_with(&["action"])?;
    named(call)?;
    let action = body.get("action").unwrap_or(&Value::Null);
    Err(Failure::BadRequest(json!(["unknown", action])))
}

/// The only member of a quorum queue is its leader.
pub(crate) fn quorum_status(call: &Call) -> Outcome {
    let queue = named(call)?;
    if queue.queue_type() != QueueType::Quorum {
        let reason = format!("{}_queue_not_supported", queue.queue_type());
        return Err(Failure::Unhealthy(json!({ "status": "failed", "reason": reason })));
    }
    let member =
        json!({ "Node Name": call.node.name, "Raft State": "leader", "Membership": "voter" });
    Ok(Answer::json(&json!([member])))
}

pub(crate) fn get(call: &Call) -> Outcome {
    let body = call.object_with(&["ackmode", "count", "encoding"])?;
    let mut session = call.session()?;
    named(call).map_err(|_| Failure::Missing("queue_not_found".to_owned()))?;
    let mode = AckMode::parse(text(&body, "ackmode")?)?;
    let encoding = Encoding::parse(text(&body, "encoding")?)?;
    let count = integer(&body, "count")?.unwrap_or_default();
    let truncate = integer(&body, "truncate")?.map(|at| usize::try_from(at).unwrap_or(usize::MAX));
    // Written as they come: as values of JSON small ones would take many times their bytes.
    let mut messages = vec![b'['];
    let mut groups: Vec<SettleGroup> = Vec::new();
    let (mut bytes, mut held) = (0, 0);
    let mut room = Room::of(&call.node.budgets.requests);
    for _ in 0..count {
        // How large the next one is shows when it is taken.
        let is_room = room.take((messages.capacity() + held + ROOM_MIN) as u64);
        match is_room {
            Ok(()) => {}
            Err(short) if bytes == 0 => return Err(short),
            Err(_) => break,
        }
        let fetched = session.get(CHANNEL, call.part("queue"), mode.no_ack());
        let Some(fetched) = fetched.map_err(|error| Failure::of_channel(&error))? else { break };
        if messages.len() > 1 {
            messages.push(b',');
        }
        let shown = message(&fetched, encoding, truncate).to_string();
        messages.extend_from_slice(shown.as_bytes());
        let Fetched { queue, entry, .. } = fetched;
        let size = entry.message.size() + entry.message.head_len();
        bytes += shown.len().max(size);
        if !mode.no_ack() {
            held += size;
            match groups.last_mut() {
                Some(group) => group.entries.push(entry.into()),
                None => {
                    groups.push(SettleGroup { queue, consumer: None, entries: vec![entry.into()] });
                }
            }
        }
        if bytes >= GET_BYTES_MAX {
            break;
        }
    }
    for group in &mut groups {
        match mode {
            AckMode::Take => {}
            AckMode::PutBack(kind) => session.settle(Settlement::Requeue(kind), group),
            AckMode::Reject => session.settle(Settlement::Discard, group),
        }
    }
    session.finish();
    messages.push(b']');
    // Whoever reads it may take their time.
    messages.shrink_to_fit();
    room.hold(messages.capacity() as u64);
    Ok(Answer::bytes(messages).within(room))
}

/// What becomes of messages that were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckMode {
    Take,
    PutBack(Return),
    Reject,
}

impl AckMode {
    fn parse(word: &str) -> Result<Self, Failure> {
        match word {
            "ack_requeue_false" => Ok(Self::Take),
            "ack_requeue_true" => Ok(Self::PutBack(Return::Released)),
            "reject_requeue_true" => Ok(Self::PutBack(Return::Failed)),
            "reject_requeue_false" => Ok(Self::Reject),
            other => Err(Failure::bad_request(format!(
                "Invalid ackmode value: {other}. Valid values are: ack_requeue_true, \
                 ack_requeue_false, reject_requeue_true, reject_requeue_false"
            ))),
        }
    }

    fn no_ack(self) -> bool {
        self == Self::Take
    }
}

/// How bodies are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As text where they are text.
    Auto,
    Base64,
}

impl Encoding {
    pub(crate) fn parse(word: &str) -> Result<Self, Failure> {
        match word {
            "auto" => Ok(Self::Auto),
            "base64" => Ok(Self::Base64),
            _ => {
                let reason = "Unsupported encoding. Please use auto or base64.";
                Err(Failure::bad_request(reason))
            }
        }
    }
}

/// A number of a body, also written as text.
fn integer(body: &Map<String, Value>, key: &str) -> Result<Option<i64>, Failure> {
    let wrong = || Failure::BadRequest(json!(["not_integer", key]));
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong()),
        Some(value) => value.as_i64().map(Some).ok_or_else(wrong),
    }
}

fn message(fetched: &Fetched, encoding: Encoding, truncate: Option<usize>) -> Value {
    let Fetched { queue, entry, left } = fetched;
    let mut scratch = Vec::new();
    let raw = queue.delivered_properties(entry, &mut scratch);
    let properties = Properties::parse(raw, &TableLimits::ACCEPTED).unwrap_or_default();
    let body = entry.message.body();
    let (payload, encoding) = payload(body, encoding, truncate);
    json!({
        "payload_bytes": body.len(),
        "redelivered": entry.redelivered,
        "exchange": entry.message.exchange(),
        "routing_key": entry.message.routing_key(),
        "message_count": left,
        "properties": properties::to_json(&properties),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

/// A body, or so many bytes of it, as it is shown, and how that is called.
pub(crate) fn payload(
    body: &[u8],
    encoding: Encoding,
    truncate: Option<usize>,
) -> (String, &'static str) {
    let shown = truncate.and_then(|at| body.get(..at)).unwrap_or(body);
    match std::str::from_utf8(shown).ok().filter(|_| encoding == Encoding::Auto) {
        Some(text) => (text.to_owned(), "string"),
        None => (STANDARD.encode(shown), "base64"),
    }
}

pub(crate) fn named(call: &Call) -> Result<Arc<SharedQueue>, Failure> {
    call.vhost()?.queue(call.part("queue")).ok_or(Failure::NotFound)
}

/// How much of the time consumers could take messages is not measured, except where it is plain.
fn utilisation(item: &Item) -> Value {
    match item.status() {
        QueueStatus { consumers: 0, .. } => 0.into(),
        QueueStatus { ready: 0, .. } => json!(1.0),
        _ => Value::Null,
    }
}

fn exclusive_consumer_tag(item: &Item) -> Option<String> {
    let mut consumers = item.queue.consumers().into_iter();
    consumers.find(|one| one.status.spec.exclusive).map(|one| one.about.tag.to_string())
}

fn single_active_consumer_tag(item: &Item) -> Option<String> {
    let mut consumers = item.queue.consumers().into_iter();
    let active = consumers.find(|one| one.is_of_single_active && one.status.active);
    active.map(|one| one.about.tag.to_string())
}
