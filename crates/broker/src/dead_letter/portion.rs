//! How much is dead-lettered at once.

use std::collections::VecDeque;

use leveret_engine::AnyEntry;

use super::Death;

/// Messages dead-lettered with one append, and about their bytes: a unit of the journal stays small.
pub(super) const PORTION: usize = 1024;
pub(super) const PORTION_BYTES: u64 = 1024 * 1024;
/// Places in queues that they take before they are there, about, those counted that finding the queues
/// takes the time of. A publisher's turn has as many.
const PORTION_PLACES: usize = 4096;
/// What one turn dead-letters. Dead letters may die again where they arrive, in ever more queues,
/// or come in a crowd; the rest waits for the next tick, so that nobody's turn lasts.
pub(super) const TURN: usize = 8 * PORTION;
pub(super) const TURN_BYTES: u64 = 8 * PORTION_BYTES;
pub(super) const TURN_PLACES: usize = 8 * PORTION_PLACES;

/// Takes out what may be a portion; how much of it is one shows when its messages and queues are found.
pub(super) fn take_portion(waiting: &mut VecDeque<Death<AnyEntry>>) -> Vec<Death<AnyEntry>> {
    let mut bytes = 0;
    let is_room_before = |death: &&Death<AnyEntry>| {
        let is_room = bytes < PORTION_BYTES;
        bytes += death.entry.bytes();
        is_room
    };
    let count = waiting.iter().take(PORTION).take_while(is_room_before).count();
    waiting.drain(..count).collect()
}

/// What has been dead-lettered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) letters: usize,
    bytes: u64,
    places: usize,
}

impl Load {
    /// Counts a letter of so many bytes that takes so many places.
    pub(super) fn add(&mut self, bytes: u64, places: usize) {
        // One that goes nowhere takes its time as well.
        *self += Self { letters: 1, bytes, places: places.max(1) };
    }

    /// Whether no more letters go with these.
    pub(super) const fn fills_portion(&self) -> bool {
        self.letters >= PORTION || self.bytes >= PORTION_BYTES || self.places >= PORTION_PLACES
    }

    /// Whether the turn ends with these.
    pub(super) const fn fills_turn(&self) -> bool {
        self.letters >= TURN || self.bytes >= TURN_BYTES || self.places >= TURN_PLACES
    }
}

impl std::ops::AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.letters += other.letters;
        self.bytes += other.bytes;
        self.places = self.places.saturating_add(other.places);
    }
}
