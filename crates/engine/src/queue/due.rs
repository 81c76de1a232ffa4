//! The due index: what may expire before others ahead of it.

use std::collections::BTreeSet;

use super::page::PagePlace;
use super::ring::Place;
use crate::ids::{Lsn, Millis};

/// By deadline. Boxed: most queues have none.
#[derive(Debug, Default)]
pub(super) struct DueIndex {
    #[expect(clippy::box_collection, reason = "keeps queues without mixed deadlines small")]
    index: Option<Box<BTreeSet<Due>>>,
}

/// Something with a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) deadline: Millis,
    pub(super) level: u8,
    pub(super) slot: DueSlot,
}

/// Where it is in its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DueSlot {
    Returned(Lsn),
    Ring(Place),
    /// The page there, with the earliest deadline of its entries.
    Page(PagePlace),
}

impl DueIndex {
    pub(super) fn insert(&mut self, due: Due) {
        self.index.get_or_insert_default().insert(due);
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, due: &Due) -> bool {
        self.index.as_mut().is_some_and(|index| index.remove(due))
    }

    pub(super) fn first(&self) -> Option<Due> {
        self.index.as_ref().and_then(|index| index.first().copied())
    }

    /// The deadline of the page in `place` has changed.
    pub(super) fn change_page(
        &mut self,
        level: u8,
        place: PagePlace,
        before: Option<Millis>,
        after: Option<Millis>,
    ) {
        if before == after {
            return;
        }
        let due = |deadline| Due { deadline, level, slot: DueSlot::Page(place) };
        if let Some(before) = before {
            self.remove(&due(before));
        }
        if let Some(after) = after {
            self.insert(due(after));
        }
    }
}
