//! What commands print, in RabbitMQ's formats.

mod csv;
mod erlang;
mod json;
mod pretty_table;
mod table;

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::call::Call;

/// What comes of a command.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// It was done, and there is nothing to say.
    Nothing,
    /// A line, or several.
    Text(String),
    /// A table.
    Rows(Rows),
    /// Text for people, and what it says for programs.
    Report(String, Value),
}

/// A table with a name for each column.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// What stands in a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Value(Value),
    /// Arguments of AMQP, which RabbitMQ shows with their types.
    Arguments(Map<String, Value>),
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Table,
    PrettyTable,
    Json,
    JsonStream,
    Csv,
    Erlang,
}

impl Format {
    pub(crate) const NAMES: [(&'static str, Self); 7] = [
        ("table", Self::Table),
        ("string", Self::Table),
        ("pretty_table", Self::PrettyTable),
        ("json", Self::Json),
        ("json_stream", Self::JsonStream),
        ("csv", Self::Csv),
        ("erlang", Self::Erlang),
    ];

    /// Whether programs read it.
    pub(crate) fn is_for_programs(self) -> bool {
        matches!(self, Self::Json | Self::JsonStream | Self::Csv | Self::Erlang)
    }
}

impl Output {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Prints it as the command line wants it.
    ///
    /// # Errors
    /// When standard output can't be written.
    pub(crate) fn print(&self, call: &Call) -> io::Result<()> {
        let format = call.options.format.unwrap_or(Format::Table);
        let has_headers = call.options.has_headers && !call.options.is_silent;
        let text = self.shown(format, has_headers, call.node());
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // Whoever reads it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    fn shown(&self, format: Format, has_headers: bool, node: &str) -> String {
        match (self, format) {
            (Self::Nothing, Format::Json | Format::JsonStream) => {
                line(&json::done(node, None).to_string())
            }
            (Self::Nothing, _) => String::new(),
            (Self::Text(text), Format::Json | Format::JsonStream) => {
                line(&json::done(node, Some(text)).to_string())
            }
            (Self::Text(text), Format::PrettyTable) => pretty_table::one("Output", text),
            (Self::Text(text), _) => line(text),
            (Self::Report(_, value), Format::Json | Format::JsonStream) => line(&value.to_string()),
            (Self::Report(_, value), Format::Erlang) => line(&erlang::term(value)),
            (Self::Report(text, _), Format::PrettyTable) => pretty_table::one("Output", text),
            (Self::Report(text, _), _) => line(text),
            (Self::Rows(rows), Format::Table) => table::write(rows, has_headers),
            (Self::Rows(rows), Format::PrettyTable) => pretty_table::write(rows),
            (Self::Rows(rows), Format::Json) => json::write(rows),
            (Self::Rows(rows), Format::JsonStream) => json::write_stream(rows),
            (Self::Rows(rows), Format::Csv) => csv::write(rows),
            (Self::Rows(rows), Format::Erlang) => erlang::write(rows),
        }
    }
}

impl Rows {
    pub(crate) fn new(columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        Self { columns, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = Value>) {
        self.rows.push(row.into_iter().map(Cell::Value).collect());
    }
}

impl From<Rows> for Output {
    fn from(rows: Rows) -> Self {
        Self::Rows(rows)
    }
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

#[cfg(test)]
mod tests;
