//! Exchanges: what was declared, and the index of their bindings.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use leveret_codec::{Properties, TableBuf};

use super::DestinationName;
use super::binding::{BindingId, BindingList, Destination};
use super::deduplication::Deduplication;
use super::distinct::empty;
use super::erlang::ErlangBinary;
use super::hash::{ConsistentIndex, HashOn, ModulusIndex, Share, Target, choose_random};
use super::headers::{HeadersIndex, InvalidMatch, Matcher, MessageHeaders};
use super::jms_topic::{InvalidJmsBinding, JmsTopicIndex, selector};
use super::keeper::Keeper;
use super::kind::{ExchangeKind, InvalidExchange, KindSettings, is_history_too_long};
use super::steps::{Steps, TooManySteps};
use super::topic::{Scratch, TopicIndex};
use super::traffic::ExchangeTraffic;
use crate::give_back::GiveBack;
use crate::ids::{ExchangeId, QueueId};
use crate::selector::Selector;

/// The argument that names an exchange for what its exchange routes nowhere.
const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

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

impl ExchangeSpec {
    /// Checks the arguments that mean something to the kind.
    ///
    /// # Errors
    /// [`InvalidExchange`] says which doesn't hold.
    pub fn check(&self) -> Result<(), InvalidExchange> {
        let arguments = self.arguments.as_table();
        let settings = KindSettings::read(self.kind, arguments)?;
        if settings.deduplication.is_some() && Deduplication::excess(arguments).is_some() {
            return Err(InvalidExchange::CacheTooLarge);
        }
        if self.kind == ExchangeKind::RecentHistory && is_history_too_long(arguments) {
            return Err(InvalidExchange::HistoryTooLong);
        }
        Ok(())
    }

    /// What it needs a queue of its own for, if it does.
    #[must_use]
    pub fn keeper(&self) -> Option<Keeper> {
        KindSettings::read(self.kind, self.arguments.as_table()).ok()?.keeper
    }
}

/// An exchange in a [`Topology`](crate::Topology).
#[derive(Debug)]
pub struct Exchange {
    id: ExchangeId,
    spec: ExchangeSpec,
    alternate: Option<Arc<str>>,
    keeper: Option<QueueId>,
    deduplication: Option<Deduplication>,
    index: Index,
    pub(super) outgoing: BindingList,
    pub(super) incoming: BindingList,
    /// Exchanges it is bound to, each with the number of bindings.
    next: AHashMap<ExchangeId, u32>,
    traffic: Arc<ExchangeTraffic>,
}

impl Exchange {
    pub(super) fn new(id: ExchangeId, spec: ExchangeSpec) -> Self {
        let settings = KindSettings::read(spec.kind, spec.arguments.as_table());
        let alternate = spec.arguments.as_table().get(ALTERNATE_EXCHANGE);
        Self {
            id,
            alternate: alternate.and_then(|name| name.as_str()).map(Arc::from),
            keeper: None,
            deduplication: settings.ok().and_then(|settings| settings.deduplication),
            index: Index::new(&spec),
            spec,
            outgoing: BindingList::default(),
            incoming: BindingList::default(),
            next: AHashMap::new(),
            traffic: Arc::default(),
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

    /// The queue that keeps messages for it.
    #[must_use]
    pub const fn keeper(&self) -> Option<QueueId> {
        self.keeper
    }

    /// How it tells messages that were seen before, if it does.
    #[must_use]
    pub const fn deduplication(&self) -> Option<&Deduplication> {
        self.deduplication.as_ref()
    }

    /// Whether it goes through all headers of a message for one of them.
    pub(super) fn looks_for_a_header(&self) -> bool {
        self.keeper.is_some() || self.deduplication.is_some() || self.index.hashes_a_header()
    }

    pub(super) fn set_keeper(&mut self, queue: QueueId) {
        self.keeper = Some(queue);
    }

    /// What goes through it.
    #[must_use]
    pub const fn traffic(&self) -> &Arc<ExchangeTraffic> {
        &self.traffic
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
    pub(super) fn next(&self) -> impl ExactSizeIterator<Item = ExchangeId> {
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
    JmsTopic(JmsTopicIndex),
    Consistent(ConsistentIndex),
    Modulus(ModulusIndex),
    /// Any of the exchange's own list.
    Random,
    /// The same, of queues.
    LocalRandom,
}

/// A message as far as routing looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Routable<'a> {
    /// Its own routing key, then further ones from its `CC` and `BCC` headers.
    pub keys: &'a [&'a str],
    /// Its properties, headers among them.
    pub properties: &'a Properties<'a>,
    /// A number that differs from message to message, for exchanges that choose at random.
    pub drawn: u64,
}

/// A message on its way through the exchanges.
pub(super) struct Routed<'a> {
    pub(super) message: Routable<'a>,
    /// Made for the first exchange on the way that looks at headers.
    prepared: Option<MessageHeaders<'a>>,
}

impl<'a> Routed<'a> {
    pub(super) const fn new(message: Routable<'a>) -> Self {
        Self { message, prepared: None }
    }

