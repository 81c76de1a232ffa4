//! Choosing one destination by a hash of the message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use leveret_codec::{Properties, Value};

use super::DestinationName;
use super::binding::{BindingId, BindingList, Destination, number};
use super::steps::Steps;
use crate::give_back::GiveBack;

/// What a consistent hash exchange hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum HashOn {
    /// The routing key, and those in `CC` and `BCC`.
    #[default]
    RoutingKeys,
    /// `hash-header`: the value of this header.
    Header(Box<str>),
    /// `hash-property`.
    Property(HashProperty),
}

/// The properties that can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashProperty {
    MessageId,
    CorrelationId,
    Timestamp,
}

impl HashProperty {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"message_id" => Some(Self::MessageId),
            b"correlation_id" => Some(Self::CorrelationId),
            b"timestamp" => Some(Self::Timestamp),
            _ => None,
        }
    }
}

impl HashOn {
    /// The hash of what this looks at. A message without it has a hash as well.
    fn of(&self, keys: &[&str], properties: &Properties<'_>) -> StableHash {
        let empty = StableHash::default();
        match self {
            Self::RoutingKeys => hash_of_keys(keys),
            Self::Header(name) => match properties.headers.and_then(|headers| headers.get(name)) {
                Some(value) => empty.value(value),
                None => empty,
            },
            Self::Property(property) => match property {
                HashProperty::MessageId => empty.option(properties.message_id),
                HashProperty::CorrelationId => empty.option(properties.correlation_id),
                HashProperty::Timestamp => {
                    let timestamp = properties.timestamp.map(u64::to_be_bytes);
                    empty.option(timestamp.as_ref().map(|bytes| &bytes[..]))
                }
            },
        }
    }
}

/// The destinations of a consistent hash exchange, each with its weight.
///
/// Every destination draws a lot from its name and the message's hash, weighted so that each wins
/// in proportion to its weight; the best lot wins (weighted rendezvous hashing). So a destination
/// that comes takes from each other only what it now wins, one that goes leaves the others what
/// they had, and neither the order of bindings nor a restart makes a difference. RabbitMQ spreads
/// by a jump hash over the destinations' buckets, which moves more when a destination goes.
#[derive(Debug)]
pub(super) struct ConsistentIndex {
    hash_on: HashOn,
    bindings: BindingList,
    /// One for each binding, in the same order.
    shares: Vec<Share>,
    /// Their places, by destination and age.
    places: BTreeMap<(Destination, u64), u32>,
    next_age: u64,
}

/// A binding's part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    destination: Destination,
    /// From its name, which outlives restarts.
    hash: StableHash,
    weight: u32,
    /// Grows with each binding.
    age: u64,
    /// Whether it takes part: only the oldest binding of a destination does.
    active: bool,
}

impl Share {
    pub(super) fn new(destination: Destination, name: DestinationName<'_>, weight: u32) -> Self {
        let hash = hash_of_name(name);
        Self { destination, hash, weight, age: 0, active: false }
    }

    /// What no other binding of its exchange has in common with it.
    const fn identity(&self) -> (Destination, u64) {
        (self.destination, self.age)
    }

    /// Its lot for a message; the lowest wins. Exponentially distributed with the weight as rate,
    /// of which the lowest of several falls to each in proportion to the weights.
    fn lot(&self, message: StableHash) -> f64 {
        let [a, b, c, d, ..] = message.and(self.hash).finish().to_be_bytes();
        let uniform = (f64::from(u32::from_be_bytes([a, b, c, d])) + 0.5) / 4_294_967_296.0;
        -uniform.ln() / f64::from(self.weight)
    }
}

impl ConsistentIndex {
    pub(super) fn new(hash_on: HashOn) -> Self {
        Self {
            hash_on,
            bindings: BindingList::default(),
            shares: Vec::new(),
            places: BTreeMap::new(),
            next_age: 0,
        }
    }

    pub(super) fn hash_on(&self) -> &HashOn {
        &self.hash_on
    }

    pub(super) fn insert(&mut self, mut share: Share, id: BindingId) -> u32 {
        share.active = self.oldest(share.destination).is_none();
        share.age = self.next_age;
        self.next_age += 1;
        self.places.insert(share.identity(), number(self.shares.len()));
        self.shares.push(share);
        self.bindings.push(id)
    }

    /// Removes a binding by its place and returns the one that stands there now, if any.
    pub(super) fn remove(&mut self, place: u32) -> Option<BindingId> {
        if (place as usize) < self.shares.len() {
            let gone = self.shares.swap_remove(place as usize);
            self.shares.give_back();
            self.places.remove(&gone.identity());
            if let Some(moved) = self.shares.get(place as usize) {
                self.places.insert(moved.identity(), place);
            }
            let heir = self.oldest(gone.destination).filter(|_| gone.active);
            if let Some(heir) = heir.and_then(|heir| self.shares.get_mut(heir as usize)) {
                heir.active = true;
            }
        }
        self.bindings.remove(place)
    }

