//! What connections may take of memory together, by what for.

use std::sync::Arc;

use crate::budget::Budget;
use crate::config::AmqpConfig;
use crate::resources;

/// A node's budgets.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// For messages that have come in part.
    pub unfinished: Arc<Budget>,
    /// For what clients have not read yet: answers and deliveries.
    pub unread: Arc<Budget>,
}

impl Budgets {
    pub(crate) fn new(amqp: &AmqpConfig) -> Self {
        let of = |max| Arc::new(Budget::new(max));
        Self { unfinished: of(unfinished(amqp)), unread: of(unread(amqp)) }
    }

    /// They are as large as these settings say from now on.
    pub(crate) fn set(&self, amqp: &AmqpConfig) {
        self.unfinished.set_max(unfinished(amqp));
        self.unread.set_max(unread(amqp));
    }
}

/// By default so little that twice as much is below the memory alarm, and never less than a
/// connection's.
fn unfinished(amqp: &AmqpConfig) -> u64 {
    let auto = || part_of_memory(4).max(amqp.unfinished_messages_max);
    amqp.unfinished_messages_max_per_node.unwrap_or_else(auto)
}

/// By default half of that, as both may be there at once.
fn unread(amqp: &AmqpConfig) -> u64 {
    amqp.unread_max_per_node.unwrap_or_else(|| part_of_memory(8))
}

fn part_of_memory(part: u64) -> u64 {
    resources::memory_available().map_or(u64::MAX, |memory| memory / part)
}
