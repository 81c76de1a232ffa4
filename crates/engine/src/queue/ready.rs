//! The messages ready for delivery: one first-in first-out level per priority.

use super::any_entry::PagedEntry;
use super::browse::View;
use super::due::{Due, DueIndex, DueSlot};
use super::entry::{ENTRY_MEMORY, Entry};
use super::level_set::LevelSet;
use super::page::{Page, PageOut, PagePlace};
use super::paging::{DuePages, PageRequest};
use super::returned::Returned;
use super::ring::{self, Ring, Spill};
use super::spill::{SpillBlock, Spilled};
use crate::ids::{Lsn, Millis};
use crate::message::Message;
use crate::paged_list::PagedSlot;

/// All ready messages of a queue in delivery order.
///
/// Delivery order is: highest level first; within a level what was returned, by [`Lsn`], then
/// what was pushed, in order of arrival. As messages leave a level from its front, a returned
/// message was ahead of all that are still in the ring: its LSN restores its original position.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// By priority, created up to the highest ever used.
    levels: Vec<Level>,
    /// The levels that hold something.
    occupied: LevelSet,
    len: u64,
    bytes: u64,
    /// How many of them are paged out, and their bytes.
    paged: u64,
    paged_bytes: u64,
    /// How many of those in memory are stored.
    stored: u64,
    /// Entries with a deadline; while zero nothing looks for expired ones.
    mortal: u64,
    /// Entries that may expire before others ahead of them, and pages with a deadline.
    due: DueIndex,
}

#[derive(Debug, Default)]
struct Level {
    ring: Ring,
    returned: Returned,
    latest: Latest,
    /// The [large heads](Entry::large_head) of those in memory.
    heads: u64,
}

/// The latest deadline in a ring, not counting entries in the due index.
///
/// An entry with a deadline at or after it expires no earlier than everything ahead of it, so
/// looking at the front of the ring finds it in time; any other entry is put in the due index.
/// A queue whose messages all have the same time to live never needs the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Latest {
    #[default]
    Nothing,
    At(Millis),
    Never,
}

impl From<Option<Millis>> for Latest {
    fn from(deadline: Option<Millis>) -> Self {
        deadline.map_or(Self::Never, Self::At)
    }
}

/// A page of a queue: its level, and its place there.
pub(super) type PageId = (u8, PagePlace);

impl Level {
    /// Whether an entry with this deadline that comes next expires no earlier than those before it.
    fn is_next_in_order(&mut self, deadline: Option<Millis>) -> bool {
        if self.ring.is_empty() {
            self.latest = Latest::Nothing;
        }
        let in_order = Latest::from(deadline) >= self.latest;
        if in_order {
            self.latest = Latest::from(deadline);
        }
        in_order
    }
}

impl Ready {
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries that are paged out.
    pub(super) const fn paged(&self) -> u64 {
        self.paged
    }

    /// Body bytes of the entries that are paged out.
    pub(super) const fn paged_bytes(&self) -> u64 {
        self.paged_bytes
    }

    /// What the entries take in memory, about.
    pub(super) fn memory(&self) -> u64 {
        let heads = self.levels.iter().fold(0_u64, |sum, row| sum.saturating_add(row.heads));
        (self.bytes - self.paged_bytes)
            .saturating_add((self.len - self.paged) * ENTRY_MEMORY)
            .saturating_add(heads)
    }

    /// Whether the entry next to be delivered is paged out.
    pub(super) fn is_front_paged(&self) -> bool {
        self.paged > 0 && self.len > 0 && self.front().is_none()
    }

    /// Appends at the end of a level.
    pub(super) fn push(&mut self, level: u8, entry: Entry) {
        self.count_in(&entry);
        let deadline = entry.deadline;
        let row = Self::row(&mut self.levels, level);
        row.heads = row.heads.saturating_add(entry.large_head());
        let in_order = row.is_next_in_order(deadline);
        let place = row.ring.push(entry);
        self.occupied.insert(level);
        if let (Some(deadline), false) = (deadline, in_order) {
            self.watch(Due { deadline, level, slot: DueSlot::Ring(place) });
        }
    }

