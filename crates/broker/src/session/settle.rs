//! Acknowledgements, rejections and requeues.

use std::sync::Arc;

use leveret_engine::{AnyEntry, ConsumerId, Return};

use super::Session;
use crate::queue::SharedQueue;

/// Deliveries of one consumer (or got with `basic.get`) that are settled together.
pub struct SettleGroup {
    /// The queue they came from.
    pub queue: Arc<SharedQueue>,
    /// Their consumer, `None` for `basic.get`.
    pub consumer: Option<ConsumerId>,
    /// The messages, in delivery order.
    pub entries: Vec<AnyEntry>,
}

/// What becomes of settled deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// `basic.ack`: they are done with.
    Acknowledge,
    /// `basic.reject` or `basic.nack` without requeue: they leave the queue, for its dead-letter
    /// exchange if it has one.
    Discard,
    /// `basic.reject`, `basic.nack` or `basic.recover` with requeue, or the end of a channel: they
    /// go back to where they were.
    Requeue(Return),
}

impl Session {
    /// Settles a group and empties it.
    pub fn settle(&mut self, settlement: Settlement, group: &mut SettleGroup) {
        let SettleGroup { queue, consumer, entries } = group;
        match settlement {
            Settlement::Acknowledge => {
                queue.settle(*consumer, entries, &mut self.turn);
                entries.clear();
            }
            Settlement::Discard => queue.discard(*consumer, entries, &mut self.turn),
            Settlement::Requeue(kind) => {
                queue.requeue(*consumer, entries, kind, &mut self.turn);
            }
        }
    }
}
