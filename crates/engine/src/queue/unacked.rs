//! What of a queue is delivered, and neither settled nor requeued.

use super::Queue;

/// Deliveries that are neither settled nor requeued.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    len: u64,
    bytes: u64,
    /// Boxed and created with the first: most queues get all their deliveries settled in time.
    paged: Option<Box<UnackedPaged>>,
}

/// Of those that are paged out. Their holder says so once it has happened, and may be late: they
/// can be settled before.
#[derive(Clone, Copy, Debug, Default)]
struct UnackedPaged {
    len: i64,
    bytes: i64,
}

impl Unacked {
    pub(super) const fn add(&mut self, bytes: u64) {
        self.len += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) const fn remove(&mut self, count: u64, bytes: u64) {
        self.len = self.len.saturating_sub(count);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// How many are paged out, and their body bytes, as far as their holders have said.
    fn paged(&self) -> (u64, u64) {
        let of = |count: i64| u64::try_from(count).unwrap_or_default();
        self.paged.as_deref().map_or((0, 0), |paged| (of(paged.len), of(paged.bytes)))
    }
}

impl Queue {
    /// Deliveries neither settled nor requeued.
    #[must_use]
    pub const fn unacked_len(&self) -> u64 {
        self.unacked.len
    }

    /// Body bytes of those deliveries.
    #[must_use]
    pub const fn unacked_bytes(&self) -> u64 {
        self.unacked.bytes
    }

    /// Of those deliveries so many more are paged out, with so many body bytes; fewer, if less than
    /// zero.
    pub fn unacked_paged(&mut self, len: i64, bytes: i64) {
        let paged = self.unacked.paged.get_or_insert_default();
        paged.len = paged.len.wrapping_add(len);
        paged.bytes = paged.bytes.wrapping_add(bytes);
    }

    /// Deliveries neither settled nor requeued that are not in memory.
    #[must_use]
    pub fn unacked_paged_len(&self) -> u64 {
        self.unacked.paged().0.min(self.unacked.len)
    }

    /// Body bytes of those.
    #[must_use]
    pub fn unacked_paged_bytes(&self) -> u64 {
        self.unacked.paged().1.min(self.unacked.bytes)
    }
}
