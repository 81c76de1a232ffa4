//! A page of a stream's log: neighbouring messages, in memory or on disk only.

use std::collections::{VecDeque, vec_deque};

use super::filter::FilterKey;
use crate::ids::{Lsn, Millis};
use crate::message::Message;
use crate::paged_list::{PagedList, PagedSlot};

/// Most messages on a page.
const PAGE_SLOTS: usize = if cfg!(test) { 4 } else { 256 };
/// Bytes on a page, unless a single message has more.
const PAGE_BYTES: u64 = if cfg!(test) { 200 } else { 256 * 1024 };

/// What a message takes in memory besides what it takes in the journal, about, in bytes.
const SLOT_MEMORY: u64 = 120;

/// A message and what a reader may ask of it without looking at its content.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) lsn: Lsn,
    pub(super) key: FilterKey,
    /// `None` if it could not be read back: nobody gets it, and its offset stays its own.
    pub(super) message: Option<Message>,
    /// When it was published, or an earlier message if that was later.
    time: Millis,
    /// What it takes in the journal, about.
    bytes: u64,
}

/// Messages with consecutive offsets.
#[derive(Debug)]
pub(super) struct Page {
    /// The offset of the first.
    pub(super) start: u64,
    pub(super) bytes: u64,
    /// Time of the last.
    pub(super) last: Millis,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Hot(VecDeque<Slot>),
    /// On disk. The deadline of each is its time.
    Paged(PagedList),
    /// On disk, and being taken away from the front.
    Fading(VecDeque<PagedSlot>),
}

/// Messages in memory, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hot {
    pub(super) len: u64,
    pub(super) bytes: u64,
}

impl Hot {
    /// A page has changed.
    pub(super) const fn change(&mut self, before: Self, after: Self) {
        self.len = self.len + after.len - before.len;
        self.bytes = self.bytes.saturating_add(after.bytes).saturating_sub(before.bytes);
    }

    /// What they take in memory, about.
    pub(super) const fn memory(self) -> u64 {
        self.bytes.saturating_add(self.len * SLOT_MEMORY)
    }
}

impl Slot {
    pub(super) fn new(lsn: Lsn, message: Message, time: Millis, bytes: u64) -> Self {
        Self { lsn, key: FilterKey::of_message(&message), message: Some(message), time, bytes }
    }

    fn read(slot: PagedSlot, message: Option<Message>) -> Self {
        Self {
            lsn: slot.lsn,
            key: message.as_ref().map_or(FilterKey::UNFILTERED, FilterKey::of_message),
            message,
            time: slot.deadline.unwrap_or_default(),
            bytes: slot.bytes,
        }
    }
}

/// What stays of a message.
const fn paged_slot(lsn: Lsn, time: Millis, bytes: u64) -> PagedSlot {
    PagedSlot {
        lsn,
        bytes,
        deadline: Some(time),
        deliveries: 0,
        redelivered: false,
        stored: true,
        is_watched: false,
    }
}

impl Page {
    /// One in memory.
    pub(super) fn new(start: u64) -> Self {
        let content = Content::Hot(VecDeque::new());
        Self { start, bytes: 0, last: Millis::default(), content }
    }

    /// One on disk only.
    pub(super) fn paged(start: u64) -> Self {
        let content = Content::Paged(PagedList::default());
        Self { start, bytes: 0, last: Millis::default(), content }
    }

    pub(super) fn len(&self) -> u64 {
        match &self.content {
            Content::Hot(slots) => slots.len() as u64,
            Content::Paged(list) => list.slots().into(),
            Content::Fading(slots) => slots.len() as u64,
        }
    }

    /// The offset after the last of its messages, which names it: messages leave at its front.
    pub(super) fn end(&self) -> u64 {
        self.start + self.len()
    }

    pub(super) const fn is_hot(&self) -> bool {
        matches!(self.content, Content::Hot(_))
    }

    /// What of it is in memory.
    pub(super) fn hot(&self) -> Hot {
        if self.is_hot() { Hot { len: self.len(), bytes: self.bytes } } else { Hot::default() }
    }

    /// Whether a message of so many bytes can be added that is on disk, as all of it are.
    pub(super) fn takes_paged(&self, bytes: u64) -> bool {
        let is_on_disk = matches!(self.content, Content::Paged(_));
        is_on_disk
            && self.len() < PAGE_SLOTS as u64
            && self.bytes.saturating_add(bytes) <= PAGE_BYTES
    }

    /// Adds it.
    pub(super) fn push_paged(&mut self, lsn: Lsn, time: Millis, bytes: u64) {
        if let Content::Paged(list) = &mut self.content {
            list.push(Some(paged_slot(lsn, time, bytes)));
            self.bytes = self.bytes.saturating_add(bytes);
            self.last = time;
        }
    }