    /// Bytes of its headers.
    pub(super) fn headers_len(&self) -> usize {
        self.message.properties.headers.map_or(0, |headers| headers.as_bytes().len())
    }

    fn headers(&mut self) -> &MessageHeaders<'a> {
        let headers = self.message.properties.headers;
        self.prepared.get_or_insert_with(|| MessageHeaders::new(headers))
    }
}

/// Memory for finding the bindings that match, kept between messages.
#[derive(Debug, Default)]
pub(super) struct Search {
    walk: Scratch,
    /// Lists of bindings that keys of the message have led to, each by its first binding.
    lists: AHashSet<BindingId>,
}

/// A binding to be, as its source's kind sees it.
pub(super) struct NewBinding<'a> {
    pub(super) source: &'a str,
    pub(super) destination: Destination,
    pub(super) name: DestinationName<'a>,
    pub(super) key: &'a str,
    pub(super) arguments: &'a TableBuf,
}

/// What a kind makes of a binding.
pub(super) enum Compiled {
    Nothing,
    Headers(Matcher),
    JmsTopic(Selector),
    Consistent(Share),
    Modulus(Target),
}

/// Why a binding means nothing to its source's kind. Displays as RabbitMQ's explanation of the
/// channel error 406.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBinding {
    /// The arguments are no match for headers.
    #[error(transparent)]
    Match(#[from] InvalidMatch),
    /// The arguments have no selector, or one that is none.
    #[error(transparent)]
    Selector(#[from] InvalidJmsBinding),
    /// A consistent hash exchange takes the key for a weight.
    #[error("The binding key must be an integer: {0}")]
    WeightNotInteger(String),
    /// A weight of nothing.
    #[error("The binding key must be greater than 0")]
    WeightNotPositive,
    /// More weight than can be weighed.
    #[error("The binding key must not exceed {}", u32::MAX)]
    WeightTooLarge,
    /// A local random exchange has no use for keys.
    #[error("Non empty binding '{0}' key not permitted")]
    KeyNotEmpty(String),
    /// A local random exchange leads to queues only.
    #[error("Destination not found")]
    NotAQueue,
}

impl Index {
    fn new(spec: &ExchangeSpec) -> Self {
        // Whoever declares has checked the arguments; without sense it is a fanout exchange.
        let settings = KindSettings::read(spec.kind, spec.arguments.as_table());
        let Ok(KindSettings { chooses_as, hash_on, .. }) = settings else { return Self::Fanout };
        match chooses_as {
            ExchangeKind::Direct => Self::Direct(AHashMap::new()),
            ExchangeKind::Fanout
            | ExchangeKind::RecentHistory
            | ExchangeKind::Delayed
            | ExchangeKind::Deduplication => Self::Fanout,
            ExchangeKind::Topic => Self::Topic(TopicIndex::default()),
            ExchangeKind::Headers => Self::Headers(HeadersIndex::default()),
            ExchangeKind::JmsTopic => Self::JmsTopic(JmsTopicIndex::default()),
            ExchangeKind::ConsistentHash => Self::Consistent(ConsistentIndex::new(hash_on)),
            ExchangeKind::ModulusHash => Self::Modulus(ModulusIndex::default()),
            ExchangeKind::Random => Self::Random,
            ExchangeKind::LocalRandom => Self::LocalRandom,
        }
    }

    /// Whether nothing but the routing keys decides.
    pub(super) fn routes_by_keys(&self) -> bool {
        match self {
            Self::Direct(_) | Self::Fanout | Self::Topic(_) | Self::Modulus(_) => true,
            Self::Consistent(index) => *index.hash_on() == HashOn::RoutingKeys,
            Self::Headers(_) | Self::JmsTopic(_) | Self::Random | Self::LocalRandom => false,
        }
    }

    /// Whether the value of a header decides.
    fn hashes_a_header(&self) -> bool {
        matches!(self, Self::Consistent(index) if matches!(index.hash_on(), HashOn::Header(_)))
    }

    /// Checks a binding, before anything is changed.
    pub(super) fn compile(&self, binding: &NewBinding<'_>) -> Result<Compiled, InvalidBinding> {
        match self {
            Self::Headers(_) => Ok(Compiled::Headers(Matcher::compile(binding.arguments)?)),
            Self::JmsTopic(_) => Ok(Compiled::JmsTopic(selector(binding)?)),
            Self::Consistent(_) => {
                let weight = weight(binding.key)?;
                let share = Share::new(binding.destination, binding.name, weight);
                Ok(Compiled::Consistent(share))
            }
            Self::Modulus(_) => Ok(Compiled::Modulus(Target::new(binding.name))),
            Self::LocalRandom if !binding.key.is_empty() => {
                Err(InvalidBinding::KeyNotEmpty(binding.key.to_owned()))
            }
            Self::LocalRandom => match binding.destination {
                Destination::Queue(_) => Ok(Compiled::Nothing),
                Destination::Exchange(_) => Err(InvalidBinding::NotAQueue),
            },
            Self::Direct(_) | Self::Fanout | Self::Topic(_) | Self::Random => Ok(Compiled::Nothing),
        }
    }

    /// Adds a binding and returns its place.
    pub(super) fn insert(&mut self, key: &Arc<str>, compiled: Compiled, id: BindingId) -> u32 {
        match (self, compiled) {
            (Self::Direct(keys), _) => keys.entry(Arc::clone(key)).or_default().push(id),
            (Self::Topic(topic), _) => topic.insert(key, id),
            (Self::Headers(headers), Compiled::Headers(matcher)) => headers.insert(matcher, id),
            (Self::JmsTopic(index), Compiled::JmsTopic(selector)) => index.insert(selector, id),
            (Self::Consistent(index), Compiled::Consistent(share)) => index.insert(share, id),
            (Self::Modulus(index), Compiled::Modulus(target)) => index.insert(target, id),
            // In no list but the exchange's own.
            _ => 0,
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
                    keys.give_back();
                }
                moved
            }
            Self::Fanout | Self::Random | Self::LocalRandom => None,
            Self::Topic(topic) => topic.remove(key, place),
            Self::Headers(headers) => headers.remove(place),
            Self::JmsTopic(index) => index.remove(place),
            Self::Consistent(index) => index.remove(place),
            Self::Modulus(index) => index.remove(place),
        }
    }
}

