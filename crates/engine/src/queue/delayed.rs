//! Returned messages that wait before they can be delivered again.

mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::page::Page;
use super::Queue;
use super::any_entry::{AnyEntry, PAGED_ENTRY_MEMORY, PagedEntry};
use super::effect::Return;
use super::entry::{ENTRY_MEMORY, Entry};
use crate::ids::{Lsn, Millis};

/// Which returned messages wait, and how long (`x-delayed-retry-type`, `-min`, `-max`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayedRetry {
    /// The only kind of return it is for; `None` stands for every return.
    pub only: Option<Return>,
    /// How long a message waits after its first return; longer by this with each further one.
    pub min: Millis,
    /// The longest wait.
    pub max: Millis,
}

impl DelayedRetry {
    /// When a message returned now, for the `deliveries`th time, is ready again; `None` if at once.
    pub(super) fn ready_at(self, kind: Return, deliveries: u32, now: Millis) -> Option<Millis> {
        if self.only.is_some_and(|only| only != kind) {
            return None;
        }
        let delay = self.min.0.saturating_mul(deliveries.max(1).into()).min(self.max.0);
        Some(now.saturating_add(Millis(delay)))
    }
}

/// The messages that wait, by the time they leave.
///
/// What is on disk only is put on pages when there is enough of it, the last to leave first, and a
/// page is taken apart when its first message leaves. So what leaves one after the other comes to
/// stand on few pages, in whatever order it came; pages may still overlap.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    /// Those in memory.
    hot: BTreeMap<Place, Entry>,
    /// Those on disk that are on no page.
    loose: BTreeMap<Place, PagedEntry>,
    /// By the first on each.
    pages: BTreeMap<Place, Page>,
    len: u64,
    bytes: u64,
    hot_bytes: u64,
    /// The [large heads](Entry::large_head) of those in memory.
    heads: u64,
    /// When the last leaves, while there is one: they leave in order.
    last_at: Millis,
}

/// When a message leaves, and which it is.
type Place = (Millis, Lsn);

/// Messages on no page that are enough to make pages of, and those that are when memory is short.
const LOOSE: usize = 2 * PAGE;
const LOOSE_SHORT: usize = 32;
/// Most messages on a page.
const PAGE: usize = 256;

impl Delayed {
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Those that are on disk only.
    pub(super) fn paged_len(&self) -> u64 {
        self.len - self.hot.len() as u64
    }

