//! What the handle and the threads of a store share: the buffer of units, the counters, the
//! waiters.

use std::{
    io,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{
    Appended, Batch, FatalError, Lsn, StoreOptions, compaction::Stretch, kept_places::KeptPlaces,
    map::Map, read::Search, read_buffer::ReadBuffers, stats::Counters, unreadable::Unreadable,
    waiters::Waiters,
};

/// Locks: `pending`, `map`, the lists inside the waiters and the upkeep's lock are each taken alone.
pub(crate) struct Shared {
    pub(crate) options: StoreOptions,
    pub(crate) pending: Mutex<Pending>,
    pub(crate) writer_wake: Condvar,
    pub(crate) durable_waiters: Waiters,
    pub(crate) writable_waiters: Waiters,
    pub(crate) counters: Counters,
    /// Where messages lie.
    pub(crate) map: Mutex<Map>,
    pub(crate) read_buffers: ReadBuffers,
    pub(crate) unreadable: Unreadable,
    pub(crate) kept_places: KeptPlaces,
    /// The next LSN to give out.
    next: AtomicU64,
    /// The LSN published as durable.
    durable: AtomicU64,
    /// The last LSN that is on the map.
    readable: AtomicU64,
    /// Bytes appended and not yet written.
    buffered: AtomicUsize,
    /// Written ones that count as such nonetheless, while segments are emptied and that falls behind.
    unanswered: AtomicUsize,
    failed: AtomicBool,
}

/// Units waiting for the writer.
#[derive(Default)]
pub(crate) struct Pending {
    /// The small units, one after the other.
    pub(crate) bytes: Vec<u8>,
    pub(crate) units: Vec<Unit>,
    /// Bytes of all units.
    pub(crate) size: usize,
    /// Some unit asks for durability.
    pub(crate) urgent: bool,
    pub(crate) parked: Parked,
    /// When the writer, parked, looks by itself.
    pub(crate) parked_until: Option<Instant>,
    /// The writer shall write what there is and end.
    pub(crate) closing: bool,
    /// Messages of an old segment, those of which that are needed are to be written again.
    pub(crate) stretch: Option<Stretch>,
    /// Definitions have reached their tables: the segments they came from may be needed no longer.
    pub(crate) applied: bool,
    /// Buffers of large units, to be used again.
    pub(crate) pool: Vec<Vec<u8>>,
}

/// What the writer is waiting for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Parked {
    /// Nothing, it is at work and will look again.
    #[default]
    Busy,
    /// For the time to write lazy units, or for something urgent.
    Lazy,
    /// For anything.
    Idle,
}

/// One append on its way to the disk.
pub(crate) struct Unit {
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) digest: u32,
    /// Where it starts in its segment; the writer says so.
    pub(crate) at: u64,
    pub(crate) body: Body,
}

/// Where the bytes of a unit are, header included.
pub(crate) enum Body {
    /// In [`Pending::bytes`].
    Shared(Range<usize>),
    /// In a buffer handed over by the batch: cheaper than copying it under the lock.
    Own(Vec<u8>),
}

impl Body {
    /// The bytes, header included; `shared` is the [`Pending::bytes`] the unit came with.
    pub(crate) fn bytes<'a>(&'a self, shared: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Shared(range) => shared.get(range.clone()).unwrap_or_default(),
            Self::Own(bytes) => bytes,
        }
    }

    /// As [`Body::bytes`], to write the header.
    pub(crate) fn bytes_mut<'a>(&'a mut self, shared: &'a mut [u8]) -> &'a mut [u8] {
        match self {
            Self::Shared(range) => shared.get_mut(range.clone()).unwrap_or_default(),
            Self::Own(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Shared(range) => range.len(),
            Self::Own(bytes) => bytes.len(),
        }
    }
}

