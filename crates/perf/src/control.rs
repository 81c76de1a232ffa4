//! What the threads of a run share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::clock::{Clock, Nanos};

/// Starts and stops the threads of a run.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) clock: Clock,
    /// How long after the start latencies are not measured.
    warmup: Nanos,
    /// When publishers began.
    start: OnceLock<Nanos>,
    stop_publishing: AtomicBool,
    stop_consuming: AtomicBool,
}

impl Control {
    pub(crate) fn new(warmup: Nanos) -> Self {
        Self {
            clock: Clock::start(),
            warmup,
            start: OnceLock::new(),
            stop_publishing: AtomicBool::new(false),
            stop_consuming: AtomicBool::new(false),
        }
    }

    /// Lets publishers begin, all at once: making thousands of them takes a while, in which the
    /// first would be ahead of the last. Says when that was.
    pub(crate) fn start(&self) -> Nanos {
        *self.start.get_or_init(|| self.clock.now())
    }

    /// Waits for the [start](Self::start), and says when it was.
    pub(crate) fn wait_for_start(&self) -> Nanos {
        *self.start.wait()
    }

    /// Latencies of messages due before this are not measured.
    pub(crate) fn measured_from(&self) -> Nanos {
        let start = self.start.get();
        Nanos(start.map_or(u64::MAX, |start| start.0.saturating_add(self.warmup.0)))
    }

    /// Lets publishers end, those as well that have not begun.
    pub(crate) fn stop_publishing(&self) {
        self.stop_publishing.store(true, Relaxed);
        self.start();
    }

    /// Lets consumers end.
    pub(crate) fn stop_consuming(&self) {
        self.stop_consuming.store(true, Relaxed);
    }

    #[inline]
    pub(crate) fn publishing_is_over(&self) -> bool {
        self.stop_publishing.load(Relaxed)
    }

    #[inline]
    pub(crate) fn consuming_is_over(&self) -> bool {
        self.stop_consuming.load(Relaxed)
    }
}

/// How far a thread is. Only the thread itself writes; each has cache lines of its own.
#[derive(Default, Debug)]
#[repr(align(128))]
pub(crate) struct Meter {
    count: AtomicU64,
    last: AtomicU64,
    is_done: AtomicBool,
}

impl Meter {
    /// Notes a total and when it was reached.
    #[inline]
    pub(crate) fn set(&self, count: u64, at: Nanos) {
        self.count.store(count, Relaxed);
        self.last.store(at.0, Relaxed);
    }

    /// Notes that the total is final.
    pub(crate) fn finish(&self) {
        self.is_done.store(true, Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_done.load(Relaxed)
    }

    pub(crate) fn last(&self) -> Nanos {
        Nanos(self.last.load(Relaxed))
    }
}

/// Finishes a meter when its thread ends, whichever way.
pub(crate) struct Finish<'a>(pub(crate) &'a Meter);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// The sum over several threads.
pub(crate) fn total(meters: &[Meter]) -> u64 {
    meters.iter().map(Meter::count).sum()
}

/// When the last of several threads counted something.
pub(crate) fn last(meters: &[Meter]) -> Nanos {
    meters.iter().map(Meter::last).max().unwrap_or_default()
}
