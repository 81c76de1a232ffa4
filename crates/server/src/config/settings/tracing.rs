//! `[tracing]`: what becomes of single messages.

use std::path;

use leveret_broker::TraceHeader;

use super::{Refused, Setting, Shown, Value, word};
use crate::config::Ratio;

const HEADERS: [(&str, TraceHeader); 3] =
    [("keep", TraceHeader::Keep), ("add", TraceHeader::Add), ("replace", TraceHeader::Replace)];

pub(super) static TRACING: [Setting; 5] = [
    Setting {
        key: "tracing.endpoint",
        about: "Where OpenTelemetry spans of messages are sent (OTLP over HTTP)",
        live: false,
        allowed: "a URL such as \"http://collector:4318/v1/traces\", or \"none\" for no spans",
        apply: |config, value| {
            let none = value.word(&[("none", ())]).is_ok();
            config.tracing.endpoint = if none { None } else { Some(url(value.text()?)?) };
            Ok(())
        },
        show: |config| config.tracing.endpoint.as_deref().unwrap_or("none").into(),
    },
    Setting {
        key: "tracing.sample_ratio",
        about: "How many of the messages are followed that come without a `traceparent` header; with one it decides",
        live: false,
        allowed: "a number from 0 to 1",
        apply: |config, value| {
            config.tracing.sample_ratio = match value {
                Value::Integer(number) => Ratio::parse(&number.to_string()),
                Value::Text(text) | Value::Other(text) => Ratio::parse(text.trim()),
                Value::List(_) => None,
            }
            .ok_or(Refused::NotAllowed)?;
            Ok(())
        },
        show: |config| config.tracing.sample_ratio.as_number().into(),
    },
    Setting {
        key: "tracing.header",
        about: "Whether messages that are followed are delivered as they came, get a `traceparent` where they have none, or the broker's in any case",
        live: false,
        allowed: "one of \"keep\", \"add\", \"replace\"",
        apply: |config, value| {
            config.tracing.header = value.word(&HEADERS)?;
            Ok(())
        },
        show: |config| word(&HEADERS, config.tracing.header),
    },
    Setting {
        key: "tracing.service_name",
        about: "The `service.name` of the spans",
        live: false,
        allowed: super::NAME,
        apply: |config, value| {
            config.tracing.service_name = value.name()?;
            Ok(())
        },
        show: |config| config.tracing.service_name.as_str().into(),
    },
    Setting {
        key: "tracing.ca_file",
        about: "Certificates the collector is checked by, instead of the system's",
        live: false,
        allowed: "the path of a file in PEM form, or \"none\"",
        apply: |config, value| {
            let none = value.word(&[("none", ())]).is_ok();
            let path = || path::absolute(value.text()?).map_err(|_| Refused::NotAllowed);
            config.tracing.ca_file = if none { None } else { Some(path()?) };
            Ok(())
        },
        show: |config| match &config.tracing.ca_file {
            None => Shown::from("none"),
            Some(path) => path.to_string_lossy().as_ref().into(),
        },
    },
];

/// The URL, with the path OTLP has unless it names one.
fn url(text: &str) -> Result<String, Refused> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let rest = rest.ok_or(Refused::NotAllowed)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_clean = |byte: u8| byte.is_ascii_graphic();
    if host.is_empty() || host.starts_with(':') || !rest.bytes().all(is_clean) {
        return Err(Refused::NotAllowed);
    }
    let is_bare = path.is_empty();
    Ok(if is_bare { format!("{}/v1/traces", text.trim_end_matches('/')) } else { text.to_owned() })
}
