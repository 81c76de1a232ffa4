//! AMQP's field tables as JSON, and back.

use leveret_codec::{Array, ArrayBuilder, Table, TableBuf, TableBuilder, TableLimits, Value};
use serde_json::{Map, Number, Value as Json};

use crate::answer::Failure;

/// A table as a JSON object. Of entries with one name the last counts.
pub(crate) fn to_json(table: Table<'_>) -> Json {
    let entries = table.iter().map(|(key, value)| (text(key), value_to_json(value)));
    Json::Object(entries.collect())
}

fn value_to_json(value: Value<'_>) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(value),
        Value::F32(value) => float(f64::from(value)),
        Value::F64(value) => float(value),
        Value::Decimal { scale, value } => float(f64::from(value) / 10_f64.powi(scale.into())),
        Value::LongStr(bytes) | Value::Binary(bytes) => Json::String(text(bytes)),
        Value::Array(array) => Json::Array(array.iter().map(value_to_json).collect()),
        Value::Table(table) => to_json(table),
        Value::Timestamp(seconds) => Json::from(seconds),
        Value::Void => Json::Null,
        integer => {
            let integer = integer.as_integer().and_then(|value| i64::try_from(value).ok());
            integer.map_or(Json::Null, Json::from)
        }
    }
}

fn float(value: f64) -> Json {
    Number::from_f64(value).map_or(Json::Null, Json::Number)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A JSON object as a table: integers as `long`, other numbers as `double`, as RabbitMQ takes them.
///
/// # Errors
/// 400 for null, for names over 255 bytes, and for nesting or numbers of entries that no client
/// could send either.
pub(crate) fn from_json(
    object: &Map<String, Json>,
    limits: &TableLimits,
) -> Result<TableBuf, Failure> {
    let table = build(object, limits.max_depth)?;
    let checked = TableBuf::parse(table.as_bytes().clone(), limits);
    checked.map_err(|error| Failure::bad_request(error.to_string()))
}

fn build(object: &Map<String, Json>, depth: usize) -> Result<TableBuf, Failure> {
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    let mut builder = TableBuilder::new();
    for (key, value) in object {
        if key.len() > 255 {
            return Err(Failure::bad_request("argument name too long"));
        }
        builder = with_value(value, depth, |value| builder.put(key, value))?;
    }
    Ok(builder.build())
}

fn build_array(values: &[Json], depth: usize) -> Result<leveret_codec::ArrayBuf, Failure> {
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    let mut builder = ArrayBuilder::new();
    for value in values {
        builder = with_value(value, depth, |value| builder.push(value))?;
    }
    Ok(builder.build())
}

/// Hands a value on, which borrows from what it is made of.
fn with_value<R>(
    value: &Json,
    depth: usize,
    use_it: impl FnOnce(Value<'_>) -> R,
) -> Result<R, Failure> {
    Ok(match value {
        Json::Null => return Err(Failure::bad_request("null_not_allowed")),
        Json::Bool(value) => use_it(Value::Bool(*value)),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => use_it(Value::I64(integer)),
            None => use_it(Value::F64(number.as_f64().unwrap_or_default())),
        },
        Json::String(text) => use_it(Value::text(text)),
        Json::Array(values) => {
            let array = build_array(values, depth)?;
            let array: Array<'_> = array.as_array();
            use_it(Value::Array(array))
        }
        Json::Object(object) => {
            let table = build(object, depth)?;
            use_it(Value::Table(table.as_table()))
        }
    })
}

fn too_deep() -> Failure {
    Failure::bad_request("arguments nested too deep")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(json: Json) -> Result<TableBuf, Failure> {
        match json {
            Json::Object(object) => from_json(&object, &TableLimits::default()),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_json_can_say_comes_back() {
        let json = json!({
            "b": true, "f": 1.5, "i": -7, "l": [1, "a", {"x": []}], "s": "ä", "t": {"n": 5_000_000_000_i64},
        });
        let table = table(json.clone()).unwrap();
        assert_eq!(table.as_table().get("i"), Some(Value::I64(-7)));
        assert_eq!(to_json(table.as_table()), json);
    }

    #[test]
    fn what_no_table_holds_is_refused() {
        let null = Err(Failure::bad_request("null_not_allowed"));
        assert_eq!(table(json!({ "a": null })), null);
        assert_eq!(table(json!({ "a": [{ "b": null }] })), null);
        assert!(table(json!({ "n".repeat(256): 1 })).is_err());
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert!(table(json!({ "a": deep })).is_err());
    }

    #[test]
    fn what_json_cannot_say_comes_near() {
        let table = TableBuilder::new()
            .put("d", Value::Decimal { scale: 2, value: 325 })
            .put("t", Value::Timestamp(7))
            .put("v", Value::Void)
            .put("x", Value::Binary(b"raw"))
            .put("nan", Value::F64(f64::NAN))
            .build();
        let expected = json!({ "d": 3.25, "t": 7, "v": null, "x": "raw", "nan": null });
        assert_eq!(to_json(table.as_table()), expected);
    }
}