    /// The place of a destination's oldest binding.
    fn oldest(&self, destination: Destination) -> Option<u32> {
        let all = (destination, 0)..=(destination, u64::MAX);
        self.places.range(all).next().map(|(_, place)| *place)
    }

    pub(super) fn choose(
        &self,
        keys: &[&str],
        properties: &Properties<'_>,
        steps: &mut Steps,
    ) -> Option<BindingId> {
        steps.try_each(self.shares.len());
        let message = self.hash_on.of(keys, properties);
        let shares = self.shares.iter().zip(self.bindings.as_slice());
        let lots = shares.filter(|(share, _)| share.active);
        let lots = lots.map(|(share, &id)| (share.lot(message), share.hash, id));
        let lowest = lots.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        lowest.map(|(.., id)| id)
    }
}

/// The destinations of a modulus hash exchange, sorted by name.
#[derive(Debug, Default)]
pub(super) struct ModulusIndex {
    bindings: BindingList,
    /// What each binding leads to, in the same order.
    targets: Vec<Target>,
    /// Destinations with the bindings to them.
    sorted: BTreeMap<Target, BTreeSet<BindingId>>,
    /// A binding to each of them, in their order: made for the first message after a change.
    chosen: OnceLock<Vec<BindingId>>,
}

/// A destination, sorted by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    is_queue: bool,
    name: Box<str>,
}

impl Target {
    pub(super) fn new(name: DestinationName<'_>) -> Self {
        match name {
            DestinationName::Exchange(name) => Self { is_queue: false, name: name.into() },
            DestinationName::Queue(name) => Self { is_queue: true, name: name.into() },
        }
    }
}

impl ModulusIndex {
    pub(super) fn insert(&mut self, target: Target, id: BindingId) -> u32 {
        self.chosen.take();
        self.sorted.entry(target.clone()).or_default().insert(id);
        self.targets.push(target);
        self.bindings.push(id)
    }

    /// Removes a binding by its place and returns the one that stands there now, if any.
    pub(super) fn remove(&mut self, place: u32) -> Option<BindingId> {
        let gone = *self.bindings.as_slice().get(place as usize)?;
        self.chosen.take();
        let target = self.targets.swap_remove(place as usize);
        self.targets.give_back();
        if let Some(bindings) = self.sorted.get_mut(&target) {
            bindings.remove(&gone);
            if bindings.is_empty() {
                self.sorted.remove(&target);
            }
        }
        self.bindings.remove(place)
    }

    pub(super) fn choose(&self, keys: &[&str], steps: &mut Steps) -> Option<BindingId> {
        let chosen = self.chosen.get_or_init(|| {
            steps.try_each(self.sorted.len());
            self.sorted.values().filter_map(|bindings| bindings.first().copied()).collect()
        });
        let count = u64::try_from(chosen.len()).ok().filter(|&count| count > 0)?;
        let number = usize::try_from(hash_of_keys(keys).finish() % count).ok()?;
        chosen.get(number).copied()
    }
}

/// One of `bindings`, by a number the caller drew and the exchange it is drawn for: two exchanges
/// on a message's way choose independently.
pub(super) fn choose_random(
    bindings: &[BindingId],
    drawn: u64,
    exchange: u64,
) -> Option<BindingId> {
    let count = u64::try_from(bindings.len()).ok().filter(|&count| count > 0)?;
    let hash = StableHash(drawn).and(StableHash(exchange)).finish();
    bindings.get(usize::try_from(hash % count).ok()?).copied()
}

/// A hash that is the same in every process: what is spread by it stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct StableHash(u64);

impl Default for StableHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl StableHash {
    /// FNV-1a.
    fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }

    fn option(self, bytes: Option<&[u8]>) -> Self {
        bytes.map_or(self, |bytes| self.bytes(b"=").bytes(bytes))
    }

    /// Integers count by value, whatever their width, and texts as their bytes.
    fn value(self, value: Value<'_>) -> Self {
        match (value, value.as_integer()) {
            (Value::LongStr(bytes) | Value::Binary(bytes), _) => self.option(Some(bytes)),
            (_, Some(integer)) => self.bytes(b"#").bytes(&integer.to_be_bytes()),
            (other, None) => self.bytes(other.to_string().as_bytes()),
        }
    }

    fn and(self, other: Self) -> Self {
        Self(self.finish() ^ other.0.rotate_left(32))
    }

    /// Spreads every bit over all: the end of `SplitMix64`.
    const fn finish(self) -> u64 {
        let mut hash = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

fn hash_of_keys(keys: &[&str]) -> StableHash {
    let hash = StableHash::default();
    keys.iter().fold(hash, |hash, key| hash.bytes(b"=").bytes(key.as_bytes()))
}

fn hash_of_name(name: DestinationName<'_>) -> StableHash {
    match name {
        DestinationName::Exchange(name) => StableHash::default().bytes(b"e").bytes(name.as_bytes()),
        DestinationName::Queue(name) => StableHash::default().bytes(b"q").bytes(name.as_bytes()),
    }
}

#[cfg(test)]
mod tests;
