//! The exchanges and bindings of one virtual host.

mod binding;
mod deduplication;
mod distinct;
mod erlang;
mod exchange;
mod explain;
mod hash;
mod headers;
mod jms_topic;
mod keeper;
mod kind;
mod removed;
mod route;
mod route_set;
mod steps;
#[cfg(test)]
mod tests;
mod topic;
mod traffic;

use std::sync::Arc;

use ahash::AHashMap;
use leveret_codec::TableBuf;

pub use binding::Destination;
pub use deduplication::{Deduplication, Deduplicator};
pub use exchange::{Exchange, ExchangeSpec, InvalidBinding, Routable};
pub use explain::{Explanation, Visit};
pub use headers::InvalidMatch;
pub use jms_topic::InvalidJmsBinding;
pub use keeper::{DELAY_HEADER, Keeper, delay};
pub use kind::{ExchangeKind, InvalidExchange, UnknownKind};
pub use removed::{Removed, RemovedBinding, RemovedDestination};
pub use route_set::RouteSet;
pub use steps::TooManySteps;
pub use traffic::ExchangeTraffic;

use binding::{Binding, BindingId, BindingList, Bindings, Identity, Listed, normalized};
use exchange::NewBinding;

use crate::ids::{ExchangeId, QueueId};

/// All exchanges of a virtual host, the bindings between them and to queues, and the names of the
/// queues.
///
/// The default exchange is built in: its name is empty, it routes to the queue the routing key
/// names, and it is neither listed nor declared nor bound. Whatever else is special about names,
/// permissions and exclusive queues is the caller's; changes to durable things are persisted by
/// the caller too, who learns from [`Removed`] what a change took with it.
#[derive(Debug)]
pub struct Topology {
    exchange_ids: AHashMap<Arc<str>, ExchangeId>,
    exchanges: AHashMap<ExchangeId, Exchange>,
    queue_ids: AHashMap<Arc<str>, QueueId>,
    queues: AHashMap<QueueId, Queue>,
    bindings: Bindings,
    next_exchange: u64,
    default_traffic: Arc<ExchangeTraffic>,
    steps_max: usize,
}

/// What a topology knows about a queue.
#[derive(Debug)]
struct Queue {
    name: Arc<str>,
    incoming: BindingList,
}

/// A binding's destination by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DestinationName<'a> {
    /// A queue.
    Queue(&'a str),
    /// An exchange.
    Exchange(&'a str),
}

impl<'a> DestinationName<'a> {
    /// The name alone.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        match self {
            Self::Queue(name) | Self::Exchange(name) => name,
        }
    }

    /// A destination of the same kind by another name.
    #[must_use]
    pub const fn renamed<'b>(self, name: &'b str) -> DestinationName<'b> {
        match self {
            Self::Queue(_) => DestinationName::Queue(name),
            Self::Exchange(_) => DestinationName::Exchange(name),
        }
    }
}

/// A binding as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingRef<'a> {
    /// The exchange it leads from.
    pub source: &'a str,
    /// Where it leads.
    pub destination: DestinationName<'a>,
    /// Its key.
    pub key: &'a str,
    /// Its arguments, sorted by key.
    pub arguments: &'a TableBuf,
}

/// Whether a binding is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It was added.
    Added,
    /// The same binding was there already; nothing changed.
    Existed,
}

/// Why a binding was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// There is no source exchange of that name.
    #[error("no such source exchange")]
    NoSource,
    /// There is no destination of that name.
    #[error("no such destination")]
    NoDestination,
    /// The key or the arguments mean nothing to the source's kind. Displays as RabbitMQ's
    /// explanation of the channel error 406.
    #[error(transparent)]
    Invalid(#[from] InvalidBinding),
}

impl Default for Topology {
    fn default() -> Self {
        Self::new()
    }
}

impl Topology {
    /// A virtual host with nothing but the default exchange.
    #[must_use]
    pub fn new() -> Self {
        Self {
            exchange_ids: AHashMap::default(),
            exchanges: AHashMap::default(),
            queue_ids: AHashMap::default(),
            queues: AHashMap::default(),
            bindings: Bindings::default(),
            next_exchange: 0,
            default_traffic: Arc::default(),
            steps_max: usize::MAX,
        }
    }

