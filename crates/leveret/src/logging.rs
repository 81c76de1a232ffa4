//! Log lines on standard error: RabbitMQ's two forms, text and JSON.

mod json;
mod text;

use std::io::{self, IsTerminal};

use leveret_server::config::{LogConfig, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, registry, reload};

use self::json::Json;
use self::text::Text;

/// Changes the level of a log that runs.
pub(crate) struct Level(reload::Handle<LevelFilter, Registry>);

/// Logs from here on. Colour is for people: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn start(config: LogConfig) -> Level {
    let has_colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (level, handle) = reload::Layer::new(filter(config.level));
    let log = registry().with(level);
    let lines = fmt::layer().with_writer(io::stderr);
    match config.format {
        LogFormat::Text => log.with(lines.with_ansi(has_colour).event_format(Text)).init(),
        LogFormat::Json => {
            let lines = lines.with_ansi(false).fmt_fields(JsonFields::new()).event_format(Json);
            log.with(lines).init();
        }
    }
    Level(handle)
}

impl Level {
    pub(crate) fn set(&self, level: LogLevel) {
        // Fails only when the log is gone, and then nobody misses it.
        let _ = self.0.reload(filter(level));
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
fn level_name(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warning",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
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
