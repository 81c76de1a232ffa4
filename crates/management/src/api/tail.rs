//! `/api/leveret/tail`: messages of a queue or an exchange as they pass, as server-sent events. RabbitMQ
//! has no such endpoint.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
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
use crate::login;
use crate::node::{TAILS_MAX, now};
use crate::properties;

/// Bytes of each body that are shown, unless the request says otherwise, and at most.
const BODY: usize = 4096;
const BODY_MAX: usize = 64 * 1024;
/// How often what has passed is sent on.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether the client is still there, and may still look.
const CHECKED_EVERY: Duration = Duration::from_secs(10);
/// Events that wait for the connection.
const EVENTS: usize = 4;

/// # Errors
/// 400 for a parameter that is none, or while there are as many watchers as may be; 404 for a queue
/// that is not there, and what the session says.
pub(crate) fn of_queue(call: &Call) -> Outcome {
    queues::named(call)?;
    let queue = call.part("queue").to_owned();
    start(call, move |session, body_max| session.tail_queue(&queue, body_max))
}

/// # Errors
/// As [`of_queue`].
pub(crate) fn of_exchange(call: &Call) -> Outcome {
    call.vhost()?;
    let exchange = exchanges::name(call);
    start(call, move |session, body_max| session.tail_exchange(&exchange, body_max))
}

fn start(
    call: &Call,
    watch: impl Fn(&mut Session, usize) -> Result<Arc<Tail>, AmqpError> + Send + 'static,
) -> Outcome {
    let wrong = |_| Failure::BadRequest(json!(["not_a_size", "truncate"]));
    let body_max = call.parameter("truncate").map(str::parse).transpose().map_err(wrong)?;
    let body_max = body_max.unwrap_or(BODY).min(BODY_MAX);
    let place = Arc::clone(&call.node.tails).try_acquire_owned();
    let place = place
        .map_err(|_| Failure::bad_request(format!("there are {TAILS_MAX} watchers already")))?;
    let mut session = call.session()?;
    let tail = watch(&mut session, body_max)?;
    let (sender, body) = Channel::<Bytes>::new(EVENTS);
    let stop = call.node.stop.child_token();
    let (node, login) = (Arc::clone(&call.node), call.session);
    tokio::spawn(async move {
        let may_look = move || {
            session.begin(now());
            login.is_none_or(|key| login::goes_on(&node, key)) && watch(&mut session, 0).is_ok()
        };
        stop.run_until_cancelled(send(&tail, sender, may_look)).await;
        drop(place);
    });
    Ok(Answer::events(Body::new(body)))
}

/// Sends what passes until the client has gone, or may not look any more.
async fn send(
    tail: &Tail,
    mut sender: Sender<Bytes>,
    mut may_look: impl FnMut() -> bool + Send + 'static,
) {
    let mut text = event("open", &json!({}));
    let mut checked = Instant::now();
    loop {
        if checked.elapsed() >= CHECKED_EVERY {
            checked = Instant::now();
            // Somebody outside may have to be asked.
            let asked = spawn_blocking(move || (may_look(), may_look)).await;
            let Ok((may, then)) = asked else { return };
            may_look = then;
            if !may {
                text += &event("end", &json!({}));
                let _ = sender.send_data(text.into()).await;
                return;
            }
            // A comment, which tells nothing: sending it shows whether somebody is there.
            text += ":\n\n";
        }
        let passed = tail.take();
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
