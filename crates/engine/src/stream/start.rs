//! Where a reader begins.

use super::log::Log;
use crate::ids::Millis;

/// Where a reader begins (`x-stream-offset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest message there is.
    First,
    /// With the first message of the last chunk, for which see [`Stream`](crate::Stream). In an
    /// empty stream as [`StartAt::Next`].
    Last,
    /// With what comes from now on.
    #[default]
    Next,
    /// With the message of this offset, or the oldest if that one is gone. One that is not there
    /// yet is waited for.
    Offset(u64),
    /// With the first message published at this time or later; as [`StartAt::Next`] if there is
    /// none.
    Time(Millis),
}

impl Log {
    /// The offset this stands for.
    pub(super) fn start(&self, start: StartAt) -> u64 {
        match start {
            StartAt::First => self.first(),
            StartAt::Last => self.last_chunk(),
            StartAt::Next => self.next(),
            StartAt::Offset(offset) => offset.max(self.first()),
            StartAt::Time(time) => self.offset_at(time),
        }
    }
}
