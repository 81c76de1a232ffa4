//! What of a queue is in memory, and what is on disk.
//!
//! A queue pages out when it is told to, and says what it needs to have back: the messages next to
//! be delivered, and those of pages on which something expires. The caller reads them, with the
//! queue let go of, and hands them in. Meanwhile everything else goes on; what needs a message that
//! is not there waits for the next [`dispatch`](Queue::dispatch).

use std::collections::VecDeque;
use std::sync::Arc;

use super::Queue;
use super::any_entry::PagedEntry;
use super::entry::{ENTRY_MEMORY, Entry};
use super::page::Page;
use super::ready::PageId;
use super::spill::Spilled;
use crate::ids::Lsn;
use crate::message::Message;

/// What a queue knows about its pages besides where they are.
#[derive(Debug, Default)]
pub(super) struct Paging {
    /// Something could not be done because the message in front is paged out.
    pub(super) awaits_front: bool,
    /// Something was delivered since messages were last paged out. What is read ahead before that
    /// would perhaps have to go again, and again.
    pub(super) reads_ahead: bool,
    /// A [`PageRequest`] has been given out.
    is_reading: bool,
    /// Number of the last request.
    last_request: u32,
    pub(super) due: DuePages,
}

/// Pages to be read because something on them has expired, first in first out. Boxed: few queues
/// have any.
#[derive(Debug, Default)]
pub(super) struct DuePages {
    #[expect(clippy::box_collection, reason = "keeps queues small")]
    pages: Option<Box<VecDeque<PageId>>>,
}

impl DuePages {
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_none()
    }

    pub(super) fn push(&mut self, page: PageId) {
        self.pages.get_or_insert_default().push_back(page);
    }

    fn pop(&mut self) -> Option<PageId> {
        let page = self.pages.as_mut()?.pop_front();
        self.shrink();
        page
    }

    fn remove(&mut self, page: PageId) {
        if let Some(pages) = &mut self.pages {
            pages.retain(|due| *due != page);
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.pages.take_if(|pages| pages.is_empty());
    }
}

/// Pages to be read; see [`Queue::page_in`].
#[derive(Debug)]
pub struct PageRequest {
    number: u32,
    pages: Vec<PageId>,
    /// The messages on them that are in the journal.
    lsns: Vec<Lsn>,
    /// Where the others are.
    spilled: Vec<Spilled>,
    is_awaited: bool,
}

