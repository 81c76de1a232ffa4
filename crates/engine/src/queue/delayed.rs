//! Returned messages that wait before they can be delivered again.

use std::collections::BTreeMap;

use super::entry::{AnyEntry, Return};
use crate::ids::{Lsn, Millis};

/// Which returned messages wait, and how long (`x-delayed-retry-type`, `-min`, `-max`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayedRetry {
    /// The only kind of return it is for; `None` stands for every return.
    pub only: Option<Return>,
    /// How long a message waits after its first return; longer by this with each further one.
    pub min: Millis,
    /// The longest wait.
    pub max: Millis,
}

impl DelayedRetry {
    /// When a message returned now, for the `deliveries`th time, is ready again; `None` if at once.
    pub(super) fn ready_at(self, kind: Return, deliveries: u32, now: Millis) -> Option<Millis> {
        if self.only.is_some_and(|only| only != kind) {
            return None;
        }
        let delay = self.min.0.saturating_mul(deliveries.max(1).into()).min(self.max.0);
        Some(now.saturating_add(Millis(delay)))
    }
}

/// The messages that wait, by the time they leave.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    waiting: BTreeMap<(Millis, Lsn), AnyEntry>,
    bytes: u64,
}

impl Delayed {
    pub(super) fn len(&self) -> u64 {
        self.waiting.len() as u64
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps a message until `ready_at`, or until it has expired.
    pub(super) fn insert(&mut self, ready_at: Millis, entry: AnyEntry) {
        let overdue = entry.deadline().map(|deadline| deadline.saturating_add(Millis(1)));
        let leaves_at = overdue.map_or(ready_at, |overdue| ready_at.min(overdue));
        self.bytes = self.bytes.saturating_add(entry.bytes());
        self.waiting.insert((leaves_at, entry.lsn()), entry);
    }

    /// Takes a message that waits no longer.
    pub(super) fn pop_due(&mut self, now: Millis) -> Option<AnyEntry> {
        let first = self.waiting.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let entry = first.remove();
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        Some(entry)
    }

    /// When the first leaves.
    pub(super) fn first_at(&self) -> Option<Millis> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// When the last leaves.
    pub(super) fn last_at(&self) -> Option<Millis> {
        self.waiting.last_key_value().map(|((at, _), _)| *at)
    }

    /// Takes all, in the order they would have left.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = AnyEntry> + use<> {
        std::mem::take(self).waiting.into_values()
    }
}
