//! Room that collections keep when they are emptied.
//!
//! A client can make a queue's or an exchange's collection large, empty it, and go on with the next: what stays must
//! be in proportion to what is there.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use smallvec::{Array, SmallVec};

/// A collection that can give back the room of what was removed from it.
pub trait GiveBack {
    /// To be called after each removal. Room for few it keeps, and otherwise for four times of what is left at most;
    /// so what it takes to give some back, the removals before have earned.
    fn give_back(&mut self);
}

/// Whether it has room for far more than there is.
pub(crate) const fn is_roomy(len: usize, capacity: usize) -> bool {
    capacity > KEPT && len <= capacity / 4
}

/// Room for so many is always kept.
const KEPT: usize = 64;

impl<T> GiveBack for Vec<T> {
    fn give_back(&mut self) {
        if is_roomy(self.len(), self.capacity()) {
            self.shrink_to(2 * self.len());
        }
    }
}

impl<A: Array> GiveBack for SmallVec<A> {
    fn give_back(&mut self) {
        if is_roomy(self.len(), self.capacity()) {
            self.shrink_to_fit();
        }
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> GiveBack for HashMap<K, V, S> {
    fn give_back(&mut self) {
        if is_roomy(self.len(), self.capacity()) {
            self.shrink_to(2 * self.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emptied_keeps_little_room() {
        let mut vec: Vec<u64> = (0..10_000).collect();
        let mut small: SmallVec<[u64; 2]> = (0..10_000).collect();
        let mut map: HashMap<u64, u64> = (0..10_000).map(|number| (number, number)).collect();
        for left in (0..10_000).rev() {
            vec.pop();
            small.pop();
            map.remove(&(left as u64));
            let rooms = [vec.capacity(), small.capacity(), map.capacity()];
            vec.give_back();
            small.give_back();
            map.give_back();
            for (before, room) in
                rooms.iter().zip([vec.capacity(), small.capacity(), map.capacity()])
            {
                assert!(room <= KEPT.max(5 * left), "{room} for {left}");
                assert!(
                    room == *before || room >= left && room <= before / 3 * 2,
                    "{before} to {room} for {left}"
                );
            }
        }
    }
}
