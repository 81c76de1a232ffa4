//! Policies: optional arguments for queues and exchanges, given by the pattern of their names.
//!
//! An object has the matching policy of the highest priority, and a queue the matching operator
//! policy of the highest priority beside it. Both are merged with each other and with the arguments
//! the object was declared with; a change of a policy reaches the objects that exist.
//!
//! What each setting may be, which queue type takes it and what wins when there are two of it stands
//! in one table, `keys.rs`. Behaviour and texts are those of RabbitMQ 4.x.

mod applied;
mod change;
mod invalid;
mod keys;
mod merge;
mod set;
mod term;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use self::applied::AppliedPolicies;
pub use self::change::PolicyRefused;
pub(crate) use self::change::{deletions, restore};
pub use self::invalid::InvalidPolicy;
pub(crate) use self::merge::{ALTERNATE_EXCHANGE, settings};
pub(crate) use self::set::PolicySet;
pub use self::term::{Pair, Term};
use crate::access::{Pattern, PatternError};
use crate::queue_type::QueueType;

/// A policy as it is set: `{"pattern": ..., "apply-to": ..., "priority": ..., "definition": ...}`.
///
/// ```
/// use leveret_broker::policy::{ApplyTo, Policy};
///
/// let policy = Policy::parse("^orders\\.", r#"{"max-length": 1000, "overflow": "reject-publish"}"#)?;
/// let policy = Policy { apply_to: ApplyTo::Queues, priority: 5, ..policy };
/// assert_eq!(policy.definition["max-length"], 1000);
/// # Ok::<(), leveret_broker::policy::InvalidPolicy>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// A regular expression searched for in names, anywhere; the empty one is found in all.
    pub pattern: String,
    /// What it may apply to.
    pub apply_to: ApplyTo,
    /// Of several that match, the highest wins; of equal ones the first by name.
    pub priority: i64,
    /// The settings.
    pub definition: Map<String, Value>,
}

/// Longest definition of a policy as JSON, in bytes.
pub(crate) const DEFINITION_BYTES_MAX: usize = 64 * 1024;

/// What the patterns of a vhost's policies may take in memory once they are compiled, in bytes.
pub(crate) const PATTERNS_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Whose policy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// A user's (a "policymaker's").
    User,
    /// An operator's: for queues only, with fewer settings, beside the user's.
    Operator,
}

/// What a policy may apply to (`apply-to`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Queues of every type.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams.
    Streams,
    /// Exchanges.
    Exchanges,
}

/// A policy that was set, with its name.
#[derive(Debug)]
pub struct NamedPolicy {
    name: Arc<str>,
    policy: Policy,
    pattern: Pattern,
    /// What that takes at most, in bytes, about.
    pattern_memory: usize,
    /// Types of queue that don't take one of its settings, and so don't take it at all.
    skipped_by: u8,
}

/// What a policy may apply to, by name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    Queue { name: &'a str, queue_type: QueueType },
    Exchange(&'a str),
}

impl Policy {
    /// A policy for everything with priority 0, its definition in JSON: what `rabbitmqctl set_policy`
    /// is given.
    ///
    /// # Errors
    /// When the definition is no JSON object. Pattern and settings are checked where it is set.
    pub fn parse(pattern: &str, definition: &str) -> Result<Self, InvalidPolicy> {
        let definition = serde_json::from_str(definition);
        let definition =
            definition.map_err(|error| InvalidPolicy::Unreadable(error.to_string()))?;
        let definition = dictionary(definition)?;
        let pattern = pattern.to_owned();
        Ok(Self { pattern, apply_to: ApplyTo::All, priority: 0, definition })
    }

    /// A policy as the HTTP API takes it and definitions have it:
    /// `{"pattern": ..., "apply-to": ..., "priority": ..., "definition": ...}`.
    ///
    /// # Errors
    /// When a part is missing, unknown, or of a wrong type. Pattern and settings are checked where
    /// it is set.
    pub fn from_json(name: &str, json: &Value) -> Result<Self, InvalidPolicy> {
        let mut parts = dictionary(json.clone())?;
        let missing = |key| InvalidPolicy::Missing { key, name: name.to_owned() };
        let definition = parts.remove("definition").ok_or_else(|| missing("definition"))?;
        let apply_to = match parts.remove("apply-to") {
            None => ApplyTo::All,
            Some(Value::String(word)) => word.parse()?,
            Some(other) => return Err(InvalidPolicy::ApplyTo(other.to_string())),
        };
        let pattern = match parts.remove("pattern").ok_or_else(|| missing("pattern"))? {
            Value::String(pattern) => pattern,
            other => return Err(InvalidPolicy::PatternType(other)),
        };
        let priority = parts.remove("priority").unwrap_or_else(|| Value::from(0));
        let priority = priority.as_i64().ok_or(InvalidPolicy::Priority(priority))?;
        if !parts.is_empty() {
            let terms = parts.into_iter().collect();
            return Err(InvalidPolicy::Unrecognised { terms, name: name.to_owned() });
        }
        Ok(Self { pattern, apply_to, priority, definition: dictionary(definition)? })
    }

