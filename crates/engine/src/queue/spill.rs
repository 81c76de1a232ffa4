//! Messages that are in no journal, written elsewhere when memory is short.
//!
//! The caller writes what [`Queue::spill`] names, with the queue let go of, and hands in where it
//! is. What is still there then is paged out; see [`paging`](super::paging).

use std::any::Any;
use std::sync::Arc;

use super::Queue;
use super::ring::Place;
use crate::ids::Lsn;
use crate::message::Message;

/// Where the messages of a page were written, as the caller knows it. It is dropped when nothing of the
/// page is needed any more.
pub type Spilled = Arc<dyn Any + Send + Sync>;

/// Messages to be written together; see [`Queue::spilled`].
#[derive(Debug)]
pub struct SpillBlock {
    pub(super) level: u8,
    /// The places they are in, others perhaps between them.
    pub(super) first: Place,
    pub(super) last: Place,
    pub(super) messages: Vec<(Lsn, Message)>,
}

impl SpillBlock {
    /// The messages, in the order of the queue.
    #[must_use]
    pub fn messages(&self) -> &[(Lsn, Message)] {
        &self.messages
    }
}

impl Queue {
    /// Names messages that the journal does not have and that take about `most` bytes in memory, except for
    /// those next to be delivered that take about `keep` bytes.
    #[must_use]
    pub fn spill(&self, keep: u64, most: u64) -> Vec<SpillBlock> {
        self.ready.spill(keep, most)
    }

    /// Forgets the content of those messages of a block that are still there. Returns how many.
    pub fn spilled(&mut self, block: &SpillBlock, spilled: &Spilled) -> u64 {
        let gone = self.ready.spilled(block, spilled);
        self.paging.reads_ahead &= gone == 0;
        gone
    }
}
