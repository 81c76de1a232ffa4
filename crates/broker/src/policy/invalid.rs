//! Why a policy is refused, in RabbitMQ's words.

use serde_json::Value;
use thiserror::Error;

use super::term::{Pair, Term};

/// Why a policy is refused. Displays as RabbitMQ's explanation, without the `Validation failed` the
/// HTTP API puts above it.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum InvalidPolicy {
    /// The definition is no JSON.
    #[error("Could not parse JSON document: {0}")]
    Unreadable(String),
    /// The definition is JSON, but no object.
    #[error("definition must be a dictionary: {}", Term(.0))]
    NotADictionary(Value),
    /// It sets nothing.
    #[error("no policy provided")]
    Empty,
    /// A value is not what its setting takes.
    #[error("{} is not a valid {what}", Term(value))]
    Value {
        /// The value.
        value: Value,
        /// What it should be.
        what: &'static str,
    },
    /// Delayed retry has no delay.
    #[error("delayed-retry-min is required when delayed-retry-type is {0}")]
    DelayedRetryWithoutMin(String),
    /// The longest delay of delayed retry is shorter than the shortest.
    #[error("delayed-retry-max ({max}) must not be smaller than delayed-retry-min ({min})")]
    DelayedRetryMax {
        /// The longest, in milliseconds.
        max: i128,
        /// The shortest, in milliseconds.
        min: i128,
    },
    /// Settings no policy of its kind has.
    #[error("{} are not recognised policy settings", pairs(.0))]
    Unknown(Vec<(String, Value)>),
    /// A part of a policy is missing.
    #[error("Key \"{key}\" not found in {name}")]
    Missing {
        /// The part.
        key: &'static str,
        /// The policy.
        name: String,
    },
    /// It has parts no policy has.
    #[error("Unrecognised terms {} in {name}", pairs(terms))]
    Unrecognised {
        /// The parts.
        terms: Vec<(String, Value)>,
        /// The policy.
        name: String,
    },
    /// The priority is no whole number.
    #[error("priority should be a number, actually was {}", Term(.0))]
    Priority(Value),
    /// The pattern is no text.
    #[error("pattern should be a binary but was {}", Term(.0))]
    PatternType(Value),
    /// The pattern is no regular expression.
    #[error("pattern should be regular expression but is invalid: {0}")]
    Pattern(String),
    /// The pattern is too long.
    #[error("pattern must not exceed 16384 bytes")]
    PatternTooLong,
    /// The definition is too long.
    #[error("definition must not exceed 65536 bytes")]
    TooLong,
    /// It applies to nothing there is.
    #[error(
        "apply-to '{0}' unrecognised; should be one of: 'queues', 'classic_queues',  \
         'quorum_queues', 'streams', 'exchanges', or 'all'"
    )]
    ApplyTo(String),
}

fn pairs(unknown: &[(String, Value)]) -> String {
    let pairs: Vec<_> = unknown.iter().map(|(key, value)| Pair(key, value).to_string()).collect();
    format!("[{}]", pairs.join(","))
}
