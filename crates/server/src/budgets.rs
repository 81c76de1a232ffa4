//! What connections may take of memory together, by what for.

use std::sync::Arc;

use crate::budget::Budget;
use crate::config::{AmqpConfig, Config, WebConfig};
use crate::resources;

/// What is made of the JSON of definitions takes many times its bytes: for so many of the longest bodies
/// there is always room.
const LONGEST_BODIES: u64 = 8;

/// A node's budgets.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// For messages that have come in part.
    pub unfinished: Arc<Budget>,
    /// For what transactions hold until they are committed.
    pub uncommitted: Arc<Budget>,
    /// For what clients have not read yet: answers and deliveries.
    pub unread: Arc<Budget>,
    /// For what requests over HTTP bring, and what is made of it.
    pub requests: Arc<Budget>,
}

impl Budgets {
    pub(crate) fn new(config: &Config) -> Self {
        let Config { amqp, web, .. } = config;
        let of = |max| Arc::new(Budget::new(max));
        Self {
            unfinished: of(unfinished(amqp)),
            uncommitted: of(uncommitted(amqp)),
            unread: of(unread(amqp)),
            requests: of(requests(web)),
        }
    }

    /// They are as large as these settings say from now on.
    pub(crate) fn set(&self, config: &Config) {
        let Config { amqp, web, .. } = config;
        self.unfinished.set_max(unfinished(amqp));
        self.uncommitted.set_max(uncommitted(amqp));
        self.unread.set_max(unread(amqp));
        self.requests.set_max(requests(web));
    }
}

/// By default so little that twice as much is below the memory alarm, and never less than a
/// connection's.
fn unfinished(amqp: &AmqpConfig) -> u64 {
    let auto = || part_of_memory(4).max(amqp.unfinished_messages_max);
    amqp.unfinished_messages_max_per_node.unwrap_or_else(auto)
}

/// By default as much, as transactions are few.
fn uncommitted(amqp: &AmqpConfig) -> u64 {
    let auto = || part_of_memory(4).max(amqp.uncommitted_max);
    amqp.uncommitted_max_per_node.unwrap_or_else(auto)
}

/// By default half of that, as both may be there at once.
fn unread(amqp: &AmqpConfig) -> u64 {
    amqp.unread_max_per_node.unwrap_or_else(|| part_of_memory(8))
}

/// Half of that again: what comes over HTTP is small, but for definitions.
fn requests(web: &WebConfig) -> u64 {
    part_of_memory(16).max(web.body_max.saturating_mul(LONGEST_BODIES))
}

fn part_of_memory(part: u64) -> u64 {
    resources::memory_available().map_or(u64::MAX, |memory| memory / part)
}
