//! Telling messages that were seen before.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use ahash::AHashMap;
use leveret_codec::{Properties, Table, Value};

use crate::ids::Millis;

/// How an exchange or a queue tells messages that were seen before: by the value of a header, of
/// which it remembers the latest, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deduplication {
    /// `x-cache-size`: values remembered, [`SIZE_MAX`](Self::SIZE_MAX) at most.
    pub size: usize,
    /// `x-cache-ttl`: how long each; a message's own `x-cache-ttl` header overrules it.
    pub ttl: Option<Millis>,
    /// The header, which the argument `x-deduplication-header` names.
    pub header: Box<str>,
}

const HEADER: &str = "x-deduplication-header";
const TTL: &str = "x-cache-ttl";
const CACHE_SIZE: &str = "x-cache-size";

impl Deduplication {
    /// The most values that one remembers: they are in memory, and nothing else takes them away.
    pub const SIZE_MAX: u64 = 1_000_000;

    /// Values remembered without being told how many.
    pub const SIZE: usize = 128;

    /// What arguments ask for, if `x-message-deduplication` does. Arguments without sense count as
    /// missing.
    #[must_use]
    pub fn asked_for(arguments: Table<'_>) -> Option<Self> {
        let asked = arguments.get("x-message-deduplication").and_then(|asked| asked.as_bool());
        (asked == Some(true)).then(|| Self::read(arguments))
    }

    /// `x-cache-size`, if arguments ask for more than there may be. What was declared before there
    /// was a bound remembers as much as that.
    #[must_use]
    pub fn excess(arguments: Table<'_>) -> Option<u64> {
        arguments.get(CACHE_SIZE).and_then(positive).filter(|&size| size > Self::SIZE_MAX)
    }

    pub(super) fn read(arguments: Table<'_>) -> Self {
        let header = arguments.get(HEADER).and_then(|header| header.as_str());
        let size = arguments.get(CACHE_SIZE).and_then(positive);
        let size = size.map(|size| size.min(Self::SIZE_MAX));
        Self {
            size: size.and_then(|size| usize::try_from(size).ok()).unwrap_or(Self::SIZE),
            ttl: arguments.get(TTL).and_then(positive).map(Millis),
            header: header.unwrap_or(HEADER).into(),
        }
    }
}

/// A number above zero, or the decimal digits of one.
pub(super) fn positive(value: Value<'_>) -> Option<u64> {
    let number = match value {
        Value::LongStr(digits) => str::from_utf8(digits).ok()?.parse().ok()?,
        other => u64::try_from(other.as_integer()?).ok()?,
    };
    (number > 0).then_some(number)
}

/// The values seen lately. Those that came first go first when there are too many.
#[derive(Debug)]
pub struct Deduplicator {
    settings: Deduplication,
    digests: Digests,
    /// When each stops counting. A value returns with a new number; its old place in `order` is
    /// void then.
    seen: AHashMap<Digest, (u64, Option<Millis>)>,
    order: VecDeque<(u64, Digest)>,
    next: u64,
    /// Values remembered now: as many as `settings` say, or fewer.
    most: usize,
    /// What has gone because those are fewer.
    forgotten: u64,
}

/// What is forgotten at a time: whoever publishes has their queue locked.
const FORGOTTEN_AT_ONCE: usize = 1024;

/// Stands for a value, which may be as long as a client likes.
type Digest = u128;

/// Makes digests with two keys that nobody knows: nobody can make two values that are taken for one,
/// or one that is taken for somebody else's.
#[derive(Debug, Default)]
struct Digests([RandomState; 2]);

impl Digests {
    fn of(&self, value: Value<'_>) -> Digest {
        let identity = identity(value);
        let [high, low] = self.0.each_ref().map(|keyed| Digest::from(keyed.hash_one(&identity)));
        high << u64::BITS | low
    }
}

