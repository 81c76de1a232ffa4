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
/// holes that go when they reach the front.
#[derive(Default)]
pub(crate) struct Unacked {
    /// The tag of the first slot, less one: how many tags lie before it.
    base: u64,
    slots: VecDeque<Option<Slot>>,
    outstanding: usize,
}

/// The tag isn't outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownTag(pub(crate) u64);

impl Unacked {
    /// The tag the next delivery gets.
    pub(crate) fn next_tag(&self) -> u64 {
        self.base + self.slots.len() as u64 + 1
    }

    /// How many deliveries wait for their settlement.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Deliveries that wait for their settlement, by tag.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Slot)> {
        (self.base + 1..).zip(&self.slots).filter_map(|(tag, slot)| Some((tag, slot.as_ref()?)))
    }

    /// Gives the next tag to a delivery that waits for its settlement.
    pub(crate) fn push(&mut self, slot: Slot) {
        self.outstanding += 1;
        self.slots.push_back(Some(slot));
    }

    /// Uses up the next tag for a delivery that is settled already.
    pub(crate) fn skip(&mut self) {
        if self.slots.is_empty() {
            self.base += 1;
        } else {
            self.slots.push_back(None);
        }
    }

    /// Takes one delivery out.
    pub(crate) fn take(&mut self, tag: u64) -> Result<Slot, UnknownTag> {
        let index = self.index(tag).ok_or(UnknownTag(tag))?;
        let slot = self.slots.get_mut(index).and_then(Option::take).ok_or(UnknownTag(tag))?;
        self.outstanding -= 1;
        self.trim();
        Ok(slot)
    }

    /// Takes all deliveries up to and including `tag`, which itself has to be outstanding; 0 takes
    /// all there are.
    pub(crate) fn take_through(
        &mut self,
        tag: u64,
        mut each: impl FnMut(u64, Slot),
    ) -> Result<(), UnknownTag> {
        let count = if tag == 0 {
            self.slots.len()
        } else {
            let index = self.index(tag).ok_or(UnknownTag(tag))?;
            if self.slots.get(index).is_none_or(Option::is_none) {
                return Err(UnknownTag(tag));
            }
            index + 1
        };
        for slot in self.slots.drain(..count) {
            self.base += 1;
            if let Some(slot) = slot {
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
            self.slots.push_front(None);
            self.base -= 1;
        }
        if let Some(place) = self.index(tag).and_then(|index| self.slots.get_mut(index)) {
            debug_assert!(place.is_none(), "only a taken delivery is put back");
            *place = Some(slot);
            self.outstanding += 1;
        }
    }

    fn index(&self, tag: u64) -> Option<usize> {
        usize::try_from(tag.checked_sub(self.base + 1)?).ok()
    }

    fn trim(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
        if self.slots.is_empty() && self.slots.capacity() > IDLE_SLOTS {
            self.slots.shrink_to(IDLE_SLOTS);
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
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let operation = prop_oneof![
            4 => Just(Operation::Push),
            1 => Just(Operation::Skip),
            2 => (0..40u64).prop_map(Operation::Take),
            1 => (0..40u64).prop_map(Operation::TakeThrough),
            1 => (0..40u64).prop_map(Operation::TakeAndRestore),
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
                        model.insert(next, next);
                        next += 1;
                    }
                    Operation::Skip => {
                        unacked.skip();
                        next += 1;
                    }
                    Operation::Take(tag) => {
                        let taken = unacked.take(tag).map(|slot| slot.entry.lsn.0).ok();
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
                                model.iter().filter(|(t, _)| **t <= limit).map(|(t, l)| (*t, *l)).collect();
                            model.retain(|t, _| *t > limit);
                            prop_assert_eq!(taken, expected);
                        } else {
                            prop_assert_eq!(result, Err(UnknownTag(tag)));
                            prop_assert!(taken.is_empty());
                        }
                    }
                    Operation::TakeAndRestore(tag) => {
                        if let Ok(slot) = unacked.take(tag) {
                            unacked.restore(tag, slot);
                        }
                    }
                }
                prop_assert_eq!(unacked.next_tag(), next);
                prop_assert_eq!(unacked.outstanding(), model.len());
            }
        }
    }
}