impl Exchange {
    /// Calls `found` once for every binding that matches.
    ///
    /// # Errors
    /// [`TooManySteps`] when the bound of `steps` is met. Some bindings may have been found by then.
    pub(super) fn for_each_match(
        &self,
        message: &mut Routed<'_>,
        search: &mut Search,
        steps: &mut Steps,
        mut found: impl FnMut(BindingId),
    ) -> Result<(), TooManySteps> {
        let Routable { keys, properties, drawn } = message.message;
        keys.iter().try_for_each(|key| steps.look(1, key))?;
        let Search { walk, lists } = search;
        empty(lists);
        let has_copies = keys.len() > 1;
        let mut matches = 0;
        let mut all = |ids: &[BindingId]| {
            let Some(&first) = ids.first() else { return };
            // Thousands of keys may lead to a list of very many.
            if has_copies && !lists.insert(first) {
                return;
            }
            matches += ids.len();
            ids.iter().copied().for_each(&mut found);
        };
        match &self.index {
            Index::Direct(index) => {
                for list in keys.iter().filter_map(|&key| index.get(key)) {
                    all(list.as_slice());
                }
            }
            Index::Fanout => all(self.outgoing.as_slice()),
            Index::Topic(topic) => {
                for key in keys {
                    topic.for_each_match(key, walk, steps, &mut all)?;
                }
            }
            Index::Headers(index) => {
                index.for_each_match(message.headers(), steps, found)?;
            }
            Index::JmsTopic(index) => {
                index.for_each_match(message.headers(), steps, found)?;
            }
            Index::Consistent(index) => {
                index.choose(keys, properties, steps).into_iter().for_each(found);
            }
            Index::Modulus(index) => index.choose(keys, steps).into_iter().for_each(found),
            Index::Random | Index::LocalRandom => {
                let chosen = choose_random(self.outgoing.as_slice(), drawn, self.id.0);
                chosen.into_iter().for_each(found);
            }
        }
        steps.try_each(matches);
        Ok(())
    }
}

/// A weight, by the rules of Erlang's integers.
fn weight(key: &str) -> Result<u32, InvalidBinding> {
    let digits = key.strip_prefix(['+', '-']).unwrap_or(key);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let printed = ErlangBinary(key.as_bytes()).to_string();
        return Err(InvalidBinding::WeightNotInteger(printed));
    }
    if key.starts_with('-') || digits.bytes().all(|byte| byte == b'0') {
        return Err(InvalidBinding::WeightNotPositive);
    }
    digits.parse().map_err(|_| InvalidBinding::WeightTooLarge)
}