    /// Appends an entry that is paged out.
    pub(super) fn push_paged(&mut self, level: u8, entry: &PagedEntry) {
        let row = Self::row(&mut self.levels, level);
        let in_order = row.is_next_in_order(entry.deadline);
        let slot = PagedSlot::restored(entry, entry.deadline.is_some() && !in_order);
        row.ring.push_paged(slot, level, &mut self.due);
        self.count_in_paged(level, entry);
    }

    /// As [`put_back`](Self::put_back), of an entry that is paged out.
    pub(super) fn put_back_paged(&mut self, level: u8, entry: &PagedEntry) {
        let slot = PagedSlot::restored(entry, entry.deadline.is_some());
        let row = Self::row(&mut self.levels, level);
        row.returned.insert_paged(slot, entry.spilled.as_ref(), level, &mut self.due);
        self.count_in_paged(level, entry);
    }

    /// Pages out entries `can_go` says may go, about `most` of them, but for what takes about
    /// `keep` bytes in front. Returns how many went.
    pub(super) fn page_out(
        &mut self,
        can_go: &dyn Fn(&Entry) -> bool,
        keep: u64,
        most: usize,
    ) -> u64 {
        if self.stored == 0 {
            return 0;
        }
        let (mut keep, mut most, mut gone) = (keep, most, 0);
        for (level, row) in (0..=u8::MAX).zip(&mut self.levels).rev() {
            let due = &mut self.due;
            let mut how = PageOut::new(can_go, keep, most, level, due);
            row.returned.page_out(&mut how);
            row.ring.page_out(&mut how);
            (keep, most) = (how.keep, how.most);
            gone += how.gone;
            self.paged += how.gone;
            self.stored = self.stored.saturating_sub(how.gone);
            self.paged_bytes = self.paged_bytes.saturating_add(how.gone_bytes);
            row.heads = row.heads.saturating_sub(how.gone_heads);
        }
        gone
    }

    /// Blocks of entries that are not stored and could be written elsewhere, of about `most` bytes of memory, but
    /// for what takes about `keep` bytes in front.
    pub(super) fn spill(&self, keep: u64, most: u64) -> Vec<SpillBlock> {
        let mut blocks = Vec::new();
        if self.len - self.paged == self.stored {
            return blocks;
        }
        let mut how = Spill { keep, most };
        for (level, row) in (0..=u8::MAX).zip(&self.levels).rev() {
            row.ring.spill(level, &mut how, &mut blocks);
        }
        blocks
    }

    /// Pages out what is left of a block that was written elsewhere. Returns how many entries went.
    pub(super) fn spilled(&mut self, block: &SpillBlock, spilled: &Spilled) -> u64 {
        let level = block.level;
        let Some(row) = self.levels.get_mut(usize::from(level)) else { return 0 };
        let (can_go, due) = (&|_: &Entry| true, &mut self.due);
        let mut how = PageOut::new(can_go, 0, usize::MAX, level, due);
        row.ring.spilled(block, spilled, &mut how);
        self.paged += how.gone;
        self.paged_bytes = self.paged_bytes.saturating_add(how.gone_bytes);
        row.heads = row.heads.saturating_sub(how.gone_heads);
        how.gone
    }

    /// Entries next to be delivered that are in memory, counted until there are `most`; and whether
    /// a page that isn't being read follows earlier.
    pub(super) fn window(&self, most: usize) -> (usize, bool) {
        let row = self.occupied.highest().and_then(|level| self.levels.get(usize::from(level)));
        let Some(row) = row else { return (0, false) };
        match row.returned.window(most) {
            (window, Some(is_paged)) => (window, is_paged),
            (returned, None) => {
                let (window, is_paged) = row.ring.window(most.saturating_sub(returned));
                (returned + window, is_paged)
            }
        }
    }

