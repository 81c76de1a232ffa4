use std::time::{Duration, Instant};

/// Nanoseconds since a run began: what bodies carry and threads compare.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Nanos(pub(crate) u64);

impl Nanos {
    /// The time from `earlier` to `self`, zero if it is the other way round.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn to_duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The one clock of a run: all threads read the same one, so a send time in a body means something
/// to the consumer that reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts at zero.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The time since the start.
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.origin.elapsed().into()
    }
}