impl Shared {
    /// `last` is the last LSN of the recovered journal, all of which is durable.
    pub(crate) fn new(options: StoreOptions, last: u64, map: Map) -> Self {
        Self {
            options,
            pending: Mutex::default(),
            writer_wake: Condvar::new(),
            durable_waiters: Waiters::default(),
            writable_waiters: Waiters::default(),
            counters: Counters::default(),
            map: Mutex::new(map),
            read_buffers: ReadBuffers::default(),
            unreadable: Unreadable::default(),
            kept_places: KeptPlaces::default(),
            next: AtomicU64::new(last + 1),
            durable: AtomicU64::new(last),
            readable: AtomicU64::new(last),
            buffered: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn append(&self, batch: &mut Batch) -> Appended {
        let count = batch.count;
        if count == 0 {
            let next = self.next.load(Ordering::Relaxed);
            return Appended { first: Lsn(next), last: Lsn(next - 1) };
        }
        let size = batch.bytes.len();
        let digest = batch.digest.clone().finalize();
        let mut pending = self.pending.lock();
        // Under the lock, so that units stand in the order of their numbers.
        let first = self.next.fetch_add(u64::from(count), Ordering::Relaxed);
        let appended = Appended { first: Lsn(first), last: Lsn(first + u64::from(count) - 1) };
        if pending.closing || self.failed() {
            drop(pending);
            batch.clear();
            return appended;
        }
        let body = if size > OWN_BUFFER {
            let empty = pending.pool.pop().unwrap_or_default();
            Body::Own(std::mem::replace(&mut batch.bytes, empty))
        } else {
            let start = pending.bytes.len();
            pending.bytes.extend_from_slice(&batch.bytes);
            Body::Shared(start..start + size)
        };
        pending.units.push(Unit { first, count, digest, at: 0, body });
        pending.size += size;
        pending.urgent |= batch.durable;
        self.buffered.fetch_add(size, Ordering::Relaxed);
        let wake = match pending.parked {
            Parked::Busy => false,
            Parked::Lazy => pending.urgent || pending.size >= self.options.max_lazy_bytes,
            Parked::Idle => true,
        };
        if wake {
            // Those who come before it has woken need not wake it again.
            pending.parked = Parked::Busy;
        }
        drop(pending);
        if wake {
            self.writer_wake.notify_one();
        }
        batch.clear();
        appended
    }

    pub(crate) fn reserve(&self, count: u64) -> Lsn {
        Lsn(self.next.fetch_add(count, Ordering::Relaxed))
    }

    /// To look for messages; what cannot be read is an error for so long.
    pub(crate) fn search(&self, patience: Duration) -> Search<'_> {
        let Self { map, read_buffers: buffers, unreadable, .. } = self;
        Search { map, buffers, unreadable, patience }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn publish_durable(&self, lsn: u64) {
        self.durable.store(lsn, Ordering::Release);
    }

    pub(crate) fn readable(&self) -> u64 {
        self.readable.load(Ordering::Acquire)
    }

    pub(crate) fn publish_readable(&self, lsn: u64) {
        self.readable.store(lsn, Ordering::Release);
    }

    pub(crate) fn buffered(&self) -> usize {
        self.buffered.load(Ordering::Acquire) + self.unanswered.load(Ordering::Acquire)
    }

    /// Says how many of the bytes that were written count as if they were not. Answers whether there were more.
    pub(crate) fn publish_unanswered(&self, bytes: usize) -> bool {
        self.unanswered.swap(bytes, Ordering::AcqRel) > bytes
    }

    pub(crate) fn written(&self, size: usize) {
        self.buffered.fetch_sub(size, Ordering::Release);
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The disk failed: says so and ends the process, unless a test asked for something else.
    pub(crate) fn fatal(&self, error: FatalError) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            tracing::error!("{error}; nothing more can be made durable, ending the process");
            (self.options.on_fatal)(error);
        }
    }
}

/// Makes a panic of a store's thread fatal: the others would wait for it forever.
pub(crate) struct FatalPanic<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) thread: &'static str,
}

impl Drop for FatalPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let source = io::Error::other("it panicked");
            let path = self.thread.into();
            self.shared.fatal(FatalError { operation: "the thread", path, source });
        }
    }
}

/// Names what was tried when the system refuses.
pub(crate) trait Tried<T> {
    fn tried(self, operation: &'static str, path: &Path) -> Result<T, FatalError>;
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, operation: &'static str, path: &Path) -> Result<T, FatalError> {
        self.map_err(|source| FatalError { operation, path: path.to_owned(), source })
    }
}

/// Units larger than this are handed over in their own buffer instead of being copied.
const OWN_BUFFER: usize = 32 << 10;
