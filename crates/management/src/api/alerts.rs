//! `/api/leveret/alerts` and `/api/leveret/silences`: what the broker tells of by itself. RabbitMQ has
//! no such endpoints.

use serde_json::{Map, Value, json};

use crate::alerts::{Silence, Silences};
use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;

/// Longest silence, in seconds: a year.
const SECONDS_MAX: u64 = 365 * 24 * 3600;
/// Longest comment, in bytes.
const COMMENT_MAX: usize = 1000;

/// Rules, alerts that fire, silences and receivers.
///
/// # Errors
/// None.
pub(crate) fn show(call: &Call) -> Outcome {
    Ok(Answer::json(&call.node.alerts.to_json(call.broker(), call.now)))
}

/// The silences that hold.
///
/// # Errors
/// None.
pub(crate) fn silences(call: &Call) -> Outcome {
    Ok(Answer::json(&Silences::of(call.broker()).to_json(call.now)))
}

/// Has nobody told of some alerts for a while.
///
/// # Errors
/// 400 for a body that says something else, or while there are too many silences.
pub(crate) fn silence(call: &Call) -> Outcome {
    let body = call.object_with(&["seconds"])?;
    let seconds = body.get("seconds").and_then(Value::as_u64);
    let seconds = seconds.filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
    let seconds = seconds.ok_or_else(|| {
        Failure::bad_request(format!("seconds should be a number from 1 to {SECONDS_MAX}"))
    })?;
    let rule = text(&body, "rule")?;
    if let Some(unknown) = rule.as_ref().filter(|rule| !call.node.alerts.has_rule(rule)) {
        return Err(Failure::bad_request(format!("there is no rule {unknown}")));
    }
    let comment = text(&body, "comment")?.unwrap_or_default();
    if comment.len() > COMMENT_MAX {
        return Err(Failure::bad_request(format!("comment may have {COMMENT_MAX} bytes")));
    }
    let silence = Silence {
        id: 0,
        rule,
        vhost: text(&body, "vhost")?,
        queue: text(&body, "queue")?,
        until: call.now.0.saturating_add(seconds * 1000),
        comment,
        user: call.user()?.name.to_string(),
    };
    let made = call.node.alerts.silence(call.administration(), silence, call.now);
    let (id, commit) = made.ok_or_else(|| Failure::bad_request("there are too many silences"))?;
    let location = format!("/api/leveret/silences/{id}");
    Ok(Answer::created_with(&json!({ "id": id }), location).after(commit))
}

/// Ends a silence.
///
/// # Errors
/// 404 where there is none.
pub(crate) fn end_silence(call: &Call) -> Outcome {
    let id = call.part("id").parse().map_err(|_| Failure::NotFound)?;
    let ended = call.node.alerts.end_silence(call.administration(), id, call.now);
    Ok(Answer::done().after(ended.ok_or(Failure::NotFound)?))
}

fn text(body: &Map<String, Value>, key: &str) -> Result<Option<String>, Failure> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(Failure::bad_request(format!("{key} should be a string"))),
    }
}
