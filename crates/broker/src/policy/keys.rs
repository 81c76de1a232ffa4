//! The settings of policies: what each may be, which queue types take it, and who wins.

use serde_json::{Map, Value};

use super::PolicyKind;
use super::invalid::InvalidPolicy;
use crate::age::age;
use crate::queue_type::QueueType;

/// A setting.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What its values may be.
    rule: Rule,
    /// What a refused value is not: `... is not a valid <this>`.
    what: &'static str,
    /// To classic queues, quorum queues and streams.
    meanings: [Meaning; 3],
    /// What comes of two values where an operator's policy has one as well; `None` if it may not.
    operator: Option<Both>,
}

/// What a setting means to a type of queue, besides its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A policy with it is not for these queues.
    Skipped,
    /// It may be there; there is nothing it could change.
    Nothing,
    /// The lower number of policy and argument holds.
    Lower,
    /// The lower of two limits holds; below zero is no limit.
    Limit,
    /// The argument holds, if there is one.
    ArgumentFirst,
    /// The policy holds.
    PolicyFirst,
}

/// What comes of a user's and an operator's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Both {
    Lower,
    Higher,
    /// The lower of two limits; below zero is none.
    Limit,
    Operator,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Text,
    /// An integer from here on.
    From(i64),
    Integer,
    Between(i64, i64),
    /// Milliseconds from here on.
    Span(i64),
    Word(&'static [&'static str]),
    Age,
    /// Whatever: it has no effect, here or in RabbitMQ 4.
    Anything,
}

use Meaning::{ArgumentFirst, Limit, Lower, Nothing, PolicyFirst, Skipped};

const LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders"];
const MASTER_LOCATORS: &[&str] =
    &["client-local", "balanced", "random", "least-leaders", "min-masters"];
const RETRIES: &[&str] = &["all", "failed", "returned", "disabled"];
const OVERFLOWS: &[&str] = &["drop-head", "reject-publish", "reject-publish-dlx"];

/// In order of their names. RabbitMQ has further ones from plugins that have no counterpart here
/// (federation, sharding), which are refused as it refuses them without the plugin.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("alternate-exchange", Rule::Text, "alternate exchange name", [Nothing; 3]),
    key("consumer-disconnected-timeout", Rule::From(0), "consumer disconnected timeout", [Nothing; 3]),
    key("consumer-timeout", Rule::From(0), "consumer timeout", [Lower, Lower, Nothing]),
    key("dead-letter-exchange", Rule::Text, "dead letter exchange name", [ArgumentFirst, ArgumentFirst, Skipped]),
    key("dead-letter-routing-key", Rule::Text, "dead letter routing key", [ArgumentFirst, ArgumentFirst, Skipped]),
    key("dead-letter-strategy", Rule::Word(&["at-most-once", "at-least-once"]), "dead letter strategy", [Skipped, ArgumentFirst, Skipped]),
    key("delayed-retry-max", Rule::From(1), "delayed retry maximum delay. Must be a positive integer", [Nothing, Lower, Nothing]).operators(Both::Lower),
    key("delayed-retry-min", Rule::From(1), "delayed retry minimum delay. Must be a positive integer", [Nothing, Lower, Nothing]).operators(Both::Higher),
    key("delayed-retry-type", Rule::Word(RETRIES), "delayed retry type. Must be one of: all, failed, returned, disabled", [Nothing, PolicyFirst, Nothing]).operators(Both::Operator),
    key("delivery-limit", Rule::Integer, "delivery limit", [Skipped, Limit, Skipped]).operators(Both::Limit),
    key("expires", Rule::Span(1), "queue expiry", [Lower, Lower, Skipped]).operators(Both::Lower),
    key("ha-mode", Rule::Anything, "ha-mode", [Nothing, Skipped, Skipped]).operators(Both::Operator),
    key("ha-params", Rule::Anything, "ha-params", [Nothing, Skipped, Skipped]).operators(Both::Operator),
    key("ha-promote-on-failure", Rule::Anything, "ha-promote-on-failure", [Nothing, Skipped, Skipped]).operators(Both::Operator),
    key("ha-promote-on-shutdown", Rule::Anything, "ha-promote-on-shutdown", [Nothing, Skipped, Skipped]).operators(Both::Operator),
    key("ha-sync-batch-size", Rule::Anything, "ha-sync-batch-size", [Nothing; 3]).operators(Both::Operator),
    key("ha-sync-mode", Rule::Anything, "ha-sync-mode", [Nothing, Skipped, Skipped]).operators(Both::Operator),
    key("initial-cluster-size", Rule::From(0), "cluster size", [Skipped, Skipped, Nothing]),
    key("max-age", Rule::Age, "max age", [Skipped, Skipped, PolicyFirst]),
    key("max-in-memory-bytes", Rule::From(0), "maximum memory in bytes", [Skipped, Nothing, Skipped]).operators(Both::Lower),
    key("max-in-memory-length", Rule::From(0), "maximum memory in bytes", [Skipped, Nothing, Skipped]).operators(Both::Lower),
    key("max-length", Rule::From(0), "maximum length", [Lower, Lower, Skipped]).operators(Both::Lower),
    key("max-length-bytes", Rule::From(0), "maximum length in bytes", [Lower, Lower, PolicyFirst]).operators(Both::Lower),
    key("message-ttl", Rule::Span(0), "message TTL", [Lower, Lower, Skipped]).operators(Both::Lower),
    key("overflow", Rule::Word(OVERFLOWS), "overflow value", [ArgumentFirst, PolicyFirst, Skipped]).operators(Both::Operator),
    key("queue-leader-locator", Rule::Word(LOCATORS), "queue leader locator value", [Nothing; 3]),
    key("queue-master-locator", Rule::Word(MASTER_LOCATORS), "master locator", [Nothing, Skipped, Skipped]),
    key("queue-mode", Rule::Word(&["default", "lazy"]), "queue-mode value", [Nothing, Skipped, Skipped]),
    key("queue-version", Rule::Between(1, 2), "queue-version value", [Nothing; 3]).operators(Both::Operator),
    key("stream-filter-size-bytes", Rule::Between(16, 255), "filter size. Valid range is 16-255", [Nothing, Nothing, PolicyFirst]),
    key("stream-max-segment-size-bytes", Rule::Between(0, 3_000_000_000), "segment size", [Skipped, Skipped, PolicyFirst]),
    key("target-group-size", Rule::From(1), "qq target count value", [Skipped, Nothing, Skipped]).operators(Both::Higher),
];

