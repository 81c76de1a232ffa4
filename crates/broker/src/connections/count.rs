//! Numbers that one side writes and others read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one writer at a time changes and anyone reads: adding is a load and a store, with
/// no locked instruction. Writers are told apart by the lock they hold or the task they run in.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds, if no one else does at this moment; otherwise one of the two may be lost.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Sets it.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that many add to.
#[derive(Debug, Default)]
pub(crate) struct Sum(AtomicU64);

impl Sum {
    /// Adds.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Reads it.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
