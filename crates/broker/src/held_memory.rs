//! What deliveries take in memory that nobody has settled: their holders tell the pager.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use leveret_store::{Lsn, Store};

use crate::broker::Broker;
use crate::queue::QueueAgenda;

/// Who holds deliveries and can do without their messages in memory: a front end's connection.
pub trait Holder: Send + Sync {
    /// Forgets the messages of about `most` deliveries that are stored, with an LSN up to `readable`,
    /// or that nobody will need again. Whether anything went.
    fn page_out(&self, readable: Lsn, most: usize) -> bool;

    /// Writes about `most` messages to disk that the journal does not have, and forgets them. Whether
    /// anything went.
    ///
    /// # Errors
    /// When the disk is full or fails: the messages stay in memory.
    fn spill(&self, store: &Store, most: usize) -> io::Result<bool>;

    /// It has been asked, and can be asked again: as [`HeldMemory::hold_on`].
    fn hold_on(&self);
}

/// What one holder's deliveries take in memory, as the pager is told. What it was told last is given
/// back by whoever told it.
pub struct HeldMemory {
    agenda: Arc<QueueAgenda>,
    holder: Weak<dyn Holder>,
    /// It is among those who can be asked to page out.
    is_listed: AtomicBool,
}

impl HeldMemory {
    /// The pager is told of changes in steps of about so many bytes: most deliveries are settled at
    /// once, and what all share should not be touched for each.
    pub const STEP: u64 = 32 * 1024;

    /// For a holder that has nothing yet.
    pub fn new(broker: &Broker, holder: Weak<dyn Holder>) -> Self {
        let agenda = Arc::clone(&broker.agenda);
        Self { agenda, holder, is_listed: AtomicBool::new(false) }
    }

    /// Some of its deliveries take `now` bytes, about, instead of `before`.
    pub fn changed(&self, before: u64, now: u64) {
        // Whoever is told of too much looks for who can be asked.
        if now > before && !self.is_listed.swap(true, Ordering::Relaxed) {
            self.agenda.pager.hold_deliveries(Weak::clone(&self.holder));
        }
        self.agenda.pager.changed(before, now);
    }

    /// Its holder has been asked to page out, and can be asked again if it still holds anything.
    pub fn hold_on(&self, holds_some: bool) {
        self.is_listed.store(holds_some, Ordering::Relaxed);
        if holds_some {
            self.agenda.pager.hold_deliveries(Weak::clone(&self.holder));
        }
    }
}
