//! A page: neighbouring entries of a ring whose messages are on disk.

use super::entry::{Entry, PagedEntry};
use super::spill::Spilled;
use crate::ids::Millis;
use crate::paged_list::{PagedList, PagedSlot};

/// Most places on a page.
pub(super) const PAGE_SLOTS: u32 = 256;
/// Body bytes on a page, unless a single message has more.
pub(super) const PAGE_BYTES: u64 = 256 * 1024;

/// Entries in consecutive places of a ring.
#[derive(Debug)]
pub(super) struct Page {
    /// The first place.
    pub(super) start: u64,
    /// Entries.
    pub(super) len: u32,
    /// Their body bytes.
    pub(super) bytes: u64,
    /// The earliest of their deadlines.
    pub(super) deadline: Option<Millis>,
    /// Number of the request it is being read for; 0 if it isn't.
    pub(super) request: u32,
    /// Where the messages are, if not in the journal.
    pub(super) spilled: Option<Spilled>,
    list: PagedList,
}

impl PagedSlot {
    pub(super) fn of(entry: &Entry, is_watched: bool) -> Self {
        let Entry { lsn, deadline, deliveries, redelivered, stored, .. } = *entry;
        Self { lsn, bytes: entry.bytes(), deadline, deliveries, redelivered, stored, is_watched }
    }

    pub(super) fn restored(entry: &PagedEntry, is_watched: bool) -> Self {
        let PagedEntry { lsn, bytes, deadline, deliveries, redelivered, .. } = *entry;
        Self { lsn, bytes, deadline, deliveries, redelivered, stored: true, is_watched }
    }
}

impl Page {
    pub(super) fn new(start: u64) -> Self {
        Self {
            start,
            len: 0,
            bytes: 0,
            deadline: None,
            request: 0,
            spilled: None,
            list: PagedList::default(),
        }
    }

    /// Whether an entry in `place` with so many body bytes can be added.
    pub(super) const fn takes(&self, place: u64, bytes: u64) -> bool {
        self.request == 0
            && self.spilled.is_none()
            && self.goes_on_at(place)
            && (self.len == 0 || self.bytes + bytes <= PAGE_BYTES)
    }

    /// As [`takes`](Self::takes), of a page that is being made of what was spilled.
    pub(super) const fn goes_on_at(&self, place: u64) -> bool {
        self.start + self.list.slots() as u64 == place && self.list.slots() < PAGE_SLOTS
    }

    pub(super) fn push(&mut self, slot: Option<PagedSlot>) {
        self.list.push(slot);
        let Some(slot) = slot else { return };
        self.len += 1;
        self.bytes = self.bytes.saturating_add(slot.bytes);
        self.deadline = [self.deadline, slot.deadline].into_iter().flatten().min();
    }

    /// Lets go of room for more entries.
    pub(super) fn seal(&mut self) {
        self.list.seal();
    }

    /// What is in its places.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<PagedSlot>> + '_ {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Lsn;

    #[test]
    fn a_page_knows_what_is_on_it() {
        let mut page = Page::new(7);
        for (lsn, deadline) in [(1, Some(9)), (2, None), (5, Some(4))] {
            let (lsn, deadline) = (Lsn(lsn), deadline.map(Millis));
            let (deliveries, redelivered, stored, is_watched) = (0, false, true, false);
            page.push(Some(PagedSlot {
                lsn,
                bytes: lsn.0,
                deadline,
                deliveries,
                redelivered,
                stored,
                is_watched,
            }));
            page.push(None);
        }
        assert_eq!((page.len, page.bytes, page.deadline), (3, 8, Some(Millis(4))));
        assert!(page.takes(13, 3) && !page.takes(12, 3) && !page.takes(13, PAGE_BYTES));
        assert_eq!(page.iter().flatten().map(|slot| slot.bytes).sum::<u64>(), 8);
    }
}
