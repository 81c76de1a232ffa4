//! Which queues have dead letters that others have not taken yet.

use std::sync::Arc;

use ahash::AHashMap;
use leveret_engine::QueueId;

/// The lists of those queues, which may be thousands: letters with the same share one.
#[derive(Default)]
pub(super) struct TakenBy {
    /// How many letters share each.
    lists: AHashMap<Arc<[QueueId]>, u64>,
    memory: u64,
}

impl TakenBy {
    /// What they take in memory, about, in bytes.
    pub(super) const fn memory(&self) -> u64 {
        self.memory
    }

    /// Has a letter share its list with those that have the same.
    pub(super) fn share(&mut self, list: &mut Arc<[QueueId]>) {
        if list.is_empty() {
            return;
        }
        if let Some((known, _)) = self.lists.get_key_value(&**list) {
            *list = Arc::clone(known);
        } else {
            self.memory += size_of_val(&**list) as u64;
        }
        *self.lists.entry(Arc::clone(list)).or_default() += 1;
    }

    /// A letter with this list is gone.
    pub(super) fn leave(&mut self, list: &[QueueId]) {
        let Some(letters) = self.lists.get_mut(list) else { return };
        *letters -= 1;
        if *letters == 0 {
            self.lists.remove(list);
            self.memory -= size_of_val(list) as u64;
        }
    }
}
