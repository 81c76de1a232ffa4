//! The deaths of one queue that wait, those on disk only folded.

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_engine::{AnyEntry, Entry, Folded, Lsn, Message, PagedEntry};

use super::{DeadLettering, Death, Reason};

/// Deaths in the order in which they happened.
///
/// Nobody knows how many will wait, nor how long. One that is on disk only takes a byte or two, as it
/// did in its queue.
#[derive(Default)]
pub(super) struct Line {
    parts: VecDeque<Part>,
}

enum Part {
    One(Death<AnyEntry>),
    Page(Page),
}

/// Deaths on disk only that follow each other.
struct Page {
    source: Arc<DeadLettering>,
    deaths: Folded<Reason>,
    len: usize,
}

/// Deaths on a page at most.
pub(super) const PAGE: usize = 256;

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Adds a death behind all others.
    pub(super) fn push(&mut self, death: Death<AnyEntry>) {
        let (AnyEntry::Paged(entry), None) = (&death.entry, &death.past) else {
            self.parts.push_back(Part::One(death));
            return;
        };
        let page = match self.parts.back_mut() {
            Some(Part::Page(page)) if page.has_room_for(&death) => page,
            _ => {
                let source = Arc::clone(&death.source);
                let page = Page { source, deaths: Folded::default(), len: 0 };
                self.parts.push_back(Part::Page(page));
                let Some(Part::Page(page)) = self.parts.back_mut() else { return };
                page
            }
        };
        page.deaths.push(Some(entry), death.reason);
        page.len += 1;
        if page.len == PAGE {
            page.deaths.seal();
        }
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<Death<AnyEntry>> {
        if let Some(Part::Page(page)) =
            self.parts.pop_front_if(|part| matches!(part, Part::Page(_)))
        {
            let mut deaths: Vec<_> = page.deaths().collect();
            while let Some(last) = deaths.pop() {
                self.parts.push_front(Part::One(last));
            }
        }
        match self.parts.pop_front()? {
            Part::One(death) => Some(death),
            Part::Page(_) => None,
        }
    }

    /// How the first is dead-lettered.
    pub(super) fn first_source(&self) -> Option<&Arc<DeadLettering>> {
        self.parts.front().map(|part| match part {
            Part::One(death) => &death.source,
            Part::Page(page) => &page.source,
        })
    }

    /// Puts those of another line in front: they are few, and those that wait may be many.
    pub(super) fn prepend(&mut self, other: Self) {
        other.parts.into_iter().rev().for_each(|part| self.parts.push_front(part));
    }

    /// The first that are in memory only and take about `left` bytes there, which become less by that.
    pub(super) fn unstored(&self, left: &mut u64) -> Vec<(Lsn, Message)> {
        let mut messages = Vec::new();
        for entry in self.parts.iter().filter_map(Part::entry).filter(|entry| !entry.stored) {
            if *left == 0 {
                break;
            }
            *left = left.saturating_sub(entry.memory());
            messages.push((entry.lsn, entry.message.clone()));
        }
        messages
    }

    /// Forgets the messages of those of which `paged` says what is left, of `most` that follow the first of
    /// these. What they took in memory, in bytes.
    pub(super) fn page_out(
        &mut self,
        most: usize,
        paged: impl Fn(&Entry) -> Option<PagedEntry>,
    ) -> u64 {
        let goes = |part: &Part| part.entry().is_some_and(|entry| paged(entry).is_some());
        let Some(from) = self.parts.iter().position(goes) else { return 0 };
        let until = from.saturating_add(most).min(self.parts.len());
        let (mut line, mut gone) = (Self::default(), 0);
        for part in self.parts.drain(from..until) {
            match part {
                Part::One(mut death) => {
                    if let AnyEntry::Hot(entry) = &death.entry
                        && let Some(paged) = paged(entry)
                    {
                        gone += entry.memory();
                        death.entry = paged.into();
                    }
                    line.push(death);
                }
                page @ Part::Page(_) => line.parts.push_back(page),
            }
        }
        // What is in front of them is mostly pages, which are few.
        for part in line.parts.into_iter().rev() {
            self.parts.insert(from, part);
        }
        gone
    }

    /// All of them, as they are.
    pub(super) fn iter(&self) -> impl Iterator<Item = Death<AnyEntry>> + '_ {
        self.parts.iter().flat_map(|part| {
            let (one, page) = match part {
                Part::One(death) => (Some(death.clone()), None),
                Part::Page(page) => (None, Some(page)),
            };
            one.into_iter().chain(page.into_iter().flat_map(Page::deaths))
        })
    }

    /// In how many parts it is in memory.
    #[cfg(test)]
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }
}

impl Part {
    /// The entry of one that has its message.
    const fn entry(&self) -> Option<&Entry> {
        match self {
            Self::One(Death { entry: AnyEntry::Hot(entry), .. }) => Some(entry),
            Self::One(_) | Self::Page(_) => None,
        }
    }
}

impl Page {
    fn has_room_for(&self, death: &Death<AnyEntry>) -> bool {
        self.len < PAGE && Arc::ptr_eq(&self.source, &death.source)
    }

    fn deaths(&self) -> impl Iterator<Item = Death<AnyEntry>> + '_ {
        self.deaths.iter().filter_map(|(entry, reason)| {
            let (source, entry) = (Arc::clone(&self.source), entry?.into());
            Some(Death { source, entry, reason, past: None })
        })
    }
}
