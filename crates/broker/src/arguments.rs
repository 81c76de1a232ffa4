//! Queue arguments: which there are, what values they take, and when two declarations are the same.
//!
//! One table drives it all; `reference: RabbitMQ 4.x queue arguments by type`.

use std::fmt;
use std::time::Duration;

use leveret_codec::{AmqpError, Table, TableBuf, Value};
use leveret_engine::{Deduplication, Millis, Overflow};

use crate::age::age;
use crate::dead_letter::Strategy;
use crate::delayed_retry;
use crate::queue::Settings;
use crate::queue_type::QueueType;
use crate::refusal::{self, Resource};

/// The longest expiry RabbitMQ takes: ten years of milliseconds.
pub(crate) const MAX_EXPIRY_MS: u64 = 315_360_000_000;

/// Arguments RabbitMQ knows, with the queue types that have them and what their values may be: in
/// the order in which it checks and compares them.
const KNOWN: &[Argument] = &[
    known("x-expires", CLASSIC | QUORUM, Rule::Expiry { zero: false }),
    known("x-message-ttl", CLASSIC | QUORUM, Rule::Expiry { zero: true }),
    known("x-dead-letter-exchange", CLASSIC | QUORUM, Rule::DeadLetterExchange),
    known("x-dead-letter-routing-key", CLASSIC | QUORUM, Rule::DeadLetterRoutingKey),
    known("x-dead-letter-strategy", QUORUM, Rule::DeadLetterStrategy),
    known("x-max-length", CLASSIC | QUORUM, Rule::NonNegative),
    known("x-max-length-bytes", CLASSIC | QUORUM | STREAM, Rule::NonNegative),
    known("x-max-in-memory-length", QUORUM, Rule::Ignored),
    known("x-max-in-memory-bytes", QUORUM, Rule::Ignored),
    known("x-max-priority", CLASSIC, Rule::MaxPriority),
    known("x-overflow", CLASSIC | QUORUM, Rule::Overflow),
    known("x-queue-mode", CLASSIC, Rule::Any),
    known("x-queue-version", CLASSIC, Rule::QueueVersion),
    known("x-single-active-consumer", CLASSIC | QUORUM, Rule::Bool),
    known("x-queue-type", CLASSIC | QUORUM | STREAM, Rule::QueueType),
    // As up to 4.2: later versions have it for quorum queues only.
    known("x-consumer-timeout", CLASSIC | QUORUM, Rule::ConsumerTimeout),
    known("x-consumer-disconnected-timeout", QUORUM, Rule::Replicas { zero: true }),
    known("x-quorum-initial-group-size", QUORUM, Rule::Replicas { zero: false }),
    known("x-max-age", STREAM, Rule::MaxAge),
    known(MAX_SEGMENT_SIZE, STREAM, Rule::SegmentSize),
    // RabbitMQ's filters are probabilistic, and this is their size. Ours miss nothing.
    known(FILTER_SIZE, STREAM, Rule::Ignored),
    known("x-initial-cluster-size", STREAM, Rule::Replicas { zero: false }),
    known("x-queue-master-locator", CLASSIC, Rule::Any),
    known("x-queue-leader-locator", CLASSIC | QUORUM | STREAM, Rule::LeaderLocator),
    known("x-delivery-limit", QUORUM, Rule::DeliveryLimit),
    known(delayed_retry::TYPE, QUORUM, Rule::Any),
    known(delayed_retry::MIN, QUORUM, Rule::Any),
    known(delayed_retry::MAX, QUORUM, Rule::Any),
];

const MAX_SEGMENT_SIZE: &str = "x-stream-max-segment-size-bytes";
const FILTER_SIZE: &str = "x-stream-filter-size-bytes";
/// The largest segment RabbitMQ makes.
const LARGEST_SEGMENT: i128 = 3_000_000_000;

/// Arguments of `basic.consume` that only streams know.
pub(crate) const OF_READERS: [&str; 4] =
    ["x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered", OFFSET_TRACKING];
/// Asks for the position of a reader to be kept. LavinMQ's; RabbitMQ has it in its stream protocol.
pub(crate) const OFFSET_TRACKING: &str = "x-stream-automatic-offset-tracking";

const CLASSIC: u8 = 1;
const QUORUM: u8 = 2;
const STREAM: u8 = 4;

struct Argument {
    name: &'static str,
    types: u8,
    rule: Rule,
}

