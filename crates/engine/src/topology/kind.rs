//! The kinds of exchange, and what their declarations may say.

use std::fmt;
use std::str::FromStr;

use leveret_codec::{Table, Value};

use super::deduplication::{Deduplication, positive};
use super::erlang::ErlangBinary;
use super::hash::{HashOn, HashProperty};
use super::keeper::Keeper;

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
    /// Every binding; whoever binds gets the last messages.
    RecentHistory,
    /// As another kind, the one in the argument `x-delayed-type`, after the delay in a message's
    /// `x-delay` header.
    Delayed,
    /// Every binding, for messages that were not seen before.
    Deduplication,
    /// The selector in the binding's argument `rjms_erlang_selector` holds for the headers.
    JmsTopic,
}

impl ExchangeKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::ModulusHash,
        Self::Random,
        Self::LocalRandom,
        Self::RecentHistory,
        Self::Delayed,
        Self::Deduplication,
        Self::JmsTopic,
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
            Self::RecentHistory => "x-recent-history",
            Self::Delayed => "x-delayed-message",
            Self::Deduplication => "x-message-deduplication",
            Self::JmsTopic => "x-jms-topic",
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
    /// No number of messages to keep.
    #[error("Invalid argument {0}, 'x-recent-history-length' must be a positive integer")]
    HistoryLength(String),
    /// It is to keep too many.
    #[error(
        "Invalid argument, 'x-recent-history-length' must be an integer not greater than {}",
        Keeper::HISTORY_MAX
    )]
    HistoryTooLong,
    /// A delayed exchange has to be of some other kind as well.
    #[error("Invalid argument, 'x-delayed-type' must be an existing exchange type")]
    NoDelayedKind,
    /// A delay is enough.
    #[error("Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'")]
    DelayedTwice,
    /// The other kind is none.
    #[error("unknown exchange type '{0}'")]
    UnknownDelayedKind(String),
    /// A deduplicating exchange has to be told how much to remember.
    #[error("Missing or invalid argument, 'x-cache-size' must be an integer greater than 0")]
    CacheSize,
    /// It is to remember too much.
    #[error(
        "Invalid argument, 'x-cache-size' must be an integer not greater than {}",
        Deduplication::SIZE_MAX
    )]
    CacheTooLarge,
    /// How long it remembers is no time.
    #[error("Invalid argument, 'x-cache-ttl' must be an integer greater than 0")]
    CacheTtl,
}

/// What the arguments of a declaration say to its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KindSettings {
    /// How bindings are chosen: another kind if it is a delayed exchange.
    pub(super) chooses_as: ExchangeKind,
    pub(super) hash_on: HashOn,
    pub(super) keeper: Option<Keeper>,
    pub(super) deduplication: Option<Deduplication>,
}

impl KindSettings {
    pub(super) fn read(kind: ExchangeKind, arguments: Table<'_>) -> Result<Self, InvalidExchange> {
        let settings = Self {
            chooses_as: kind,
            hash_on: HashOn::default(),
            keeper: None,
            deduplication: Deduplication::asked_for(arguments),
        };
        match kind {
            ExchangeKind::ConsistentHash => Ok(Self { hash_on: hash_on(arguments)?, ..settings }),
            ExchangeKind::RecentHistory => {
                let length = history_length(arguments)?.min(Keeper::HISTORY_MAX);
                Ok(Self { keeper: Some(Keeper::History(length)), ..settings })
            }
            ExchangeKind::Delayed => {
                let settings = Self::read(delayed_kind(arguments)?, arguments)?;
                Ok(Self { keeper: Some(Keeper::Delay), ..settings })
            }
            ExchangeKind::Deduplication => {
                let deduplication = Some(deduplication(arguments)?);
                Ok(Self { deduplication, ..settings })
            }
            ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::Topic
            | ExchangeKind::Headers
            | ExchangeKind::ModulusHash
            | ExchangeKind::Random
            | ExchangeKind::LocalRandom
            | ExchangeKind::JmsTopic => Ok(settings),
        }
    }
}

/// What history keeps without being told.
const HISTORY_LENGTH: u64 = 20;

/// Whether arguments ask for more history than there may be.
pub(super) fn is_history_too_long(arguments: Table<'_>) -> bool {
    history_length(arguments).is_ok_and(|length| length > Keeper::HISTORY_MAX)
}

fn history_length(arguments: Table<'_>) -> Result<u64, InvalidExchange> {
    let Some(value) = arguments.get("x-recent-history-length") else { return Ok(HISTORY_LENGTH) };
    let length = value.as_integer().and_then(|length| u64::try_from(length).ok());
    length.filter(|&length| length > 0).ok_or_else(|| {
        InvalidExchange::HistoryLength(match value.as_bytes() {
            Some(bytes) => ErlangBinary(bytes).to_string(),
            None => value.to_string(),
        })
    })
}

fn deduplication(arguments: Table<'_>) -> Result<Deduplication, InvalidExchange> {
    if arguments.get("x-cache-size").and_then(positive).is_none() {
        return Err(InvalidExchange::CacheSize);
    }
    if arguments.get("x-cache-ttl").is_some_and(|ttl| positive(ttl).is_none()) {
        return Err(InvalidExchange::CacheTtl);
    }
    Ok(Deduplication::read(arguments))
}

fn delayed_kind(arguments: Table<'_>) -> Result<ExchangeKind, InvalidExchange> {
    let name = arguments.get("x-delayed-type").and_then(|name| name.as_str());
    let name = name.ok_or(InvalidExchange::NoDelayedKind)?;
    match name.parse() {
        Ok(ExchangeKind::Delayed) => Err(InvalidExchange::DelayedTwice),
        // It would need a second keeper.
        Ok(ExchangeKind::RecentHistory) => Err(InvalidExchange::NoDelayedKind),
        Ok(kind) => Ok(kind),
        Err(UnknownKind) => Err(InvalidExchange::UnknownDelayedKind(name.to_owned())),
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
