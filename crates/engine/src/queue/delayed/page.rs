//! Delayed messages that are on disk, in a few bytes each.

use super::Place;
use crate::folded::Folded;
use crate::ids::{Lsn, Millis};
use crate::queue::any_entry::PagedEntry;

/// Messages that leave one after the other.
#[derive(Debug, Default)]
pub(super) struct Page {
    first: Place,
    /// How long after the first each leaves, in milliseconds.
    after: Vec<u32>,
    entries: Folded<()>,
}

impl Page {
    /// The place of the first.
    pub(super) const fn first(&self) -> Place {
        self.first
    }

    /// Adds a message behind the others; not one that leaves weeks later.
    pub(super) fn push(&mut self, place: Place, entry: &PagedEntry) -> bool {
        if self.after.is_empty() {
            self.first = place;
        }
        let (leaves_at, _) = place;
        let Ok(after) = u32::try_from(leaves_at.0.saturating_sub(self.first.0.0)) else {
            return false;
        };
        self.after.push(after);
        self.entries.push(Some(entry), ());
        true
    }

    /// Lets go of room for more.
    pub(super) fn seal(&mut self) {
        self.after.shrink_to_fit();
        self.entries.seal();
    }

    /// What is on it.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Place, PagedEntry)> + '_ {
        let (first_at, _) = self.first;
        self.after.iter().zip(self.entries.iter()).filter_map(move |(after, (entry, ()))| {
            let entry = entry?;
            let leaves_at: Millis = first_at.saturating_add(Millis(u64::from(*after)));
            let lsn: Lsn = entry.lsn;
            Some(((leaves_at, lsn), entry))
        })
    }
}
