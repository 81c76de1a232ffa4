//! A first-in first-out ring of entries in bounded chunks.
//!
//! One growing buffer would copy the whole backlog when it doubles, under the queue's lock, and
//! keep its memory when the backlog is gone. Chunks cost one allocation per [`CHUNK`] entries,
//! none at all while a backlog moves without growing, and go away one by one.

use std::collections::VecDeque;

use super::entry::Entry;

/// Entries per chunk.
const CHUNK: usize = 256;

/// Where an entry was put: counts pushes, so it stays valid while others come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

/// The ring. Entries may be taken from the middle; the front slot is always occupied.
///
/// All chunks between the first, which is popped from, and the last, which is pushed to, hold
/// exactly [`CHUNK`] slots.
#[derive(Debug, Default)]
pub(super) struct Ring {
    chunks: VecDeque<VecDeque<Option<Entry>>>,
    /// An emptied chunk kept for the next push that needs one.
    spare: Option<VecDeque<Option<Entry>>>,
    /// The place of the front slot.
    front: u64,
    /// The place the next entry gets.
    next: u64,
    /// Occupied slots.
    len: usize,
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
            Some(last) if last.len() < CHUNK => last.push_back(Some(entry)),
            _ => {
                let mut chunk = self.spare.take().unwrap_or_default();
                chunk.push_back(Some(entry));
                self.chunks.push_back(chunk);
            }
        }
        place
    }

    pub(super) fn front(&self) -> Option<(Place, &Entry)> {
        let entry = self.chunks.front()?.front()?.as_ref()?;
        Some((Place(self.front), entry))
    }

    pub(super) fn pop(&mut self) -> Option<(Place, Entry)> {
        let place = Place(self.front);
        let entry = self.pop_slot()??;
        self.len -= 1;
        self.drop_holes();
        Some((place, entry))
    }

    /// Takes the entry at `place`, if it is still there.
    pub(super) fn take(&mut self, place: Place) -> Option<Entry> {
        let mut offset = usize::try_from(place.0.checked_sub(self.front)?).ok()?;
        let first = self.chunks.front()?.len();
        let mut chunk = 0;
        if let Some(beyond) = offset.checked_sub(first) {
            chunk = 1 + beyond / CHUNK;
            offset = beyond % CHUNK;
        }
        let entry = self.chunks.get_mut(chunk)?.get_mut(offset)?.take()?;
        self.len -= 1;
        self.drop_holes();
        Some(entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flatten().flatten()
    }

    /// Gives unused memory back.
    pub(super) fn trim(&mut self) {
        self.spare = None;
        if self.is_empty() {
            self.chunks = VecDeque::new();
        }
    }

    /// Restores the occupied front slot after something was taken.
    fn drop_holes(&mut self) {
        while let Some(None) = self.chunks.front().and_then(VecDeque::front) {
            self.pop_slot();
        }
    }

    fn pop_slot(&mut self) -> Option<Option<Entry>> {
        let slot = self.chunks.front_mut()?.pop_front()?;
        self.front += 1;
        if self.chunks.len() > 1 && self.chunks.front().is_some_and(VecDeque::is_empty) {
            let emptied = self.chunks.pop_front();
            self.spare = if self.chunks.len() > 1 { emptied } else { None };
        }
        Some(slot)
    }
}
