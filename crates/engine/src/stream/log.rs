//! The messages of a stream by offset, and the segments they leave in.

use std::collections::{VecDeque, vec_deque};

use super::page::{Hot, Page, Slot};
use super::settings::StreamSettings;
use crate::ids::{Lsn, Millis};
use crate::message::Message;

/// What leaves together.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Offset of its first message.
    first: u64,
    bytes: u64,
    /// Time of its last message.
    last: Millis,
}

/// All messages, in the order of their offsets and of their LSNs. Pages are what leaves memory and
/// comes back.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// None is empty. The last is added to.
    pages: VecDeque<Page>,
    first: u64,
    next: u64,
    bytes: u64,
    /// The last one is added to.
    segments: VecDeque<Segment>,
    /// Whether the first segment is being taken away.
    is_dropping: bool,
    last_chunk: u64,
    hot: Hot,
}

/// A message of a stream as it stands there.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its offset.
    pub offset: u64,
    /// Where the journal has it.
    pub lsn: Lsn,
    /// The message, unless it is on disk only.
    pub message: Option<Message>,
}

/// Messages that lie one behind the other in memory.
pub(super) struct Slots<'a> {
    slots: vec_deque::Iter<'a, Slot>,
    /// There would be more if they were in memory.
    pub(super) is_paged: bool,
}

impl<'a> Iterator for Slots<'a> {
    type Item = &'a Slot;

    fn next(&mut self) -> Option<&'a Slot> {
        self.slots.next()
    }
}

impl Log {
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Offset of the first message of the last chunk; the next one if there is no message.
    pub(super) const fn last_chunk(&self) -> u64 {
        self.last_chunk
    }

    pub(super) fn begin_at(&mut self, offset: u64) {
        debug_assert!(self.pages.is_empty(), "messages have their offsets already");
        (self.first, self.next, self.last_chunk) = (offset, offset, offset);
    }

    /// The time of the last message.
    pub(super) fn last_time(&self) -> Option<Millis> {
        self.segments.back().map(|segment| segment.last)
    }

    pub(super) fn append(
        &mut self,
        lsn: Lsn,
        message: Message,
        begins_chunk: bool,
        segment_bytes: u64,
    ) -> u64 {
        let bytes = stored_bytes(u64::try_from(message.stored_len()).unwrap_or(u64::MAX));
        let (offset, time) = self.count(message.timestamp(), bytes, begins_chunk, segment_bytes);
        let slot = Slot::new(lsn, message, time, bytes);
        let before = self.pages.back().filter(|page| page.takes(bytes)).map(Page::hot);
        if before.is_none() {
            self.pages.push_back(Page::new(offset));
        }
        if let Some(page) = self.pages.back_mut() {
            page.push(slot);
            self.hot.change(before.unwrap_or_default(), page.hot());
        }
        offset
    }

    /// Appends a message that stays on disk, where it has so many bytes.
    pub(super) fn append_paged(
        &mut self,
        lsn: Lsn,
        time: Millis,
        payload: u64,
        begins_chunk: bool,
        segment_bytes: u64,
    ) -> u64 {
        let bytes = stored_bytes(payload);
        let (offset, time) = self.count(time, bytes, begins_chunk, segment_bytes);
        if !self.pages.back().is_some_and(|page| page.takes_paged(bytes)) {
            self.pages.push_back(Page::paged(offset));
        }
        if let Some(page) = self.pages.back_mut() {
            page.push_paged(lsn, time, bytes);
        }
        offset
    }