const fn key(name: &'static str, rule: Rule, what: &'static str, meanings: [Meaning; 3]) -> Key {
    Key { name, rule, what, meanings, operator: None }
}

impl Key {
    const fn operators(mut self, both: Both) -> Self {
        self.operator = Some(both);
        self
    }

    /// What it means to queues of a type.
    pub(super) fn meaning(&self, queue_type: QueueType) -> Meaning {
        let [classic, quorum, stream] = self.meanings;
        match queue_type {
            QueueType::Classic => classic,
            QueueType::Quorum => quorum,
            QueueType::Stream => stream,
        }
    }

    /// Whether an operator's policy may have it.
    pub(super) fn is_for_operators(&self) -> bool {
        self.operator.is_some()
    }

    /// What comes of a user's and an operator's value.
    pub(super) fn both(&self) -> Both {
        self.operator.unwrap_or(Both::Operator)
    }

    /// The types of queue that skip a policy with it, one bit each.
    pub(super) fn skipped_by(&self) -> u8 {
        let bits = (0..).zip(self.meanings).filter(|(_, meaning)| *meaning == Skipped);
        bits.fold(0, |types, (column, _)| types | 1 << column)
    }

    /// The highest number that means anything, for what is no span of time none in particular.
    pub(super) fn highest(&self) -> i64 {
        match self.rule {
            Rule::Span(_) => crate::arguments::MAX_EXPIRY_MS.try_into().unwrap_or(i64::MAX),
            _ => i64::MAX,
        }
    }

    fn takes(&self, value: &Value) -> bool {
        let integer = integer(value);
        match self.rule {
            Rule::Anything => true,
            Rule::Text => value.is_string(),
            Rule::Integer => integer.is_some(),
            Rule::From(least) | Rule::Span(least) => {
                integer.is_some_and(|number| number >= least.into())
            }
            Rule::Between(least, most) => {
                integer.is_some_and(|number| (least.into()..=most.into()).contains(&number))
            }
            Rule::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Rule::Age => value.as_str().is_some_and(|text| age(text).is_some()),
        }
    }
}

/// The bit of a type of queue in [`Key::skipped_by`].
pub(super) const fn bit(queue_type: QueueType) -> u8 {
    match queue_type {
        QueueType::Classic => 1,
        QueueType::Quorum => 1 << 1,
        QueueType::Stream => 1 << 2,
    }
}

/// The setting of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Checks a definition, in RabbitMQ's order: values of settings that are known, then the others.
pub(super) fn check(
    kind: PolicyKind,
    definition: &Map<String, Value>,
) -> Result<(), InvalidPolicy> {
    if definition.is_empty() {
        return Err(InvalidPolicy::Empty);
    }
    let mut unknown = Vec::new();
    for (name, value) in definition {
        let key = find(name).filter(|key| kind == PolicyKind::User || key.is_for_operators());
        match key {
            Some(key) if !key.takes(value) => {
                return Err(InvalidPolicy::Value { value: value.clone(), what: key.what });
            }
            Some(_) => {}
            None => unknown.push((name.clone(), value.clone())),
        }
    }
    check_delayed_retry(definition)?;
    if unknown.is_empty() { Ok(()) } else { Err(InvalidPolicy::Unknown(unknown)) }
}

/// Checks what the settings of delayed retry say together.
fn check_delayed_retry(definition: &Map<String, Value>) -> Result<(), InvalidPolicy> {
    let kind = definition.get("delayed-retry-type").and_then(Value::as_str);
    let min = definition.get("delayed-retry-min").and_then(integer);
    let max = definition.get("delayed-retry-max").and_then(integer);
    match (kind, min, max) {
        (Some(kind), None, _) if kind != "disabled" => {
            Err(InvalidPolicy::DelayedRetryWithoutMin(kind.to_owned()))
        }
        (_, Some(min), Some(max)) if max < min => Err(InvalidPolicy::DelayedRetryMax { max, min }),
        _ => Ok(()),
    }
}

/// An integer, which a number with a point is not.
pub(super) fn integer(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}
