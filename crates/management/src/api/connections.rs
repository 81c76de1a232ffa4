//! `/api/connections`.

use std::cell::OnceCell;
use std::sync::Arc;

use leveret_broker::{OpenConnection, TlsAbout};
use serde_json::{Value, json};

use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::json_table;
use crate::list::{self, Field};
use crate::login::{is_administrator, is_monitor};
use crate::message_stats::details;
use crate::node::Node;
use crate::rates::{Key, PerSecond, Values};

/// What a client is told whose connection is closed without a reason, as RabbitMQ does.
const NO_REASON: &str = "Closed via management plugin";

/// A connection as it is listed.
struct Item {
    node: Arc<Node>,
    connection: Arc<OpenConnection>,
    rates: OnceCell<PerSecond>,
}

impl Item {
    fn rates(&self) -> &PerSecond {
        let key = || Key::Connection(self.connection.id());
        self.rates.get_or_init(|| self.node.rates.of(&key()))
    }
}

/// Places in a connection's reading.
const RECEIVED: usize = 0;
const SENT: usize = 1;

/// What a connection counts, as a reading.
pub(crate) fn reading(connection: &OpenConnection) -> Values {
    let traffic = connection.traffic();
    let mut values = Values::default();
    let all = [(RECEIVED, traffic.received_bytes.get()), (SENT, traffic.sent_bytes.get())];
    crate::message_stats::fill(&mut values, &all);
    values
}

const FIELDS: &[Field<Item>] = &[
    ("auth_mechanism", |item| Some(item.connection.about().mechanism.as_ref().into())),
    ("channel_max", |item| Some(item.connection.about().channel_max.into())),
    ("channels", |item| Some(item.connection.channel_count().into())),
    ("client_properties", |item| {
        Some(json_table::to_json(item.connection.about().client_properties.as_table()))
    }),
    ("connected_at", |item| Some(item.connection.about().connected_at.0.into())),
    ("frame_max", |item| Some(item.connection.about().frame_max.into())),
    ("garbage_collection", |_| Some(json!({}))),
    ("host", |item| Some(item.connection.about().local.ip().to_string().into())),
    ("name", |item| Some(item.connection.about().name.as_ref().into())),
    ("node", |item| Some(item.node.name.as_str().into())),
    ("peer_cert_issuer", |item| of_tls(item, |tls| &tls.peer_issuer)),
    ("peer_cert_subject", |item| of_tls(item, |tls| &tls.peer_subject)),
    ("peer_cert_validity", |item| of_tls(item, |tls| &tls.peer_validity)),
    ("peer_host", |item| Some(item.connection.about().peer.ip().to_string().into())),
    ("peer_port", |item| Some(item.connection.about().peer.port().into())),
    ("port", |item| Some(item.connection.about().local.port().into())),
    ("protocol", |item| Some(item.connection.about().protocol.into())),
    ("recv_cnt", |item| Some(item.connection.traffic().reads.get().into())),
    ("recv_oct", |item| Some(item.connection.traffic().received_bytes.get().into())),
    ("recv_oct_details", |item| Some(details(item.rates().at(RECEIVED)))),
    ("reductions", |_| Some(0.into())),
    ("reductions_details", |_| Some(details(0.0))),
    ("send_cnt", |item| Some(item.connection.traffic().writes.get().into())),
    ("send_oct", |item| Some(item.connection.traffic().sent_bytes.get().into())),
    ("send_oct_details", |item| Some(details(item.rates().at(SENT)))),
    ("send_pend", |item| Some(item.connection.pending_bytes().into())),
    ("ssl", |item| Some(item.connection.about().tls.is_some().into())),
    ("ssl_cipher", |item| of_tls(item, |tls| &tls.cipher)),
    // All ciphers that are spoken authenticate by themselves.
    ("ssl_hash", |item| of_tls(item, |_| "aead")),
    ("ssl_key_exchange", |item| of_tls(item, |tls| &tls.key_exchange)),
    ("ssl_protocol", |item| of_tls(item, |tls| tls.protocol)),
    ("state", |item| Some(if item.connection.is_blocked() { "blocked" } else { "running" }.into())),
    ("timeout", |item| Some(item.connection.about().heartbeat_seconds.into())),
    ("type", |_| Some("network".into())),
    ("user", |item| Some(item.connection.about().user.as_ref().into())),
    ("user_provided_name", |item| item.connection.client_name().map(Value::from)),
    ("user_who_performed_action", |item| Some(item.connection.about().user.as_ref().into())),
    ("vhost", |item| Some(item.connection.vhost().name().as_ref().into())),
];

/// What is said of TLS; empty without.
fn of_tls(item: &Item, what: fn(&TlsAbout) -> &str) -> Option<Value> {
    Some(item.connection.about().tls.as_deref().map(what).unwrap_or_default().into())
}

pub(crate) fn list(call: &Call) -> Outcome {
    answer(call, visible(call)?)
}

pub(crate) fn of_user(call: &Call) -> Outcome {
    let mut connections = call.broker().connections().all();
    connections.retain(|one| *one.about().user == *call.part("user"));
    answer(call, connections)
}

fn answer(call: &Call, connections: Vec<Arc<OpenConnection>>) -> Outcome {
    let items = connections.into_iter().map(|connection| item(call, connection));
    list::list(call, items.collect(), FIELDS)
}

/// The connections a user sees: those who monitor see all, others their own.
///
/// # Errors
/// 404 for a vhost that is not there.
pub(crate) fn visible(call: &Call) -> Result<Vec<Arc<OpenConnection>>, Failure> {
    let user = call.user()?;
    let mut connections = call.broker().connections().all();
    if !is_monitor(user) {
        connections.retain(|one| *one.about().user == *user.name);
    }
    let vhost = call.part("vhost");
    if !vhost.is_empty() {
        connections.retain(|one| **one.vhost().name() == *vhost);
    }
    connections.sort_by(|a, b| a.about().name.cmp(&b.about().name));
    Ok(connections)
}

pub(crate) fn show(call: &Call) -> Outcome {
    let user = call.user()?;
    let connection = named(call, is_monitor(user))?;
    Ok(list::object(call, &item(call, connection), FIELDS))
}

pub(crate) fn close(call: &Call) -> Outcome {
    let user = call.user()?;
    named(call, is_administrator(user))?.close(reason(call));
    Ok(Answer::done())
}

pub(crate) fn close_of_user(call: &Call) -> Outcome {
    let connections = call.broker().connections().all();
    let theirs = connections.iter().filter(|one| *one.about().user == *call.part("user"));
    theirs.for_each(|one| one.close(reason(call)));
    Ok(Answer::done())
}

pub(crate) fn reason(call: &Call) -> &str {
    let given = call.headers.get("x-reason").and_then(|reason| reason.to_str().ok());
    given.filter(|reason| !reason.is_empty()).unwrap_or(NO_REASON)
}

/// The connection that the path names, if the user may see all or it is their own.
///
/// # Errors
/// 404 when there is none, 401 when it is somebody else's.
pub(crate) fn named(call: &Call, any: bool) -> Result<Arc<OpenConnection>, Failure> {
    let found = call.broker().connections().find(call.part("connection"));
    let found = found.ok_or(Failure::NotFound)?;
    if any || *found.about().user == *call.user()?.name {
        return Ok(found);
    }
    Err(Failure::Refused("User not authorised to access object".into()))
}

fn item(call: &Call, connection: Arc<OpenConnection>) -> Item {
    Item { node: Arc::clone(&call.node), connection, rates: OnceCell::new() }
}
