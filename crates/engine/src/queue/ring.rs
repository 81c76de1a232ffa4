//! A first-in first-out ring of entries in bounded chunks, some of which are paged out.
//!
//! One growing buffer would copy the whole backlog when it doubles, under the queue's lock, and
//! keep its memory when the backlog is gone. Chunks cost one allocation per [`CHUNK`] entries,
//! none at all while a backlog moves without growing, and go away one by one. They are also what
//! is paged out and in.

use std::collections::VecDeque;
use std::sync::Arc;

use super::browse::View;
use super::due::{Due, DueIndex, DueSlot};
use super::entry::Entry;
use super::page::{PAGE_BYTES, Page};
use super::spill::{SpillBlock, Spilled};
use crate::ids::{Lsn, Millis};
use crate::message::Message;
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

    pub(super) const fn stored(&self) -> bool {
        match self {
            Self::Hot(entry) => entry.stored,
            Self::Paged(slot) => slot.stored,
        }
    }
}

/// What paging out is told.
pub(super) struct PageOut<'a> {
    /// Whether an entry may go.
    pub(super) can_go: &'a dyn Fn(&Entry) -> bool,
    /// Memory of the entries in front that shall stay.
    pub(super) keep: u64,
    /// Entries to go, at most about.
    pub(super) most: usize,
    /// The level the ring is of.
    pub(super) level: u8,
    pub(super) due: &'a mut DueIndex,
    /// Entries that went, and their body bytes.
    pub(super) gone: u64,
    pub(super) gone_bytes: u64,
}

/// What spilling is told.
pub(super) struct Spill {
    /// Memory of the entries in front that shall stay.
    pub(super) keep: u64,
    /// Entries to be named, at most about.
    pub(super) most: usize,
}

/// What came in with a page.
#[derive(Debug, Default)]
pub(super) struct PagedIn {
    /// Entries of the page, and their body bytes.
    pub(super) len: u64,
    pub(super) bytes: u64,
    /// Those that are in memory now and stored.
    pub(super) stored: u64,
    /// The page's deadline.
    pub(super) deadline: Option<Millis>,
    /// Entries that go back to the due index.
    pub(super) watched: Vec<(Place, Millis)>,
    /// Entries whose messages were not found, and their bytes.
    pub(super) lost: Vec<PagedSlot>,
    pub(super) lost_bytes: u64,
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
            Some(Chunk::Hot(last)) if last.slots.len() < CHUNK => last.slots.push_back(Some(entry)),
            _ => {
                let mut slots = self.spare.take().unwrap_or_default();
                slots.push_back(Some(entry));
                self.chunks.push_back(Chunk::Hot(Slots { start: place.0, slots }));
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
        self.len -= 1;
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
                    let entries = chunk.slots.iter().flatten();
                    if !view.passes(entries.clone().count()) {
                        entries.for_each(|entry| view.add(Slot::Hot(entry), entry.bytes()));
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

    /// The pages on which some of these are, which ascend.
    pub(super) fn pages_with(&mut self, lsns: &[Lsn]) -> impl Iterator<Item = &mut Page> {
        self.chunks.iter_mut().filter_map(|chunk| match chunk {
            Chunk::Hot(_) => None,
            Chunk::Paged(page) => {
                let has_some = page.iter().flatten().any(|slot| is_among(lsns, slot.lsn));
                has_some.then_some(page.as_mut())
            }
        })
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
                Chunk::Hot(chunk) => window += chunk.slots.len(),
                Chunk::Paged(page) => return (window, page.request == 0),
            }
        }
        (window, false)
    }

    /// Appends an entry that is paged out, to the ring of a level.
    pub(super) fn push_paged(&mut self, slot: PagedSlot, level: u8, due: &mut DueIndex) {
        let place = self.next;
        self.next += 1;
        self.len += 1;
        if let Some(Chunk::Hot(last)) = self.chunks.back()
            && last.slots.is_empty()
        {
            self.chunks.pop_back();
        }
        let is_full = match self.chunks.back() {
            Some(Chunk::Paged(page)) => !page.takes(place, slot.bytes),
            _ => true,
        };
        if is_full {
            if let Some(Chunk::Paged(page)) = self.chunks.back_mut() {
                page.seal();
            }
            self.chunks.push_back(Chunk::Paged(Box::new(Page::new(place))));
        }
        if let Some(Chunk::Paged(page)) = self.chunks.back_mut() {
            let before = page.deadline;
            page.push(Some(slot));
            due.change_page(level, Place(page.start), before, page.deadline);
        }
    }