impl Argument {
    fn is_for(&self, queue_type: QueueType) -> bool {
        let column = match queue_type {
            QueueType::Classic => CLASSIC,
            QueueType::Quorum => QUORUM,
            QueueType::Stream => STREAM,
        };
        self.types & column != 0
    }
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
    Expiry {
        zero: bool,
    },
    NonNegative,
    Overflow,
    MaxPriority,
    QueueVersion,
    LeaderLocator,
    DeadLetterStrategy,
    DeliveryLimit,
    /// A number that says something only where there are several nodes.
    Replicas {
        zero: bool,
    },
    /// A number that says nothing here.
    Ignored,
    ConsumerTimeout,
    MaxAge,
    SegmentSize,
}

/// How often a message of a quorum queue may come back unless its arguments say otherwise.
const DELIVERY_LIMIT: u32 = 20;
/// The highest priority of a quorum queue, and that of messages without one.
const QUORUM_PRIORITIES: (u8, u8) = (31, 4);

/// Checks the arguments of a new queue and reads the settings out of them.
///
/// # Errors
/// 406 with RabbitMQ's text for what a value may not be.
pub(crate) fn settings(
    arguments: Table<'_>,
    queue: &str,
    vhost: &str,
) -> Result<Settings, AmqpError> {
    let queue_type = queue_type(arguments, queue, vhost)?;
    let deduplication = Deduplication::asked_for(arguments);
    if deduplication.is_some() && queue_type == QueueType::Stream {
        // What is in a stream has its offset; nothing could be left out.
        let argument = "x-message-deduplication";
        return Err(refusal::argument_of_other_type(argument, queue, vhost, queue_type));
    }
    let mut settings = Settings { queue_type, deduplication, ..Settings::default() };
    if queue_type == QueueType::Quorum {
        let (highest, default) = QUORUM_PRIORITIES;
        settings.machine.max_priority = Some(highest);
        settings.machine.default_priority = default;
        settings.machine.delivery_limit = Some(DELIVERY_LIMIT);
        settings.machine.delayed_retry = delayed_retry::asked_for(arguments);
    }
    for argument in KNOWN.iter().filter(|known| known.is_for(queue_type)) {
        let Some(value) = arguments.get(argument.name) else { continue };
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
    for (key, _) in arguments.iter() {
        let known = KNOWN.iter().find(|known| known.name.as_bytes() == key);
        if let Some(foreign) = known.filter(|known| !known.is_for(queue_type)) {
            return Err(refusal::argument_of_other_type(foreign.name, queue, vhost, queue_type));
        }
    }
    if queue_type == QueueType::Quorum && settings.machine.overflow == Overflow::RejectPublishDlx {
        // RabbitMQ takes the word and does this.
        settings.machine.overflow = Overflow::DropHead;
    }
    if queue_type == QueueType::Stream {
        settings.stream.max_length_bytes = settings.machine.max_length_bytes.take();
    }
    Ok(settings)
}

/// Checks how much a new queue that deduplicates is to remember.
///
/// # Errors
/// 406.
pub(crate) fn check_cache_size(
    arguments: Table<'_>,
    queue: &str,
    vhost: &str,
) -> Result<(), AmqpError> {
    let asked_for = Deduplication::asked_for(arguments);
    match asked_for.and_then(|_| Deduplication::excess(arguments)) {
        None => Ok(()),
        Some(size) => {
            let reason = format!("{{value_too_large,{size}}}");
            Err(refusal::invalid_argument("x-cache-size", queue, vhost, reason))
        }
    }
}

/// The type a declaration asks for.
///
/// # Errors
/// 406 with RabbitMQ's text for what is no type.
pub(crate) fn queue_type(
    arguments: Table<'_>,
    queue: &str,
    vhost: &str,
) -> Result<QueueType, AmqpError> {
    let invalid = |reason| refusal::invalid_argument("x-queue-type", queue, vhost, reason);
    let Some(value) = arguments.get("x-queue-type") else {
        return Ok(QueueType::default());
    };
    match text(value).map_err(invalid)? {
        "classic" | "" | "undefined" => Ok(QueueType::Classic),
        "quorum" => Ok(QueueType::Quorum),
        "stream" => Ok(QueueType::Stream),
        other => Err(invalid(format!("\"unsupported queue type '{other}'\""))),
    }
}

/// Checks what RabbitMQ checks of a new stream after its properties.
///
/// # Errors
/// 406.
pub(crate) fn check_sizes(arguments: Table<'_>) -> Result<(), AmqpError> {
    let number = |argument| arguments.get(argument).and_then(|value: Value<'_>| value.as_integer());
    if number(MAX_SEGMENT_SIZE).is_some_and(|size| size > LARGEST_SEGMENT) {
        return Err(refusal::segment_size(MAX_SEGMENT_SIZE));
    }
    if number(FILTER_SIZE).is_some_and(|size| !(16..=255).contains(&size)) {
        return Err(refusal::filter_size(FILTER_SIZE));
    }
    Ok(())
}

/// Checks that a redeclaration names the same arguments as the queue has.
///
/// Only arguments RabbitMQ knows for the queue's type are compared, integers and ages by value.
///
/// # Errors
/// 406 `inequivalent arg`.
pub(crate) fn check_equivalent(
    received: Table<'_>,
    current: &TableBuf,
    queue_type: QueueType,
    queue: &str,
    vhost: &str,
) -> Result<(), AmqpError> {
    let current = current.as_table();
    for argument in KNOWN.iter().filter(|known| known.is_for(queue_type)) {
        let default_type = Value::LongStr(b"classic");
        let (new, old) = (received.get(argument.name), current.get(argument.name));
        let (new, old) = match argument.rule {
            Rule::QueueType => (new.or(Some(default_type)), old.or(Some(default_type))),
            _ => (new, old),
        };
        let (new, old) = match (new, old) {
            (None, None) => continue,
            (Some(new), Some(old)) if new.loosely_equals(&old) => continue,
            (new, old) if matches!(argument.rule, Rule::MaxAge) => match described_ages(new, old) {
                Some(described) => described,
                None => continue,
            },
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

/// As [`described`], of ages that differ: RabbitMQ compares and prints their milliseconds.
fn described_ages(new: Option<Value<'_>>, old: Option<Value<'_>>) -> Option<(String, String)> {
    let millis = |value: Value<'_>| match value.as_str().and_then(age) {
        Some(age) => age.0.to_string(),
        None => value.to_string(),
    };
    let one_sided = |value: Option<Value<'_>>| {
        value.map_or_else(
            || "none".to_owned(),
            |value| format!("the value '{}' of type '{}'", millis(value), value.type_name()),
        )
    };
    match (new, old) {
        (Some(new), Some(old)) => {
            let (new, old) = (millis(new), millis(old));
            (new != old).then(|| (format!("'{new}'"), format!("'{old}'")))
        }
        (new, old) => Some((one_sided(new), one_sided(old))),
    }
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
        Rule::DeadLetterRoutingKey => {
            settings.dead_letter_routing_key = Some(text(value)?.into());
            if settings.dead_letter_exchange.is_none() {
                return Err(Problem::Value("routing_key_but_no_dlx_defined".to_owned()));
            }
        }
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
            let version = non_negative(integer(value)?)?;
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
        Rule::DeadLetterStrategy => {
            settings.dead_letter_strategy = match text(value)? {
                "at-most-once" => Strategy::AtMostOnce,
                "at-least-once" => Strategy::AtLeastOnce,
                _ => return Err(Problem::Value("invalid_dlx_strategy".to_owned())),
            };
        }
        Rule::DeliveryLimit => {
            let limit = integer(value)?;
            settings.machine.delivery_limit =
                (limit >= 0).then(|| u32::try_from(limit).unwrap_or(u32::MAX));
        }
        Rule::Replicas { zero } => {
            if non_negative(integer(value)?)? == 0 && !zero {
                return Err(Problem::Value("{value_zero,0}".to_owned()));
            }
        }
        Rule::Ignored => {
            non_negative(integer(value)?)?;
        }
        Rule::MaxAge => {
            let age = age(text(value)?).ok_or_else(|| "invalid_max_age".to_owned())?;
            settings.stream.max_age = Some(age);
        }
        Rule::SegmentSize => {
            settings.stream.max_segment_bytes = non_negative(integer(value)?)?;
        }
        Rule::ConsumerTimeout => {
            let timeout = non_negative(integer(value)?)?;
            settings.consumer_timeout = Some(Duration::from_millis(timeout));
        }
    }
    Ok(())
}

/// The text of a value that has to be one; the error is RabbitMQ's reason.
fn text(value: Value<'_>) -> Result<&str, String> {
    value.as_str().ok_or_else(|| unacceptable(value))
}

/// RabbitMQ's reason for a value of a wrong type.
pub(crate) fn unacceptable(value: Value<'_>) -> String {
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
