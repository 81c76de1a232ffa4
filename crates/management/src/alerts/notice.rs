//! What is told, in the forms it is told in.

use std::fmt::Write as _;
use std::time::Duration;

use leveret_engine::Millis;
use leveret_server::config::{AlertKind, AlertRule};
use serde_json::{Map, Value, json};

use super::machine::{Alert, Notice, Subject};

/// Alerts that a notice spells out; it says how many there are beyond.
const SPELT_OUT_MAX: usize = 100;

/// A notice as receivers get it.
pub(crate) struct Telling {
    pub(crate) rule: String,
    pub(crate) status: &'static str,
    /// One line.
    pub(crate) summary: String,
    /// For people, a line for each alert.
    pub(crate) text: String,
    /// For programs.
    pub(crate) json: String,
}

impl Telling {
    pub(crate) fn new(notice: &Notice, node: &str, now: Millis) -> Self {
        let Notice { rule, is_firing, alerts } = notice;
        let status = if *is_firing { "firing" } else { "resolved" };
        let spelt_out = alerts.get(..SPELT_OUT_MAX).unwrap_or(alerts);
        let mut summary = spelt_out.first().map(|one| sentence(rule, one)).unwrap_or_default();
        if alerts.len() > 1 {
            let _ = write!(summary, ", and {} more", alerts.len() - 1);
        }
        let mut text = String::new();
        for alert in spelt_out {
            let _ = writeln!(text, "{}", sentence(rule, alert));
        }
        if alerts.len() > spelt_out.len() {
            let _ = writeln!(text, "and {} more", alerts.len() - spelt_out.len());
        }
        let json = json!({
            "status": status,
            "rule": rule.name,
            "when": rule.when.as_str(),
            "node": node,
            "at": now.0,
            "summary": summary,
            "alerts_total": alerts.len(),
            "alerts": spelt_out.iter().map(|alert| alert_to_json(rule, alert)).collect::<Value>(),
        });
        Self { rule: rule.name.clone(), status, summary, text, json: json.to_string() }
    }
}

/// A rule, and how many of its alerts fire.
pub(crate) fn rule_to_json(rule: &AlertRule, firing: usize) -> Value {
    json!({
        "name": rule.name,
        "when": rule.when.as_str(),
        "vhost": rule.vhost,
        "queues": rule.queues,
        "bound": rule.bound(),
        "for_ms": millis(rule.lasting),
        "over_after_ms": millis(rule.over_after),
        "repeat_ms": millis(rule.repeat),
        "notify": rule.notify,
        "firing": firing,
    })
}

fn alert_to_json(rule: &AlertRule, alert: &Alert) -> Value {
    Value::Object(fields(rule, alert))
}

/// An alert for who asks.
pub(crate) fn shown_to_json(rule: &AlertRule, alert: &Alert, is_silenced: bool) -> Value {
    let mut fields = fields(rule, alert);
    fields.insert("is_silenced".to_owned(), is_silenced.into());
    Value::Object(fields)
}

fn fields(rule: &AlertRule, alert: &Alert) -> Map<String, Value> {
    let (vhost, queue) = match &alert.subject {
        Subject::Node => (None, None),
        Subject::Queue { vhost, queue } => (Some(vhost.as_ref()), Some(queue.as_ref())),
    };
    let fields = [
        ("rule", json!(rule.name)),
        ("vhost", json!(vhost)),
        ("queue", json!(queue)),
        ("value", json!(alert.value)),
        ("bound", json!(rule.bound())),
        ("since", json!(alert.since.0)),
        ("summary", json!(sentence(rule, alert))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn sentence(rule: &AlertRule, alert: &Alert) -> String {
    let value = alert.value;
    let mebibytes = value >> 20;
    let what = match rule.when {
        AlertKind::DeadLetters => format!("got dead letters and holds {value} messages"),
        AlertKind::Backlog => format!("holds {value} messages"),
        AlertKind::Age => format!("has a message that has waited for {} s", value / 1000),
        AlertKind::NoConsumers => format!("has {value} messages and no consumer"),
        AlertKind::Memory => format!("{mebibytes} MiB of memory are in use"),
        AlertKind::Disk => format!("{mebibytes} MiB of disk space are free"),
        AlertKind::Unroutable => format!("{value} messages had no route"),
    };
    match &alert.subject {
        Subject::Node => what,
        Subject::Queue { vhost, queue } => {
            format!("queue '{}' in vhost '{}' {what}", in_a_line(queue), in_a_line(vhost))
        }
    }
}

/// A client's name may hold what no line has, and no environment of a command.
fn in_a_line(name: &str) -> String {
    name.replace(char::is_control, "\u{FFFD}")
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
