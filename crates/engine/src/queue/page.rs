//! A page: neighbouring entries of a level whose messages are on disk.

use std::collections::VecDeque;
use std::sync::Arc;

use super::any_entry::PagedEntry;
use super::due::{Due, DueIndex, DueSlot};
use super::entry::{Entry, large_head};
use super::ring::Place;
use super::spill::Spilled;
use crate::ids::{Lsn, Millis};
use crate::message::Message;
use crate::paged_list::{PagedList, PagedSlot};

/// Most places on a page.
pub(super) const PAGE_SLOTS: u32 = 256;
/// Bytes on a page, of bodies and of large heads, unless a single message has more.
pub(super) const PAGE_BYTES: u64 = 256 * 1024;

/// Entries in consecutive places of a ring, or that came back and follow each other.
#[derive(Debug)]
pub(super) struct Page {
    /// The first place in the ring, or the LSN of the first that came back.
    pub(super) start: u64,
    /// Entries.
    pub(super) len: u32,
    /// Their body bytes.
    pub(super) bytes: u64,
    /// Their [large heads](Entry::large_head), as far as they are known.
    pub(super) heads: u64,
    /// The earliest of their deadlines.
    pub(super) deadline: Option<Millis>,
    /// The lowest and the highest of their LSNs. In a ring these need not ascend.
    lowest: Lsn,
    highest: Lsn,
    /// Number of the request it is being read for; 0 if it isn't.
    pub(super) request: u32,
    /// Where the messages are, if not in the journal.
    pub(super) spilled: Option<Spilled>,
    list: PagedList,
}

/// Where a page is in its level; that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PagePlace {
    /// In the ring, with its first place.
    Ring(Place),
    /// Among what came back, with its first LSN.
    Returned(Lsn),
}

/// What paging out is told.
pub(super) struct PageOut<'a> {
    /// Whether an entry may go.
    pub(super) can_go: &'a dyn Fn(&Entry) -> bool,
    /// Memory of the entries in front that shall stay.
    pub(super) keep: u64,
    /// Entries to go, at most about.
    pub(super) most: usize,
    /// The level it is of.
    pub(super) level: u8,
    pub(super) due: &'a mut DueIndex,
    /// Entries that went, and their body bytes.
    pub(super) gone: u64,
    pub(super) gone_bytes: u64,
    /// Their [large heads](Entry::large_head).
    pub(super) gone_heads: u64,
}

/// What came in with a page.
#[derive(Debug, Default)]
pub(super) struct PagedIn {
    /// Entries of the page, and their body bytes.
    pub(super) len: u64,
    pub(super) bytes: u64,
    /// Those that are in memory now and stored.
    pub(super) stored: u64,
    /// [Large heads](Entry::large_head) of those that are in memory now.
    pub(super) heads: u64,
    /// The page's deadline.
    pub(super) deadline: Option<Millis>,
    /// Entries that go back to the due index.
    pub(super) watched: Vec<(DueSlot, Millis)>,
    /// Entries whose messages were not found, and their bytes.
    pub(super) lost: Vec<PagedSlot>,
    pub(super) lost_bytes: u64,
}

impl<'a> PageOut<'a> {
    pub(super) fn new(
        can_go: &'a dyn Fn(&Entry) -> bool,
        keep: u64,
        most: usize,
        level: u8,
        due: &'a mut DueIndex,
    ) -> Self {
        Self { can_go, keep, most, level, due, gone: 0, gone_bytes: 0, gone_heads: 0 }
    }

    /// Counts an entry that goes from `slot`, and says what is kept of it.
    pub(super) fn goes(&mut self, slot: DueSlot, entry: &Entry) -> PagedSlot {
        self.gone += 1;
        self.gone_bytes = self.gone_bytes.saturating_add(entry.bytes());
        self.gone_heads = self.gone_heads.saturating_add(entry.large_head());
        self.most = self.most.saturating_sub(1);
        let is_watched = entry
            .deadline
            .is_some_and(|deadline| self.due.remove(&Due { deadline, level: self.level, slot }));
        PagedSlot::of(entry, is_watched)
    }
}

impl PagedSlot {
    pub(super) fn of(entry: &Entry, is_watched: bool) -> Self {
        let Entry { lsn, deadline, deliveries, redelivered, stored, .. } = *entry;
        Self { lsn, bytes: entry.bytes(), deadline, deliveries, redelivered, stored, is_watched }
    }

    pub(crate) const fn restored(entry: &PagedEntry, is_watched: bool) -> Self {
        let PagedEntry { lsn, bytes, deadline, deliveries, redelivered, stored, .. } = *entry;
        Self { lsn, bytes, deadline, deliveries, redelivered, stored, is_watched }
    }

    /// The entry it was written for.
    pub(crate) fn entry(self, priority: Option<u8>, spilled: Option<&Spilled>) -> PagedEntry {
        let Self { lsn, bytes, deadline, deliveries, redelivered, stored, is_watched: _ } = self;
        let spilled = spilled.cloned();
        PagedEntry { lsn, bytes, priority, deadline, deliveries, redelivered, stored, spilled }
    }
}

