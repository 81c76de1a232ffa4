//! What goes through an exchange.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what was published to an exchange, and where that went. Whoever routes adds to it, a batch
/// at a time.
#[derive(Debug, Default)]
pub struct ExchangeTraffic {
    published_in: AtomicU64,
    published_out: AtomicU64,
}

impl ExchangeTraffic {
    /// So many messages came in, and so many went to queues.
    pub fn add(&self, published_in: u64, published_out: u64) {
        self.published_in.fetch_add(published_in, Ordering::Relaxed);
        self.published_out.fetch_add(published_out, Ordering::Relaxed);
    }

    /// Messages published to it.
    #[must_use]
    pub fn published_in(&self) -> u64 {
        self.published_in.load(Ordering::Relaxed)
    }

    /// Messages that went from it to queues, each counted once for each queue.
    #[must_use]
    pub fn published_out(&self) -> u64 {
        self.published_out.load(Ordering::Relaxed)
    }
}
