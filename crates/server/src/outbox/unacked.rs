//! Deliveries a client has not settled, by delivery tag.

use std::collections::VecDeque;

use leveret_engine::Entry;

/// One unsettled delivery.
pub(crate) struct Slot {
    /// Index of where it came from, in the channel's sources.
    pub(crate) source: u32,
    pub(crate) entry: Entry,
}

/// A channel's delivery tags: counted from 1, each given once, found again without hashing.
///
/// A deque over the tags from the oldest outstanding one on; settled and `no_ack` deliveries leave
/// holes that go when they reach the front. So do those that were taken back, once the client has
/// settled them, which then means nothing.
#[derive(Default)]
pub(crate) struct Unacked {
    /// The tag of the first slot, less one: how many tags lie before it.
    base: u64,
    places: VecDeque<Place>,
    outstanding: usize,
}

/// What became of a tag.
enum Place {
    /// Its delivery is settled.
    Settled,
    /// Its delivery waits for its settlement.
    Held(Slot),
    /// Its delivery went back to the queue, which the client need not know.
    TakenBack,
}

impl Place {
    fn slot(&self) -> Option<&Slot> {
        match self {
            Self::Held(slot) => Some(slot),
            Self::Settled | Self::TakenBack => None,
        }
    }

    fn is_settled(&self) -> bool {
        matches!(self, Self::Settled)
    }

    fn replace(&mut self, with: Self) -> Option<Slot> {
        match std::mem::replace(self, with) {
            Self::Held(slot) => Some(slot),
            Self::Settled | Self::TakenBack => None,
        }
    }
}

/// The tag isn't outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownTag(pub(crate) u64);

impl Unacked {
    /// The tag the next delivery gets.
    pub(crate) fn next_tag(&self) -> u64 {
        self.base + self.places.len() as u64 + 1
    }

    /// How many deliveries wait for their settlement.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Deliveries that wait for their settlement, by tag.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Slot)> {
        (self.base + 1..).zip(&self.places).filter_map(|(tag, place)| Some((tag, place.slot()?)))
    }

    /// Where the deliveries came from that wait for their settlement, by tag.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (u64, u32)> {
        self.iter().map(|(tag, slot)| (tag, slot.source))
    }

    /// Gives the next tag to a delivery that waits for its settlement.
    pub(crate) fn push(&mut self, slot: Slot) {
        self.outstanding += 1;
        self.places.push_back(Place::Held(slot));
    }

    /// Uses up the next tag for a delivery that is settled already.
    pub(crate) fn skip(&mut self) {
        if self.places.is_empty() {
            self.base += 1;
        } else {
            self.places.push_back(Place::Settled);
        }
    }

    /// Takes one delivery out; nothing if it was taken back before.
    pub(crate) fn take(&mut self, tag: u64) -> Result<Option<Slot>, UnknownTag> {
        let place = self.place(tag)?;
        let slot = place.replace(Place::Settled);
        self.outstanding -= usize::from(slot.is_some());
        self.trim();
        Ok(slot)
    }

    /// Takes one delivery out that its client may still settle, to no effect.
    pub(crate) fn take_back(&mut self, tag: u64) -> Option<Slot> {
        let slot = self.place(tag).ok()?.replace(Place::TakenBack);
        self.outstanding -= usize::from(slot.is_some());
        slot
    }

    /// Takes all deliveries up to and including `tag`, which itself has to be outstanding; 0 takes
    /// all there are.
    pub(crate) fn take_through(
        &mut self,
        tag: u64,
        mut each: impl FnMut(u64, Slot),
    ) -> Result<(), UnknownTag> {
        let count = if tag == 0 {
            self.places.len()
        } else {
            self.place(tag)?;
            self.index(tag).map_or(0, |index| index + 1)
        };
        for place in self.places.drain(..count) {
            self.base += 1;
            if let Place::Held(slot) = place {
                self.outstanding -= 1;
                each(self.base, slot);
            }
        }
        self.trim();
        Ok(())
    }

    /// Puts a taken delivery back under its tag: a transaction was rolled back.
    pub(crate) fn restore(&mut self, tag: u64, slot: Slot) {
        while tag <= self.base {
            self.places.push_front(Place::Settled);
            self.base -= 1;
        }
        if let Some(place) = self.index(tag).and_then(|index| self.places.get_mut(index)) {
            debug_assert!(place.is_settled(), "only a taken delivery is put back");
            *place = Place::Held(slot);
            self.outstanding += 1;
        }
    }

    fn index(&self, tag: u64) -> Option<usize> {
        usize::try_from(tag.checked_sub(self.base + 1)?).ok()
    }

    /// The place of a tag that the client has not settled.
    fn place(&mut self, tag: u64) -> Result<&mut Place, UnknownTag> {
        let place = self.index(tag).and_then(|index| self.places.get_mut(index));
        place.filter(|place| !place.is_settled()).ok_or(UnknownTag(tag))
    }

    fn trim(&mut self) {
        while let Some(Place::Settled) = self.places.front() {
            self.places.pop_front();
            self.base += 1;
        }
        if self.places.is_empty() && self.places.capacity() > IDLE_SLOTS {
            self.places.shrink_to(IDLE_SLOTS);
        }
    }
}

