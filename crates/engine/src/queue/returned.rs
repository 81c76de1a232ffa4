//! What came back to a level, by LSN: in memory, or on pages.

use std::collections::BTreeMap;

use super::browse::View;
use super::due::{DueIndex, DueSlot};
use super::entry::Entry;
use super::page::{Page, PageOut, PagePlace, PagedIn};
use super::ring::Slot;
use super::spill::Spilled;
use crate::ids::Lsn;
use crate::message::Message;
use crate::paged_list::PagedSlot;

/// Entries that came back. No page has an LSN between those of another.
#[derive(Debug, Default)]
pub(super) struct Returned {
    /// By the first LSN of each.
    runs: BTreeMap<Lsn, Run>,
    /// Entries.
    len: usize,
}

#[derive(Debug)]
enum Run {
    Hot(Entry),
    Paged(Box<Page>),
}

impl Run {
    const fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Hot(entry) => Some(entry),
            Self::Paged(_) => None,
        }
    }
}

impl Returned {
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an entry in its place. Returns the one that was there.
    pub(super) fn insert(&mut self, entry: Entry, level: u8, due: &mut DueIndex) -> Option<Entry> {
        self.split(entry.lsn, level, due);
        match self.runs.insert(entry.lsn, Run::Hot(entry)) {
            Some(Run::Hot(replaced)) => Some(replaced),
            _ => {
                self.len += 1;
                None
            }
        }
    }

    /// Makes two of a page that has entries before and behind an LSN.
    fn split(&mut self, at: Lsn, level: u8, due: &mut DueIndex) {
        let Some((&first, Run::Paged(page))) = self.runs.range(..=at).next_back() else { return };
        if page.last_lsn() < at {
            return;
        }
        let Some(Run::Paged(page)) = self.runs.remove(&first) else { return };
        due.change_page(level, PagePlace::Returned(first), page.deadline, None);
        let (before, behind): (Vec<PagedSlot>, Vec<PagedSlot>) =
            page.iter().flatten().partition(|slot| slot.lsn < at);
        for slots in [before, behind] {
            let Some(first) = slots.first().map(|slot| slot.lsn) else { continue };
            let mut half = Box::new(Page::new(first.0));
            half.spilled.clone_from(&page.spilled);
            slots.into_iter().for_each(|slot| half.push(Some(slot)));
            half.seal();
            due.change_page(level, PagePlace::Returned(first), None, half.deadline);
            self.runs.insert(first, Run::Paged(half));
        }
    }

    /// Puts an entry in its place whose message is on disk: on the page there, or one beside it, if
    /// that has room.
    pub(super) fn insert_paged(
        &mut self,
        slot: PagedSlot,
        spilled: Option<&Spilled>,
        level: u8,
        due: &mut DueIndex,
    ) {
        self.len += 1;
        let at = slot.lsn;
        if let Some((&first, Run::Paged(page))) = self.runs.range_mut(..=at).next_back() {
            match (page.last_lsn() < at, page.has_room_for(slot.bytes, spilled)) {
                (true, true) => {
                    let deadline = page.deadline;
                    page.push(Some(slot));
                    let place = PagePlace::Returned(first);
                    due.change_page(level, place, deadline, page.deadline);
                    return;
                }
                (false, true) => return self.write_anew(first, slot, level, due),
                (false, false) => self.split(at, level, due),
                (true, false) => {}
            }
        }
        if let Some((&next, Run::Paged(page))) = self.runs.range(at..).next()
            && page.has_room_for(slot.bytes, spilled)
        {
            return self.write_anew(next, slot, level, due);
        }
        let mut page = Box::new(Page::new(at.0));
        page.spilled = spilled.cloned();
        page.push(Some(slot));
        due.change_page(level, PagePlace::Returned(at), None, page.deadline);
        self.runs.insert(at, Run::Paged(page));
    }

    /// Writes a page anew with one more entry, which is not its last.
    fn write_anew(&mut self, first: Lsn, slot: PagedSlot, level: u8, due: &mut DueIndex) {
        let Some(Run::Paged(old)) = self.runs.remove(&first) else { return };
        due.change_page(level, PagePlace::Returned(first), old.deadline, None);
        let first = first.min(slot.lsn);
        let mut page = Box::new(Page::new(first.0));
        page.spilled.clone_from(&old.spilled);
        let mut added = Some(slot);
        for old in old.iter().flatten() {
            if added.is_some_and(|added| added.lsn < old.lsn) {
                page.push(added.take());
            }
            page.push(Some(old));
        }
        due.change_page(level, PagePlace::Returned(first), None, page.deadline);
        self.runs.insert(first, Run::Paged(page));
    }

    /// The first, if it is in memory.
    pub(super) fn front(&self) -> Option<&Entry> {
        self.runs.first_key_value()?.1.entry()
    }

