//! What a value is under its name, where RabbitMQ's is not ours.

use super::networks::PRIVATE;
use super::value::Value;

/// How a value is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// What it looks like.
    AsItIs,
    /// A number of bytes. As in RabbitMQ it stands above a part.
    Size,
    /// A part of the memory, also if it is a whole number.
    Part,
    /// A number of milliseconds, or never.
    Millis,
    /// A number of milliseconds, or the longest time there is here.
    LongestMillis,
    /// A limit, or `infinity`.
    OrInfinity,
    /// A size of frames, 0 for any.
    FrameMax,
    /// A number of channels, 0 for any.
    ChannelMax,
    /// Whether there are proxies: they are near, then.
    NearProxies,
    /// A number of minutes.
    Minutes,
    /// Whether all metrics need a login, or none.
    MetricsLogin,
}

impl Form {
    pub(super) fn read(self, value: Value) -> Value {
        let whole = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_zero = value == Value::Text("0".to_owned());
        match (self, value) {
            (Self::Part, Value::Integer(number)) => Value::Other(format!("{number}.0")),
            (Self::Part, Value::Text(text)) if whole(&text) => Value::Other(format!("{text}.0")),
            (Self::Millis, Value::Text(text)) if whole(&text) => Value::Text(format!("{text}ms")),
            (Self::LongestMillis, Value::Text(text)) if whole(&text) => {
                let longest = text.parse().unwrap_or(u64::MAX).min(LONGEST_MILLIS);
                Value::Text(format!("{longest}ms"))
            }
            (Self::LongestMillis, Value::Text(text)) if is_never(&text) => {
                Value::Text(format!("{LONGEST_MILLIS}ms"))
            }
            (Self::Millis | Self::OrInfinity, Value::Text(text)) if is_never(&text) => {
                Value::Text("none".to_owned())
            }
            (Self::FrameMax, _) if is_zero => Value::Text("128MiB".to_owned()),
            (Self::ChannelMax, _) if is_zero => Value::Integer(u16::MAX.into()),
            (Self::NearProxies, Value::Text(text)) => Value::Text(match text.as_str() {
                "true" => PRIVATE.to_owned(),
                "false" => "none".to_owned(),
                _ => text,
            }),
            (Self::Minutes, Value::Text(text)) if whole(&text) => Value::Text(format!("{text}m")),
            (Self::MetricsLogin, Value::Text(text)) => Value::Text(match text.as_str() {
                "true" => "always".to_owned(),
                "false" => "none".to_owned(),
                _ => text,
            }),
            (_, value) => value,
        }
    }
}

/// Five minutes: what waits for longer waits for ever.
const LONGEST_MILLIS: u64 = 300_000;

fn is_never(text: &str) -> bool {
    ["infinity", "undefined", "false"].contains(&text)
}
