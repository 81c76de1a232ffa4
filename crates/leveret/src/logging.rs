//! Log lines on standard error: RabbitMQ's two forms, text and JSON.

mod json;
mod text;

use std::io::{self, IsTerminal};

use leveret_server::config::{LogConfig, LogFormat, LogLevel};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use self::json::Json;
use self::text::Text;

/// Logs from here on. Colour is for people: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn start(config: LogConfig) {
    let has_colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines =
        fmt().with_writer(io::stderr).with_max_level(filter(config.level)).with_ansi(has_colour);
    match config.format {
        LogFormat::Text => lines.event_format(Text).init(),
        LogFormat::Json => {
            lines.with_ansi(false).fmt_fields(JsonFields::new()).event_format(Json).init();
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::None => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// RabbitMQ's names of the levels.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The time as RabbitMQ writes it: `2026-11-20 21:42:15.377926+00:00`.
fn now() -> String {
    let mut time = String::new();
    // Writing into a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time.replacen('T', " ", 1).replace('Z', "+00:00")
}

#[cfg(test)]
mod tests;