    /// Pages out what can go, except for what shall stay in front.
    pub(super) fn page_out(&mut self, how: &mut PageOut<'_>) {
        let mut at = 0;
        while at < self.chunks.len() && how.most > 0 {
            let stays = match self.chunks.get(at) {
                Some(Chunk::Hot(chunk)) => stay(&mut how.keep, chunk),
                _ => {
                    // What is behind a page is not in front.
                    how.keep = 0;
                    at += 1;
                    continue;
                }
            };
            at = self.page_out_chunk(at, stays, how);
        }
        self.drop_holes();
    }

    /// Pages out what can go of a chunk in memory, except for the first slots. Returns the index of
    /// the next chunk.
    fn page_out_chunk(&mut self, at: usize, stays: usize, how: &mut PageOut<'_>) -> usize {
        let Some(Chunk::Hot(chunk)) = self.chunks.get(at) else { return at + 1 };
        if !chunk.slots.iter().skip(stays).flatten().any(how.can_go) {
            return at + 1;
        }
        let start = chunk.start;
        let before = at.checked_sub(1).filter(|before| {
            let page = self.chunks.get(*before).and_then(Chunk::page);
            stays == 0 && page.is_some_and(|page| page.takes(start, 0))
        });
        let first = before.unwrap_or(at);
        let mut pieces: Vec<Chunk> = Vec::new();
        let mut slots = VecDeque::new();
        for chunk in self.chunks.drain(first..=at) {
            match chunk {
                Chunk::Hot(chunk) => slots = chunk.slots,
                Chunk::Paged(_) => pieces.push(chunk),
            }
        }
        let joined = pieces.first().and_then(Chunk::page).map(|page| (page.start, page.deadline));
        for (offset, (place, slot)) in (start..).zip(slots).enumerate() {
            match slot {
                None => put_hole(&mut pieces, place),
                Some(entry) if offset < stays || !(how.can_go)(&entry) => {
                    put_hot(&mut pieces, place, entry);
                }
                Some(entry) => put_paged(&mut pieces, place, &entry, how),
            }
        }
        for piece in &mut pieces {
            match piece {
                Chunk::Paged(page) => {
                    page.seal();
                    let before = joined
                        .and_then(|(start, deadline)| deadline.filter(|_| start == page.start));
                    how.due.change_page(how.level, Place(page.start), before, page.deadline);
                }
                Chunk::Hot(chunk) => chunk.slots.shrink_to_fit(),
            }
        }
        let next = first + pieces.len();
        for (index, piece) in (first..).zip(pieces) {
            self.chunks.insert(index, piece);
        }
        next
    }

    /// Adds blocks of entries in memory that are not stored, except for what shall stay in front, and
    /// about `most` entries.
    pub(super) fn spill(&self, level: u8, how: &mut Spill, blocks: &mut Vec<SpillBlock>) {
        for chunk in &self.chunks {
            let chunk = match chunk {
                _ if how.most == 0 => return,
                Chunk::Paged(_) => {
                    // What is behind a page is not in front.
                    how.keep = 0;
                    continue;
                }
                Chunk::Hot(chunk) => chunk,
            };
            let stays = stay(&mut how.keep, chunk);
            let mut bytes = 0;
            let mut block: Option<SpillBlock> = None;
            for (place, slot) in (chunk.start..).zip(&chunk.slots).skip(stays) {
                let Some(entry) = slot.as_ref().filter(|entry| !entry.stored) else { continue };
                bytes += entry.bytes();
                if bytes > PAGE_BYTES {
                    blocks.extend(block.take());
                    bytes = entry.bytes();
                }
                let (first, last) = (Place(place), Place(place));
                let messages = Vec::new;
                let block = block.get_or_insert_with(|| SpillBlock {
                    level,
                    first,
                    last,
                    messages: messages(),
                });
                block.last = last;
                block.messages.push((entry.lsn, entry.message.clone()));
                how.most = how.most.saturating_sub(1);
            }
            blocks.extend(block);
        }
    }

