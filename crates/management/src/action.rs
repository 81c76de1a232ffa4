//! What is told to the audit log of a request that its handler has not told of.

use leveret_broker::Action;
use serde_json::{Map, Value};

use crate::call::Call;
use crate::routes::{Endpoint, Route};

/// The longest body that is told whole, in bytes.
const BODY_MAX: usize = 16 * 1024;
/// What stands in the place of a secret.
const WITHHELD: &str = "withheld";

/// The endpoint, what its path names, and what the body asks for.
pub(crate) fn of(route: &Route, endpoint: &Endpoint, call: &Call) -> Action {
    let named = call.path.iter().chain(&call.query);
    let named = named.map(|(name, value)| (name.clone(), value.as_str().into()));
    Action {
        name: format!("{} {}", endpoint.method.name(), route.path),
        object: Value::Object(named.collect::<Map<String, Value>>()),
        before: Value::Null,
        after: asked(&call.body),
    }
}

fn asked(body: &[u8]) -> Value {
    if body.len() > BODY_MAX {
        return format!("{} bytes", body.len()).into();
    }
    let mut asked = serde_json::from_slice(body).unwrap_or_default();
    withhold(&mut asked);
    asked
}

/// Takes away what is nobody's business.
fn withhold(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                let name = name.to_ascii_lowercase();
                if ["password", "secret", "token"].iter().any(|word| name.contains(word)) {
                    *value = WITHHELD.into();
                } else {
                    withhold(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(withhold),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_withheld_and_long_bodies_counted() {
        let body = br#"{"a": 1, "Password": "x", "users": [{"password_hash": "y", "b": "z"}]}"#;
        let expected = json!({
            "a": 1, "Password": "withheld", "users": [{ "password_hash": "withheld", "b": "z" }],
        });
        assert_eq!(asked(body), expected);
        assert_eq!(asked(b""), Value::Null);
        assert_eq!(asked(&[b' '; BODY_MAX + 1]), "16385 bytes");
    }
}
