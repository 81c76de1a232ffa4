//! The identities and units that cross every interface of the engine.

/// Identity and order of a message: its number in the journal's sequence.
///
/// Transient messages take one from the same sequence, so numbers have holes but never repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// A queue, unique within the process for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// An exchange, unique within its [`Topology`](crate::Topology) and never reused there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// A consumer, unique within its queue and not reused while deliveries to it are outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

/// A point in time or a span, in milliseconds.
///
/// The engine has no clock: every point in time is an argument, usually Unix milliseconds. It
/// only compares and adds them, so any clock that does not run backwards serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// This point in time moved by `span`, held at the end of time rather than wrapping.
    #[must_use]
    pub const fn saturating_add(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}
