//! How far a named reader has got.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Settled;

/// The deliveries of a named reader: it goes on with the first it is not done with.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) name: Arc<str>,
    /// The offset it reads next.
    pub(super) next: u64,
    /// Delivered and not settled; as many as it has credit, at most.
    open: BTreeSet<u64>,
    /// The lowest it has given back.
    returned: Option<u64>,
}

impl Progress {
    pub(super) const fn new(name: Arc<str>, next: u64) -> Self {
        Self { name, next, open: BTreeSet::new(), returned: None }
    }

    pub(super) fn delivered(&mut self, offset: u64) {
        self.open.insert(offset);
    }

    pub(super) fn settled(&mut self, offset: u64, how: Settled) {
        self.open.remove(&offset);
        if how == Settled::Returned {
            self.returned = Some(self.returned.map_or(offset, |lowest| lowest.min(offset)));
        }
    }

    /// Whether nothing is left to be settled.
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Where it would go on.
    pub(super) fn offset(&self) -> u64 {
        let open = self.open.first().copied();
        self.next.min(open.unwrap_or(u64::MAX)).min(self.returned.unwrap_or(u64::MAX))
    }
}
