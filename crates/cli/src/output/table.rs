//! Columns with tabs between them.

use serde_json::{Map, Value};

use super::erlang::string;
use super::{Cell, Rows};

/// A table without rows has no header either.
pub(super) fn write(rows: &Rows, has_headers: bool) -> String {
    let mut text = String::new();
    if rows.rows.is_empty() {
        return text;
    }
    if has_headers {
        text += &rows.columns.join("\t");
        text.push('\n');
    }
    for row in &rows.rows {
        let cells: Vec<String> = row.iter().map(cell).collect();
        text += &cells.join("\t");
        text.push('\n');
    }
    text
}

/// As RabbitMQ shows an item of information.
pub(super) fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Value(value) => shown(value),
        Cell::Arguments(arguments) => self::arguments(arguments),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let pairs = map
                .iter()
                .map(|(name, value)| format!("{{<<{}>>, {}}}", string(name), shown(value)));
            format!("[{}]", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn arguments(table: &Map<String, Value>) -> String {
    let pairs =
        table.iter().map(|(name, value)| format!("{{{},{}}}", string(name), argument(value)));
    format!("[{}]", pairs.collect::<Vec<_>>().join(","))
}

fn argument(value: &Value) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::String(text) => string(text),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(argument).collect::<Vec<_>>().join(","))
        }
        Value::Object(table) => arguments(table),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
