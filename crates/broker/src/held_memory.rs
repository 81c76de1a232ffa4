//! What deliveries take in memory that nobody has settled, and dead letters that wait: their holders tell the pager.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use leveret_store::{Lsn, Store};

use crate::broker::Broker;
use crate::queue::QueueAgenda;

/// Who holds deliveries and can do without their messages in memory: a front end's connection. Or the dead letters
/// that wait.
pub trait Holder: Send + Sync {
    /// Forgets the messages of about `most` deliveries that are stored, with an LSN up to `readable`,
    /// or that nobody will need again. Whether anything went.
    fn page_out(&self, readable: Lsn, most: usize) -> bool;

    /// Writes messages to disk that the journal does not have and that take about `most` bytes in memory, and
    /// forgets them. Whether anything went.
    ///
    /// # Errors
    /// When the disk is full or fails: the messages stay in memory.
    fn spill(&self, store: &Store, most: u64) -> io::Result<bool>;

    /// It has been asked, and can be asked again: as [`HeldMemory::hold_on`].
    fn hold_on(&self);
}

/// How a holder's [shares](HeldShare) tell the pager what its deliveries take in memory.
pub struct HeldMemory {
    agenda: Arc<QueueAgenda>,
    holder: Weak<dyn Holder>,
    /// It is among those who can be asked to page out.
    is_listed: AtomicBool,
}

impl HeldMemory {
    /// For a holder that has nothing yet.
    pub fn new(broker: &Broker, holder: Weak<dyn Holder>) -> Self {
        Self::of(&broker.agenda, holder)
    }

    pub(crate) fn of(agenda: &Arc<QueueAgenda>, holder: Weak<dyn Holder>) -> Self {
        Self { agenda: Arc::clone(agenda), holder, is_listed: AtomicBool::new(false) }
    }

    fn changed(&self, before: u64, now: u64) {
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

/// What some of a holder's deliveries, those of a channel, take in memory.
///
/// The pager is told in steps, since most deliveries are settled at once, and what all share should not
/// be touched for each. A step is at most what it was when there were as many shares as have taken
/// theirs before: so all that is not told is less than half the budget with 10,000 of them.
pub struct HeldShare {
    held: Arc<HeldMemory>,
    /// What the pager knows.
    told: u64,
    step: u64,
}

impl HeldShare {
    /// Of deliveries that are to come.
    pub fn new(held: Arc<HeldMemory>) -> Self {
        let shares = held.agenda.pager.add_share();
        let step = held.agenda.pager.step(shares);
        Self { held, told: 0, step }
    }

    /// They take `memory` bytes now, about.
    pub fn set(&mut self, memory: u64) {
        if memory.abs_diff(self.told) >= self.step {
            self.held.changed(self.told, memory);
            self.told = memory;
            let pager = &self.held.agenda.pager;
            self.step = pager.step(pager.shares());
        }
    }

    /// Its holder's.
    pub(crate) const fn held(&self) -> &Arc<HeldMemory> {
        &self.held
    }

    /// Whether the pager knows of any.
    pub fn is_told(&self) -> bool {
        self.told > 0
    }
}

impl Drop for HeldShare {
    fn drop(&mut self) {
        self.held.changed(self.told, 0);
        self.held.agenda.pager.remove_share();
    }
}
