//! What a recent history exchange repeats to a new binding.
//!
//! That may be much, and go to many queues: it is placed in steps. Each message is routed with a look at the
//! directory of its own, as a published one is, so that nobody waits for the directory while more than one is.

use std::sync::Arc;

use leveret_engine::{DestinationName, Exchange, Message, Routable};
use smallvec::SmallVec;

use super::Session;
use super::publish::LOOKS_PER_PLACE;
use crate::buckets::Origin;
use crate::queue::{Purpose, SharedQueue, properties};
use crate::vhost::Directory;

/// Places in queues that are filled at once for who has no turns.
const PLACES_AT_ONCE: usize = 4096;
/// What bytes of messages cost a turn: what is published is bounded by what is read at once, a history is not.
const BYTES_PER_PLACE: usize = 64;

/// A message that is to be repeated, and to whom.
pub(super) struct Repeated {
    message: Message,
    heir: Heir,
}

/// What was bound.
#[derive(Clone)]
enum Heir {
    Queue(Arc<SharedQueue>),
    Exchange(Arc<str>),
}

impl Session {
    /// A new binding of a recent history exchange is to get what the exchange has kept, but not while an
    /// alarm has publishers wait: it is as good as publishing.
    pub(super) fn recall_history(
        &mut self,
        directory: &Directory,
        source: &str,
        destination: DestinationName<'_>,
    ) {
        let keeper = directory.topology.exchange(source).and_then(Exchange::keeper);
        let Some(keeper) = keeper.and_then(|id| directory.queue_by_id(id)) else { return };
        let is_short = !self.broker.alarms().shortage().is_none();
        if keeper.purpose != Purpose::History || is_short {
            return;
        }
        let heir = match destination {
            DestinationName::Queue(name) => directory.queue(name).cloned().map(Heir::Queue),
            DestinationName::Exchange(name) => Some(Heir::Exchange(name.into())),
        };
        let Some(heir) = heir else { return };
        let messages = keeper.ready_messages().into_iter();
        self.history.extend(messages.map(|message| Repeated { message, heir: heir.clone() }));
    }

    /// Whether bindings made in this session are yet to get what their exchange has kept.
    pub fn has_history(&self) -> bool {
        !self.history.is_empty()
    }

    /// Lets go of what they are yet to get. Returns of how many messages.
    pub fn forget_history(&mut self) -> usize {
        std::mem::take(&mut self.history).len()
    }

    /// Stages what they are to get, until it takes so many [places](Self::placed) or there is no more; whether
    /// there is. Nothing else may be published meanwhile: it would come before.
    pub fn repeat_history(&mut self, places: usize) -> bool {
        let end = self.placed.saturating_add(places);
        while self.placed < end {
            let Some(repeated) = self.history.pop_front() else { break };
            self.repeat(repeated);
        }
        if self.history.is_empty() {
            self.history.shrink_to_fit();
        }
        self.has_history()
    }

    /// Puts all they are to get into its queues, for as long as that `goes_on`.
    pub fn repeat_all_history(&mut self, goes_on: impl Fn() -> bool) {
        let mut is_more = self.has_history();
        while is_more && goes_on() {
            is_more = self.repeat_history(PLACES_AT_ONCE);
            self.flush(&mut Vec::new());
            self.finish();
        }
    }

    fn repeat(&mut self, Repeated { message, heir }: Repeated) {
        let mut queues: SmallVec<[Arc<SharedQueue>; 4]> = SmallVec::new();
        match heir {
            Heir::Queue(queue) => queues.push(queue),
            Heir::Exchange(name) => {
                let properties = &properties(&message);
                let staging = &mut self.staging;
                staging.routed = staging.routed.wrapping_add(1);
                let drawn = self.id.0.rotate_left(32) ^ staging.routed;
                let routable = Routable { keys: &[message.routing_key()], properties, drawn };
                let now = self.turn.now();
                let directory = self.vhost.directory.read();
                let found = directory.route(&name, routable, now, &mut staging.route_set);
                self.placed += staging.route_set.work() / LOOKS_PER_PLACE;
                if let Err(many) = found {
                    let vhost = self.vhost.name();
                    tracing::warn!(
                        "exchange '{name}' in vhost '{vhost}' gets none of a message: {many}"
                    );
                }
                let found = staging.route_set.as_slice().iter();
                queues.extend(found.filter_map(|id| directory.queue_by_id(*id)).cloned());
            }
        }
        // One that goes nowhere takes its time as well.
        self.placed += queues.len().max(1) + message.stored_len() / BYTES_PER_PLACE;
        let Self { staging, .. } = self;
        staging.buckets.add(message, &queues, Origin::default(), &mut staging.records);
    }
}