impl Deduplicator {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(settings: Deduplication) -> Self {
        let (digests, seen, order) = Default::default();
        let most = settings.size;
        Self { settings, digests, seen, order, next: 0, most, forgotten: 0 }
    }

    /// What a value takes of memory, in bytes, about: while tables grow it is up to twice as much.
    pub const BYTES_OF_VALUE: u64 = 160;

    /// How many values are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// What they take of memory, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        // A byte for each place of a hash table, of which an eighth is free.
        let place = size_of::<(Digest, (u64, Option<Millis>))>() + 1;
        let table = self.seen.capacity() / 7 * 8 * place;
        (table + self.order.capacity() * size_of::<(u64, Digest)>()) as u64
    }

    /// Remembers so many at most from now on, if that is less than it was made for.
    pub fn limit(&mut self, most: usize) {
        self.most = most.min(self.settings.size);
    }

    /// How many values were forgotten since the last time because of a [`limit`](Self::limit).
    pub fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// Whether a message is none that was seen before; from now on it was. A message without the
    /// header always is.
    pub fn admits(&mut self, properties: &Properties<'_>, now: Millis) -> bool {
        let Some(headers) = properties.headers else { return true };
        let Some(value) = headers.get(&self.settings.header) else { return true };
        let value = self.digests.of(value);
        if let Some((_, end)) = self.seen.get(&value)
            && end.is_none_or(|end| end > now)
        {
            return false;
        }
        let ttl = headers.get(TTL).and_then(positive).map(Millis).or(self.settings.ttl);
        let number = self.next;
        self.next += 1;
        let end = ttl.map(|ttl| now.saturating_add(ttl));
        self.seen.insert(value, (number, end));
        self.order.push_back((number, value));
        self.forget(now);
        true
    }

    /// Forgets what is too much, and what has lapsed at the front: much of it a part at a time.
    fn forget(&mut self, now: Millis) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some((number, value)) = self.order.front() else { break };
            let current = self.seen.get(value).filter(|(current, _)| current == number);
            let lapsed = |&(_, end): &(u64, Option<Millis>)| end.is_some_and(|end| end <= now);
            let counts = current.is_some_and(|current| !lapsed(current));
            if self.seen.len() <= self.most && counts {
                break;
            }
            self.forgotten += u64::from(counts && self.seen.len() <= self.settings.size);
            if current.is_some() {
                self.seen.remove(value);
            }
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.settings.size {
            let seen = &self.seen;
            self.order.retain(|(number, value)| seen.get(value).is_some_and(|it| it.0 == *number));
        }
        // Rarely, as that goes through all of it.
        let (known, places) = (self.seen.len(), self.order.len());
        if self.seen.capacity() / 4 > known.max(Deduplication::SIZE) {
            self.seen.shrink_to(2 * known);
        }
        if self.order.capacity() / 4 > places.max(Deduplication::SIZE) {
            self.order.shrink_to(2 * places);
        }
    }
}

