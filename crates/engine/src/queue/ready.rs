//! The messages ready for delivery: one first-in first-out level per priority.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::Entry;
use super::level_set::LevelSet;
use super::ring::{Place, Ring};
use crate::ids::{Lsn, Millis};

/// All ready messages of a queue in delivery order.
///
/// Delivery order is: highest level first; within a level what was returned, by [`Lsn`], then
/// what was pushed, in order of arrival. As messages leave a level from its front, a returned
/// message was ahead of all that are still in the ring: its LSN restores its original position.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// By priority, created up to the highest ever used.
    levels: Vec<Level>,
    /// The levels that hold something.
    occupied: LevelSet,
    len: u64,
    bytes: u64,
    /// Entries with a deadline; while zero nothing looks for expired ones.
    mortal: u64,
    /// Entries that may expire before others ahead of them. Boxed: most queues have none.
    #[expect(clippy::box_collection, reason = "keeps queues without mixed deadlines small")]
    due: Option<Box<BTreeSet<Due>>>,
}

#[derive(Debug, Default)]
struct Level {
    ring: Ring,
    returned: BTreeMap<Lsn, Entry>,
    latest: Latest,
}

/// The latest deadline in a ring, not counting entries in the due index.
///
/// An entry with a deadline at or after it expires no earlier than everything ahead of it, so
/// looking at the front of the ring finds it in time; any other entry is put in the due index.
/// A queue whose messages all have the same time to live never needs the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Latest {
    #[default]
    Nothing,
    At(Millis),
    Never,
}

impl From<Option<Millis>> for Latest {
    fn from(deadline: Option<Millis>) -> Self {
        deadline.map_or(Self::Never, Self::At)
    }
}

/// An entry of the due index, ordered by deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    deadline: Millis,
    level: u8,
    slot: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Returned(Lsn),
    Ring(Place),
}

impl Ready {
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends at the end of a level.
    pub(super) fn push(&mut self, level: u8, entry: Entry) {
        self.count_in(&entry);
        let deadline = entry.deadline;
        let row = Self::row(&mut self.levels, level);
        if row.ring.is_empty() {
            row.latest = Latest::Nothing;
        }
        let in_order = Latest::from(deadline) >= row.latest;
        if in_order {
            row.latest = Latest::from(deadline);
        }
        let place = row.ring.push(entry);
        self.occupied.insert(level);
        if let (Some(deadline), false) = (deadline, in_order) {
            self.watch(Due { deadline, level, slot: Slot::Ring(place) });
        }
    }

    /// Puts an entry back where it came from.
    pub(super) fn put_back(&mut self, level: u8, entry: Entry) {
        self.count_in(&entry);
        if let Some(deadline) = entry.deadline {
            self.watch(Due { deadline, level, slot: Slot::Returned(entry.lsn) });
        }
        let row = Self::row(&mut self.levels, level);
        let replaced = row.returned.insert(entry.lsn, entry);
        self.occupied.insert(level);
        if let Some(replaced) = replaced {
            debug_assert!(false, "{:?} returned twice", replaced.lsn);
            self.count_out(&replaced);
        }
    }

    /// The entry next to be delivered.
    pub(super) fn front(&self) -> Option<&Entry> {
        let row = self.levels.get(usize::from(self.occupied.highest()?))?;
        match row.returned.first_key_value() {
            Some((_, entry)) => Some(entry),
            None => row.ring.front().map(|(_, entry)| entry),
        }
    }

    /// Takes the entry next to be delivered.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let level = self.occupied.highest()?;
        let row = self.levels.get_mut(usize::from(level))?;
        let (slot, entry) = match row.returned.pop_first() {
            Some((lsn, entry)) => (Slot::Returned(lsn), entry),
            None => {
                let (place, entry) = row.ring.pop()?;
                (Slot::Ring(place), entry)
            }
        };
        self.left(level, slot, &entry);
        Some(entry)
    }

    /// Takes the entry next to be delivered if its deadline is before `now`.
    pub(super) fn pop_front_overdue(&mut self, now: Millis) -> Option<Entry> {
        if self.mortal == 0 || self.front()?.deadline? >= now {
            return None;
        }
        self.pop()
    }

    /// Takes an entry whose deadline is at or before `now`, wherever it is.
    pub(super) fn pop_due(&mut self, now: Millis) -> Option<Entry> {
        if self.mortal == 0 {
            return None;
        }
        if let Some(&Due { deadline, level, slot }) = self.due.as_ref().and_then(|due| due.first())
            && deadline <= now
        {
            let row = self.levels.get_mut(usize::from(level))?;
            let entry = match slot {
                Slot::Returned(lsn) => row.returned.remove(&lsn)?,
                Slot::Ring(place) => row.ring.take(place)?,
            };
            self.left(level, slot, &entry);
            return Some(entry);
        }
        let level = self
            .occupied
            .iter()
            .find(|&level| self.ring_deadline(level).is_some_and(|deadline| deadline <= now))?;
        let (place, entry) = self.levels.get_mut(usize::from(level))?.ring.pop()?;
        self.left(level, Slot::Ring(place), &entry);
        Some(entry)
    }

    /// The earliest deadline of all entries.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        if self.mortal == 0 {
            return None;
        }
        let indexed = self.due.as_ref().and_then(|due| due.first()).map(|due| due.deadline);
        self.occupied.iter().filter_map(|level| self.ring_deadline(level)).chain(indexed).min()
    }

    /// All entries in delivery order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.levels.iter().rev().flat_map(|row| row.returned.values().chain(row.ring.iter()))
    }

    /// Gives memory of past backlogs back.
    pub(super) fn trim(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        } else {
            self.levels.iter_mut().for_each(|row| row.ring.trim());
        }
    }

    fn row(levels: &mut Vec<Level>, level: u8) -> &mut Level {
        let index = usize::from(level);
        if levels.len() <= index {
            levels.reserve_exact(index + 1 - levels.len());
            levels.resize_with(index + 1, Level::default);
        }
        #[expect(clippy::indexing_slicing, reason = "the lines above make it exist")]
        &mut levels[index]
    }

    fn count_in(&mut self, entry: &Entry) {
        self.len += 1;
        self.bytes = self.bytes.saturating_add(entry.bytes());
        self.mortal += u64::from(entry.deadline.is_some());
    }

    fn count_out(&mut self, entry: &Entry) {
        self.len -= 1;
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        self.mortal -= u64::from(entry.deadline.is_some());
    }

    /// Brings counts and indexes up to date after `entry` was taken from `slot`.
    fn left(&mut self, level: u8, slot: Slot, entry: &Entry) {
        self.count_out(entry);
        if let (Some(due), Some(deadline)) = (&mut self.due, entry.deadline) {
            due.remove(&Due { deadline, level, slot });
        }
        if let Some(row) = self.levels.get(usize::from(level))
            && row.ring.is_empty()
            && row.returned.is_empty()
        {
            self.occupied.remove(level);
        }
    }

    fn watch(&mut self, due: Due) {
        self.due.get_or_insert_default().insert(due);
    }

    /// The deadline at the front of a level's ring.
    fn ring_deadline(&self, level: u8) -> Option<Millis> {
        self.levels.get(usize::from(level))?.ring.front()?.1.deadline
    }
}
