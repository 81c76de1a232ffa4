//! A message's properties as JSON, and back.

use leveret_codec::{Properties, TableBuf, TableLimits};
use serde_json::{Map, Value, json};

use crate::answer::Failure;
use crate::json_table;

/// What a message says of itself; `[]` if it says nothing, as RabbitMQ has it.
pub(crate) fn to_json(properties: &Properties<'_>) -> Value {
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| {
        all.insert(name.to_owned(), value);
    };
    let texts = [
        ("app_id", properties.app_id),
        ("cluster_id", properties.cluster_id),
        ("content_encoding", properties.content_encoding),
        ("content_type", properties.content_type),
        ("correlation_id", properties.correlation_id),
        ("expiration", properties.expiration),
        ("message_id", properties.message_id),
        ("reply_to", properties.reply_to),
        ("type", properties.kind),
        ("user_id", properties.user_id),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            put(name, String::from_utf8_lossy(value).into());
        }
    }
    let numbers = [
        ("delivery_mode", properties.delivery_mode.map(u64::from)),
        ("priority", properties.priority.map(u64::from)),
        ("timestamp", properties.timestamp),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            put(name, value.into());
        }
    }
    if let Some(headers) = properties.headers {
        put("headers", json_table::to_json(headers));
    }
    if all.is_empty() { json!([]) } else { Value::Object(all) }
}

/// Properties as a publish over HTTP has them, in the form of the wire. Unknown ones are left out.
///
/// # Errors
/// 400 for one of the wrong type.
pub(crate) fn from_json(value: &Value, limits: &TableLimits) -> Result<Vec<u8>, Failure> {
    let nothing = Map::new();
    let given = match value {
        Value::Object(given) => given,
        Value::Array(none) if none.is_empty() => &nothing,
        _ => return Err(Failure::bad_request("properties should be an object")),
    };
    let headers: Option<TableBuf> = match given.get("headers") {
        None => None,
        Some(Value::Object(headers)) => Some(json_table::from_json(headers, limits)?),
        Some(Value::Array(none)) if none.is_empty() => None,
        Some(_) => return Err(Failure::BadRequest(json!(["not_table", "headers"]))),
    };
    let text = |name: &str| match given.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= 255 => Ok(Some(text.as_bytes())),
        Some(_) => Err(Failure::BadRequest(json!(["not_string", name]))),
    };
    let number = |name: &str| match given.get(name) {
        None => Ok(None),
        Some(value) => {
            let wrong = || Failure::BadRequest(json!(["not_int", name]));
            value.as_u64().ok_or_else(wrong).map(Some)
        }
    };
    let octet = |name: &str| {
        let wrong = |_| Failure::BadRequest(json!(["not_int", name]));
        number(name)?.map(u8::try_from).transpose().map_err(wrong)
    };
    let properties = Properties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: headers.as_ref().map(TableBuf::as_table),
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number("timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    };
    let mut raw = Vec::new();
    properties.encode(&mut raw);
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_come_back() {
        let json = json!({
            "app_id": "a", "cluster_id": "z", "content_encoding": "gzip", "content_type": "text/plain",
            "correlation_id": "c", "delivery_mode": 2, "expiration": "1000", "headers": { "n": 1 },
            "message_id": "m", "priority": 3, "reply_to": "r", "timestamp": 123, "type": "t",
            "user_id": "guest",
        });
        let raw = from_json(&json, &TableLimits::default()).unwrap();
        let properties = Properties::parse(&raw, &TableLimits::default()).unwrap();
        assert_eq!(to_json(&properties), json);
        assert_eq!(to_json(&Properties::default()), json!([]));
        assert_eq!(from_json(&json!([]), &TableLimits::default()).unwrap(), [0, 0]);
    }

    #[test]
    fn wrong_types_are_named() {
        let refused = |json| from_json(&json, &TableLimits::default()).unwrap_err();
        let not_int = Failure::BadRequest(json!(["not_int", "delivery_mode"]));
        assert_eq!(refused(json!({ "delivery_mode": "2" })), not_int);
        assert_eq!(refused(json!({ "delivery_mode": 256 })), not_int);
        assert!(matches!(refused(json!({ "headers": 5 })), Failure::BadRequest(_)));
        assert!(matches!(refused(json!("x")), Failure::BadRequest(_)));
    }
}