/// Room kept when nothing is outstanding: a backlog once worked off gives its memory back.
const IDLE_SLOTS: usize = 4096;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use leveret_engine::{Body, Lsn, MessageArena, Millis};
    use proptest::prelude::*;

    use super::*;

    fn slot(lsn: u64) -> Slot {
        let mut arena = MessageArena::default();
        let properties = leveret_codec::Properties::default();
        let message = arena.message(Millis(0), "", "k", &properties, &[0, 0], Body::Copy(b"x"));
        Slot { source: 0, entry: Entry::new(Lsn(lsn), message) }
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Push,
        Skip,
        Take(u64),
        TakeThrough(u64),
        TakeAndRestore(u64),
        TakeBack(u64),
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let operation = prop_oneof![
            4 => Just(Operation::Push),
            1 => Just(Operation::Skip),
            2 => (0..40u64).prop_map(Operation::Take),
            1 => (0..40u64).prop_map(Operation::TakeThrough),
            1 => (0..40u64).prop_map(Operation::TakeAndRestore),
            1 => (0..40u64).prop_map(Operation::TakeBack),
        ];
        proptest::collection::vec(operation, 0..80)
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_of_tags(operations in operations()) {
            let mut unacked = Unacked::default();
            let mut model = BTreeMap::new();
            let mut next = 1;
            for operation in operations {
                match operation {
                    Operation::Push => {
                        prop_assert_eq!(unacked.next_tag(), next);
                        unacked.push(slot(next));
                        model.insert(next, Some(next));
                        next += 1;
                    }
                    Operation::Skip => {
                        unacked.skip();
                        next += 1;
                    }
                    Operation::Take(tag) => {
                        let taken = unacked.take(tag).map(|slot| Some(slot?.entry.lsn.0)).ok();
                        prop_assert_eq!(taken, model.remove(&tag));
                    }
                    Operation::TakeThrough(tag) => {
                        let mut taken = Vec::new();
                        let result =
                            unacked.take_through(tag, |tag, slot| taken.push((tag, slot.entry.lsn.0)));
                        if tag == 0 || model.contains_key(&tag) {
                            prop_assert!(result.is_ok());
                            let limit = if tag == 0 { u64::MAX } else { tag };
                            let expected: Vec<_> =
                                model.range(..=limit).filter_map(|(t, l)| Some((*t, (*l)?))).collect();
                            model.retain(|t, _| *t > limit);
                            prop_assert_eq!(taken, expected);
                        } else {
                            prop_assert_eq!(result, Err(UnknownTag(tag)));
                            prop_assert!(taken.is_empty());
                        }
                    }
                    Operation::TakeAndRestore(tag) => {
                        match unacked.take(tag) {
                            Ok(Some(slot)) => unacked.restore(tag, slot),
                            Ok(None) => prop_assert_eq!(model.remove(&tag), Some(None)),
                            Err(_) => prop_assert!(!model.contains_key(&tag)),
                        }
                    }
                    Operation::TakeBack(tag) => {
                        let taken = unacked.take_back(tag).map(|slot| slot.entry.lsn.0);
                        let held = model.get_mut(&tag).and_then(Option::take);
                        prop_assert_eq!(taken, held);
                    }
                }
                prop_assert_eq!(unacked.next_tag(), next);
                let held = model.values().filter(|held| held.is_some()).count();
                prop_assert_eq!(unacked.outstanding(), held);
            }
        }
    }
}