impl Page {
    pub(super) fn new(start: u64) -> Self {
        Self {
            start,
            len: 0,
            bytes: 0,
            heads: 0,
            deadline: None,
            lowest: Lsn(u64::MAX),
            highest: Lsn(0),
            request: 0,
            spilled: None,
            list: PagedList::default(),
        }
    }

    /// Whether an entry in `place` with so many bytes can be added, behind the [holes](Self::fill_to) there are
    /// before it.
    pub(super) const fn takes(&self, place: u64, bytes: u64) -> bool {
        self.request == 0
            && self.spilled.is_none()
            && self.end() <= place
            && place - self.start < PAGE_SLOTS as u64
            && (self.len == 0 || self.size() + bytes <= PAGE_BYTES)
    }

    /// Whether what is in `place` can be added next, to a page that is being made.
    pub(super) const fn goes_on_at(&self, place: u64) -> bool {
        self.end() == place && self.list.slots() < PAGE_SLOTS
    }

    /// The place behind its last.
    const fn end(&self) -> u64 {
        self.start + self.list.slots() as u64
    }

    /// Has what is added next be in this place.
    pub(super) fn fill_to(&mut self, place: u64) {
        while self.end() < place {
            self.push(None);
        }
    }

    pub(super) fn push(&mut self, slot: Option<PagedSlot>) {
        self.list.push(slot);
        let Some(slot) = slot else { return };
        self.len += 1;
        self.bytes = self.bytes.saturating_add(slot.bytes);
        self.deadline = [self.deadline, slot.deadline].into_iter().flatten().min();
        self.lowest = self.lowest.min(slot.lsn);
        self.highest = self.highest.max(slot.lsn);
    }

    /// Adds an entry that was in memory.
    pub(super) fn push_of(&mut self, slot: PagedSlot, entry: &Entry) {
        self.push(Some(slot));
        self.heads = self.heads.saturating_add(entry.large_head());
    }

    /// Bytes that are read to have it in memory.
    pub(super) const fn size(&self) -> u64 {
        self.bytes.saturating_add(self.heads)
    }

    /// Whether an entry with so many bytes can be added, wherever it stands.
    pub(super) const fn has_room(&self, bytes: u64) -> bool {
        self.request == 0
            && self.spilled.is_none()
            && self.list.slots() < PAGE_SLOTS
            && self.size() + bytes <= PAGE_BYTES
    }

    /// As [`has_room`](Self::has_room), for an entry whose message is where it says.
    pub(super) fn has_room_for(&self, bytes: u64, spilled: Option<&Spilled>) -> bool {
        let is_same = match (&self.spilled, spilled) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        is_same
            && self.request == 0
            && self.list.slots() < PAGE_SLOTS
            && self.size().saturating_add(bytes) <= PAGE_BYTES
    }

    /// The LSN of the last of its entries.
    pub(super) const fn last_lsn(&self) -> Lsn {
        self.list.last_lsn()
    }

    /// How many of these LSNs, which ascend, are on it: mostly none is even near.
    pub(super) fn count_of(&self, lsns: &[Lsn]) -> usize {
        let from = lsns.partition_point(|lsn| *lsn < self.lowest);
        let near = lsns.get(from..).unwrap_or_default();
        if near.first().is_none_or(|first| *first > self.highest) {
            return 0;
        }
        self.iter().flatten().filter(|slot| near.binary_search(&slot.lsn).is_ok()).count()
    }

    /// Its entries with the messages that `find` has, by place. `due` says where one is, given how
    /// many places are before it.
    pub(super) fn read(
        &self,
        mut find: impl FnMut(Lsn) -> Option<Message>,
        due: impl Fn(u64, Lsn) -> DueSlot,
    ) -> (VecDeque<Option<Entry>>, PagedIn) {
        let mut paged = PagedIn {
            len: self.len.into(),
            bytes: self.bytes,
            deadline: self.deadline,
            ..PagedIn::default()
        };
        let slots = (0..).zip(self.iter()).map(|(offset, slot)| {
            let slot = slot?;
            let Some(message) = find(slot.lsn) else {
                paged.lost_bytes = paged.lost_bytes.saturating_add(slot.bytes);
                paged.lost.push(slot);
                return None;
            };
            if slot.is_watched
                && let Some(deadline) = slot.deadline
            {
                paged.watched.push((due(offset, slot.lsn), deadline));
            }
            paged.stored += u64::from(slot.stored);
            paged.heads = paged.heads.saturating_add(large_head(&message));
            Some(Entry {
                lsn: slot.lsn,
                message,
                deadline: slot.deadline,
                deliveries: slot.deliveries,
                redelivered: slot.redelivered,
                stored: slot.stored,
            })
        });
        (slots.collect(), paged)
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
