//! The kinds of exchange, and what their declarations may say.

use std::fmt;
use std::str::FromStr;

use leveret_codec::{Table, Value};

use super::hash::{HashOn, HashProperty};

/// How an exchange chooses among its bindings.
///
/// A further kind needs a variant here, a place in [`ExchangeKind::ALL`] and an index in the
/// private `Index`; nothing else knows the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// The binding key equals the routing key.
    Direct,
    /// Every binding.
    Fanout,
    /// The binding key is a pattern over the words of the routing key.
    Topic,
    /// The binding arguments match the message headers.
    Headers,
    /// One destination by a hash of the message; the binding key is its weight.
    ConsistentHash,
    /// One destination by a hash of the routing key modulo their number.
    ModulusHash,
    /// One binding at random.
    Random,
    /// One queue on this node at random: all of them are.
    LocalRandom,
}

impl ExchangeKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::ModulusHash,
        Self::Random,
        Self::LocalRandom,
    ];

    /// The name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
        }
    }
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No exchange kind has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown exchange type")]
pub struct UnknownKind;

impl FromStr for ExchangeKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownKind)
    }
}

/// Why arguments of a declaration mean nothing to an exchange's kind. Displays as RabbitMQ's
/// explanation of the channel error 406.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExchange {
    /// A consistent hash exchange can hash one thing only.
    #[error("hash-header and hash-property are mutually exclusive")]
    HashOnBoth,
    /// A consistent hash exchange knows no such property.
    #[error("Unsupported property: {0}")]
    HashProperty(String),
}

/// What the arguments of a declaration say to its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KindSettings {
    pub(super) hash_on: HashOn,
}

impl KindSettings {
    pub(super) fn read(kind: ExchangeKind, arguments: Table<'_>) -> Result<Self, InvalidExchange> {
        match kind {
            ExchangeKind::ConsistentHash => Ok(Self { hash_on: hash_on(arguments)? }),
            ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::Topic
            | ExchangeKind::Headers
            | ExchangeKind::ModulusHash
            | ExchangeKind::Random
            | ExchangeKind::LocalRandom => Ok(Self::default()),
        }
    }
}

fn hash_on(arguments: Table<'_>) -> Result<HashOn, InvalidExchange> {
    match (arguments.get("hash-header"), arguments.get("hash-property")) {
        (None, None) => Ok(HashOn::RoutingKeys),
        (Some(_), Some(_)) => Err(InvalidExchange::HashOnBoth),
        (Some(header), None) => Ok(HashOn::Header(plain(header).into())),
        (None, Some(property)) => HashProperty::named(property.as_bytes().unwrap_or_default())
            .map(HashOn::Property)
            .ok_or_else(|| InvalidExchange::HashProperty(plain(property))),
    }
}

/// A value without quotes around it.
fn plain(value: Value<'_>) -> String {
    match value.as_bytes() {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => value.to_string(),
    }
}
