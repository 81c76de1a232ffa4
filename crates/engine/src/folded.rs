//! Paged entries that stand in no queue, in a byte or two each.

use std::sync::Arc;

use crate::paged_list::{PagedList, PagedSlot};
use crate::queue::{PagedEntry, Spilled};

/// A list of entries that are paged out, or of what is in their places, each with something about it
/// that is mostly the same for many in a row.
#[derive(Debug)]
pub struct Folded<T> {
    list: PagedList,
    runs: Vec<Run<T>>,
}

/// Places in a row that have this in common.
#[derive(Debug)]
struct Run<T> {
    len: u32,
    priority: Option<u8>,
    spilled: Option<Spilled>,
    about: T,
}

impl<T> Default for Folded<T> {
    fn default() -> Self {
        Self { list: PagedList::default(), runs: Vec::new() }
    }
}

impl<T: Copy + PartialEq> Folded<T> {
    /// Adds an entry, or a place without one.
    pub fn push(&mut self, entry: Option<&PagedEntry>, about: T) {
        self.list.push(entry.map(|entry| PagedSlot::restored(entry, false)));
        let priority = entry.and_then(|entry| entry.priority);
        let spilled = entry.and_then(|entry| entry.spilled.as_ref());
        let is_same = |last: &Run<T>| {
            let of = |spilled: Option<&Spilled>| spilled.map(|it| Arc::as_ptr(it).cast::<()>());
            (last.priority, last.about) == (priority, about)
                && of(last.spilled.as_ref()) == of(spilled)
        };
        match self.runs.last_mut() {
            Some(last) if is_same(last) => last.len += 1,
            _ => self.runs.push(Run { len: 1, priority, spilled: spilled.cloned(), about }),
        }
    }

    /// Lets go of room for more.
    pub fn seal(&mut self) {
        self.list.seal();
        self.runs.shrink_to_fit();
    }

    /// What is in its places.
    pub fn iter(&self) -> impl Iterator<Item = (Option<PagedEntry>, T)> + '_ {
        let runs = self.runs.iter().flat_map(|run| (0..run.len).map(move |_| run));
        self.list.iter().zip(runs).map(|(slot, run)| {
            let entry = slot.map(|slot| slot.entry(run.priority, run.spilled.as_ref()));
            (entry, run.about)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Lsn, Millis};

    fn entry() -> impl Strategy<Value = PagedEntry> {
        let spilled: [Spilled; 2] = [Arc::new(1), Arc::new(2)];
        let spilled = option::of((0..2_usize).prop_map(move |at| Arc::clone(&spilled[at])));
        let numbers = (0..300_u64, 0..30_u64, option::of(0..3_u8), option::of(0..90_u64), 0..3_u32);
        (numbers, any::<[bool; 2]>(), spilled).prop_map(
            |((lsn, bytes, priority, deadline, deliveries), [redelivered, stored], spilled)| {
                let (lsn, deadline) = (Lsn(lsn), deadline.map(Millis));
                PagedEntry {
                    lsn,
                    bytes,
                    priority,
                    deadline,
                    deliveries,
                    redelivered,
                    stored,
                    spilled,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_folded_is_unfolded(places in vec((option::of(entry()), 0..3_u32), 0..60)) {
            let mut folded = Folded::default();
            places.iter().for_each(|(entry, about)| folded.push(entry.as_ref(), *about));
            folded.seal();
            let place = |spilled: &Spilled| Arc::as_ptr(spilled).cast::<()>();
            let shown = |(entry, about): (Option<PagedEntry>, u32)| {
                let spilled = entry.as_ref().and_then(|entry| entry.spilled.as_ref()).map(place);
                format!("{entry:?} {about} {spilled:?}")
            };
            prop_assert!(folded.iter().map(shown).eq(places.into_iter().map(shown)));
        }
    }
}