/// A value's type and bytes: numbers by value, so that their width makes no difference.
fn identity(value: Value<'_>) -> Box<[u8]> {
    match (value, value.as_integer()) {
        (Value::LongStr(bytes) | Value::Binary(bytes), _) => [b"=", bytes].concat().into(),
        (_, Some(integer)) => [&b"#"[..], &integer.to_be_bytes()].concat().into(),
        (other, None) => format!("{} {other}", other.type_name()).into_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use leveret_codec::TableBuilder;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn admits(deduplicator: &mut Deduplicator, id: i32, ttl: Option<i32>, now: u64) -> bool {
        let mut headers = TableBuilder::new().put("id", id);
        if let Some(ttl) = ttl {
            headers = headers.put(TTL, ttl);
        }
        let headers = headers.build();
        let headers = Some(headers.as_table());
        let properties = Properties { headers, ..Properties::default() };
        deduplicator.admits(&properties, Millis(now))
    }

    #[test]
    fn values_are_told_apart_by_type_and_value() {
        let mut deduplicator =
            Deduplicator::new(Deduplication { size: 9, ttl: None, header: "id".into() });
        let mut admits = |value: Value<'_>| {
            let headers = TableBuilder::new().put("id", value).build();
            let headers = Some(headers.as_table());
            deduplicator.admits(&Properties { headers, ..Properties::default() }, Millis(0))
        };
        assert!(admits(Value::I32(1)));
        assert!(!admits(Value::I64(1)));
        assert!(admits("1".into()));
        assert!(!admits("1".into()));
        assert!(admits(true.into()));
        assert!(!admits(true.into()));
        for _ in 0..2 {
            assert!(deduplicator.admits(&Properties::default(), Millis(0)));
        }
    }

    #[test]
    fn only_who_asks_is_served() {
        let arguments = TableBuilder::new().put("x-message-deduplication", false).build();
        assert_eq!(Deduplication::asked_for(arguments.as_table()), None);
        let arguments = TableBuilder::new().put("x-message-deduplication", true).build();
        let asked = Deduplication::asked_for(arguments.as_table()).unwrap();
        assert_eq!(asked, Deduplication { size: 128, ttl: None, header: HEADER.into() });
    }

    #[test]
    fn more_is_not_remembered_than_may_be() {
        let asked = |size: i64| TableBuilder::new().put(CACHE_SIZE, size).build();
        let (most, more) = (asked(1_000_000), asked(1 << 60));
        assert_eq!(Deduplication::excess(most.as_table()), None);
        assert_eq!(Deduplication::excess(more.as_table()), Some(1 << 60));
        assert_eq!(Deduplication::read(more.as_table()).size, 1_000_000);
    }

    #[test]
    fn a_long_value_takes_no_more_than_a_short_one() {
        let mut deduplicator =
            Deduplicator::new(Deduplication { size: 9, ttl: None, header: "id".into() });
        let (long, other) = (vec![b'a'; 100_000], [vec![b'a'; 99_999], vec![b'b']].concat());
        for (value, is_new) in [(&long, true), (&other, true), (&long, false), (&other, false)] {
            let headers = TableBuilder::new().put("id", Value::LongStr(value)).build();
            let headers = Some(headers.as_table());
            let properties = Properties { headers, ..Properties::default() };
            assert_eq!(deduplicator.admits(&properties, Millis(0)), is_new);
        }
        // What is `Copy` owns no memory.
        fn owns_nothing<T: Copy>(_: &VecDeque<T>) {}
        owns_nothing(&deduplicator.order);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list(
            size in 1..5_usize,
            ttl in proptest::option::of(1..20_u64),
            steps in vec((0..8_i32, proptest::option::of(1..20_i32), 0..5_u64), 0..100),
        ) {
            let settings = Deduplication { size, ttl: ttl.map(Millis), header: "id".into() };
            let mut deduplicator = Deduplicator::new(settings);
            let mut model: Vec<(i32, Option<u64>)> = Vec::new();
            let mut now = 0;
            for (id, own, passed) in steps {
                now += passed;
                let is_old = |&(end,): &(Option<u64>,)| end.is_some_and(|end| end <= now);
                let found = model.iter().position(|&(other, end)| other == id && !is_old(&(end,)));
                prop_assert_eq!(admits(&mut deduplicator, id, own, now), found.is_none());
                if found.is_none() {
                    model.retain(|&(other, _)| other != id);
                    let ttl = own.map(|own| u64::try_from(own).unwrap()).or(ttl);
                    model.push((id, ttl.map(|ttl| now + ttl)));
                    while model.first().is_some_and(|&(_, end)| is_old(&(end,)))
                        || model.len() > size
                    {
                        model.remove(0);
                    }
                }
                prop_assert!(deduplicator.order.len() <= 2 * size);
                prop_assert!(deduplicator.seen.len() <= size);
            }
        }
    }
}