    /// Pages out what is left in memory of a block that was written.
    pub(super) fn spilled(&mut self, block: &SpillBlock, spilled: &Spilled, how: &mut PageOut<'_>) {
        let Some(at) = self.chunk_of(block.last) else { return };
        let Some(Chunk::Hot(Slots { start, slots })) = self.chunks.get_mut(at) else { return };
        let (start, slots) = (*start, std::mem::take(slots));
        let places = block.first.0..=block.last.0;
        // In the order of their places; and a place may be another entry's since, in a ring made anew.
        let mut written = block.messages.iter().map(|(lsn, _)| *lsn);
        let mut pieces: Vec<Chunk> = Vec::new();
        for (place, slot) in (start..).zip(slots) {
            match slot {
                None => put_hole(&mut pieces, place),
                Some(entry)
                    if places.contains(&place)
                        && !entry.stored
                        && written.any(|lsn| lsn == entry.lsn) =>
                {
                    put_spilled(&mut pieces, place, &entry, spilled, how);
                }
                Some(entry) => put_hot(&mut pieces, place, entry),
            }
        }
        for piece in &mut pieces {
            match piece {
                Chunk::Paged(page) => {
                    page.seal();
                    how.due.change_page(how.level, Place(page.start), None, page.deadline);
                }
                Chunk::Hot(chunk) => chunk.slots.shrink_to_fit(),
            }
        }
        self.chunks.remove(at);
        for (index, piece) in (at..).zip(pieces) {
            self.chunks.insert(index, piece);
        }
        self.drop_holes();
    }

    /// The first pages, of about so many bytes together.
    pub(super) fn pages(&mut self, bytes: u64) -> impl Iterator<Item = &mut Page> {
        let mut sum = 0;
        let pages = self.chunks.iter_mut().filter_map(|chunk| match chunk {
            Chunk::Hot(_) => None,
            Chunk::Paged(page) => Some(page.as_mut()),
        });
        pages.take_while(move |page| {
            let is_wanted = sum < bytes;
            sum += page.bytes.max(1);
            is_wanted
        })
    }

    /// The page in front, if it is one.
    pub(super) fn front_page(&mut self) -> Option<&mut Page> {
        match self.chunks.front_mut()? {
            Chunk::Hot(_) => None,
            Chunk::Paged(page) => Some(page),
        }
    }

    /// The page that starts at a place, if it is still there.
    pub(super) fn page(&mut self, start: Place) -> Option<&mut Page> {
        let at = self.chunk_of(start)?;
        match self.chunks.get_mut(at)? {
            Chunk::Paged(page) if page.start == start.0 => Some(page),
            _ => None,
        }
    }

    /// Turns a page that has been read into entries in memory, with the messages that `find` has.
    pub(super) fn page_in(
        &mut self,
        start: Place,
        request: u32,
        mut find: impl FnMut(Lsn) -> Option<Message>,
    ) -> Option<PagedIn> {
        let at = self.chunk_of(start)?;
        let chunk = self.chunks.get_mut(at)?;
        let page = chunk.page().filter(|page| page.start == start.0 && page.request == request)?;
        let mut paged = PagedIn {
            len: page.len.into(),
            bytes: page.bytes,
            deadline: page.deadline,
            ..PagedIn::default()
        };
        let mut found_bytes = 0;
        let slots = (page.start..).zip(page.iter()).map(|(place, slot)| {
            let slot = slot?;
            let Some(message) = find(slot.lsn) else {
                paged.lost.push(slot);
                return None;
            };
            if slot.is_watched
                && let Some(deadline) = slot.deadline
            {
                paged.watched.push((Place(place), deadline));
            }
            let entry = Entry {
                lsn: slot.lsn,
                message,
                deadline: slot.deadline,
                deliveries: slot.deliveries,
                redelivered: slot.redelivered,
                stored: slot.stored,
            };
            found_bytes += entry.bytes();
            paged.stored += u64::from(entry.stored);
            Some(entry)
        });
        let slots: VecDeque<Option<Entry>> = slots.collect();
        *chunk = Chunk::Hot(Slots { start: start.0, slots });
        paged.lost_bytes = paged.bytes.saturating_sub(found_bytes);
        self.len -= paged.lost.len();
        self.drop_holes();
        Some(paged)
    }

