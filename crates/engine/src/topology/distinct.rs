//! A list without repetitions.

use std::hash::Hash;

use ahash::AHashSet;
use smallvec::SmallVec;

/// Values in the order of their first insertion, each once. Keeps memory when cleared.
#[derive(Debug)]
pub(super) struct Distinct<T: Copy> {
    list: SmallVec<[T; 8]>,
    /// The same values; kept up only beyond [`SCANNED`] of them.
    known: AHashSet<T>,
}

/// Up to this many values, looking through all of them beats hashing.
const SCANNED: usize = 16;

impl<T: Copy> Default for Distinct<T> {
    fn default() -> Self {
        Self { list: SmallVec::new(), known: AHashSet::default() }
    }
}

impl<T: Copy + Eq + Hash> Distinct<T> {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        empty(&mut self.known);
    }

    pub(super) fn as_slice(&self) -> &[T] {
        &self.list
    }

    /// Adds `value` unless it is there.
    pub(super) fn insert(&mut self, value: T) {
        let is_new = if self.list.len() < SCANNED {
            !self.list.contains(&value)
        } else {
            if self.known.is_empty() {
                self.known.extend(self.list.iter().copied());
            }
            self.known.insert(value)
        };
        if is_new {
            self.list.push(value);
        }
    }
}

/// So many values have their memory kept when they go.
pub(super) const KEPT: usize = 4096;

/// Clears a set, which takes time in proportion to its capacity: one that was huge once gives its
/// memory back.
pub(super) fn empty<T>(set: &mut AHashSet<T>) {
    if set.capacity() > KEPT {
        *set = AHashSet::default();
    } else {
        set.clear();
    }
}
