//! A first-in first-out ring of entries in bounded chunks, some of which are paged out.
//!
//! One growing buffer would copy the whole backlog when it doubles, under the queue's lock, and
//! keep its memory when the backlog is gone. Chunks cost one allocation per [`CHUNK`] entries,
//! none at all while a backlog moves without growing, and go away one by one. They are also what
//! is paged out and in.

mod holes;
mod paging;

pub(super) use paging::Spill;

use std::collections::VecDeque;

use super::browse::View;
use super::entry::Entry;
use super::page::Page;
use crate::ids::Lsn;
use crate::paged_list::PagedSlot;

/// Entries per chunk.
const CHUNK: usize = 256;

/// Where an entry was put: counts pushes, so it stays valid while others come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) u64);

/// The ring. Entries may be taken from the middle, if they are in memory; the front slot is always
/// occupied, unless it is paged out.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// By their first places.
    chunks: VecDeque<Chunk>,
    /// An emptied chunk kept for the next push that needs one.
    spare: Option<VecDeque<Option<Entry>>>,
    /// The place the next entry gets.
    next: u64,
    /// Occupied slots.
    len: usize,
}

#[derive(Debug)]
enum Chunk {
    Hot(Slots),
    Paged(Box<Page>),
}

/// Entries in memory. More are added up to [`CHUNK`] as long as it is the last.
#[derive(Debug)]
struct Slots {
    /// The first place.
    start: u64,
    slots: VecDeque<Option<Entry>>,
    /// Those with an entry.
    held: usize,
}

/// What is in the ring, in memory or not.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot<'a> {
    Hot(&'a Entry),
    Paged(PagedSlot),
}

impl Slot<'_> {
    pub(super) const fn lsn(&self) -> Lsn {
        match self {
            Self::Hot(entry) => entry.lsn,
            Self::Paged(slot) => slot.lsn,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Hot(entry) => entry.bytes(),
            Self::Paged(slot) => slot.bytes,
        }
    }

    pub(super) const fn stored(&self) -> bool {
        match self {
            Self::Hot(entry) => entry.stored,
            Self::Paged(slot) => slot.stored,
        }
    }
}

impl Slots {
    /// One entry.
    fn of(place: u64, entry: Entry) -> Self {
        Self { start: place, slots: VecDeque::from([Some(entry)]), held: 1 }
    }

    /// Whether the next entry, in this place, can be added.
    fn goes_on_at(&self, place: Place) -> bool {
        self.slots.len() < CHUNK && self.start + self.slots.len() as u64 == place.0
    }

    fn push(&mut self, entry: Entry) {
        self.slots.push_back(Some(entry));
        self.held += 1;
    }
}

impl Chunk {
    const fn start(&self) -> u64 {
        match self {
            Self::Hot(slots) => slots.start,
            Self::Paged(page) => page.start,
        }
    }

    const fn page(&self) -> Option<&Page> {
        match self {
            Self::Hot(_) => None,
            Self::Paged(page) => Some(page),
        }
    }
}

