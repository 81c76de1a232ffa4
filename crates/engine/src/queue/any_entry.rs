//! Messages of a queue outside of it, with their content or without.

use super::entry::Entry;
use super::spill::Spilled;
use crate::ids::{Lsn, Millis};
use crate::message::Message;

/// An entry whose message is on disk and not in memory.
#[derive(Clone, Debug)]
pub struct PagedEntry {
    /// As [`Entry::lsn`].
    pub lsn: Lsn,
    /// Body bytes.
    pub bytes: u64,
    /// The `priority` property of its message.
    pub priority: Option<u8>,
    /// As [`Entry::deadline`].
    pub deadline: Option<Millis>,
    /// As [`Entry::deliveries`].
    pub deliveries: u32,
    /// As [`Entry::redelivered`].
    pub redelivered: bool,
    /// As [`Entry::stored`].
    pub stored: bool,
    /// Where its message is, if not in the journal.
    pub spilled: Option<Spilled>,
}

impl PagedEntry {
    /// What is left of an entry that is paged out.
    #[must_use]
    pub fn of(entry: &Entry, spilled: Option<Spilled>) -> Self {
        let Entry { lsn, deadline, deliveries, redelivered, stored, .. } = *entry;
        let (bytes, priority) = (entry.bytes(), entry.message.priority());
        Self { lsn, bytes, priority, deadline, deliveries, redelivered, stored, spilled }
    }

    /// The entry as it was, given its message.
    #[must_use]
    pub fn with(&self, message: Message) -> Entry {
        let Self { lsn, deadline, deliveries, redelivered, stored, .. } = *self;
        Entry { lsn, message, deadline, deliveries, redelivered, stored }
    }
}

/// An entry outside of its queue's ready messages, with its message or without.
#[derive(Clone, Debug)]
pub enum AnyEntry {
    /// With its message.
    Hot(Entry),
    /// Its message is on disk.
    Paged(PagedEntry),
}

impl From<Entry> for AnyEntry {
    fn from(entry: Entry) -> Self {
        Self::Hot(entry)
    }
}

impl From<PagedEntry> for AnyEntry {
    fn from(entry: PagedEntry) -> Self {
        Self::Paged(entry)
    }
}

impl AnyEntry {
    /// As [`Entry::lsn`].
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        match self {
            Self::Hot(entry) => entry.lsn,
            Self::Paged(entry) => entry.lsn,
        }
    }

    /// As [`Entry::bytes`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Hot(entry) => entry.bytes(),
            Self::Paged(entry) => entry.bytes,
        }
    }

    /// As [`Entry::stored`].
    #[must_use]
    pub const fn stored(&self) -> bool {
        match self {
            Self::Hot(entry) => entry.stored,
            Self::Paged(entry) => entry.stored,
        }
    }

    /// Its place in the journal has been settled otherwise.
    pub const fn forget_record(&mut self) {
        match self {
            Self::Hot(entry) => entry.stored = false,
            Self::Paged(entry) => entry.stored = false,
        }
    }

    /// As [`Entry::deliveries`].
    #[must_use]
    pub const fn deliveries(&self) -> u32 {
        match self {
            Self::Hot(entry) => entry.deliveries,
            Self::Paged(entry) => entry.deliveries,
        }
    }

    /// Whether its message is on disk only.
    #[must_use]
    pub const fn is_paged(&self) -> bool {
        matches!(self, Self::Paged(_))
    }

    /// What there is of it if its message is on disk only.
    #[must_use]
    pub const fn paged(&self) -> Option<&PagedEntry> {
        match self {
            Self::Hot(_) => None,
            Self::Paged(entry) => Some(entry),
        }
    }

    /// What it takes in memory, about, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        match self {
            Self::Hot(entry) => entry.memory(),
            Self::Paged(_) => PAGED_ENTRY_MEMORY,
        }
    }

    /// The `priority` property of its message.
    pub(super) const fn priority(&self) -> Option<u8> {
        match self {
            Self::Hot(entry) => entry.message.priority(),
            Self::Paged(entry) => entry.priority,
        }
    }

    pub(super) const fn deadline(&self) -> Option<Millis> {
        match self {
            Self::Hot(entry) => entry.deadline,
            Self::Paged(entry) => entry.deadline,
        }
    }

    /// It came back.
    pub(super) const fn count_return(&mut self) {
        let (redelivered, deliveries) = match self {
            Self::Hot(entry) => (&mut entry.redelivered, &mut entry.deliveries),
            Self::Paged(entry) => (&mut entry.redelivered, &mut entry.deliveries),
        };
        *redelivered = true;
        *deliveries = deliveries.saturating_add(1);
    }
}

/// What an entry without its message takes in memory, about, in bytes.
pub const PAGED_ENTRY_MEMORY: u64 = size_of::<AnyEntry>() as u64 + 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Acknowledging moves them.
    #[test]
    fn to_have_no_message_costs_entries_no_space() {
        assert_eq!(size_of::<AnyEntry>(), size_of::<Entry>());
    }
}
