//! Queues in which the place of a message is its number: one that is given up is not settled there.
//!
//! It is moved without its content, so that those behind it keep their numbers.

use ahash::AHashSet;
use parking_lot::Mutex;

use crate::live::LsnSet;

#[derive(Default)]
pub(crate) struct KeptPlaces {
    queues: Mutex<AHashSet<u64>>,
    /// What was given up of the segment that is emptied.
    given_up: Mutex<LsnSet>,
}

impl KeptPlaces {
    /// Says whether a queue is such a one.
    pub(crate) fn set(&self, queue: u64, keeps: bool) {
        let mut queues = self.queues.lock();
        if keeps {
            queues.insert(queue);
        } else {
            queues.remove(&queue);
        }
    }

    /// Whether it is.
    pub(crate) fn has(&self, queue: u64) -> bool {
        self.queues.lock().contains(&queue)
    }

    /// Gives up these messages of such queues, and none of other segments any more.
    pub(crate) fn give_up(&self, lsns: LsnSet) {
        *self.given_up.lock() = lsns;
    }

    /// Whether the message has been given up.
    pub(crate) fn has_given_up(&self, lsn: u64) -> bool {
        self.given_up.lock().contains(lsn)
    }
}
