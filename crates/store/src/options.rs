//! Settings of a store.

use std::{fmt, io, path::PathBuf, process, sync::Arc, time::Duration};

use thiserror::Error;

use crate::Outline;

/// Settings of a [`Store`](crate::Store).
#[derive(Clone)]
pub struct StoreOptions {
    /// Size of a full-grown segment in bytes. The first segments of a fresh store are smaller.
    pub segment_bytes: u64,
    /// Size in bytes of the first segment of a fresh store; each next one is eight times larger up
    /// to `segment_bytes`.
    pub first_segment_bytes: u64,
    /// Segments of fewer bytes have no summary: they are read as quickly.
    pub summary_from_bytes: u64,
    /// When appends that ask for durability are synced.
    pub sync: SyncPolicy,
    /// How long acknowledgements and returns alone may wait for the disk: what a loss of
    /// power may undo.
    pub lazy_sync: Duration,
    /// How long they may wait to be written, synced or not: what the end of the process may undo.
    pub lazy_write: Duration,
    /// Quiet time after which the journal states, in the journal, how far it is durable.
    pub idle_mark: Duration,
    /// Bytes waiting for the disk above which lazy records are written without waiting for their
    /// time.
    pub max_lazy_bytes: usize,
    /// Bytes per second that may be read to empty sparse segments, as long as the journal is not twice
    /// as large as the messages in it.
    pub compaction_bytes_per_second: u64,
    /// How long definition changes may wait for their table; they are durable in the journal
    /// before.
    pub apply_definitions: Duration,
    /// How long what a full disk refused waits to be tried again, and how long the last segment of it is
    /// held back: publishers are stopped well within the default's second.
    pub full_disk_retry: Duration,
    /// How long a message that cannot be read is waited for, and all behind it: a disk may be away for a
    /// moment. Then it is passed over.
    pub read_patience: Duration,
    /// Whether who uses the store defines something before anything else. Where the first segment is gone
    /// and there are no tables of definitions, these have been lost then, and it is not opened.
    pub always_defines: bool,
    /// Reads what queues have to know of a message out of its payload, for recovery. The default
    /// takes all of the payload for its body.
    pub outline: fn(&[u8]) -> Outline,
    /// Called when the disk failed and nothing more can be promised. The default ends the process.
    pub on_fatal: Arc<dyn Fn(FatalError) + Send + Sync>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            first_segment_bytes: 1 << 20,
            summary_from_bytes: 256 << 10,
            sync: SyncPolicy::Always,
            lazy_sync: Duration::from_millis(200),
            lazy_write: Duration::from_millis(5),
            idle_mark: Duration::from_millis(20),
            max_lazy_bytes: 256 << 10,
            compaction_bytes_per_second: 32 << 20,
            apply_definitions: Duration::from_millis(500),
            full_disk_retry: Duration::from_secs(1),
            read_patience: Duration::from_secs(30),
            always_defines: false,
            outline: |payload| Outline { bytes: payload.len() as u64, ..Outline::default() },
            on_fatal: Arc::new(|_| process::abort()),
        }
    }
}

impl StoreOptions {
    /// Size of the segment after one of `size` bytes.
    pub(crate) fn next_segment(&self, size: u64) -> u64 {
        size.saturating_mul(GROWTH).min(self.segment_bytes)
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("segment_bytes", &self.segment_bytes)
            .field("sync", &self.sync)
            .field("lazy_sync", &self.lazy_sync)
            .finish_non_exhaustive()
    }
}

/// When an append that asks for durability counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After the disk has said so. The default.
    Always,
    /// Once handed to the operating system, which is made to write it out this often: a crash of
    /// the process loses nothing, a crash of the machine loses up to this much time of confirmed
    /// messages.
    Interval(Duration),
}

/// How much larger the next segment is than the last, until they are full grown: a small broker
/// stays small.
const GROWTH: u64 = 8;

/// The disk refused something the store cannot do without. Never retried: after a failed sync the
/// system may have dropped the data and would call the next sync a success.
#[derive(Debug, Error)]
#[error("{operation} {path} failed: {source}", path = .path.display())]
pub struct FatalError {
    /// What was tried.
    pub operation: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}
