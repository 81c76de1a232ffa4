//! JSON: a line for each row, all of them a list.

use serde_json::{Map, Value, json};

use super::{Cell, Rows};

pub(super) fn write(rows: &Rows) -> String {
    let mut text = "[\n".to_owned();
    for (index, row) in rows.rows.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text += &object(rows, row);
        text.push('\n');
    }
    text + "]\n"
}

/// Each row a document of its own.
pub(super) fn write_stream(rows: &Rows) -> String {
    rows.rows.iter().map(|row| object(rows, row) + "\n").collect()
}

/// What a command without rows comes to.
pub(super) fn done(node: &str, value: Option<&str>) -> Value {
    match value {
        None => json!({ "node": node, "result": "ok" }),
        Some(value) => json!({ "node": node, "result": "ok", "value": value }),
    }
}

/// In the order of the columns, which a map would lose.
fn object(rows: &Rows, row: &[Cell]) -> String {
    let fields = rows.columns.iter().zip(row).map(|(name, cell)| {
        let value = match cell {
            Cell::Value(Value::Null) => Value::from(""),
            Cell::Value(value) => value.clone(),
            Cell::Arguments(arguments) => typed(arguments),
        };
        format!("{}:{value}", Value::from(name.as_str()))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// `[["x-max-length","long",10]]`, as RabbitMQ has it.
fn typed(arguments: &Map<String, Value>) -> Value {
    arguments
        .iter()
        .map(|(name, value)| {
            let (kind, value) = of_type(value);
            json!([name, kind, value])
        })
        .collect()
}

fn of_type(value: &Value) -> (&'static str, Value) {
    match value {
        Value::Null => ("void", "undefined".into()),
        Value::Bool(_) => ("bool", value.clone()),
        Value::Number(number) if number.is_f64() => ("double", value.clone()),
        Value::Number(_) => ("long", value.clone()),
        Value::String(_) => ("longstr", value.clone()),
        Value::Array(values) => {
            let values = values.iter().map(|value| {
                let (kind, value) = of_type(value);
                json!([kind, value])
            });
            ("array", values.collect())
        }
        Value::Object(table) => ("table", typed(table)),
    }
}
