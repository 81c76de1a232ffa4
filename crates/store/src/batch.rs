//! Records on their way to the journal.

use crate::{Definition, Lsn};

/// Records to append together: after a crash either all of them are there or none.
///
/// Records are encoded with their checksums as they are added, outside any lock. [`Store::append`](crate::Store::append) empties
/// the batch and keeps its memory for the next.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Drops the records added so far, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Adds a message for `queues`; `payload` slices are joined. Asks for durability. Returns its index in the batch: its LSN
    /// will be [`Appended::first`](crate::Appended::first) plus this.
    pub fn message(&mut self, queues: &[u64], payload: &[&[u8]]) -> usize {
        let _ = (queues, payload);
        unimplemented!()
    }

    /// Settles messages in `queue`: acknowledged, expired, dropped, purged. Synced lazily. Any order.
    ///
    /// Each place of a message is settled once, by this or by [`Batch::drop_queue`], and only messages which came from
    /// [`Batch::message`] are: never an LSN from [`Store::reserve`](crate::Store::reserve).
    pub fn ack(&mut self, queue: u64, lsns: &[Lsn]) {
        let _ = (queue, lsns);
    }

    /// Notes deliveries: after a crash these messages come back as redelivered. Synced lazily. Any order.
    pub fn delivered(&mut self, queue: u64, lsns: &[Lsn]) {
        let _ = (queue, lsns);
    }

    /// Notes messages given back to the queue with their delivery counts. Synced lazily. Any order.
    pub fn returned(&mut self, queue: u64, lsns: &[(Lsn, u32)]) {
        let _ = (queue, lsns);
    }

    /// Settles every message appended before in `queue`. Queue ids are not used again. Asks for durability.
    pub fn drop_queue(&mut self, queue: u64) {
        let _ = queue;
    }

    /// Changes definitions. Asks for durability.
    pub fn define(&mut self, definitions: &[Definition]) {
        let _ = definitions;
    }

    /// Asks for durability although the records would wait.
    pub fn set_durable(&mut self) {}
}
