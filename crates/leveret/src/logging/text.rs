//! `2026-11-20 21:42:15.377926+00:00 [info] message`

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::{level_name, now};

/// One line an event: time, level, the spans it happened in, the message and its fields.
pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        let name = level_name(level);
        let time = now();
        if writer.has_ansi_escapes() {
            write!(writer, "{time} {}[{name}]\x1b[0m ", colour(level))?;
        } else {
            write!(writer, "{time} [{name}] ")?;
        }
        let mut message = String::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            message.push_str(span.name());
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                message.push('{');
                message.push_str(fields);
                message.push('}');
            }
            message.push_str(": ");
        }
        context.field_format().format_fields(Writer::new(&mut message), event)?;
        writeln!(writer, "{}", OneLine(&message))
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG | Level::TRACE => "\x1b[2m",
    }
}

/// A text without its control characters: names come from clients, and none of them shall write
/// log lines of its own, or to the terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            let mut characters = part.chars();
            match characters.next_back() {
                Some(last) if last.is_control() => {
                    write!(f, "{}{}", characters.as_str(), last.escape_default())?;
                }
                _ => f.write_str(part)?,
            }
        }
        Ok(())
    }
}