impl Ring {
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, entry: Entry) -> Place {
        let place = Place(self.next);
        self.next += 1;
        self.len += 1;
        match self.chunks.back_mut() {
            Some(Chunk::Hot(last)) if last.goes_on_at(place) => last.push(entry),
            _ => {
                let slots = self.spare.take().unwrap_or_default();
                let mut chunk = Slots { start: place.0, slots, held: 0 };
                chunk.push(entry);
                self.chunks.push_back(Chunk::Hot(chunk));
                self.was_last();
            }
        }
        place
    }

    pub(super) fn front(&self) -> Option<(Place, &Entry)> {
        let Some(Chunk::Hot(first)) = self.chunks.front() else { return None };
        let entry = first.slots.front()?.as_ref()?;
        Some((Place(first.start), entry))
    }

    pub(super) fn pop(&mut self) -> Option<(Place, Entry)> {
        let (place, entry) = self.pop_slot()?;
        let entry = entry?;
        self.len -= 1;
        self.drop_holes();
        Some((place, entry))
    }

    /// Takes the entry at `place`, if it is still there.
    pub(super) fn take(&mut self, place: Place) -> Option<Entry> {
        let at = self.chunk_of(place)?;
        let Chunk::Hot(chunk) = self.chunks.get_mut(at)? else { return None };
        let offset = usize::try_from(place.0.checked_sub(chunk.start)?).ok()?;
        let entry = chunk.slots.get_mut(offset)?.take()?;
        chunk.held -= 1;
        self.len -= 1;
        self.leave_holes(at);
        self.drop_holes();
        Some(entry)
    }

    /// Entries in memory.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let hot = self.chunks.iter().filter_map(|chunk| match chunk {
            Chunk::Hot(chunk) => Some(&chunk.slots),
            Chunk::Paged(_) => None,
        });
        hot.flatten().flatten()
    }

    /// All entries.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.chunks.iter().flat_map(|chunk| {
            let (hot, paged) = match chunk {
                Chunk::Hot(chunk) => (Some(&chunk.slots), None),
                Chunk::Paged(page) => (None, Some(page.iter())),
            };
            let hot = hot.into_iter().flatten().flatten().map(Slot::Hot);
            hot.chain(paged.into_iter().flatten().flatten().map(Slot::Paged))
        })
    }

    /// Shows entries in their order. What comes before those that are to be shown is passed by the
    /// chunk.
    pub(super) fn browse(&self, view: &mut View) {
        for chunk in &self.chunks {
            match chunk {
                _ if view.is_full() => return,
                Chunk::Hot(chunk) => {
                    if !view.passes(chunk.held) {
                        let entries = chunk.slots.iter().flatten();
                        entries.for_each(|entry| view.add(Slot::Hot(entry)));
                    }
                }
                Chunk::Paged(page) => {
                    if !view.passes(usize::try_from(page.len).unwrap_or(usize::MAX)) {
                        let spilled = page.spilled.as_ref();
                        let slots = page.iter().flatten();
                        slots.for_each(|slot| view.add_paged(slot, spilled));
                    }
                }
            }
        }
    }

    /// Where entries in memory are that have one of these LSNs, which ascend, and that `which` is
    /// true of.
    pub(super) fn places(&self, lsns: &[Lsn], which: impl Fn(&Entry) -> bool) -> Vec<Place> {
        let hot = self.chunks.iter().filter_map(|chunk| match chunk {
            Chunk::Hot(chunk) => Some((chunk.start..).zip(&chunk.slots)),
            Chunk::Paged(_) => None,
        });
        let found = hot.flatten().filter(|(_, slot)| {
            slot.as_ref().is_some_and(|entry| is_among(lsns, entry.lsn) && which(entry))
        });
        found.map(|(place, _)| Place(place)).take(lsns.len()).collect()
    }

    /// Gives unused memory back.
    pub(super) fn trim(&mut self) {
        self.spare = None;
        if self.is_empty() {
            self.chunks = VecDeque::new();
        }
    }

    /// Entries in front that are in memory, counted until there are `most`; and whether a page that
    /// isn't being read follows earlier.
    pub(super) fn window(&self, most: usize) -> (usize, bool) {
        let mut window = 0;
        for chunk in &self.chunks {
            match chunk {
                _ if window >= most => break,
                Chunk::Hot(chunk) => window += chunk.held,
                Chunk::Paged(page) => return (window, page.request == 0),
            }
        }
        (window, false)
    }

    fn chunk_of(&self, place: Place) -> Option<usize> {
        self.chunks.partition_point(|chunk| chunk.start() <= place.0).checked_sub(1)
    }

    fn pop_slot(&mut self) -> Option<(Place, Option<Entry>)> {
        let Some(Chunk::Hot(first)) = self.chunks.front_mut() else { return None };
        let slot = first.slots.pop_front()?;
        let place = Place(first.start);
        first.start += 1;
        first.held -= usize::from(slot.is_some());
        if first.slots.is_empty() && self.chunks.len() > 1 {
            let emptied = self.chunks.pop_front();
            self.spare = match emptied {
                Some(Chunk::Hot(emptied)) if self.chunks.len() > 1 => Some(emptied.slots),
                _ => None,
            };
        }
        Some((place, slot))
    }
}

/// Whether an LSN is one of these, which ascend: mostly it is not even near.
fn is_among(lsns: &[Lsn], lsn: Lsn) -> bool {
    lsns.first() <= Some(&lsn) && Some(&lsn) <= lsns.last() && lsns.binary_search(&lsn).is_ok()
}