    /// Adds the next pages to be read, of about so many bytes of bodies, to a request.
    pub(super) fn request(&mut self, bytes: u64, request: &mut PageRequest) {
        let Some(level) = self.occupied.highest() else { return };
        let Some(row) = self.levels.get_mut(usize::from(level)) else { return };
        let mut left = bytes;
        for page in row.returned.pages(bytes) {
            left = left.saturating_sub(page.bytes.max(1));
            if page.request == 0 {
                request.add((level, PagePlace::Returned(Lsn(page.start))), page);
            }
        }
        for page in row.ring.pages(left).filter(|page| page.request == 0) {
            request.add((level, PagePlace::Ring(ring::Place(page.start))), page);
        }
    }

    /// Adds the page in front to a request, also if it is being read already.
    pub(super) fn request_front(&mut self, request: &mut PageRequest) {
        let Some(level) = self.occupied.highest() else { return };
        let Some(row) = self.levels.get_mut(usize::from(level)) else { return };
        if !row.returned.is_empty() {
            if let Some(page) = row.returned.front_page() {
                request.add((level, PagePlace::Returned(Lsn(page.start))), page);
            }
        } else if let Some(page) = row.ring.front_page() {
            request.add((level, PagePlace::Ring(ring::Place(page.start))), page);
        }
    }

    /// Adds a page to a request, unless it is being read or gone.
    pub(super) fn request_page(&mut self, id: PageId, request: &mut PageRequest) {
        if let Some(page) = self.page(id).filter(|page| page.request == 0) {
            request.add(id, page);
        }
    }

    /// A page was not read after all.
    pub(super) fn abandon_page(&mut self, id: PageId, request: u32) {
        let page = self.page(id).filter(|page| page.request == request);
        let Some(page) = page else { return };
        page.request = 0;
        if let Some(deadline) = page.deadline {
            let (level, place) = id;
            self.watch(Due { deadline, level, slot: DueSlot::Page(place) });
        }
    }

    /// The page there, if it still is.
    fn page(&mut self, (level, place): PageId) -> Option<&mut Page> {
        let row = self.levels.get_mut(usize::from(level))?;
        match place {
            PagePlace::Ring(start) => row.ring.page(start),
            PagePlace::Returned(first) => row.returned.page(first),
        }
    }

    /// Has the entries of a page in memory again, with the messages that `find` has. The LSNs of
    /// the others, which are gone, are added to `lost`.
    pub(super) fn page_in(
        &mut self,
        (level, place): PageId,
        request: u32,
        find: impl FnMut(Lsn) -> Option<Message>,
        lost: &mut Vec<Lsn>,
    ) {
        let Some(row) = self.levels.get_mut(usize::from(level)) else { return };
        let paged = match place {
            PagePlace::Ring(start) => row.ring.page_in(start, request, find),
            PagePlace::Returned(first) => row.returned.page_in(first, request, find),
        };
        let Some(paged) = paged else { return };
        row.heads = row.heads.saturating_add(paged.heads);
        if row.ring.is_empty() && row.returned.is_empty() {
            self.occupied.remove(level);
        }
        self.paged -= paged.len;
        self.stored += paged.stored;
        self.paged_bytes = self.paged_bytes.saturating_sub(paged.bytes);
        self.len -= paged.lost.len() as u64;
        self.bytes = self.bytes.saturating_sub(paged.lost_bytes);
        for slot in &paged.lost {
            self.mortal -= u64::from(slot.deadline.is_some());
            lost.push(slot.lsn);
        }
        self.due.change_page(level, place, paged.deadline, None);
        for (slot, deadline) in paged.watched {
            self.watch(Due { deadline, level, slot });
        }
    }

