//! All bindings of a topology, found by id or by what they bind.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use leveret_codec::{TableBuf, TableBuilder};
use smallvec::SmallVec;

use crate::give_back::GiveBack;
use crate::ids::{ExchangeId, QueueId};

/// Where a binding leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// To a queue.
    Queue(QueueId),
    /// To another exchange.
    Exchange(ExchangeId),
}

/// A binding's number, used again after it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BindingId(u32);

/// What makes two bindings the same one. Arguments have been [`normalized`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity<'a> {
    pub(super) source: ExchangeId,
    pub(super) destination: Destination,
    pub(super) key: &'a str,
    pub(super) arguments: &'a TableBuf,
}

#[derive(Debug)]
pub(super) struct Binding {
    pub(super) source: ExchangeId,
    pub(super) destination: Destination,
    pub(super) key: Arc<str>,
    /// Boxed because most bindings have none.
    arguments: Option<Box<TableBuf>>,
    /// Where it stands in each list it is in, so that leaving takes constant time.
    places: [u32; 3],
}

/// The lists a binding is in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Listed {
    /// Those of its source.
    Source,
    /// Those of its destination.
    Destination,
    /// Those with its key, in the source's index.
    Index,
}

#[cfg(test)]
impl BindingId {
    pub(super) const fn of(number: u32) -> Self {
        Self(number)
    }
}

impl Binding {
    pub(super) fn place(&self, list: Listed) -> u32 {
        let [source, destination, index] = self.places;
        match list {
            Listed::Source => source,
            Listed::Destination => destination,
            Listed::Index => index,
        }
    }
}

/// The bindings.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    rows: Vec<Option<Binding>>,
    free: Vec<u32>,
    by_identity: HashTable<BindingId>,
    hasher: RandomState,
    no_arguments: TableBuf,
}

impl Bindings {
    pub(super) fn len(&self) -> usize {
        self.by_identity.len()
    }

    pub(super) fn get(&self, id: BindingId) -> Option<&Binding> {
        self.rows.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn arguments<'a>(&'a self, binding: &'a Binding) -> &'a TableBuf {
        binding.arguments.as_deref().unwrap_or(&self.no_arguments)
    }

    pub(super) fn find(&self, identity: Identity<'_>) -> Option<BindingId> {
        let hash = self.hasher.hash_one(identity);
        self.by_identity.find(hash, |&id| self.identity(id) == Some(identity)).copied()
    }

    /// Adds a binding unless it is there, in which case the answer is `None`.
    pub(super) fn insert(&mut self, identity: Identity<'_>) -> Option<BindingId> {
        if self.find(identity).is_some() {
            return None;
        }
        let row = Binding {
            source: identity.source,
            destination: identity.destination,
            key: identity.key.into(),
            arguments: Some(identity.arguments)
                .filter(|arguments| !arguments.is_empty())
                .map(|arguments| Box::new(arguments.clone())),
            places: [0; 3],
        };
        let id = match self.free.pop() {
            Some(number) => BindingId(number),
            None => {
                self.rows.push(None);
                BindingId(number(self.rows.len() - 1))
            }
        };
        if let Some(slot) = self.rows.get_mut(id.0 as usize) {
            *slot = Some(row);
        }
        let hash = self.hasher.hash_one(identity);
        let Self { rows, by_identity, hasher, no_arguments, .. } = self;
        let rehash = |&id: &_| match identity_of(rows, no_arguments, id) {
            Some(identity) => hasher.hash_one(identity),
            None => 0,
        };
        by_identity.insert_unique(hash, id, rehash);
        Some(id)
    }

    pub(super) fn remove(&mut self, id: BindingId) -> Option<Binding> {
        let hash = self.hasher.hash_one(self.identity(id)?);
        if let Ok(found) = self.by_identity.find_entry(hash, |&other| other == id) {
            found.remove();
        }
        self.free.push(id.0);
        self.rows.get_mut(id.0 as usize)?.take()
    }

    pub(super) fn set_place(&mut self, id: BindingId, list: Listed, place: u32) {
        if let Some(Some(row)) = self.rows.get_mut(id.0 as usize) {
            let [source, destination, index] = &mut row.places;
            *match list {
                Listed::Source => source,
                Listed::Destination => destination,
                Listed::Index => index,
            } = place;
        }
    }

    /// All bindings.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.rows.iter().flatten()
    }

    fn identity(&self, id: BindingId) -> Option<Identity<'_>> {
        identity_of(&self.rows, &self.no_arguments, id)
    }
}

fn identity_of<'a>(
    rows: &'a [Option<Binding>],
    no_arguments: &'a TableBuf,
    id: BindingId,
) -> Option<Identity<'a>> {
    let row = rows.get(id.0 as usize)?.as_ref()?;
    Some(Identity {
        source: row.source,
        destination: row.destination,
        key: &row.key,
        arguments: row.arguments.as_deref().unwrap_or(no_arguments),
    })
}

/// Arguments sorted by key: their order makes no difference, as in RabbitMQ.
pub(super) fn normalized(arguments: &TableBuf) -> TableBuf {
    if arguments.as_table().iter().nth(1).is_none() {
        return arguments.clone();
    }
    TableBuilder::from_table(arguments.as_table()).build_sorted()
}

/// A list of bindings that are told their places in it.
#[derive(Debug, Default)]
pub(super) struct BindingList(SmallVec<[BindingId; 2]>);

impl BindingList {
    pub(super) fn as_slice(&self) -> &[BindingId] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a binding and returns its place.
    pub(super) fn push(&mut self, id: BindingId) -> u32 {
        self.0.push(id);
        number(self.0.len() - 1)
    }

    /// Takes out what stands at `place`; returns the binding that stands there now, if any.
    pub(super) fn remove(&mut self, place: u32) -> Option<BindingId> {
        let place = place as usize;
        if place < self.0.len() {
            self.0.swap_remove(place);
            self.0.give_back();
        }
        self.0.get(place).copied()
    }
}

/// Memory ends long before the numbers do.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