    /// Counts a message that is about to be appended. Answers its offset, and its time there.
    fn count(
        &mut self,
        time: Millis,
        bytes: u64,
        begins_chunk: bool,
        segment_bytes: u64,
    ) -> (u64, Millis) {
        let offset = self.next;
        let time = time.max(self.last_time().unwrap_or_default());
        if begins_chunk {
            self.last_chunk = offset;
        }
        match self.segments.back_mut().filter(|segment| segment.bytes < segment_bytes) {
            Some(segment) => {
                segment.bytes = segment.bytes.saturating_add(bytes);
                segment.last = time;
            }
            None => {
                self.segments.push_back(Segment { first: offset, bytes, last: time });
                self.last_chunk = offset;
            }
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.next += 1;
        (offset, time)
    }

    /// The messages in memory.
    pub(super) const fn hot(&self) -> Hot {
        self.hot
    }

    /// Messages from this offset on, up to the end of their page.
    pub(super) fn from(&self, offset: u64) -> Slots<'_> {
        let page = self.page_of(offset).and_then(|at| self.pages.get(at));
        Slots {
            slots: page.map_or_else(vec_deque::Iter::default, |page| page.slots_from(offset)),
            is_paged: page.is_some_and(|page| !page.is_hot()),
        }
    }

    /// LSN of a message that is in memory.
    pub(super) fn lsn(&self, offset: u64) -> Option<Lsn> {
        self.from(offset).next().map(|slot| slot.lsn)
    }

    /// The index of the page with this offset.
    fn page_of(&self, offset: u64) -> Option<usize> {
        let last = self.pages.back().filter(|_| offset < self.next)?;
        if offset >= last.start {
            return Some(self.pages.len() - 1);
        }
        self.pages.partition_point(|page| page.start <= offset).checked_sub(1)
    }

    /// The offset after the last message with an LSN up to this one; at least `from`, from where on
    /// all messages are in memory.
    pub(super) fn offset_after(&self, through: Lsn, from: u64) -> u64 {
        let at = self.pages.partition_point(|page| {
            page.end() <= from || page.last_lsn().is_some_and(|last| last <= through)
        });
        let page = self.pages.get(at);
        page.map_or(self.next, |page| page.start + page.count_through(through)).max(from)
    }

    /// The offset of the first message published at `time` or later.
    pub(super) fn offset_at(&self, time: Millis) -> u64 {
        let at = self.pages.partition_point(|page| page.last < time);
        self.pages.get(at).map_or(self.next, |page| page.start + page.count_before(time))
    }

    /// Forgets the content of pages all of whose messages are before `committed` and have an LSN up
    /// to `readable`, of about `most` messages, but for those from these offsets on as far as they
    /// take about `keep` bytes together. Returns how many messages went.
    pub(super) fn page_out(
        &mut self,
        committed: u64,
        readable: Lsn,
        (mut keep, offsets): (u64, impl Iterator<Item = u64>),
        most: usize,
    ) -> u64 {
        let mut kept = Vec::new();
        for offset in offsets {
            let Some(at) = self.page_of(offset) else { continue };
            let hot = self.pages.range(at..).take_while(|page| page.is_hot());
            for page in hot {
                if keep == 0 {
                    break;
                }
                kept.push(page.start);
                keep = keep.saturating_sub(page.hot().memory());
            }
        }
        let (mut gone, mut at) = (0, 0);
        while let Some(page) = self.pages.get_mut(at) {
            if gone >= most as u64 || page.end() > committed {
                break;
            }
            let can_go = page.last_lsn().is_some_and(|last| last <= readable);
            if can_go && !kept.contains(&page.start) {
                self.hot.change(page.hot(), Hot::default());
                gone += page.len();
                page.page_out();
                if self.join(at) {
                    continue;
                }
            }
            at += 1;
        }
        gone
    }

    /// Makes one of a page that is on disk only and the one before it, if that is as well and they are
    /// small. Whether it did: a stream that grows slowly would have as many pages as messages.
    fn join(&mut self, at: usize) -> bool {
        let Some(page) = self.pages.get(at) else { return false };
        let before = at.checked_sub(1).and_then(|before| self.pages.get(before));
        if !before.is_some_and(|before| before.has_room_for(page)) {
            return false;
        }
        let page = self.pages.remove(at);
        let before = self.pages.get_mut(at - 1);
        if let (Some(page), Some(before)) = (page, before) {
            before.append(&page);
        }
        true
    }