    fn chunk_of(&self, place: Place) -> Option<usize> {
        self.chunks.partition_point(|chunk| chunk.start() <= place.0).checked_sub(1)
    }

    /// Restores the occupied front slot after something was taken.
    fn drop_holes(&mut self) {
        while let Some(Chunk::Hot(first)) = self.chunks.front() {
            match first.slots.front() {
                Some(Some(_)) => return,
                Some(None) => drop(self.pop_slot()),
                None if self.chunks.len() > 1 => drop(self.chunks.pop_front()),
                None => return,
            }
        }
    }

    fn pop_slot(&mut self) -> Option<(Place, Option<Entry>)> {
        let Some(Chunk::Hot(first)) = self.chunks.front_mut() else { return None };
        let slot = first.slots.pop_front()?;
        let place = Place(first.start);
        first.start += 1;
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

impl PageOut<'_> {
    /// Counts an entry that goes, and says what is kept of it.
    fn goes(&mut self, place: u64, entry: &Entry) -> PagedSlot {
        self.gone += 1;
        self.gone_bytes = self.gone_bytes.saturating_add(entry.bytes());
        self.most = self.most.saturating_sub(1);
        let is_watched = entry.deadline.is_some_and(|deadline| {
            let slot = DueSlot::Ring(Place(place));
            self.due.remove(&Due { deadline, level: self.level, slot })
        });
        PagedSlot::of(entry, is_watched)
    }
}

/// How many of the first slots of a chunk stay, if so much memory of entries in front shall.
fn stay(keep: &mut u64, chunk: &Slots) -> usize {
    if *keep == 0 {
        return 0;
    }
    let mut stays = 0;
    for slot in &chunk.slots {
        let memory = slot.as_ref().map_or(0, memory_of);
        if memory > *keep {
            *keep = 0;
            break;
        }
        *keep -= memory;
        stays += 1;
    }
    stays
}

/// Whether an LSN is one of these, which ascend: mostly it is not even near.
fn is_among(lsns: &[Lsn], lsn: Lsn) -> bool {
    lsns.first() <= Some(&lsn) && Some(&lsn) <= lsns.last() && lsns.binary_search(&lsn).is_ok()
}

/// What an entry takes in memory, about.
fn memory_of(entry: &Entry) -> u64 {
    entry.bytes().saturating_add(ENTRY_MEMORY)
}

/// What an entry takes in memory besides its body, about, in bytes.
pub const ENTRY_MEMORY: u64 = 200;

fn put_hole(pieces: &mut [Chunk], place: u64) {
    match pieces.last_mut() {
        Some(Chunk::Hot(chunk)) => chunk.slots.push_back(None),
        Some(Chunk::Paged(page)) if page.goes_on_at(place) => page.push(None),
        // Places may be left out between chunks.
        _ => {}
    }
}

fn put_hot(pieces: &mut Vec<Chunk>, place: u64, entry: Entry) {
    match pieces.last_mut() {
        Some(Chunk::Hot(chunk)) => chunk.slots.push_back(Some(entry)),
        _ => {
            let slots = VecDeque::from([Some(entry)]);
            pieces.push(Chunk::Hot(Slots { start: place, slots }));
        }
    }
}

fn put_spilled(
    pieces: &mut Vec<Chunk>,
    place: u64,
    entry: &Entry,
    spilled: &Spilled,
    how: &mut PageOut<'_>,
) {
    let slot = how.goes(place, entry);
    match pieces.last_mut() {
        Some(Chunk::Paged(page)) if page.goes_on_at(place) => page.push(Some(slot)),
        _ => {
            let mut page = Box::new(Page::new(place));
            page.spilled = Some(Arc::clone(spilled));
            page.push(Some(slot));
            pieces.push(Chunk::Paged(page));
        }
    }
}

fn put_paged(pieces: &mut Vec<Chunk>, place: u64, entry: &Entry, how: &mut PageOut<'_>) {
    let slot = how.goes(place, entry);
    match pieces.last_mut() {
        Some(Chunk::Paged(page)) if page.takes(place, slot.bytes) => page.push(Some(slot)),
        _ => {
            let mut page = Box::new(Page::new(place));
            page.push(Some(slot));
            pieces.push(Chunk::Paged(page));
        }
    }
}
