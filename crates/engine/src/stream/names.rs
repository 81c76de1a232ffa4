//! The positions of named readers, kept while they are away.

use std::sync::Arc;

use ahash::AHashMap;

use super::progress::Progress;
use crate::ids::ConsumerId;

/// Names kept. Beyond, those unused for longest are forgotten.
pub(super) const NAMES_MAX: usize = 4096;

/// A change to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChange {
    /// The reader's name.
    pub name: Arc<str>,
    /// Where it goes on; `None` if it is forgotten.
    pub offset: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    names: AHashMap<Arc<str>, Position>,
    /// Those whose position is not recorded yet, once each.
    changed: Vec<Arc<str>>,
    /// Counts readers that took a name.
    uses: u64,
}

#[derive(Debug)]
struct Position {
    offset: u64,
    /// The reader that has the name.
    owner: Option<ConsumerId>,
    /// When it was taken last.
    used: u64,
    is_changed: bool,
}

impl Names {
    /// Gives a name to a reader. Where the last one of this name has got to; `start` for a new
    /// name.
    pub(super) fn take(&mut self, name: &Arc<str>, owner: ConsumerId, start: u64) -> u64 {
        self.uses += 1;
        let used = self.uses;
        if let Some(position) = self.names.get_mut(name) {
            position.owner = Some(owner);
            position.used = used;
            return position.offset;
        }
        self.make_room();
        let position = Position { offset: start, owner: Some(owner), used, is_changed: true };
        self.names.insert(Arc::clone(name), position);
        self.changed.push(Arc::clone(name));
        start
    }

    /// Notes how far a reader has got, if the name is still its own.
    pub(super) fn store(&mut self, owner: ConsumerId, progress: &Progress) {
        let Some(position) = self.names.get_mut(&progress.name) else { return };
        let offset = progress.offset();
        if position.owner != Some(owner) || position.offset == offset {
            return;
        }
        position.offset = offset;
        if !std::mem::replace(&mut position.is_changed, true) {
            self.changed.push(Arc::clone(&progress.name));
        }
    }

    /// A reader is gone for good, and nothing it held is open.
    pub(super) fn release(&mut self, owner: ConsumerId, progress: &Progress) {
        if let Some(position) = self.names.get_mut(&progress.name)
            && position.owner == Some(owner)
        {
            position.owner = None;
        }
    }

    pub(super) fn restore(&mut self, name: &str, offset: u64) {
        let position = Position { offset, owner: None, used: 0, is_changed: false };
        self.names.insert(name.into(), position);
    }

    pub(super) const fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(super) fn take_changed(&mut self, changes: &mut Vec<NameChange>) {
        for name in self.changed.drain(..) {
            let position = self.names.get_mut(&name);
            let offset = position.map(|position| {
                position.is_changed = false;
                position.offset
            });
            changes.push(NameChange { name, offset });
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names.iter().map(|(name, position)| (&**name, position.offset))
    }

    /// Forgets the name nobody has had for longest, if there are as many as may be.
    fn make_room(&mut self) {
        if self.names.len() < NAMES_MAX {
            return;
        }
        let unused = self.names.iter().filter(|(_, position)| position.owner.is_none());
        let oldest = unused.min_by_key(|(_, position)| position.used);
        let Some(name) = oldest.map(|(name, _)| Arc::clone(name)) else { return };
        if let Some(position) = self.names.remove(&name)
            && !position.is_changed
        {
            self.changed.push(name);
        }
    }
}
