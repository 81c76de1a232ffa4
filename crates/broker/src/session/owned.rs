//! The exclusive queues of a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_engine::QueueId;

use crate::queue::SharedQueue;

/// They go with it, in the order in which they were declared.
#[derive(Default)]
pub(super) struct Owned {
    queues: BTreeMap<QueueId, Arc<SharedQueue>>,
    /// With as many those are forgotten that have gone by themselves.
    full: usize,
}

impl Owned {
    pub(super) fn insert(&mut self, queue: Arc<SharedQueue>) {
        if self.queues.len() >= self.full {
            self.queues.retain(|_, queue| !queue.is_deleted());
            self.full = (2 * self.queues.len()).max(4);
        }
        self.queues.insert(queue.id, queue);
    }

    /// It has been deleted.
    pub(super) fn remove(&mut self, id: QueueId) {
        self.queues.remove(&id);
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<Arc<SharedQueue>> {
        self.queues.pop_first().map(|(_, queue)| queue)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }
}
