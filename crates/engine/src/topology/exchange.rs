//! Exchanges: what was declared, and the index of their bindings.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ahash::AHashMap;
use leveret_codec::{Table, TableBuf};

use super::binding::{BindingId, BindingList};
use super::headers::{HeadersIndex, InvalidMatch, Matcher, MessageHeaders};
use super::topic::{Scratch, TopicIndex};
use crate::ids::ExchangeId;

/// The argument that names an exchange for what its exchange routes nowhere.
const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

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
}

impl ExchangeKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Fanout, Self::Topic, Self::Headers];

    /// The name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
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

/// An exchange as declared.
#[derive(Clone, Debug)]
pub struct ExchangeSpec {
    /// Its name; never empty, as the default exchange is not declared.
    pub name: Arc<str>,
    /// How it chooses among its bindings.
    pub kind: ExchangeKind,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with the last binding from it.
    pub auto_delete: bool,
    /// Whether only other exchanges may publish to it.
    pub internal: bool,
    /// All arguments of its declaration.
    pub arguments: TableBuf,
}

/// An exchange in a [`Topology`](crate::Topology).
#[derive(Debug)]
pub struct Exchange {
    id: ExchangeId,
    spec: ExchangeSpec,
    alternate: Option<Arc<str>>,
    index: Index,
    pub(super) outgoing: BindingList,
    pub(super) incoming: BindingList,
    /// Exchanges it is bound to, each with the number of bindings.
    next: AHashMap<ExchangeId, u32>,
}

impl Exchange {
    pub(super) fn new(id: ExchangeId, spec: ExchangeSpec) -> Self {
        let alternate = spec.arguments.as_table().get(ALTERNATE_EXCHANGE);
        Self {
            id,
            alternate: alternate.and_then(|name| name.as_str()).map(Arc::from),
            index: Index::new(spec.kind),
            spec,
            outgoing: BindingList::default(),
            incoming: BindingList::default(),
            next: AHashMap::new(),
        }
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> ExchangeId {
        self.id
    }

    /// What was declared.
    #[must_use]
    pub const fn spec(&self) -> &ExchangeSpec {
        &self.spec
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Where messages go that it routes nowhere: the exchange of this name, if there is one.
    #[must_use]
    pub fn alternate(&self) -> Option<&str> {
        self.alternate.as_deref()
    }

    pub(super) fn set_alternate(&mut self, name: Option<Arc<str>>) {
        self.alternate = name;
    }

    /// The number of bindings from it.
    #[must_use]
    pub fn binding_count(&self) -> usize {
        self.outgoing.as_slice().len()
    }

    pub(super) fn into_spec(self) -> ExchangeSpec {
        self.spec
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn index_mut(&mut self) -> &mut Index {
        &mut self.index
    }

    /// The exchanges it is bound to.
    pub(super) fn next(&self) -> impl Iterator<Item = ExchangeId> {
        self.next.keys().copied()
    }

    pub(super) fn count_next(&mut self, exchange: ExchangeId) {
        *self.next.entry(exchange).or_insert(0) += 1;
    }

    pub(super) fn discount_next(&mut self, exchange: ExchangeId) {
        if let Some(count) = self.next.get_mut(&exchange) {
            *count -= 1;
            if *count == 0 {
                self.next.remove(&exchange);
            }
        }
    }
}

/// The bindings of an exchange, arranged for routing.
#[derive(Debug)]
pub(super) enum Index {
    Direct(AHashMap<Arc<str>, BindingList>),
    /// All bindings match: the exchange's own list serves.
    Fanout,
    Topic(TopicIndex),
    Headers(HeadersIndex),
}

/// What routing looks at in a message.
pub(super) struct Routed<'k, 'h> {
    pub(super) keys: &'k [&'k str],
    headers: Option<Table<'h>>,
    /// Made for the first headers exchange on the way.
    prepared: Option<MessageHeaders<'h>>,
}

impl<'k, 'h> Routed<'k, 'h> {
    pub(super) const fn new(keys: &'k [&'k str], headers: Option<Table<'h>>) -> Self {
        Self { keys, headers, prepared: None }
    }

    fn headers(&mut self) -> &MessageHeaders<'h> {
        let headers = self.headers;
        self.prepared.get_or_insert_with(|| MessageHeaders::new(headers))
    }
}

/// A binding's arguments, compiled for its source's index.
pub(super) enum Compiled {
    Nothing,
    Headers(Matcher),
}

impl Index {
    fn new(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(AHashMap::new()),
            ExchangeKind::Fanout => Self::Fanout,
            ExchangeKind::Topic => Self::Topic(TopicIndex::default()),
            ExchangeKind::Headers => Self::Headers(HeadersIndex::default()),
        }
    }

    /// Whether more than the routing keys decides.
    pub(super) const fn depends_on_headers(&self) -> bool {
        matches!(self, Self::Headers(_))
    }

    /// Checks binding arguments, before anything is changed.
    pub(super) fn compile(&self, arguments: &TableBuf) -> Result<Compiled, InvalidMatch> {
        match self {
            Self::Headers(_) => Ok(Compiled::Headers(Matcher::compile(arguments)?)),
            Self::Direct(_) | Self::Fanout | Self::Topic(_) => Ok(Compiled::Nothing),
        }
    }

    /// Adds a binding and returns its place.
    pub(super) fn insert(&mut self, key: &Arc<str>, compiled: Compiled, id: BindingId) -> u32 {
        match (self, compiled) {
            (Self::Direct(keys), _) => keys.entry(Arc::clone(key)).or_default().push(id),
            (Self::Topic(topic), _) => topic.insert(key, id),
            (Self::Headers(headers), Compiled::Headers(matcher)) => headers.insert(matcher, id),
            (Self::Fanout, _) | (Self::Headers(_), Compiled::Nothing) => 0,
        }
    }

    /// Removes a binding by its place and returns the one that stands there now, if any.
    pub(super) fn remove(&mut self, key: &str, place: u32) -> Option<BindingId> {
        match self {
            Self::Direct(keys) => {
                let list = keys.get_mut(key)?;
                let moved = list.remove(place);
                if list.is_empty() {
                    keys.remove(key);
                }
                moved
            }
            Self::Fanout => None,
            Self::Topic(topic) => topic.remove(key, place),
            Self::Headers(headers) => headers.remove(place),
        }
    }
}

impl Exchange {
    /// Calls `found` for every binding that matches; for some perhaps more than once.
    pub(super) fn for_each_match(
        &self,
        message: &mut Routed<'_, '_>,
        scratch: &mut Scratch,
        mut found: impl FnMut(BindingId),
    ) {
        let mut all = |ids: &[BindingId]| ids.iter().copied().for_each(&mut found);
        match &self.index {
            Index::Direct(keys) => {
                for list in message.keys.iter().filter_map(|&key| keys.get(key)) {
                    all(list.as_slice());
                }
            }
            Index::Fanout => all(self.outgoing.as_slice()),
            Index::Topic(topic) => {
                message.keys.iter().for_each(|key| topic.for_each_match(key, scratch, &mut all));
            }
            Index::Headers(headers) => headers.for_each_match(message.headers(), found),
        }
    }
}
