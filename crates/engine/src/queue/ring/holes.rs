//! Slots of which the entries have gone from the middle.

use std::collections::VecDeque;

use super::{Chunk, Ring, Slots};
use crate::queue::entry::Entry;

/// A chunk with entries in so few of its slots, one in so many, is made small.
const SPARSE: usize = 8;
/// More holes than these in a row are no slots then.
const GAP: usize = 3;

impl Ring {
    /// Restores the occupied front slot after something was taken.
    pub(super) fn drop_holes(&mut self) {
        while let Some(Chunk::Hot(first)) = self.chunks.front() {
            match first.slots.front() {
                Some(Some(_)) => return,
                Some(None) => drop(self.pop_slot()),
                None if self.chunks.len() > 1 => drop(self.chunks.pop_front()),
                None => return,
            }
        }
    }

    /// As [`leave_holes`](Self::leave_holes), when another chunk has been added behind the last.
    pub(super) fn was_last(&mut self) {
        if let Some(at) = self.chunks.len().checked_sub(2) {
            self.leave_holes(at);
        }
    }

    /// Leaves the holes of a chunk out if there is hardly anything else in it, unless it is the last, which is
    /// added to. So an entry that stays keeps no room for those that go before it, however many.
    pub(super) fn leave_holes(&mut self, at: usize) {
        let is_last = at + 1 >= self.chunks.len();
        let Some(Chunk::Hot(chunk)) = self.chunks.get_mut(at) else { return };
        if is_last || chunk.held > chunk.slots.len() / SPARSE {
            return;
        }
        let runs = runs(chunk.start, std::mem::take(&mut chunk.slots));
        self.replace(at, runs);
    }

    /// Puts runs in the place of a chunk. Of many chunks as few are moved as can be.
    fn replace(&mut self, at: usize, mut runs: Vec<Slots>) {
        if let Some(last) = runs.pop()
            && let Some(chunk) = self.chunks.get_mut(at)
        {
            *chunk = Chunk::Hot(last);
        } else {
            self.chunks.remove(at);
        }
        if !runs.is_empty() {
            self.chunks.rotate_left(at);
            runs.into_iter().rev().for_each(|run| self.chunks.push_front(Chunk::Hot(run)));
            self.chunks.rotate_right(at);
        }
    }
}

/// The entries with no more than a few holes between them.
fn runs(start: u64, slots: VecDeque<Option<Entry>>) -> Vec<Slots> {
    let mut runs: Vec<Slots> = Vec::new();
    let mut holes = 0;
    for (place, slot) in (start..).zip(slots) {
        let Some(entry) = slot else {
            holes += 1;
            continue;
        };
        match runs.last_mut() {
            Some(run) if holes <= GAP => {
                run.slots.extend(std::iter::repeat_with(|| None).take(holes));
                run.push(entry);
            }
            _ => runs.push(Slots::of(place, entry)),
        }
        holes = 0;
    }
    runs.iter_mut().for_each(|run| run.slots.shrink_to_fit());
    runs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::super::CHUNK;
    use super::*;
    use crate::Millis;
    use crate::ids::Lsn;
    use crate::message::{Body, Message, MessageArena};
    use crate::queue::due::DueIndex;
    use crate::queue::page::PageOut;

    fn entry(lsn: u64) -> Entry {
        static MESSAGE: std::sync::LazyLock<Message> = std::sync::LazyLock::new(|| {
            let properties = leveret_codec::Properties::default();
            MessageArena::new().message(Millis(0), "", "k", &properties, &[0, 0], Body::Copy(b"x"))
        });
        Entry::new(Lsn(lsn), MESSAGE.clone())
    }

    impl Ring {
        /// Slots for which there is room.
        fn room(&self) -> usize {
            let room = |chunk: &Chunk| match chunk {
                Chunk::Hot(chunk) => chunk.slots.capacity(),
                Chunk::Paged(_) => 0,
            };
            self.chunks.iter().map(room).sum()
        }
    }

    #[test]
    fn one_that_stays_keeps_no_room_for_those_that_go() {
        let mut ring = Ring::default();
        ring.push(entry(0));
        for round in 0..1000 {
            let places: Vec<_> = (0..round % 100).map(|lsn| ring.push(entry(lsn + 1))).collect();
            for place in places {
                ring.take(place).unwrap();
            }
            assert!(ring.chunks.len() <= 3 && ring.room() <= 4 * CHUNK, "{ring:?}");
        }
        assert_eq!(ring.pop().unwrap().1.lsn, Lsn(0));
        assert!(ring.is_empty());
    }

    #[test]
    fn few_that_stay_take_no_more_room_than_their_own() {
        let mut ring = Ring::default();
        let places: Vec<_> = (0..10_000).map(|lsn| ring.push(entry(lsn))).collect();
        for (lsn, place) in (0..).zip(places) {
            if lsn % 50 > 0 {
                ring.take(place).unwrap();
            }
        }
        assert!(ring.room() <= 4 * 200 + CHUNK, "{}", ring.room());
        let left = std::iter::from_fn(|| ring.pop()).map(|(_, entry)| entry.lsn.0);
        assert!(left.eq((0..10_000).step_by(50)));
    }

    /// As those of a chunk do that is full.
    #[test]
    fn few_that_stay_go_to_common_pages() {
        let mut ring = Ring::default();
        let places: Vec<_> = (0..10_000).map(|lsn| ring.push(entry(lsn))).collect();
        for (lsn, place) in (0..).zip(places) {
            if lsn % 50 > 0 {
                ring.take(place).unwrap();
            }
        }
        let mut due = DueIndex::default();
        let mut how = PageOut::new(&|_| true, 0, usize::MAX, 0, &mut due);
        ring.page_out(&mut how);
        assert_eq!(how.gone, 200);
        assert!(ring.chunks.len() <= 10_000 / CHUNK + 1, "{}", ring.chunks.len());
        let slots = ring.slots().map(|slot| slot.lsn().0);
        assert!(slots.eq((0..10_000).step_by(50)));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_of_places(
            steps in proptest::collection::vec((0..4_u8, any::<Index>(), 1..300_usize), 0..40),
        ) {
            let mut ring = Ring::default();
            let mut model = BTreeMap::new();
            let mut lsns = 0_u64..;
            for (step, index, count) in steps {
                match step {
                    0 | 1 => model.extend(
                        lsns.by_ref().take(count).map(|lsn| (ring.push(entry(lsn)), lsn)),
                    ),
                    2 => {
                        for _ in 0..count / 10 {
                            let popped = ring.pop().map(|(place, entry)| (place, entry.lsn.0));
                            prop_assert_eq!(popped, model.pop_first());
                        }
                    }
                    // Some in a row, of which a few stay.
                    _ => {
                        let from = index.index(model.len() + 1);
                        let places = model.keys().copied().skip(from).take(count).enumerate();
                        let places: Vec<_> = places.filter(|(at, _)| at % 20 > 0).collect();
                        for (_, place) in places {
                            let taken = ring.take(place).map(|entry| entry.lsn.0);
                            prop_assert_eq!(taken, model.remove(&place));
                            prop_assert!(ring.take(place).is_none());
                        }
                    }
                }
                prop_assert!(ring.iter().map(|entry| &entry.lsn.0).eq(model.values()));
                let front = ring.front().map(|(place, _)| place);
                prop_assert_eq!(front, model.keys().next().copied());
                prop_assert_eq!(ring.window(usize::MAX), (model.len(), false));
            }
        }
    }
}