    /// Body bytes of those.
    pub(super) const fn paged_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.hot_bytes)
    }

    /// What they take in memory, about.
    pub(super) fn memory(&self) -> u64 {
        self.hot_bytes
            .saturating_add(self.heads)
            .saturating_add(self.hot.len() as u64 * ENTRY_MEMORY)
            .saturating_add(self.loose.len() as u64 * PAGED_ENTRY_MEMORY)
    }

    /// Keeps a message until `ready_at`, or until it has expired.
    pub(super) fn insert(&mut self, ready_at: Millis, entry: AnyEntry) {
        let overdue = entry.deadline().map(|deadline| deadline.saturating_add(Millis(1)));
        let leaves_at = overdue.map_or(ready_at, |overdue| ready_at.min(overdue));
        self.last_at = if self.len == 0 { leaves_at } else { self.last_at.max(leaves_at) };
        self.len += 1;
        self.bytes = self.bytes.saturating_add(entry.bytes());
        let place = (leaves_at, entry.lsn());
        match entry {
            AnyEntry::Hot(entry) => {
                self.hot_bytes = self.hot_bytes.saturating_add(entry.bytes());
                self.heads = self.heads.saturating_add(entry.large_head());
                self.hot.insert(place, entry);
            }
            AnyEntry::Paged(entry) => {
                self.loose.insert(place, entry);
                self.fold(LOOSE);
            }
        }
    }

    /// Takes a message that waits no longer.
    pub(super) fn pop_due(&mut self, now: Millis) -> Option<AnyEntry> {
        let first = self.first().filter(|(leaves_at, _)| *leaves_at <= now)?;
        if let Some(page) = self.pages.remove(&first) {
            self.loose.extend(page.entries());
            self.fold(LOOSE);
        }
        let entry = match self.loose.remove(&first) {
            Some(entry) => AnyEntry::Paged(entry),
            None => {
                let entry = self.hot.remove(&first)?;
                self.hot_bytes = self.hot_bytes.saturating_sub(entry.bytes());
                self.heads = self.heads.saturating_sub(entry.large_head());
                AnyEntry::Hot(entry)
            }
        };
        self.len -= 1;
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        Some(entry)
    }

    /// When the first leaves.
    pub(super) fn first_at(&self) -> Option<Millis> {
        self.first().map(|(leaves_at, _)| leaves_at)
    }

    /// When the last leaves.
    pub(super) fn last_at(&self) -> Option<Millis> {
        (self.len > 0).then_some(self.last_at)
    }

    /// Takes all, in the order they would have left.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = AnyEntry> + use<> {
        let mut all = std::mem::take(self);
        std::iter::from_fn(move || all.pop_due(Millis(u64::MAX)))
    }

    /// Forgets the messages of about `most` that `can_go` says may go. Returns how many went.
    pub(super) fn page_out(&mut self, can_go: &dyn Fn(&Entry) -> bool, most: usize) -> u64 {
        let goes = self.hot.extract_if(.., |_, entry| can_go(entry)).take(most);
        let mut gone = 0;
        for (place, entry) in goes {
            gone += 1;
            self.hot_bytes = self.hot_bytes.saturating_sub(entry.bytes());
            self.heads = self.heads.saturating_sub(entry.large_head());
            self.loose.insert(place, PagedEntry::of(&entry, None));
        }
        self.fold(LOOSE_SHORT);
        gone
    }

    fn first(&self) -> Option<Place> {
        let hot = self.hot.first_key_value().map(|(place, _)| place);
        let loose = self.loose.first_key_value().map(|(place, _)| place);
        let page = self.pages.first_key_value().map(|(place, _)| place);
        [hot, loose, page].into_iter().flatten().min().copied()
    }

    /// Makes pages of those on none, the last to leave first, while there are so many.
    fn fold(&mut self, least: usize) {
        while self.loose.len() >= least.max(1) {
            let nth = self.loose.len().min(PAGE) - 1;
            let Some(from) = self.loose.keys().nth_back(nth).copied() else { return };
            let mut page = Page::default();
            for (place, entry) in self.loose.split_off(&from) {
                if !page.push(place, &entry) {
                    self.add_page(std::mem::take(&mut page));
                    page.push(place, &entry);
                }
            }
            self.add_page(page);
        }
    }

    fn add_page(&mut self, mut page: Page) {
        page.seal();
        self.pages.insert(page.first(), page);
    }
}

impl Queue {
    /// Messages that came back and are delayed.
    #[must_use]
    pub fn delayed_len(&self) -> u64 {
        self.delayed.as_ref().map_or(0, |delayed| delayed.len())
    }

    /// Body bytes of the delayed messages.
    #[must_use]
    pub fn delayed_bytes(&self) -> u64 {
        self.delayed.as_ref().map_or(0, |delayed| delayed.bytes())
    }

    /// Delayed messages that are not in memory.
    #[must_use]
    pub fn delayed_paged_len(&self) -> u64 {
        self.delayed.as_ref().map_or(0, |delayed| delayed.paged_len())
    }

    /// Body bytes of those.
    #[must_use]
    pub fn delayed_paged_bytes(&self) -> u64 {
        self.delayed.as_ref().map_or(0, |delayed| delayed.paged_bytes())
    }

    /// When the first of the delayed messages is ready again, or has expired.
    #[must_use]
    pub fn next_delayed_at(&self) -> Option<Millis> {
        self.delayed.as_ref()?.first_at()
    }

    /// When the last of the delayed messages is ready again, or has expired.
    #[must_use]
    pub fn last_delayed_at(&self) -> Option<Millis> {
        self.delayed.as_ref()?.last_at()
    }
}