    /// Whether a message of so many bytes can be added.
    pub(super) fn takes(&self, bytes: u64) -> bool {
        match &self.content {
            Content::Hot(slots) => {
                slots.len() < PAGE_SLOTS && self.bytes.saturating_add(bytes) <= PAGE_BYTES
            }
            Content::Paged(_) | Content::Fading(_) => false,
        }
    }

    pub(super) fn push(&mut self, slot: Slot) {
        if let Content::Hot(slots) = &mut self.content {
            self.bytes = self.bytes.saturating_add(slot.bytes);
            self.last = slot.time;
            slots.push_back(slot);
        }
    }

    /// Its messages from an offset on, if they are in memory.
    pub(super) fn slots_from(&self, offset: u64) -> vec_deque::Iter<'_, Slot> {
        let Content::Hot(slots) = &self.content else { return vec_deque::Iter::default() };
        let at = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        slots.range(at.min(slots.len())..)
    }

    /// LSN of the last, if it is in memory.
    pub(super) fn last_lsn(&self) -> Option<Lsn> {
        let Content::Hot(slots) = &self.content else { return None };
        slots.back().map(|slot| slot.lsn)
    }

    /// How many of its messages, which are in memory, have an LSN up to this one.
    pub(super) fn count_through(&self, lsn: Lsn) -> u64 {
        let Content::Hot(slots) = &self.content else { return 0 };
        slots.partition_point(|slot| slot.lsn <= lsn) as u64
    }

    /// How many of its messages were published before `time`.
    pub(super) fn count_before(&self, time: Millis) -> u64 {
        let is_before = |slot: &PagedSlot| slot.deadline.is_some_and(|at| at < time);
        match &self.content {
            Content::Hot(slots) => slots.partition_point(|slot| slot.time < time) as u64,
            Content::Paged(list) => list.iter().flatten().take_while(is_before).count() as u64,
            Content::Fading(slots) => slots.partition_point(is_before) as u64,
        }
    }

    /// The LSNs of its messages.
    pub(super) fn lsns(&self, mut each: impl FnMut(Lsn)) {
        match &self.content {
            Content::Hot(slots) => slots.iter().for_each(|slot| each(slot.lsn)),
            Content::Paged(list) => list.iter().flatten().for_each(|slot| each(slot.lsn)),
            Content::Fading(slots) => slots.iter().for_each(|slot| each(slot.lsn)),
        }
    }

    /// Takes the first message away: its LSN and its bytes.
    pub(super) fn pop(&mut self) -> Option<(Lsn, u64)> {
        if let Content::Paged(list) = &self.content {
            self.content = Content::Fading(list.iter().flatten().collect());
        }
        let (lsn, bytes) = match &mut self.content {
            Content::Hot(slots) => slots.pop_front().map(|slot| (slot.lsn, slot.bytes))?,
            Content::Fading(slots) => slots.pop_front().map(|slot| (slot.lsn, slot.bytes))?,
            Content::Paged(_) => return None,
        };
        self.start += 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some((lsn, bytes))
    }

    /// Forgets the content of its messages.
    pub(super) fn page_out(&mut self) {
        let Content::Hot(slots) = &self.content else { return };
        let mut list = PagedList::default();
        for slot in slots {
            list.push(Some(paged_slot(slot.lsn, slot.time, slot.bytes)));
        }
        list.seal();
        self.content = Content::Paged(list);
    }

    /// Whether the messages of the page that follows can be added, both being on disk only.
    pub(super) fn has_room_for(&self, next: &Self) -> bool {
        let slots = match (&self.content, &next.content) {
            (Content::Paged(list), Content::Paged(next)) => list.slots() + next.slots(),
            _ => return false,
        };
        slots as usize <= PAGE_SLOTS && self.bytes.saturating_add(next.bytes) <= PAGE_BYTES
    }

    /// Adds them.
    pub(super) fn append(&mut self, next: &Self) {
        if let (Content::Paged(list), Content::Paged(more)) = (&mut self.content, &next.content) {
            more.iter().for_each(|slot| list.push(slot));
            list.seal();
            self.bytes = self.bytes.saturating_add(next.bytes);
            self.last = next.last;
        }
    }

    /// Has its messages in memory again, as `find` has them. Adds those it has not to `lost`.
    pub(super) fn page_in(
        &mut self,
        mut find: impl FnMut(Lsn) -> Option<Message>,
        lost: &mut Vec<Lsn>,
    ) {
        let mut read = |slot: PagedSlot| {
            let message = find(slot.lsn);
            if message.is_none() {
                lost.push(slot.lsn);
            }
            Slot::read(slot, message)
        };
        let slots = match &mut self.content {
            Content::Hot(_) => return,
            Content::Paged(list) => list.iter().flatten().map(&mut read).collect(),
            Content::Fading(slots) => slots.drain(..).map(&mut read).collect(),
        };
        self.content = Content::Hot(slots);
    }
}
