//! Queue arguments: which there are, what values they take, and when two declarations are the same.
//!
//! One table drives it all; `reference: RabbitMQ 4.x queue arguments by type`.

use std::fmt;

use leveret_codec::{AmqpError, Table, TableBuf, Value};
use leveret_engine::{Deduplication, Millis, Overflow};

use crate::queue::Settings;
use crate::refusal::{self, Resource};

/// The longest expiry RabbitMQ takes: ten years of milliseconds.
pub(crate) const MAX_EXPIRY_MS: u64 = 315_360_000_000;

/// Arguments RabbitMQ knows, with the queue types that have them and what their values may be.
const KNOWN: &[Argument] = &[
    known("x-queue-type", CLASSIC | QUORUM | STREAM, Rule::QueueType),
    known("x-expires", CLASSIC | QUORUM, Rule::Expiry { zero: false }),
    known("x-message-ttl", CLASSIC | QUORUM, Rule::Expiry { zero: true }),
    known("x-max-length", CLASSIC | QUORUM, Rule::NonNegative),
    known("x-max-length-bytes", CLASSIC | QUORUM | STREAM, Rule::NonNegative),
    known("x-overflow", CLASSIC | QUORUM, Rule::Overflow),
    known("x-dead-letter-exchange", CLASSIC | QUORUM, Rule::DeadLetterExchange),
    known("x-dead-letter-routing-key", CLASSIC | QUORUM, Rule::DeadLetterRoutingKey),
    known("x-dead-letter-strategy", QUORUM, Rule::Any),
    known("x-max-priority", CLASSIC, Rule::MaxPriority),
    known("x-queue-mode", CLASSIC, Rule::Any),
    known("x-queue-version", CLASSIC, Rule::QueueVersion),
    known("x-single-active-consumer", CLASSIC | QUORUM, Rule::Bool),
    known("x-queue-master-locator", CLASSIC, Rule::Any),
    known("x-queue-leader-locator", CLASSIC | QUORUM | STREAM, Rule::LeaderLocator),
    known("x-delivery-limit", QUORUM, Rule::Any),
    known("x-quorum-initial-group-size", QUORUM, Rule::Any),
    known("x-quorum-target-group-size", QUORUM, Rule::Any),
    known("x-max-in-memory-length", QUORUM, Rule::Any),
    known("x-max-in-memory-bytes", QUORUM, Rule::Any),
    known("x-consumer-timeout", QUORUM, Rule::Any),
    known("x-max-age", STREAM, Rule::Any),
    known("x-stream-max-segment-size-bytes", STREAM, Rule::Any),
    known("x-stream-filter-size-bytes", STREAM, Rule::Any),
    known("x-initial-cluster-size", STREAM, Rule::Any),
];

const CLASSIC: u8 = 1;
const QUORUM: u8 = 2;
const STREAM: u8 = 4;

struct Argument {
    name: &'static str,
    types: u8,
    rule: Rule,
}

const fn known(name: &'static str, types: u8, rule: Rule) -> Argument {
    Argument { name, types, rule }
}

#[derive(Clone, Copy)]
enum Rule {
    Any,
    DeadLetterExchange,
    DeadLetterRoutingKey,
    Bool,
    QueueType,
    Expiry { zero: bool },
    NonNegative,
    Overflow,
    MaxPriority,
    QueueVersion,
    LeaderLocator,
}

/// Checks the arguments of a new classic queue and reads the settings out of them.
///
/// # Errors
/// 406 with RabbitMQ's text for what a value may not be; 540 for a queue type this version doesn't
/// have.
pub(crate) fn settings(
    arguments: Table<'_>,
    queue: &str,
    vhost: &str,
) -> Result<Settings, AmqpError> {
    let mut settings =
        Settings { deduplication: Deduplication::asked_for(arguments), ..Settings::default() };
    let queue_type = match arguments.get("x-queue-type") {
        None => "classic",
        Some(value) => queue_type(value)
            .map_err(|reason| refusal::invalid_argument("x-queue-type", queue, vhost, reason))?,
    };
    if queue_type != "classic" {
        return Err(AmqpError::not_implemented(format!(
            "queue '{queue}' in vhost '{vhost}': {queue_type} queues are not available in this \
             version"
        )));
    }
    for (key, value) in arguments.iter() {
        let Some(argument) = KNOWN.iter().find(|known| known.name.as_bytes() == key) else {
            continue;
        };
        if argument.types & CLASSIC == 0 {
            return Err(refusal::argument_of_other_type(argument.name, queue, vhost, queue_type));
        }
        apply(&mut settings, argument, value).map_err(|problem| match problem {
            Problem::Value(reason) => {
                refusal::invalid_argument(argument.name, queue, vhost, reason)
            }
            Problem::Type => refusal::invalid_argument_type(
                value.type_name(),
                argument.name,
                Resource::Queue(queue),
                vhost,
            ),
        })?;
    }
    if settings.dead_letter_routing_key.is_some() && settings.dead_letter_exchange.is_none() {
        let reason = "routing_key_but_no_dlx_defined";
        let argument = "x-dead-letter-routing-key";
        return Err(refusal::invalid_argument(argument, queue, vhost, reason));
    }
    Ok(settings)
}

