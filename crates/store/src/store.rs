//! The handle of an open store.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{Batch, Disk, Lsn, OpenError, Recovered, StoreOptions, StoreStats};

/// An open store: the journal and the definitions in one data directory. Share it in an [`Arc`]; dropping it closes it.
pub struct Store {}

impl Store {
    /// Opens or creates the store in `dir` and recovers what it holds.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is changed on disk when acknowledged data turns out damaged.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: StoreOptions,
    ) -> Result<(Self, Recovered), OpenError> {
        let _ = (disk, dir, options);
        unimplemented!()
    }

    /// Appends the records of `batch`, which are one unit after a crash, and empties it. An empty batch takes no number.
    pub fn append(&self, batch: &mut Batch) -> Appended {
        let _ = batch;
        unimplemented!()
    }

    /// Takes `count` numbers for transient messages and returns the first. Nothing is written.
    pub fn reserve(&self, count: u64) -> Lsn {
        let _ = count;
        unimplemented!()
    }

    /// Everything appended at or below is on disk.
    pub fn durable_lsn(&self) -> Lsn {
        unimplemented!()
    }

    /// Resolves when [`Store::durable_lsn`] has reached `lsn`, which must have come from [`Store::append`].
    pub fn durable(&self, lsn: Lsn) -> Durable {
        let _ = lsn;
        unimplemented!()
    }

    /// Bytes appended but not yet handed to the disk.
    pub fn buffered_bytes(&self) -> usize {
        unimplemented!()
    }

    /// Resolves when fewer than `limit` bytes wait for the disk.
    pub fn writable(&self, limit: usize) -> Writable {
        let _ = limit;
        unimplemented!()
    }

    /// Settles every message in the `queues`, which the definitions do not know.
    pub fn forget_queues(&self, queues: &[u64]) {
        let _ = queues;
    }

    /// Reads the counters.
    pub fn stats(&self) -> StoreStats {
        StoreStats::default()
    }

    /// Bytes the file system of the data directory can still take.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn free_space(&self) -> std::io::Result<u64> {
        unimplemented!()
    }

    /// Writes and syncs everything, brings the definitions' tables up to date and ends the threads. Blocks. A second call does nothing.
    pub fn close(&self) {}
}

/// The numbers an append was given: `first` for its first record up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Number of the batch's first record.
    pub first: Lsn,
    /// Number of its last; durable when [`Store::durable_lsn`] reaches it. For an empty batch one below `first`.
    pub last: Lsn,
}

/// Future of [`Store::durable`].
#[must_use = "futures do nothing unless polled"]
pub struct Durable {}

impl Future for Durable {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Future of [`Store::writable`].
#[must_use = "futures do nothing unless polled"]
pub struct Writable {}

impl Future for Writable {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