    /// Puts an entry back where it came from.
    pub(super) fn put_back(&mut self, level: u8, entry: Entry) {
        self.count_in(&entry);
        if let Some(deadline) = entry.deadline {
            self.watch(Due { deadline, level, slot: DueSlot::Returned(entry.lsn) });
        }
        let row = Self::row(&mut self.levels, level);
        row.heads = row.heads.saturating_add(entry.large_head());
        let replaced = row.returned.insert(entry, level, &mut self.due);
        self.occupied.insert(level);
        if let Some(replaced) = replaced {
            debug_assert!(false, "{:?} returned twice", replaced.lsn);
            row.heads = row.heads.saturating_sub(replaced.large_head());
            self.count_out(&replaced);
        }
    }

    /// The entry next to be delivered.
    pub(super) fn front(&self) -> Option<&Entry> {
        let row = self.levels.get(usize::from(self.occupied.highest()?))?;
        if row.returned.is_empty() {
            return row.ring.front().map(|(_, entry)| entry);
        }
        row.returned.front()
    }

    /// Takes the entry next to be delivered.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let level = self.occupied.highest()?;
        let row = self.levels.get_mut(usize::from(level))?;
        let (slot, entry) = if row.returned.is_empty() {
            let (place, entry) = row.ring.pop()?;
            (DueSlot::Ring(place), entry)
        } else {
            let entry = row.returned.pop()?;
            (DueSlot::Returned(entry.lsn), entry)
        };
        self.left(level, slot, &entry);
        Some(entry)
    }

    /// Takes the entry next to be delivered if its deadline is before `now`.
    pub(super) fn pop_front_overdue(&mut self, now: Millis) -> Option<Entry> {
        if self.mortal == 0 || self.front()?.deadline? >= now {
            return None;
        }
        self.pop()
    }

    /// Takes an entry whose deadline is at or before `now`, wherever it is. Pages with such entries
    /// are added to `pages`, once until they are [there](Self::page_in).
    pub(super) fn pop_due(&mut self, now: Millis, pages: &mut DuePages) -> Option<Entry> {
        if self.mortal == 0 {
            return None;
        }
        while let Some(due) = self.due.first().filter(|due| due.deadline <= now) {
            let Due { level, slot, .. } = due;
            let row = self.levels.get_mut(usize::from(level))?;
            let entry = match slot {
                DueSlot::Returned(lsn) => row.returned.remove(lsn)?,
                DueSlot::Ring(place) => row.ring.take(place)?,
                DueSlot::Page(place) => {
                    pages.push((level, place));
                    self.due.remove(&due);
                    continue;
                }
            };
            self.left(level, slot, &entry);
            return Some(entry);
        }
        let level = self
            .occupied
            .iter()
            .find(|&level| self.ring_deadline(level).is_some_and(|deadline| deadline <= now))?;
        let (place, entry) = self.levels.get_mut(usize::from(level))?.ring.pop()?;
        self.left(level, DueSlot::Ring(place), &entry);
        Some(entry)
    }

    /// The earliest deadline of all entries.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        if self.mortal == 0 {
            return None;
        }
        let indexed = self.due.first().map(|due| due.deadline);
        self.occupied.iter().filter_map(|level| self.ring_deadline(level)).chain(indexed).min()
    }

    /// The entries in memory, in delivery order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.levels.iter().rev().flat_map(|row| row.returned.iter().chain(row.ring.iter()))
    }

    /// All entries in delivery order.
    pub(super) fn slots(&self) -> impl Iterator<Item = ring::Slot<'_>> {
        self.levels.iter().rev().flat_map(|row| row.returned.slots().chain(row.ring.slots()))
    }

    /// Shows entries in delivery order.
    pub(super) fn browse(&self, view: &mut View) {
        for row in self.levels.iter().rev() {
            row.returned.browse(view);
            row.ring.browse(view);
            if view.is_full() {
                return;
            }
        }
    }

    /// Adds the pages to a request on which some of these are, which ascend.
    pub(super) fn request_pages(&mut self, lsns: &[Lsn], request: &mut PageRequest) {
        let mut left = lsns.len();
        for (level, row) in (0..=u8::MAX).zip(&mut self.levels) {
            let returned = row.returned.pages(u64::MAX);
            let returned = returned.map(|page| (PagePlace::Returned(Lsn(page.start)), page));
            let pushed = row.ring.pages(u64::MAX);
            let pushed = pushed.map(|page| (PagePlace::Ring(ring::Place(page.start)), page));
            for (place, page) in returned.chain(pushed) {
                if left == 0 {
                    return;
                }
                let count = page.count_of(lsns);
                if count > 0 {
                    left = left.saturating_sub(count);
                    request.add((level, place), page);
                }
            }
        }
    }

    /// Takes entries from wherever they are, in delivery order, if they are in memory and don't
    /// expire before `now`. The LSNs ascend.
    pub(super) fn take(&mut self, lsns: &[Lsn], now: Millis) -> Vec<Entry> {
        let lives = |entry: &Entry| entry.deadline.is_none_or(|deadline| deadline > now);
        let mut taken = Vec::new();
        for level in (0..=u8::MAX).take(self.levels.len()).rev() {
            let Some(row) = self.levels.get_mut(usize::from(level)) else { continue };
            let mut here: Vec<(DueSlot, Entry)> = Vec::new();
            for lsn in lsns {
                if row.returned.get(*lsn).is_some_and(lives) {
                    let entry = row.returned.remove(*lsn);
                    here.extend(entry.map(|entry| (DueSlot::Returned(*lsn), entry)));
                }
            }
            for place in row.ring.places(lsns, lives) {
                here.extend(row.ring.take(place).map(|entry| (DueSlot::Ring(place), entry)));
            }
            for (slot, entry) in here {
                self.left(level, slot, &entry);
                taken.push(entry);
            }
        }
        taken
    }

    /// Gives memory of past backlogs back.
    pub(super) fn trim(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        } else {
            self.levels.iter_mut().for_each(|row| row.ring.trim());
        }
    }

    fn row(levels: &mut Vec<Level>, level: u8) -> &mut Level {
        let index = usize::from(level);
        if levels.len() <= index {
            levels.reserve_exact(index + 1 - levels.len());
            levels.resize_with(index + 1, Level::default);
        }
        #[expect(clippy::indexing_slicing, reason = "the lines above make it exist")]
        &mut levels[index]
    }

    fn count_in(&mut self, entry: &Entry) {
        self.len += 1;
        self.bytes = self.bytes.saturating_add(entry.bytes());
        self.mortal += u64::from(entry.deadline.is_some());
        self.stored += u64::from(entry.stored);
    }

    fn count_in_paged(&mut self, level: u8, entry: &PagedEntry) {
        self.occupied.insert(level);
        self.len += 1;
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.mortal += u64::from(entry.deadline.is_some());
        self.paged += 1;
        self.paged_bytes = self.paged_bytes.saturating_add(entry.bytes);
    }

    fn count_out(&mut self, entry: &Entry) {
        self.len -= 1;
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        self.mortal -= u64::from(entry.deadline.is_some());
        self.stored -= u64::from(entry.stored);
    }

    /// Brings counts and indexes up to date after `entry` was taken from `slot`.
    fn left(&mut self, level: u8, slot: DueSlot, entry: &Entry) {
        self.count_out(entry);
        if let Some(deadline) = entry.deadline {
            self.due.remove(&Due { deadline, level, slot });
        }
        let Some(row) = self.levels.get_mut(usize::from(level)) else { return };
        row.heads = row.heads.saturating_sub(entry.large_head());
        if row.ring.is_empty() && row.returned.is_empty() {
            self.occupied.remove(level);
        }
    }

    fn watch(&mut self, due: Due) {
        self.due.insert(due);
    }

    /// The deadline at the front of a level's ring.
    fn ring_deadline(&self, level: u8) -> Option<Millis> {
        self.levels.get(usize::from(level))?.ring.front()?.1.deadline
    }
}