    /// The pages from an offset on that are on disk only and follow each other, of about so many
    /// bytes, the first whatever it has.
    pub(super) fn paged_from(&self, offset: u64, bytes: u64) -> impl Iterator<Item = &Page> {
        let at = self.page_of(offset).unwrap_or(self.pages.len());
        let mut sum = 0_u64;
        let pages = self.pages.range(at..).take_while(|page| !page.is_hot());
        pages.take_while(move |page| {
            let is_wanted = sum == 0 || sum < bytes;
            sum = sum.saturating_add(page.bytes.max(1));
            is_wanted
        })
    }

    /// Has the page that ends there in memory again, with the messages that `find` has. Adds those
    /// it has not to `lost`.
    pub(super) fn page_in(
        &mut self,
        end: u64,
        find: impl FnMut(Lsn) -> Option<Message>,
        lost: &mut Vec<Lsn>,
    ) {
        let at = end.checked_sub(1).and_then(|last| self.page_of(last));
        let page = at.and_then(|at| self.pages.get_mut(at));
        if let Some(page) = page.filter(|page| !page.is_hot() && page.end() == end) {
            page.page_in(find, lost);
            self.hot.change(Hot::default(), page.hot());
        }
    }

    /// Shows messages from an offset on: the LSN of each, and the message if it is in memory.
    pub(super) fn browse(&self, from: u64, most: usize, mut bytes: u64) -> Vec<Shown> {
        let at = self.page_of(from).unwrap_or(self.pages.len());
        let mut shown = Vec::new();
        for page in self.pages.range(at..) {
            let mut offset = page.start;
            let mut slots = page.slots_from(page.start);
            let average = page.bytes / page.len().max(1);
            page.lsns(|lsn| {
                let message = slots.next().and_then(|slot| slot.message.clone());
                if offset >= from && shown.len() < most && bytes > 0 {
                    let size = message.as_ref().map_or(average, |message| message.size() as u64);
                    bytes = bytes.saturating_sub(size.max(1));
                    shown.push(Shown { offset, lsn, message });
                }
                offset += 1;
            });
            if shown.len() >= most || bytes == 0 {
                break;
            }
        }
        shown
    }

    /// Takes segments away as `settings` ask for, of what is committed, and no more than `most`
    /// messages.
    pub(super) fn retain(
        &mut self,
        settings: &StreamSettings,
        now: Millis,
        committed: u64,
        most: usize,
        dropped: &mut Vec<Lsn>,
    ) {
        for _ in 0..most {
            self.is_dropping |= self.expires(settings, committed).is_some_and(|at| at <= now);
            if !self.is_dropping {
                return;
            }
            let Some(lsn) = self.pop() else { return };
            dropped.push(lsn);
        }
    }

    /// When there will be something to take away.
    pub(super) fn next_deadline(
        &self,
        settings: &StreamSettings,
        committed: u64,
    ) -> Option<Millis> {
        if self.is_dropping { Some(Millis(0)) } else { self.expires(settings, committed) }
    }

    /// When the first segment has to go, unless another event comes before: never, as long as it is
    /// the only one or not committed as a whole.
    fn expires(&self, settings: &StreamSettings, committed: u64) -> Option<Millis> {
        let [oldest, second] = [self.segments.front()?, self.segments.get(1)?];
        if second.first > committed {
            return None;
        }
        if settings.max_length_bytes.is_some_and(|most| self.bytes > most) {
            return Some(Millis(0));
        }
        Some(oldest.last.saturating_add(settings.max_age?))
    }

    fn pop(&mut self) -> Option<Lsn> {
        let page = self.pages.front_mut()?;
        let before = page.hot();
        let (lsn, bytes) = page.pop()?;
        self.hot.change(before, page.hot());
        if page.len() == 0 {
            self.pages.pop_front();
        }
        self.first += 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        let second = self.segments.get(1).map_or(self.next, |segment| segment.first);
        if self.first == second {
            self.segments.pop_front();
            self.is_dropping = false;
        } else if let Some(segment) = self.segments.front_mut() {
            segment.first = self.first;
            segment.bytes = segment.bytes.saturating_sub(bytes);
        }
        Some(lsn)
    }
}

/// What a payload of so many bytes counts: what recovery knows of it, which is the next multiple of 8.
const fn stored_bytes(payload: u64) -> u64 {
    payload.saturating_add(7) / 8 * 8
}
