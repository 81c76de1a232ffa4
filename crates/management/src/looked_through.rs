//! Which queues have dead letters in front, of those that were looked through and haven't changed since.
//!
//! Pages that show dead letters ask every few seconds, and a broker may have a hundred thousand
//! queues, most of which nothing happens to in that time.

use std::sync::Arc;

use ahash::{HashMap, HashSet};
use leveret_broker::{Broker, SharedQueue};
use leveret_engine::QueueId;
use parking_lot::Mutex;
use serde_json::Value;

/// What is known of queues by earlier looks.
#[derive(Default)]
pub(crate) struct LookedThrough {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    queues: HashMap<QueueId, (State, Found)>,
    /// With so many entries those of queues that are gone go as well.
    tidy_at: usize,
}

/// What is shown of a queue with dead letters in front.
pub(crate) type Found = Option<Arc<Value>>;

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
        let (counts, totals) = queue.counts_and_totals();
        Self { ready: counts.ready, counted: totals.map_or(0, |totals| totals.sum()) }
    }
}

/// Queues with messages.
#[derive(Default)]
pub(crate) struct Sorted {
    /// Those with dead letters in front, and what is shown of them.
    pub(crate) with: Vec<(Arc<SharedQueue>, Arc<Value>)>,
    /// Those that have to be looked through, as they are now.
    pub(crate) unknown: Vec<(Arc<SharedQueue>, State)>,
}

impl LookedThrough {
    /// Sorts queues by what is known of them.
    pub(crate) fn sort(&self, queues: Vec<Arc<SharedQueue>>) -> Sorted {
        let known = self.known.lock();
        let mut sorted = Sorted::default();
        for queue in queues {
            let state = State::of(&queue);
            if state.ready == 0 {
                continue;
            }
            match known.queues.get(&queue.id()) {
                Some((then, found)) if *then == state => {
                    sorted.with.extend(found.clone().map(|found| (queue, found)));
                }
                _ => sorted.unknown.push((queue, state)),
            }
        }
        sorted
    }

    /// Notes what was found in queues that were looked through.
    pub(crate) fn note(&self, looked_at: Vec<(QueueId, State, Found)>, broker: &Broker) {
        let mut known = self.known.lock();
        known.queues.extend(looked_at.into_iter().map(|(id, state, found)| (id, (state, found))));
        if known.queues.len() > known.tidy_at {
            let vhosts = broker.vhosts();
            let there = vhosts.iter().flat_map(|vhost| vhost.queues());
            let there: HashSet<QueueId> = there.map(|queue| queue.id()).collect();
            known.queues.retain(|id, _| there.contains(id));
            known.tidy_at = 2 * known.queues.len() + TIDY_MIN;
        }
    }
}

/// Fewer entries are never looked at for what is gone.
const TIDY_MIN: usize = 1000;
