//! Which queues have no dead letters in front: those that were looked through and haven't changed since.
//!
//! Pages that show dead letters ask every few seconds, and a broker may have a hundred thousand
//! queues, most of which nothing happens to in that time.

use std::sync::Arc;

use ahash::{HashMap, HashSet};
use leveret_broker::{Broker, SharedQueue};
use leveret_engine::QueueId;
use parking_lot::Mutex;

/// What is known of queues by earlier looks.
#[derive(Default)]
pub(crate) struct LookedThrough {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    without: HashMap<QueueId, State>,
    /// With so many entries those of queues that are gone go as well.
    tidy_at: usize,
}

/// A queue at a moment. Whatever changes its front changes this: how many are ready, or what has been
/// counted, which never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    ready: u64,
    counted: u64,
}

impl State {
    /// Taken before the queue is looked through: a change meanwhile is seen as one.
    pub(crate) fn of(queue: &SharedQueue) -> Self {
        let counted = queue.totals().map_or(0, |totals| totals.sum());
        Self { ready: queue.counts().ready, counted }
    }
}

impl LookedThrough {
    /// Those queues that may have dead letters in front, as they are now.
    pub(crate) fn candidates(
        &self,
        queues: Vec<Arc<SharedQueue>>,
    ) -> Vec<(Arc<SharedQueue>, State)> {
        let known = self.known.lock();
        let candidates = queues.into_iter().filter_map(|queue| {
            let state = State::of(&queue);
            let is_known = || known.without.get(&queue.id()) == Some(&state);
            (state.ready > 0 && !is_known()).then_some((queue, state))
        });
        candidates.collect()
    }

    /// Notes queues that were looked through in vain.
    pub(crate) fn note(&self, without: &[(QueueId, State)], broker: &Broker) {
        let mut known = self.known.lock();
        known.without.extend(without.iter().copied());
        if known.without.len() > known.tidy_at {
            let vhosts = broker.vhosts();
            let there = vhosts.iter().flat_map(|vhost| vhost.queues());
            let there: HashSet<QueueId> = there.map(|queue| queue.id()).collect();
            known.without.retain(|id, _| there.contains(id));
            known.tidy_at = 2 * known.without.len() + TIDY_MIN;
        }
    }
}

/// Fewer entries are never looked at for what is gone.
const TIDY_MIN: usize = 1000;
