//! Where a message goes, and the memory for finding out.

use super::distinct::Distinct;
use super::exchange::Search;
use super::steps::Steps;
use crate::ids::{ExchangeId, QueueId};

/// The queues a message is routed to, each once, in the order they were found.
///
/// Owned and reused by the caller, together with everything routing needs on the way: after a
/// few messages [`Topology::route`](crate::Topology::route) allocates nothing.
#[derive(Debug, Default)]
pub struct RouteSet {
    pub(super) queues: Distinct<QueueId>,
    /// The exchanges the message came by.
    pub(super) exchanges: Distinct<ExchangeId>,
    pub(super) search: Search,
    pub(super) steps: Steps,
}

impl RouteSet {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties the set and keeps its memory.
    pub fn clear(&mut self) {
        self.queues.clear();
        self.exchanges.clear();
    }

    /// The queues.
    #[must_use]
    pub fn as_slice(&self) -> &[QueueId] {
        self.queues.as_slice()
    }

    /// How many queues.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether the message goes nowhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// What finding them took: steps, and bindings, exchanges and queues that were looked at one by one.
    #[must_use]
    pub const fn work(&self) -> usize {
        self.steps.work()
    }

    /// Adds a queue unless it is there.
    pub fn insert(&mut self, queue: QueueId) {
        self.queues.insert(queue);
    }
}
