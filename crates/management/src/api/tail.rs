//! `/api/leveret/tail`: messages of a queue or an exchange as they pass, as server-sent events. RabbitMQ
//! has no such endpoint.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use leveret_broker::access::Principal;
use leveret_broker::{Copied, Session, Tail};
use leveret_codec::{AmqpError, Properties, TableLimits};
use leveret_engine::Millis;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::exchanges;
use super::queues::{self, Encoding, payload};
use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::client::Peer;
use crate::login::{self, Access};
use crate::node::{Node, TAILS_MAX, now};
use crate::properties;
use crate::sessions::SessionKey;

/// Bytes of each body that are shown, unless the request says otherwise, and at most.
const BODY: usize = 4096;
const BODY_MAX: usize = 64 * 1024;
/// How often what has passed is sent on.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether the client is still there, and may still look; that also before it gets
/// what has passed since users or permissions have changed.
const CHECKED_EVERY: Duration = Duration::from_secs(10);
/// Events that wait for the connection.
const EVENTS: usize = 4;

/// What is watched.
enum Watched {
    Queue(String),
    Exchange(String),
}

/// Somebody who watches, and may as long as they could begin to.
struct Watcher {
    node: Arc<Node>,
    /// Nobody, over the control socket.
    principal: Option<Principal>,
    /// By which they have logged in, if not with a password.
    login: Option<SessionKey>,
    session: Session,
    watched: Watched,
    /// What users and permissions were when they last might.
    permitted_at: u64,
}

/// # Errors
/// 400 for a parameter that is none, or while there are as many watchers as may be; 404 for a queue
/// that is not there, and what the session says.
pub(crate) fn of_queue(call: &Call) -> Outcome {
    queues::named(call)?;
    start(call, Watched::Queue(call.part("queue").to_owned()))
}

/// # Errors
/// As [`of_queue`].
pub(crate) fn of_exchange(call: &Call) -> Outcome {
    call.vhost()?;
    start(call, Watched::Exchange(exchanges::name(call)))
}

fn start(call: &Call, watched: Watched) -> Outcome {
    let wrong = |_| Failure::BadRequest(json!(["not_a_size", "truncate"]));
    let body_max = call.parameter("truncate").map(str::parse).transpose().map_err(wrong)?;
    let body_max = body_max.unwrap_or(BODY).min(BODY_MAX);
    let place = Arc::clone(&call.node.tails).try_acquire_owned();
    let place = place
        .map_err(|_| Failure::bad_request(format!("there are {TAILS_MAX} watchers already")))?;
    let principal = match call.peer {
        Peer::Client(_) => Some(call.principal()?.clone()),
        Peer::Operator => None,
    };
    let mut watcher = Watcher {
        node: Arc::clone(&call.node),
        principal,
        login: call.session,
        permitted_at: call.broker().access().generation(),
        session: call.session()?,
        watched,
    };
    let tail = watcher.watch(body_max)?;
    let (sender, body) = Channel::<Bytes>::new(EVENTS);
    let stop = call.node.stop.child_token();
    tokio::spawn(async move {
        stop.run_until_cancelled(send(&tail, sender, watcher)).await;
        drop(place);
    });
    Ok(Answer::events(Body::new(body)))
}

impl Watcher {
    fn watch(&mut self, body_max: usize) -> Result<Arc<Tail>, AmqpError> {
        match &self.watched {
            Watched::Queue(queue) => self.session.tail_queue(queue, body_max),
            Watched::Exchange(exchange) => self.session.tail_exchange(exchange, body_max),
        }
    }

    /// Whether users or permissions have changed since they last might.
    fn is_in_doubt(&self) -> bool {
        self.permitted_at != self.node.broker.access().generation()
    }

    /// Whether they still may.
    fn goes_on(&mut self) -> bool {
        self.permitted_at = self.node.broker.access().generation();
        self.session.begin(now());
        self.login.is_none_or(|key| login::goes_on(&self.node, key))
            && self.has_tags()
            && self.watch(0).is_ok()
    }

    /// Tags of the broker's own users are looked up again; what others said of theirs holds. Where both
    /// had a say no tag can be taken from their list, so other ones of the broker's own end it.
    fn has_tags(&self) -> bool {
        let Some(principal) = &self.principal else { return true };
        let Some(before) = &principal.own else { return true };
        let Some(user) = self.node.broker.access().user(&before.name) else { return false };
        if !principal.is_own() {
            return user.tags == before.tags;
        }
        let access = match self.watched {
            Watched::Queue(_) => Access::Vhost,
            Watched::Exchange(_) => Access::Monitoring,
        };
        login::check_tags(access, &user).is_ok()
    }

    /// Leaves those that are theirs to see.
    fn sift(&mut self, copies: &mut VecDeque<Copied>) {
        if let Watched::Exchange(_) = self.watched {
            self.session.begin(now());
            copies.retain(|copied| self.session.may_see(copied));
        }
    }
}

/// Sends what passes until the client has gone, or may not look any more.
async fn send(tail: &Tail, mut sender: Sender<Bytes>, mut watcher: Watcher) {
    let mut text = event("open", &json!({}));
    let mut checked = Instant::now();
    loop {
        let mut passed = tail.take();
        let is_due = checked.elapsed() >= CHECKED_EVERY;
        let mut may = true;
        if is_due || !passed.copies.is_empty() {
            // Somebody outside may have to be asked.
            let asked = spawn_blocking(move || {
                let may = !(is_due || watcher.is_in_doubt()) || watcher.goes_on();
                watcher.sift(&mut passed.copies);
                (may, watcher, passed)
            });
            let Ok(answered) = asked.await else { return };
            (may, watcher, passed) = answered;
        }
        if !may {
            text += &event("end", &json!({}));
            let _ = sender.send_data(text.into()).await;
            return;
        }
        if is_due {
            checked = Instant::now();
            // A comment, which tells nothing: sending it shows whether somebody is there.
            text += ":\n\n";
        }
        for copied in &passed.copies {
            text += &event("message", &message(copied));
        }
        if passed.lost > 0 {
            text += &event("lost", &json!({ "messages": passed.lost }));
        }
        // Waits while the connection is slow; what passes meanwhile waits in the tail or is lost.
        if !text.is_empty() && sender.send_data(std::mem::take(&mut text).into()).await.is_err() {
            return;
        }
        sleep(PAUSE).await;
    }
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn message(copied: &Copied) -> Value {
    let properties = Properties::parse(&copied.properties, &TableLimits::ACCEPTED);
    let (payload, encoding) = payload(&copied.body, Encoding::Auto, None);
    let Millis(arrived_at) = copied.at;
    json!({
        "exchange": copied.exchange,
        "routing_key": copied.routing_key,
        "arrived_at": arrived_at,
        "properties": properties::to_json(&properties.unwrap_or_default()),
        "payload_bytes": copied.body_bytes,
        "payload": payload,
        "payload_encoding": encoding,
    })
}
