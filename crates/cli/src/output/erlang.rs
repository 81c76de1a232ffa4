//! Erlang terms.

use serde_json::Value;

use super::{Cell, Rows};

pub(super) fn write(rows: &Rows) -> String {
    let rows = rows.rows.iter().map(|row| {
        let fields = rows.columns.iter().zip(row).map(|(name, cell)| {
            let value = match cell {
                Cell::Value(value) => term(value),
                Cell::Arguments(arguments) => term(&Value::Object(arguments.clone())),
            };
            format!("{{{},{value}}}", atom(name))
        });
        format!("[{}]", fields.collect::<Vec<_>>().join(","))
    });
    format!("[{}]\n", rows.collect::<Vec<_>>().join(",\n "))
}

/// A value as a term: texts are binaries, objects lists of pairs.
pub(super) fn term(value: &Value) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("<<{}>>", string(text)),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(term).collect::<Vec<_>>().join(","))
        }
        Value::Object(map) => {
            let pairs =
                map.iter().map(|(name, value)| format!("{{<<{}>>,{}}}", string(name), term(value)));
            format!("[{}]", pairs.collect::<Vec<_>>().join(","))
        }
    }
}

/// A text in quotes.
pub(super) fn string(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

/// A name that isn't one of Erlang's plain atoms stands in quotes.
fn atom(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
    if is_plain { name.to_owned() } else { format!("'{name}'") }
}
