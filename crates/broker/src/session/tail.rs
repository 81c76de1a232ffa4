//! Who may watch messages as they pass.

use std::sync::Arc;

use leveret_codec::AmqpError;

use super::Session;
use crate::access::{PermissionKind, TopicPermissionKind};
use crate::refusal;
use crate::tail::{Copied, Tail};

impl Session {
    /// Watches what a queue gets, with so many bytes of each body at most.
    ///
    /// # Errors
    /// 403 without read permission, 404 when the queue is missing, 405 when it is another
    /// connection's.
    pub fn tail_queue(&mut self, queue: &str, body_max: usize) -> Result<Arc<Tail>, AmqpError> {
        self.check(PermissionKind::Read, refusal::Resource::Queue(queue))?;
        let queue = self.accessible_queue(queue)?;
        let tail = Tail::new(body_max);
        queue.tails(|tails| tails.add(&tail));
        Ok(tail)
    }

    /// Watches what clients publish to an exchange, with so many bytes of each body at most. What
    /// comes by way of another exchange is not seen, nor are dead letters. Each copy is the user's only
    /// if they [may see](Self::may_see) it.
    ///
    /// # Errors
    /// 403 without read permission, 404 when the exchange is missing.
    pub fn tail_exchange(
        &mut self,
        exchange: &str,
        body_max: usize,
    ) -> Result<Arc<Tail>, AmqpError> {
        self.check(PermissionKind::Read, refusal::Resource::Exchange(exchange))?;
        let is_there = self.vhost.topology(|topology| topology.exchange(exchange).is_some());
        if !exchange.is_empty() && !is_there {
            let exchange = refusal::Resource::Exchange(exchange);
            return Err(refusal::not_found(exchange, self.vhost.name()));
        }
        let tail = Tail::new(body_max);
        self.vhost.exchange_tails.add(exchange, &tail);
        // From here on nothing is published without a look at it.
        self.vhost.changed();
        Ok(tail)
    }

    /// Whether a copy of what was published to an exchange is the user's to see: of a topic exchange if
    /// they could bind a queue by its routing key, of the default exchange if they may read from the
    /// queue that the key names.
    pub fn may_see(&mut self, copied: &Copied) -> bool {
        let (exchange, key) = (&*copied.exchange, &*copied.routing_key);
        if exchange.is_empty() {
            return self.check(PermissionKind::Read, refusal::Resource::Queue(key)).is_ok();
        }
        !self.is_topic(exchange)
            || self.check_topic(TopicPermissionKind::Read, exchange, key).is_ok()
    }
}
