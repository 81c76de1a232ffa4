//! One out of two: a user's policy and an operator's, a policy and an object's arguments.

use leveret_codec::{AmqpError, Table, TableBuf, TableBuilder, Value as Field};
use serde_json::{Map, Value};

use super::applied::AppliedPolicies;
use super::keys::{self, Both, Key, Meaning};
use crate::arguments;
use crate::queue::Settings;
use crate::queue_type::QueueType;

/// What an exchange's argument is called, too.
pub(crate) const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// A user's definition and an operator's as one.
pub(super) fn definitions(
    user: &Map<String, Value>,
    operator: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = user.clone();
    for (name, theirs) in operator {
        let value = match user.get(name) {
            Some(own) => both(keys::find(name).map_or(Both::Operator, Key::both), own, theirs),
            None => theirs,
        };
        merged.insert(name.clone(), value.clone());
    }
    merged
}

fn both<'a>(rule: Both, user: &'a Value, operator: &'a Value) -> &'a Value {
    let (Some(own), Some(theirs)) = (keys::integer(user), keys::integer(operator)) else {
        return operator;
    };
    let higher = if own > theirs { user } else { operator };
    let lower = if own < theirs { user } else { operator };
    match rule {
        Both::Operator => operator,
        Both::Lower => lower,
        Both::Higher => higher,
        Both::Limit if own < 0 || theirs < 0 => higher,
        Both::Limit => lower,
    }
}

/// The settings of a queue with these arguments and policies.
///
/// # Errors
/// None for arguments and policies that were accepted; otherwise as a declaration with them.
pub(crate) fn settings(
    arguments: Table<'_>,
    queue_type: QueueType,
    policies: &AppliedPolicies,
    queue: &str,
    vhost: &str,
) -> Result<Settings, AmqpError> {
    if policies.is_empty() {
        return arguments::settings(arguments, queue, vhost);
    }
    let merged = effective_arguments(arguments, queue_type, &policies.effective_definition());
    arguments::settings(merged.as_table(), queue, vhost)
}

/// The arguments that say by themselves what a queue's arguments and its policies say together.
pub(super) fn effective_arguments(
    arguments: Table<'_>,
    queue_type: QueueType,
    definition: &Map<String, Value>,
) -> TableBuf {
    let mut merged = TableBuilder::from_table(arguments);
    for (name, value) in definition {
        let Some(key) = keys::find(name) else { continue };
        let argument = format!("x-{name}");
        let Some(field) = field(key, value) else { continue };
        let own = arguments.get(&argument);
        if own.is_none_or(|own| policy_holds(key.meaning(queue_type), field, own)) {
            match key.meaning(queue_type) {
                Meaning::Skipped | Meaning::Nothing => {}
                _ => merged = merged.set(&argument, field),
            }
        }
    }
    let merged = merged.build();
    let is_there = |argument| merged.as_table().get(argument).is_some();
    if is_there("x-dead-letter-routing-key") && !is_there("x-dead-letter-exchange") {
        // An argument may not stand alone; a policy may, and means nothing.
        let merged = TableBuilder::from_table(merged.as_table());
        return merged.remove("x-dead-letter-routing-key").build();
    }
    merged
}

/// Whether a policy's value holds against the argument's.
fn policy_holds(meaning: Meaning, policy: Field<'_>, argument: Field<'_>) -> bool {
    let lower = || match (policy.as_integer(), argument.as_integer()) {
        (Some(policy), Some(argument)) => policy < argument,
        _ => false,
    };
    match meaning {
        Meaning::Skipped | Meaning::Nothing | Meaning::ArgumentFirst => false,
        Meaning::PolicyFirst => true,
        Meaning::Lower => lower(),
        Meaning::Limit => {
            let unlimited = |field: Field<'_>| field.as_integer().is_some_and(|number| number < 0);
            if unlimited(policy) || unlimited(argument) { !lower() } else { lower() }
        }
    }
}

/// A policy's value as an argument's.
fn field<'a>(key: &Key, value: &'a Value) -> Option<Field<'a>> {
    match value {
        Value::String(text) => Some(Field::text(text)),
        other => {
            let number = keys::integer(other)?.min(key.highest().into());
            i64::try_from(number).ok().map(Field::I64)
        }
    }
}
