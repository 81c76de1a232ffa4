//! Finding the queues of dead letters.

use std::sync::Arc;

use leveret_engine::{Routable, RouteSet};

use super::letter::Letter;
use super::{Death, Onward};
use crate::broker::Broker;
use crate::queue::{Purpose, SharedQueue};
use crate::session::LOOKS_PER_PLACE;

/// Finds the queues of one letter after the other, each by what its exchange is now.
#[derive(Default)]
pub(super) struct Router {
    set: RouteSet,
    pub(super) queues: Vec<Arc<SharedQueue>>,
}

impl Router {
    /// Answers how many places the letter takes, those counted that finding them took the time of.
    pub(super) fn route(&mut self, broker: &Broker, death: &Death, letter: &Letter<'_>) -> usize {
        self.queues.clear();
        let Some(vhost) = broker.vhost(&death.source.vhost) else { return 0 };
        let message = Routable {
            keys: &letter.routing_keys,
            properties: &letter.properties(),
            drawn: death.entry.lsn.0,
        };
        let directory = vhost.directory.read();
        let (source, now) = (&death.source, letter.message.timestamp());
        let known = (source.onward == Onward::Delayed).then_some(&*source.exchange);
        // One whose queues take too long to find has none, as if no binding matched.
        let _ = directory.route_onward(&source.exchange, known, message, now, &mut self.set);
        let circle = letter.circle(death.reason);
        let queues = self.set.as_slice().iter().filter_map(|id| directory.queue_by_id(*id));
        let queues = queues
            .filter(|queue| queue.purpose != Purpose::Clients || !circle.contains(&queue.name));
        self.queues.extend(queues.cloned());
        self.set.len() + self.set.work() / LOOKS_PER_PLACE
    }
}