    /// Takes the first, if it is in memory.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let first = self.runs.first_entry()?;
        first.get().entry()?;
        let Run::Hot(entry) = first.remove() else { return None };
        self.len -= 1;
        Some(entry)
    }

    /// The entry with this LSN, if it is in memory.
    pub(super) fn get(&self, lsn: Lsn) -> Option<&Entry> {
        self.runs.get(&lsn)?.entry()
    }

    /// Takes it.
    pub(super) fn remove(&mut self, lsn: Lsn) -> Option<Entry> {
        self.get(lsn)?;
        let Some(Run::Hot(entry)) = self.runs.remove(&lsn) else { return None };
        self.len -= 1;
        Some(entry)
    }

    /// Entries in memory.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.runs.values().filter_map(Run::entry)
    }

    /// All entries.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.runs.values().flat_map(|run| {
            let (hot, paged) = match run {
                Run::Hot(entry) => (Some(Slot::Hot(entry)), None),
                Run::Paged(page) => (None, Some(page.iter())),
            };
            hot.into_iter().chain(paged.into_iter().flatten().flatten().map(Slot::Paged))
        })
    }

    /// Shows entries in their order.
    pub(super) fn browse(&self, view: &mut View) {
        if view.passes(self.len) {
            return;
        }
        for run in self.runs.values() {
            match run {
                _ if view.is_full() => return,
                Run::Hot(entry) => view.add(Slot::Hot(entry)),
                Run::Paged(page) => {
                    let spilled = page.spilled.as_ref();
                    page.iter().flatten().for_each(|slot| view.add_paged(slot, spilled));
                }
            }
        }
    }

    /// Entries in front that are in memory, counted until there are `most`; and, if all are counted,
    /// whether a page that isn't being read follows earlier. `None` if what is behind them counts too.
    pub(super) fn window(&self, most: usize) -> (usize, Option<bool>) {
        let mut window = 0;
        for run in self.runs.values() {
            match run {
                _ if window >= most => return (window, Some(false)),
                Run::Hot(_) => window += 1,
                Run::Paged(page) => return (window, Some(page.request == 0)),
            }
        }
        (window, None)
    }

    /// Pages out what can go, except for what shall stay in front.
    pub(super) fn page_out(&mut self, how: &mut PageOut<'_>) {
        let mut goes = Vec::new();
        for (lsn, run) in &self.runs {
            match run {
                _ if goes.len() >= how.most => break,
                // What is behind a page is not in front.
                Run::Paged(_) => how.keep = 0,
                Run::Hot(entry) if entry.memory() <= how.keep => how.keep -= entry.memory(),
                Run::Hot(entry) => {
                    how.keep = 0;
                    if (how.can_go)(entry) {
                        goes.push(*lsn);
                    }
                }
            }
        }
        let mut last = None;
        for lsn in goes {
            let Some(Run::Hot(entry)) = self.runs.remove(&lsn) else { continue };
            let slot = how.goes(DueSlot::Returned(lsn), &entry);
            let page = self.add(slot, &entry, how.level, how.due);
            if let Some(full) = last.replace(page).filter(|last| *last != page) {
                self.seal(full);
            }
        }
        last.into_iter().for_each(|last| self.seal(last));
    }

    /// Adds an entry to the page in front of it, or to a new one. Returns what names the page.
    fn add(&mut self, slot: PagedSlot, entry: &Entry, level: u8, due: &mut DueIndex) -> Lsn {
        let before = self.runs.range_mut(..slot.lsn).next_back();
        if let Some((&first, Run::Paged(page))) = before
            && page.has_room(slot.bytes.saturating_add(entry.large_head()))
        {
            let deadline = page.deadline;
            page.push_of(slot, entry);
            due.change_page(level, PagePlace::Returned(first), deadline, page.deadline);
            return first;
        }
        let mut page = Box::new(Page::new(slot.lsn.0));
        page.push_of(slot, entry);
        due.change_page(level, PagePlace::Returned(slot.lsn), None, page.deadline);
        self.runs.insert(slot.lsn, Run::Paged(page));
        slot.lsn
    }

    fn seal(&mut self, first: Lsn) {
        if let Some(page) = self.page(first) {
            page.seal();
        }
    }

    /// The first pages, of about so many bytes together.
    pub(super) fn pages(&mut self, bytes: u64) -> impl Iterator<Item = &mut Page> {
        let mut sum = 0;
        let pages = self.runs.values_mut().filter_map(|run| match run {
            Run::Hot(_) => None,
            Run::Paged(page) => Some(page.as_mut()),
        });
        pages.take_while(move |page| {
            let is_wanted = sum < bytes;
            sum += page.size().max(1);
            is_wanted
        })
    }

    /// The page in front, if it is one.
    pub(super) fn front_page(&mut self) -> Option<&mut Page> {
        let first = *self.runs.first_key_value()?.0;
        self.page(first)
    }

    /// The page with this first LSN, if it is still there.
    pub(super) fn page(&mut self, first: Lsn) -> Option<&mut Page> {
        match self.runs.get_mut(&first)? {
            Run::Hot(_) => None,
            Run::Paged(page) => Some(page),
        }
    }

    /// Turns a page that has been read into entries in memory, with the messages that `find` has.
    pub(super) fn page_in(
        &mut self,
        first: Lsn,
        request: u32,
        find: impl FnMut(Lsn) -> Option<Message>,
    ) -> Option<PagedIn> {
        self.page(first).filter(|page| page.request == request)?;
        let Some(Run::Paged(page)) = self.runs.remove(&first) else { return None };
        let (entries, paged) = page.read(find, |_, lsn| DueSlot::Returned(lsn));
        let entries = entries.into_iter().flatten();
        self.runs.extend(entries.map(|entry| (entry.lsn, Run::Hot(entry))));
        self.len -= paged.lost.len();
        Some(paged)
    }
}
