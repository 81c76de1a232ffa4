//! Deliveries whose messages leave memory while their client keeps them.
//!
//! Such a delivery first becomes an entry without a message, in its place. Places at the front in
//! which most are so then leave the deque, and get [small](super::Older).

use leveret_engine::{AnyEntry, Entry, Lsn, Message, PagedEntry, Spilled};

use super::older::CHUNK;
use super::{Place, Unacked};

/// Memory of messages that are written together, in bytes, unless a single one takes more.
const RUN_BYTES: u64 = 256 * 1024;

/// Messages to be written together, with the tags of their deliveries.
pub(crate) struct SpillRun {
    messages: Vec<(u64, Lsn, Message)>,
    memory: u64,
}

impl SpillRun {
    /// The messages.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (Lsn, &Message)> {
        self.messages.iter().map(|(_, lsn, message)| (*lsn, message))
    }

    /// What they take in memory, about, in bytes.
    pub(crate) const fn memory(&self) -> u64 {
        self.memory
    }
}

/// Pages an entry out. Returns by how much less it takes in memory.
fn page_out(entry: &mut AnyEntry, spilled: Option<&Spilled>) -> u64 {
    let before = entry.memory();
    if let AnyEntry::Hot(hot) = entry {
        *entry = PagedEntry::of(hot, spilled.cloned()).into();
    }
    before.saturating_sub(entry.memory())
}

impl Unacked {
    /// Forgets the messages of about `most` deliveries that `can_go` says may go, given their sources.
    /// `gone` is told of each, with its body bytes.
    pub(crate) fn page_out(
        &mut self,
        can_go: impl Fn(u32, &Entry) -> bool,
        most: usize,
        mut gone: impl FnMut(u32, u64),
    ) {
        let mut left = most;
        let mut each = |place: &mut Place| {
            let Place::Held(slot) = place else { return 0 };
            let AnyEntry::Hot(entry) = &slot.entry else { return 0 };
            if left == 0 || !can_go(slot.source, entry) {
                return 0;
            }
            left -= 1;
            gone(slot.source, entry.bytes());
            page_out(&mut slot.entry, None)
        };
        let shrank = self.older.open_places_mut().map(&mut each).sum();
        self.older.shrank(shrank);
        self.memory -= self.places.iter_mut().map(&mut each).sum::<u64>();
        self.fold();
    }

    /// Messages that are not stored, of about `most` bytes in memory, in runs to be written together.
    pub(crate) fn spill(&self, most: u64) -> Vec<SpillRun> {
        let mut runs: Vec<SpillRun> = Vec::new();
        let mut left = most;
        for (tag, place) in self.older.open_places().chain((self.base + 1..).zip(&self.places)) {
            let Some(AnyEntry::Hot(entry)) = place.slot().map(|slot| &slot.entry) else { continue };
            if entry.stored {
                continue;
            }
            if left == 0 {
                break;
            }
            let memory = entry.memory();
            left = left.saturating_sub(memory);
            let message = (tag, entry.lsn, entry.message.clone());
            match runs.last_mut() {
                Some(run) if run.memory + memory <= RUN_BYTES && run.messages.len() < CHUNK => {
                    run.messages.push(message);
                    run.memory += memory;
                }
                _ => runs.push(SpillRun { messages: vec![message], memory }),
            }
        }
        runs
    }

    /// Forgets the messages of a run that were written elsewhere, where their deliveries still wait.
    pub(crate) fn spilled(
        &mut self,
        run: &SpillRun,
        spilled: &Spilled,
        mut gone: impl FnMut(u32, u64),
    ) {
        for (tag, lsn, _) in &run.messages {
            let index = self.index(*tag);
            let is_older = index.is_none();
            let place = match index {
                Some(index) => self.places.get_mut(index),
                None => self.older.open_place(*tag),
            };
            let Some(Place::Held(slot)) = place else { continue };
            if slot.entry.is_paged() || slot.entry.lsn() != *lsn {
                continue;
            }
            gone(slot.source, slot.entry.bytes());
            let shrank = page_out(&mut slot.entry, Some(spilled));
            if is_older {
                self.older.shrank(shrank);
            } else {
                self.memory -= shrank;
            }
        }
        self.fold();
    }

    /// Makes small what can be.
    fn fold(&mut self) {
        while self.places.len() >= CHUNK {
            let is_hot = |place: &&Place| place.slot().is_some_and(|slot| !slot.entry.is_paged());
            if self.places.iter().take(CHUNK).filter(is_hot).count() > CHUNK / 2 {
                break;
            }
            self.make_front_older();
        }
        self.older.fold();
        if self.places.capacity() > 4 * self.places.len().max(CHUNK) {
            self.places.shrink_to(2 * self.places.len().max(CHUNK));
        }
    }
}