    /// The form [`from_json`](Self::from_json) reads.
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "pattern": self.pattern,
            "apply-to": self.apply_to.as_str(),
            "priority": self.priority,
            "definition": self.definition,
        })
    }
}

fn dictionary(value: Value) -> Result<Map<String, Value>, InvalidPolicy> {
    match value {
        Value::Object(entries) => Ok(entries),
        other => Err(InvalidPolicy::NotADictionary(other)),
    }
}

impl PolicyKind {
    /// The runtime parameter's component it is in RabbitMQ.
    pub const fn component(self) -> &'static str {
        match self {
            Self::User => "policy",
            Self::Operator => "operator_policy",
        }
    }

    /// The kind in a sentence.
    const fn words(self) -> &'static str {
        match self {
            Self::User => "policy",
            Self::Operator => "operator policy",
        }
    }
}

impl ApplyTo {
    const ALL: [Self; 6] = [
        Self::All,
        Self::Queues,
        Self::ClassicQueues,
        Self::QuorumQueues,
        Self::Streams,
        Self::Exchanges,
    ];

    /// The word in `apply-to`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
            Self::Exchanges => "exchanges",
        }
    }

    fn covers(self, target: Target<'_>) -> bool {
        match (self, target) {
            (Self::All, _) => true,
            (Self::Queues, Target::Queue { .. }) | (Self::Exchanges, Target::Exchange(_)) => true,
            (Self::ClassicQueues, Target::Queue { queue_type, .. }) => {
                queue_type == QueueType::Classic
            }
            (Self::QuorumQueues, Target::Queue { queue_type, .. }) => {
                queue_type == QueueType::Quorum
            }
            (Self::Streams, Target::Queue { queue_type, .. }) => queue_type == QueueType::Stream,
            _ => false,
        }
    }
}

impl fmt::Display for ApplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ApplyTo {
    type Err = InvalidPolicy;

    fn from_str(word: &str) -> Result<Self, InvalidPolicy> {
        let found = Self::ALL.into_iter().find(|apply_to| apply_to.as_str() == word);
        found.ok_or_else(|| InvalidPolicy::ApplyTo(word.to_owned()))
    }
}

impl NamedPolicy {
    /// A policy whose pattern and settings are sound.
    pub(crate) fn new(kind: PolicyKind, name: &str, policy: Policy) -> Result<Self, InvalidPolicy> {
        let (pattern, pattern_memory) =
            Pattern::frugal(&policy.pattern).map_err(|error| match error {
                PatternError::TooLong { .. } => InvalidPolicy::PatternTooLong,
                PatternError::Invalid { reason, .. } => InvalidPolicy::Pattern(reason),
                PatternError::TooComplex { .. } => InvalidPolicy::Pattern("too complex".to_owned()),
            })?;
        keys::check(kind, &policy.definition)?;
        let known = policy.definition.keys().filter_map(|key| keys::find(key));
        let skipped_by = known.fold(0, |types, key| types | key.skipped_by());
        Ok(Self { name: name.into(), policy, pattern, pattern_memory, skipped_by })
    }

    /// Refuses a definition that is longer than any use of it.
    pub(crate) fn check_length(&self) -> Result<(), InvalidPolicy> {
        let length = Value::Object(self.policy.definition.clone()).to_string().len();
        if length > DEFINITION_BYTES_MAX { Err(InvalidPolicy::TooLong) } else { Ok(()) }
    }

    /// Its name, unique among the policies of its kind in a vhost.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What was set.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether matching it may take thousands of steps.
    fn may_step_back(&self) -> bool {
        self.pattern.may_step_back()
    }

    fn applies_to(&self, target: Target<'_>) -> bool {
        let name = match target {
            Target::Queue { queue_type, .. } if self.skipped_by & keys::bit(queue_type) != 0 => {
                return false;
            }
            Target::Queue { name, .. } | Target::Exchange(name) => name,
        };
        self.policy.apply_to.covers(target)
            && (self.policy.pattern.is_empty() || self.pattern.matches(name))
    }

    /// Settings of older versions, which have no effect.
    fn legacy_settings(&self) -> impl Iterator<Item = &str> {
        self.policy.definition.keys().map(String::as_str).filter(|key| key.starts_with("ha-"))
    }
}

impl PartialEq for NamedPolicy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.policy == other.policy
    }
}
