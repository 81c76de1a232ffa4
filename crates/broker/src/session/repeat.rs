//! A publish like the one before: nothing is checked or routed twice.

use leveret_engine::{Body, Message};

use super::Session;
use super::publish::{Prepared, Ticket};
use crate::routes::Route;

/// A publish that was checked and routed, but for its body. Another like it may be published
/// without a look at anything else, for as long as topology and permissions stay as they are.
pub struct Repeatable {
    generations: (u64, u64),
    route: Route,
    message: Message,
}

impl Session {
    /// What the publish just prepared has in common with others like it. `None` if each has to be
    /// looked at: it was routed by more than exchange and routing key, has no queue, or its
    /// properties were rewritten.
    pub fn repeatable(&self, prepared: &Prepared) -> Option<Repeatable> {
        if !prepared.is_repeatable || prepared.is_unroutable() {
            return None;
        }
        let (generations, route) = self.routes.last()?;
        Some(Repeatable {
            generations,
            route: route.clone(),
            message: prepared.message().without_body(),
        })
    }

    /// Whether topology and permissions are what they were.
    pub fn holds(&self, repeatable: &Repeatable) -> bool {
        repeatable.generations == self.generations()
    }

    /// Publishes a message that is like an earlier one in all but the body, and stages it as
    /// [`publish`](Self::publish) does. Only for what [holds](Self::holds): what others change after
    /// that look comes behind the message.
    pub fn publish_again(&mut self, like: &Repeatable, body: Body<'_>, ticket: Option<Ticket>) {
        self.routes.count_in(&like.route);
        let message = self.staging.arena.like(&like.message, self.turn.now(), body);
        self.stage_message(message, &like.route.queues, ticket);
    }
}