/// Checks that a redeclaration names the same arguments as the queue has.
///
/// Only arguments RabbitMQ knows for the type are compared, integers by value.
///
/// # Errors
/// 406 `inequivalent arg`.
pub(crate) fn check_equivalent(
    received: Table<'_>,
    current: &TableBuf,
    queue: &str,
    vhost: &str,
) -> Result<(), AmqpError> {
    let current = current.as_table();
    for argument in KNOWN.iter().filter(|known| known.types & CLASSIC != 0) {
        let default_type = Value::LongStr(b"classic");
        let (new, old) = (received.get(argument.name), current.get(argument.name));
        let (new, old) = match argument.rule {
            Rule::QueueType => (new.or(Some(default_type)), old.or(Some(default_type))),
            _ => (new, old),
        };
        let (new, old) = match (new, old) {
            (None, None) => continue,
            (Some(new), Some(old)) if new.loosely_equals(&old) => continue,
            (Some(new), Some(old)) => (format!("'{new}'"), format!("'{old}'")),
            (new, old) => (described(new), described(old)),
        };
        let resource = Resource::Queue(queue);
        return Err(refusal::inequivalent(argument.name, resource, vhost, &new, &old));
    }
    Ok(())
}

/// `none`, or the value with its type: how RabbitMQ prints an argument that stands on one side.
pub(crate) fn described(value: Option<Value<'_>>) -> String {
    value.map_or_else(
        || "none".to_owned(),
        |value| format!("the value '{value}' of type '{}'", value.type_name()),
    )
}

enum Problem {
    /// The value is refused; the text says why.
    Value(String),
    /// The value has a type RabbitMQ names in a text of its own.
    Type,
}

impl From<String> for Problem {
    fn from(reason: String) -> Self {
        Self::Value(reason)
    }
}

fn apply(settings: &mut Settings, argument: &Argument, value: Value<'_>) -> Result<(), Problem> {
    match argument.rule {
        Rule::Any | Rule::QueueType => {}
        Rule::DeadLetterExchange => {
            let exchange = value.as_str().ok_or(Problem::Type)?;
            settings.dead_letter_exchange = Some(exchange.into());
        }
        Rule::DeadLetterRoutingKey => settings.dead_letter_routing_key = Some(text(value)?.into()),
        Rule::Bool => {
            let active = value.as_bool().ok_or_else(|| unacceptable(value))?;
            settings.machine.single_active_consumer = active;
        }
        Rule::Expiry { zero } => {
            let expiry = Some(Millis(expiry(integer(value)?, zero)?));
            match argument.name {
                "x-expires" => settings.expires = expiry,
                _ => settings.machine.message_ttl = expiry,
            }
        }
        Rule::NonNegative => {
            let limit = non_negative(integer(value)?)?;
            match argument.name {
                "x-max-length" => settings.machine.max_length = Some(limit),
                _ => settings.machine.max_length_bytes = Some(limit),
            }
        }
        Rule::Overflow => {
            settings.machine.overflow = match text(value)? {
                "drop-head" => Overflow::DropHead,
                "reject-publish" => Overflow::RejectPublish,
                "reject-publish-dlx" => Overflow::RejectPublishDlx,
                _ => return Err(Problem::Value("invalid_overflow".to_owned())),
            }
        }
        Rule::MaxPriority => {
            let max = non_negative(integer(value)?)?;
            let max = u8::try_from(max).map_err(|_| format!("{{max_value_exceeded,{max}}}"))?;
            settings.machine.max_priority = Some(max);
        }
        Rule::QueueVersion => {
            let version = integer(value)?;
            if version != 1 && version != 2 {
                return Err(format!("\"unsupported queue version '{version}'\"").into());
            }
        }
        Rule::LeaderLocator => {
            let locators = ["client-local", "balanced", "random", "least-leaders"];
            if !locators.contains(&text(value)?) {
                return Err(Problem::Value("invalid_queue_locator_arg".to_owned()));
            }
        }
    }
    Ok(())
}

fn queue_type(value: Value<'_>) -> Result<&'static str, String> {
    match text(value)? {
        "classic" | "" | "undefined" => Ok("classic"),
        "quorum" => Ok("quorum"),
        "stream" => Ok("stream"),
        other => Err(format!("\"unsupported queue type '{other}'\"")),
    }
}

fn text(value: Value<'_>) -> Result<&str, String> {
    value.as_str().ok_or_else(|| unacceptable(value))
}

fn unacceptable(value: Value<'_>) -> String {
    format!("{{unacceptable_type,{}}}", value.type_name())
}

/// An integer of any width.
pub(crate) fn integer(value: Value<'_>) -> Result<i128, String> {
    let wrong = || format!("\"expected integer, got {}\"", value.type_name());
    value.as_integer().ok_or_else(wrong)
}

/// An integer from 0 on; the error is RabbitMQ's reason.
pub(crate) fn non_negative(value: i128) -> Result<u64, String> {
    u64::try_from(value).map_err(|_| format!("{{value_negative,{value}}}"))
}

/// A time span in milliseconds within RabbitMQ's bounds; the error is RabbitMQ's reason.
pub(crate) fn expiry<T>(value: T, zero: bool) -> Result<u64, String>
where
    T: Copy + fmt::Display + TryInto<i128>,
{
    let number = value.try_into().unwrap_or(i128::MAX);
    match u64::try_from(number) {
        Err(_) if number < 0 => Err(format!("{{value_negative,{value}}}")),
        Ok(0) if !zero => Err("{value_zero,0}".to_owned()),
        Ok(ms) if ms <= MAX_EXPIRY_MS => Ok(ms),
        _ => Err(format!("{{value_too_large,{value}}}")),
    }
}
