//! What a message says, and what the model has it say.

use std::fmt::Write;

use leveret_codec::{Array, ArrayBuilder, Properties, Table, TableBuilder, TableLimits, Value};
use proptest::prelude::*;

use super::model::{Death, Mail, Slot};
use crate::world::Got;

/// What a publisher may claim of deaths.
pub(super) fn forged(headers: TableBuilder) -> TableBuilder {
    let death = TableBuilder::new().put("queue", "a").put("reason", "rejected").put("count", 7_i64);
    let deaths = ArrayBuilder::new().push(death.build().as_table()).build();
    headers
        .put("x-death", deaths.as_array())
        .put("x-first-death-queue", "nobody's")
        .put("x-last-death-reason", "boredom")
}

/// Compares a message with the model's.
pub(super) fn compare(got: &Got, slot: &Slot) -> Result<(), TestCaseError> {
    let mail = &slot.mail;
    prop_assert_eq!(&got.body, &mail.body);
    let seen = (&*got.exchange, &*got.routing_key, got.redelivered, got.entry().deliveries);
    let expected = (mail.exchange, mail.key, slot.redelivered, slot.deliveries);
    prop_assert_eq!(seen, expected, "{}", &mail.body);
    let properties = got.entry().message.properties();
    let properties = Properties::parse(properties, &TableLimits::default()).unwrap();
    let expiration = mail.expiration.map(|expiration| expiration.to_string());
    prop_assert_eq!(properties.expiration, expiration.as_ref().map(String::as_bytes));
    prop_assert_eq!(properties.priority, mail.priority);
    let headers = properties.headers.unwrap_or_default();
    prop_assert_eq!(printed(headers), expected_headers(mail), "{}", &mail.body);
    Ok(())
}

/// The headers a message should have, printed: those of deaths sorted among its own by name.
fn expected_headers(mail: &Mail) -> String {
    let copy = mail.cc.map(|key| format!("CC: [{key}, ], ")).unwrap_or_default();
    if mail.deaths.is_empty() {
        let forged = if mail.is_forged {
            printed(forged(TableBuilder::new()).build().as_table())
        } else {
            String::new()
        };
        return copy + &forged;
    }
    let mut deaths = String::new();
    for Death { queue, reason, count, time, exchange, keys, original_expiration } in &mail.deaths {
        let expiration = original_expiration.map(|ms| format!("original-expiration: {ms}, "));
        let expiration = expiration.unwrap_or_default();
        let keys = keys.iter().fold(String::new(), |keys, key| keys + key + ", ");
        write!(
            deaths,
            "{{{expiration}count: {count}, reason: {reason}, queue: {queue}, time: T{time}, \
             exchange: {exchange}, routing-keys: [{keys}], }}, "
        )
        .unwrap();
    }
    let [first, last] = [("first", mail.first), ("last", mail.last)].map(|(which, brief)| {
        let [exchange, queue, reason] = brief.unwrap();
        format!(
            "x-{which}-death-exchange: {exchange}, x-{which}-death-queue: {queue}, \
             x-{which}-death-reason: {reason}, "
        )
    });
    format!("{copy}x-death: [{deaths}], {first}{last}")
}

/// A table as text, in the order it has.
fn printed(table: Table<'_>) -> String {
    let mut text = String::new();
    for (name, value) in table.iter() {
        write!(text, "{}: {}, ", String::from_utf8_lossy(name), printed_value(value)).unwrap();
    }
    text
}

fn printed_value(value: Value<'_>) -> String {
    match value {
        Value::Table(table) => format!("{{{}}}", printed(table)),
        Value::Array(array) => format!("[{}]", printed_array(array)),
        Value::Timestamp(seconds) => format!("T{seconds}"),
        other => other.to_string(),
    }
}

fn printed_array(array: Array<'_>) -> String {
    array.iter().fold(String::new(), |text, value| text + &printed_value(value) + ", ")
}