    /// Finding the queues of a message may take so many steps; any number, unless this is called. A
    /// step is a look with one of its keys at an exchange, or at a node of a topic exchange's patterns.
    pub const fn set_steps_max(&mut self, steps_max: usize) {
        self.steps_max = steps_max;
    }

    /// The exchange of that name.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(self.exchange_ids.get(name)?)
    }

    /// What goes through an exchange, the default one included.
    #[must_use]
    pub fn traffic(&self, exchange: &str) -> Option<&Arc<ExchangeTraffic>> {
        match exchange {
            "" => Some(&self.default_traffic),
            name => self.exchange(name).map(Exchange::traffic),
        }
    }

    /// All exchanges in the order they were added.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        let mut all: Vec<_> = self.exchanges.values().collect();
        all.sort_unstable_by_key(|exchange| exchange.id());
        all.into_iter()
    }

    /// Adds an exchange. If there is one of that name it stays as it is and its id is returned:
    /// whether the two agree is the caller's question.
    pub fn add_exchange(&mut self, spec: ExchangeSpec) -> ExchangeId {
        if let Some(&id) = self.exchange_ids.get(&spec.name) {
            return id;
        }
        let id = ExchangeId(self.next_exchange);
        self.next_exchange += 1;
        self.exchange_ids.insert(Arc::clone(&spec.name), id);
        self.exchanges.insert(id, Exchange::new(id, spec));
        id
    }

    /// Sets where an exchange sends what it routes nowhere, as a policy does; `None` for nowhere.
    /// Overrules the declaration's `alternate-exchange`.
    pub fn set_alternate(&mut self, exchange: &str, alternate: Option<Arc<str>>) {
        if let Some(exchange) = self.exchange_mut(exchange) {
            exchange.set_alternate(alternate);
        }
    }

    /// Gives an exchange the queue that keeps messages for it. Not one of
    /// [`add_queue`](Self::add_queue): it has no name and no bindings.
    pub fn set_keeper(&mut self, exchange: &str, queue: QueueId) {
        if let Some(exchange) = self.exchange_mut(exchange) {
            exchange.set_keeper(queue);
        }
    }

    /// Removes an exchange with all bindings from and to it, and every auto-delete exchange that
    /// loses its last binding thereby. A name that is not there is fine.
    pub fn remove_exchange(&mut self, name: &str, removed: &mut Vec<Removed>) {
        if let Some(&id) = self.exchange_ids.get(name) {
            self.remove_exchanges(vec![id], removed);
        }
    }

    /// The queue of that name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<QueueId> {
        self.queue_ids.get(name).copied()
    }

    /// Adds a queue. Name and id must be new; otherwise nothing changes and the answer is false.
    pub fn add_queue(&mut self, name: Arc<str>, id: QueueId) -> bool {
        if self.queue_ids.contains_key(&name) || self.queues.contains_key(&id) {
            return false;
        }
        self.queue_ids.insert(Arc::clone(&name), id);
        self.queues.insert(id, Queue { name, incoming: BindingList::default() });
        true
    }

    /// Removes a queue with all bindings to it, and every auto-delete exchange that loses its
    /// last binding thereby. A name that is not there is fine.
    pub fn remove_queue(&mut self, name: &str, removed: &mut Vec<Removed>) {
        let Some(id) = self.queue_ids.remove(name) else { return };
        let mut abandoned = Vec::new();
        while let Some(&last) = self.queues.get(&id).and_then(|row| row.incoming.as_slice().last())
        {
            abandoned.extend(self.remove_binding(last, removed));
        }
        self.queues.remove(&id);
        self.remove_exchanges(abandoned, removed);
    }

    /// Binds a destination to an exchange.
    ///
    /// Two bindings are the same if source, destination, key and arguments are; the order of the
    /// arguments makes no difference.
    ///
    /// # Errors
    /// [`BindError`] if either end is missing or key or arguments are invalid for the source's kind.
    /// Nothing has changed then.
    pub fn bind(
        &mut self,
        source: &str,
        destination: DestinationName<'_>,
        key: &str,
        arguments: &TableBuf,
    ) -> Result<Bound, BindError> {
        let source = self.exchange(source).ok_or(BindError::NoSource)?;
        let name = destination;
        let destination = self.destination(name).ok_or(BindError::NoDestination)?;
        let arguments = &normalized(arguments);
        let binding = NewBinding { source: source.name(), destination, name, key, arguments };
        let compiled = source.index().compile(&binding)?;
        let source = source.id();
        let identity = Identity { source, destination, key, arguments };
        let Some(id) = self.bindings.insert(identity) else { return Ok(Bound::Existed) };

        if let Some(list) = self.incoming_mut(destination) {
            let place = list.push(id);
            self.bindings.set_place(id, Listed::Destination, place);
        }
        if let (Some(row), Some(key)) =
            (self.exchanges.get_mut(&source), self.bindings.get(id).map(|row| &row.key))
        {
            let in_index = row.index_mut().insert(key, compiled, id);
            let in_source = row.outgoing.push(id);
            if let Destination::Exchange(next) = destination {
                row.count_next(next);
            }
            self.bindings.set_place(id, Listed::Index, in_index);
            self.bindings.set_place(id, Listed::Source, in_source);
        }
        Ok(Bound::Added)
    }

    /// Removes a binding, and every auto-delete exchange that loses its last binding thereby. A
    /// binding that is not there is fine.
    pub fn unbind(
        &mut self,
        source: &str,
        destination: DestinationName<'_>,
        key: &str,
        arguments: &TableBuf,
        removed: &mut Vec<Removed>,
    ) {
        let (Some(&source), Some(destination)) =
            (self.exchange_ids.get(source), self.destination(destination))
        else {
            return;
        };
        let arguments = &normalized(arguments);
        let identity = Identity { source, destination, key, arguments };
        if let Some(id) = self.bindings.find(identity) {
            let abandoned = self.remove_binding(id, removed);
            self.remove_exchanges(abandoned.into_iter().collect(), removed);
        }
    }

    /// All bindings, without the default exchange's.
    pub fn bindings(&self) -> impl Iterator<Item = BindingRef<'_>> {
        self.bindings.iter().filter_map(|row| self.binding_ref(row))
    }

    /// How many bindings there are, without the default exchange's.
    #[must_use]
    pub fn binding_count(&self) -> usize {
        self.bindings.len()
    }

    /// The bindings from an exchange.
    pub fn bindings_from(&self, exchange: &str) -> impl Iterator<Item = BindingRef<'_>> {
        self.listed(self.exchange(exchange).map(|exchange| &exchange.outgoing))
    }

    /// The bindings to an exchange.
    pub fn bindings_to_exchange(&self, exchange: &str) -> impl Iterator<Item = BindingRef<'_>> {
        self.listed(self.exchange(exchange).map(|exchange| &exchange.incoming))
    }

    /// The bindings to a queue, without the default exchange's.
    pub fn bindings_to_queue(&self, queue: &str) -> impl Iterator<Item = BindingRef<'_>> {
        let row = self.queue(queue).and_then(|id| self.queues.get(&id));
        self.listed(row.map(|row| &row.incoming))
    }

    /// Whether anything is bound to the exchange as its source: whether it is in use.
    #[must_use]
    pub fn has_bindings_from(&self, exchange: &str) -> bool {
        self.exchange(exchange).is_some_and(|exchange| !exchange.outgoing.is_empty())
    }

    fn exchange_mut(&mut self, name: &str) -> Option<&mut Exchange> {
        self.exchanges.get_mut(self.exchange_ids.get(name)?)
    }

    fn destination(&self, name: DestinationName<'_>) -> Option<Destination> {
        match name {
            DestinationName::Queue(name) => self.queue(name).map(Destination::Queue),
            DestinationName::Exchange(name) => {
                self.exchange_ids.get(name).copied().map(Destination::Exchange)
            }
        }
    }

    fn incoming_mut(&mut self, destination: Destination) -> Option<&mut BindingList> {
        match destination {
            Destination::Queue(id) => self.queues.get_mut(&id).map(|row| &mut row.incoming),
            Destination::Exchange(id) => self.exchanges.get_mut(&id).map(|row| &mut row.incoming),
        }
    }

    fn listed<'a>(&'a self, list: Option<&'a BindingList>) -> impl Iterator<Item = BindingRef<'a>> {
        let ids = list.map_or(&[][..], BindingList::as_slice);
        ids.iter().filter_map(|&id| self.binding_ref(self.bindings.get(id)?))
    }

    fn binding_ref<'a>(&'a self, row: &'a Binding) -> Option<BindingRef<'a>> {
        Some(BindingRef {
            source: self.exchanges.get(&row.source)?.name(),
            destination: match row.destination {
                Destination::Queue(id) => DestinationName::Queue(&self.queues.get(&id)?.name),
                Destination::Exchange(id) => {
                    DestinationName::Exchange(self.exchanges.get(&id)?.name())
                }
            },
            key: &row.key,
            arguments: self.bindings.arguments(row),
        })
    }

    /// Removes exchanges one after the other; the list grows by those that are abandoned on the
    /// way.
    fn remove_exchanges(&mut self, mut ids: Vec<ExchangeId>, removed: &mut Vec<Removed>) {
        let mut done = 0;
        while let Some(&id) = ids.get(done) {
            done += 1;
            while let Some(last) = self.last_binding(id) {
                let abandoned = self.remove_binding(last, removed);
                ids.extend(abandoned.filter(|&abandoned| abandoned != id));
            }
            if let Some(exchange) = self.exchanges.remove(&id) {
                self.exchange_ids.remove(exchange.name());
                removed.push(Removed::Exchange(exchange.into_spec()));
            }
        }
    }

    /// Some binding from or to an exchange.
    fn last_binding(&self, id: ExchangeId) -> Option<BindingId> {
        let exchange = self.exchanges.get(&id)?;
        let lists = [&exchange.outgoing, &exchange.incoming];
        lists.into_iter().find_map(|list| list.as_slice().last().copied())
    }

    /// Removes a binding from all lists. Returns its source if that is to be deleted now.
    fn remove_binding(&mut self, id: BindingId, removed: &mut Vec<Removed>) -> Option<ExchangeId> {
        let owned = self.removed_binding(id);
        let row = self.bindings.remove(id)?;
        removed.extend(owned.map(Removed::Binding));

        let place = row.place(Listed::Destination);
        let moved = self.incoming_mut(row.destination).and_then(|list| list.remove(place));
        self.moved(moved, Listed::Destination, place);

        let source = self.exchanges.get_mut(&row.source)?;
        let place = row.place(Listed::Source);
        let in_source = source.outgoing.remove(place);
        let index_place = row.place(Listed::Index);
        let in_index = source.index_mut().remove(&row.key, index_place);
        if let Destination::Exchange(next) = row.destination {
            source.discount_next(next);
        }
        let is_abandoned = source.spec().auto_delete && source.outgoing.is_empty();
        self.moved(in_source, Listed::Source, place);
        self.moved(in_index, Listed::Index, index_place);
        is_abandoned.then_some(row.source)
    }

    fn moved(&mut self, id: Option<BindingId>, list: Listed, place: u32) {
        if let Some(id) = id {
            self.bindings.set_place(id, list, place);
        }
    }

    fn removed_binding(&self, id: BindingId) -> Option<RemovedBinding> {
        let row = self.bindings.get(id)?;
        let exchange_name = |id| self.exchanges.get(&id).map(|row| Arc::clone(&row.spec().name));
        Some(RemovedBinding {
            source: exchange_name(row.source)?,
            destination: match row.destination {
                Destination::Queue(id) => {
                    RemovedDestination::Queue(Arc::clone(&self.queues.get(&id)?.name))
                }
                Destination::Exchange(id) => RemovedDestination::Exchange(exchange_name(id)?),
            },
            key: Arc::clone(&row.key),
            arguments: self.bindings.arguments(row).clone(),
        })
    }
}
