//! The identity of everything the journal numbers.

use std::fmt;

/// A log sequence number: the identity of a message and of every other record, never reused.
///
/// One counter serves the whole journal. It starts at 1; 0 means "before everything". Transient
/// messages take theirs from the same counter through [`Store::reserve`](crate::Store::reserve), so
/// the numbers found on disk ascend but have holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before every record.
    pub const ZERO: Self = Self(0);

    /// The number `count` places further.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
