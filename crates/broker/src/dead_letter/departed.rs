//! Deleted queues of which messages are still dying.
//!
//! The record that drops a queue settles all its places, and then the journal needs their messages no
//! more. So it waits until what died there has gone on.

use std::sync::{Arc, Weak};

use leveret_engine::QueueId;
use leveret_store::Batch;

use crate::turn::Turn;

/// Held by all deaths of a queue, through how it dead-letters, until their places are settled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dying(Arc<()>);

impl Dying {
    /// Notes in the turn that the queue is gone, and its stored messages with it. It dead-letters no
    /// more: what is left to hold this are deaths.
    pub(crate) fn depart(self, queue: QueueId, turn: &mut Turn) {
        turn.departed.push(Departed { queue, dying: Arc::downgrade(&self.0) });
    }
}

/// A deleted queue whose places may not be dropped yet.
#[derive(Debug)]
pub(crate) struct Departed {
    queue: QueueId,
    dying: Weak<()>,
}

impl Departed {
    /// Drops the queue's places, if none of its messages is dying any more. Whether it did.
    pub(crate) fn drop_places(&self, records: &mut Batch) -> bool {
        let is_over = self.dying.strong_count() == 0;
        if is_over {
            records.drop_queue(self.queue.0);
        }
        is_over
    }
}
