//! Limits as the API takes them, in RabbitMQ's words.

use leveret_broker::policy::{Pair, Term};
use serde_json::Value;

/// A limit's value.
///
/// # Errors
/// Why it is none.
pub(crate) fn number(name: &str, value: &Value) -> Result<i64, String> {
    let wrong = || format!("{name} should be a number, actually was {}", Term(value));
    value.as_i64().ok_or_else(wrong)
}

/// What is wrong with a limit there is none of.
pub(crate) fn unrecognised(name: &str, value: &Value, of: &str) -> String {
    format!("Unrecognised terms [{}] in {of}", Pair(name, value))
}