impl PageRequest {
    pub(super) fn add(&mut self, page_id: PageId, page: &mut Page) {
        page.request = self.number;
        self.pages.push(page_id);
        match &page.spilled {
            Some(spilled) => self.spilled.push(Arc::clone(spilled)),
            None => self.lsns.extend(page.iter().flatten().map(|slot| slot.lsn)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// The messages to be read from the journal.
    #[must_use]
    pub fn lsns(&self) -> &[Lsn] {
        &self.lsns
    }

    /// Where messages to be read are that were [spilled](Queue::spill), perhaps others with them.
    #[must_use]
    pub fn spilled(&self) -> &[Spilled] {
        &self.spilled
    }
}

/// Answer to a [`get`](Queue::get).
#[derive(Clone, Debug)]
#[must_use]
pub enum Got {
    /// A message.
    Message(Entry),
    /// There is none.
    Nothing,
    /// There is one, and it has to be [read](Queue::front_page) before.
    Paged,
}

impl Got {
    /// The message, if it is one.
    #[must_use]
    pub fn message(self) -> Option<Entry> {
        match self {
            Self::Message(entry) => Some(entry),
            Self::Nothing | Self::Paged => None,
        }
    }
}

/// Pages with expired messages read at once, most.
const DUE_AT_ONCE: usize = 4;

impl Queue {
    /// Appends a message that already belongs to this queue and is in the journal, as recovery does.
    pub fn restore_paged(&mut self, entry: &PagedEntry) {
        self.ready.push_paged(self.settings.level_of(entry.priority), entry);
    }

    /// What the ready and the delayed messages take in memory, about, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let delayed = self.delayed.as_ref().map_or(0, |delayed| delayed.memory());
        self.ready.memory().saturating_add(delayed)
    }

    /// Ready messages that are not in memory.
    #[must_use]
    pub const fn paged_len(&self) -> u64 {
        self.ready.paged()
    }

    /// Body bytes of the ready messages that are not in memory.
    #[must_use]
    pub const fn paged_bytes(&self) -> u64 {
        self.ready.paged_bytes()
    }

    /// Forgets the content of stored messages with an LSN up to `readable`, of about `most` of
    /// them, except for those next to be delivered that take about `keep` bytes. Returns how many.
    pub fn page_out(&mut self, readable: Lsn, keep: u64, most: usize) -> u64 {
        let can_go = |entry: &Entry| entry.stored && entry.lsn <= readable;
        let delayed = self.delayed.as_mut();
        let waiting = delayed.map_or(0, |delayed| delayed.page_out(&can_go, most));
        let left = most.saturating_sub(usize::try_from(waiting).unwrap_or(usize::MAX));
        let gone = self.ready.page_out(&can_go, keep, left);
        self.paging.reads_ahead &= gone == 0;
        waiting + gone
    }

    /// Whether something should be read for this queue, which may have about `window` bytes of the
    /// messages next to be delivered in memory.
    #[must_use]
    pub fn wants_pages(&self, window: u64) -> bool {
        if self.ready.paged() == 0 || self.paging.is_reading {
            return false;
        }
        self.paging.awaits_front
            || !self.paging.due.is_empty()
            || (self.paging.reads_ahead && self.is_window_low(window))
    }

    /// What to read next, for a queue that [wants](Self::wants_pages) it. To be answered by
    /// [`page_in`](Self::page_in) or [`abandon`](Self::abandon), and then a dispatch.
    pub fn next_pages(&mut self, window: u64) -> Option<PageRequest> {
        if !self.wants_pages(window) {
            return None;
        }
        let mut request = self.paging.request(true);
        while request.pages.len() < DUE_AT_ONCE
            && let Some(page) = self.paging.due.pop()
        {
            self.ready.request_page(page, &mut request);
        }
        if self.paging.awaits_front || (self.paging.reads_ahead && self.is_window_low(window)) {
            self.ready.request(window, &mut request);
        }
        self.paging.awaits_front = false;
        if request.pages.is_empty() {
            return None;
        }
        self.paging.is_reading = true;
        Some(request)
    }

    /// The page in front, to be read for a [`get`](Self::get); `None` if it is in memory.
    pub fn front_page(&mut self) -> Option<PageRequest> {
        let mut request = self.paging.request(false);
        self.ready.request_front(&mut request);
        (!request.pages.is_empty()).then_some(request)
    }

    /// Takes messages that have been read, ascending by LSN. Those that are missing are gone from
    /// the queue: their LSNs are returned.
    pub fn page_in(&mut self, request: PageRequest, messages: &[(Lsn, Message)]) -> Vec<Lsn> {
        let mut lost = Vec::new();
        let find = |lsn: Lsn| {
            let at = messages.binary_search_by_key(&lsn, |(lsn, _)| *lsn).ok()?;
            messages.get(at).map(|(_, message)| message.clone())
        };
        for page in request.pages {
            self.ready.page_in(page, request.number, find, &mut lost);
            self.paging.due.remove(page);
        }
        self.paging.is_reading &= !request.is_awaited;
        lost
    }

    /// Nothing was read. The queue wants it again.
    pub fn abandon(&mut self, request: PageRequest) {
        for page in request.pages {
            self.ready.abandon_page(page, request.number);
        }
        self.paging.awaits_front |= request.is_awaited;
        self.paging.is_reading &= !request.is_awaited;
    }

    /// Whether there are consumers and less than half of what may be in front is.
    fn is_window_low(&self, window: u64) -> bool {
        if self.consumers.is_none() {
            return false;
        }
        let average = self.ready.bytes() / self.ready.len().max(1) + ENTRY_MEMORY;
        let half = usize::try_from(window / average / 2).unwrap_or(usize::MAX).max(1);
        let (len, is_paged) = self.ready.window(half);
        len < half && is_paged
    }
}

impl Paging {
    /// No page is left.
    pub(super) fn forget(&mut self) {
        self.awaits_front = false;
        self.due = DuePages::default();
    }

    pub(super) fn request(&mut self, is_awaited: bool) -> PageRequest {
        self.last_request = self.last_request.checked_add(1).unwrap_or(1);
        let number = self.last_request;
        PageRequest { number, pages: Vec::new(), lsns: Vec::new(), spilled: Vec::new(), is_awaited }
    }
}
