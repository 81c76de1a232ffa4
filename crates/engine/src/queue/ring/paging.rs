//! What of a ring leaves memory, and comes back.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Chunk, Place, Ring, Slots};
use crate::ids::Lsn;
use crate::message::Message;
use crate::paged_list::PagedSlot;
use crate::queue::due::{DueIndex, DueSlot};
use crate::queue::entry::Entry;
use crate::queue::page::{PAGE_BYTES, Page, PageOut, PagePlace, PagedIn};
use crate::queue::spill::{SpillBlock, Spilled};

/// What spilling is told.
pub(in crate::queue) struct Spill {
    /// Memory of the entries in front that shall stay.
    pub(in crate::queue) keep: u64,
    /// Memory of the entries to be named, at most about.
    pub(in crate::queue) most: u64,
}

impl Ring {
    /// Appends an entry that is paged out, to the ring of a level.
    pub(in crate::queue) fn push_paged(&mut self, slot: PagedSlot, level: u8, due: &mut DueIndex) {
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
            self.was_last();
        }
        if let Some(Chunk::Paged(page)) = self.chunks.back_mut() {
            let before = page.deadline;
            page.fill_to(place);
            page.push(Some(slot));
            due.change_page(level, PagePlace::Ring(Place(page.start)), before, page.deadline);
        }
    }

    /// Pages out what can go, except for what shall stay in front.
    pub(in crate::queue) fn page_out(&mut self, how: &mut PageOut<'_>) {
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
                    how.due.change_page(
                        how.level,
                        PagePlace::Ring(Place(page.start)),
                        before,
                        page.deadline,
                    );
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

    /// Adds blocks of entries in memory that are not stored, except for what shall stay in front.
    pub(in crate::queue) fn spill(&self, level: u8, how: &mut Spill, blocks: &mut Vec<SpillBlock>) {
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
                let size = entry.bytes().saturating_add(entry.large_head());
                bytes += size;
                if bytes > PAGE_BYTES {
                    blocks.extend(block.take());
                    if how.most == 0 {
                        return;
                    }
                    bytes = size;
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
                how.most = how.most.saturating_sub(entry.memory());
            }
            blocks.extend(block);
        }
    }

    /// Pages out what is left in memory of a block that was written.
    pub(in crate::queue) fn spilled(
        &mut self,
        block: &SpillBlock,
        spilled: &Spilled,
        how: &mut PageOut<'_>,
    ) {
        let Some(last) = self.chunk_of(block.last) else { return };
        // It was one chunk when it was named.
        for at in (self.chunk_of(block.first).unwrap_or(0)..=last).rev() {
            self.spilled_of(at, block, spilled, how);
        }
        self.drop_holes();
    }

    /// The same of one chunk.
    fn spilled_of(
        &mut self,
        at: usize,
        block: &SpillBlock,
        spilled: &Spilled,
        how: &mut PageOut<'_>,
    ) {
        let places = block.first.0..=block.last.0;
        let Some(Chunk::Hot(chunk)) = self.chunks.get_mut(at) else { return };
        let is_in = |(place, slot): (u64, &Option<Entry>)| {
            places.contains(&place) && slot.as_ref().is_some_and(|entry| !entry.stored)
        };
        if !(chunk.start..).zip(&chunk.slots).any(is_in) {
            return;
        }
        let (start, slots) = (chunk.start, std::mem::take(&mut chunk.slots));
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
                    how.due.change_page(
                        how.level,
                        PagePlace::Ring(Place(page.start)),
                        None,
                        page.deadline,
                    );
                }
                Chunk::Hot(chunk) => chunk.slots.shrink_to_fit(),
            }
        }
        self.chunks.remove(at);
        for (index, piece) in (at..).zip(pieces) {
            self.chunks.insert(index, piece);
        }
    }

    /// The first pages, of about so many bytes together.
    pub(in crate::queue) fn pages(&mut self, bytes: u64) -> impl Iterator<Item = &mut Page> {
        let mut sum = 0;
        let pages = self.chunks.iter_mut().filter_map(|chunk| match chunk {
            Chunk::Hot(_) => None,
            Chunk::Paged(page) => Some(page.as_mut()),
        });
        pages.take_while(move |page| {
            let is_wanted = sum < bytes;
            sum += page.size().max(1);
            is_wanted
        })
    }

    /// The page in front, if it is one.
    pub(in crate::queue) fn front_page(&mut self) -> Option<&mut Page> {
        match self.chunks.front_mut()? {
            Chunk::Hot(_) => None,
            Chunk::Paged(page) => Some(page),
        }
    }

    /// The page that starts at a place, if it is still there.
    pub(in crate::queue) fn page(&mut self, start: Place) -> Option<&mut Page> {
        let at = self.chunk_of(start)?;
        match self.chunks.get_mut(at)? {
            Chunk::Paged(page) if page.start == start.0 => Some(page),
            _ => None,
        }
    }

    /// Turns a page that has been read into entries in memory, with the messages that `find` has.
    pub(in crate::queue) fn page_in(
        &mut self,
        start: Place,
        request: u32,
        mut find: impl FnMut(Lsn) -> Option<Message>,
    ) -> Option<PagedIn> {
        let at = self.chunk_of(start)?;
        let chunk = self.chunks.get_mut(at)?;
        let page = chunk.page().filter(|page| page.start == start.0 && page.request == request)?;
        let (slots, paged) =
            page.read(&mut find, |offset, _| DueSlot::Ring(Place(start.0 + offset)));
        let held = slots.iter().flatten().count();
        *chunk = Chunk::Hot(Slots { start: start.0, slots, held });
        self.len -= paged.lost.len();
        self.leave_holes(at);
        self.drop_holes();
        Some(paged)
    }
}

/// How many of the first slots of a chunk stay, if so much memory of entries in front shall.
fn stay(keep: &mut u64, chunk: &Slots) -> usize {
    if *keep == 0 {
        return 0;
    }
    let mut stays = 0;
    for slot in &chunk.slots {
        let memory = slot.as_ref().map_or(0, Entry::memory);
        if memory > *keep {
            *keep = 0;
            break;
        }
        *keep -= memory;
        stays += 1;
    }
    stays
}

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
        Some(Chunk::Hot(chunk)) => chunk.push(entry),
        _ => pieces.push(Chunk::Hot(Slots::of(place, entry))),
    }
}

fn put_spilled(
    pieces: &mut Vec<Chunk>,
    place: u64,
    entry: &Entry,
    spilled: &Spilled,
    how: &mut PageOut<'_>,
) {
    let slot = how.goes(DueSlot::Ring(Place(place)), entry);
    match pieces.last_mut() {
        Some(Chunk::Paged(page)) if page.goes_on_at(place) => page.push_of(slot, entry),
        _ => {
            let mut page = Box::new(Page::new(place));
            page.spilled = Some(Arc::clone(spilled));
            page.push_of(slot, entry);
            pieces.push(Chunk::Paged(page));
        }
    }
}

fn put_paged(pieces: &mut Vec<Chunk>, place: u64, entry: &Entry, how: &mut PageOut<'_>) {
    let slot = how.goes(DueSlot::Ring(Place(place)), entry);
    match pieces.last_mut() {
        Some(Chunk::Paged(page)) if page.takes(place, slot.bytes + entry.large_head()) => {
            page.fill_to(place);
            page.push_of(slot, entry);
        }
        _ => {
            let mut page = Box::new(Page::new(place));
            page.push_of(slot, entry);
            pieces.push(Chunk::Paged(page));
        }
    }
}
