//! The messages of a stream by offset, and the segments they leave in.

use std::collections::VecDeque;

use super::filter::FilterKey;
use super::settings::StreamSettings;
use crate::ids::{Lsn, Millis};
use crate::message::Message;

/// Slots per page. One growing buffer would copy a long stream when it doubles.
const PAGE: usize = 256;

/// A message and what a reader may ask of it without looking at its content.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) lsn: Lsn,
    pub(super) key: FilterKey,
    pub(super) message: Message,
    /// When it was published, or an earlier message if that was later.
    time: Millis,
}

/// What leaves together.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Offset of its first message.
    first: u64,
    bytes: u64,
    /// Time of its last message.
    last: Millis,
}

/// All messages, in the order of their offsets and of their LSNs.
///
/// All pages but the first, which is taken from, and the last, which is added to, hold exactly
/// [`PAGE`] slots.
#[derive(Debug, Default)]
pub(super) struct Log {
    pages: VecDeque<VecDeque<Slot>>,
    first: u64,
    next: u64,
    bytes: u64,
    /// The last one is added to.
    segments: VecDeque<Segment>,
    /// Whether the first segment is being taken away.
    is_dropping: bool,
    last_chunk: u64,
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
        let offset = self.next;
        let bytes = u64::try_from(message.stored_len()).unwrap_or(u64::MAX);
        let time = message.timestamp().max(self.last_time().unwrap_or_default());
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
        let slot = Slot { lsn, key: FilterKey::of_message(&message), message, time };
        match self.pages.back_mut() {
            Some(page) if page.len() < PAGE => page.push_back(slot),
            _ => self.pages.push_back(VecDeque::from([slot])),
        }
        offset
    }

    pub(super) fn get(&self, offset: u64) -> Option<&Slot> {
        let mut at = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        let front = self.pages.front()?;
        let Some(beyond) = at.checked_sub(front.len()) else { return front.get(at) };
        at = beyond % PAGE;
        self.pages.get(1 + beyond / PAGE)?.get(at)
    }

    /// The offset after the last message with an LSN up to this one; at least `from`.
    pub(super) fn offset_after(&self, through: Lsn, from: u64) -> u64 {
        self.partition(from.max(self.first), |slot| slot.lsn <= through)
    }

    /// The offset of the first message published at `time` or later.
    pub(super) fn offset_at(&self, time: Millis) -> u64 {
        self.partition(self.first, |slot| slot.time < time)
    }

    /// The first offset from `from` on whose message doesn't fulfil `holds`, which those before it
    /// do.
    fn partition(&self, from: u64, holds: impl Fn(&Slot) -> bool) -> u64 {
        let (mut low, mut high) = (from, self.next);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(&holds) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
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
            let Some(slot) = self.pop() else { return };
            dropped.push(slot.lsn);
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

    fn pop(&mut self) -> Option<Slot> {
        let page = self.pages.front_mut()?;
        let slot = page.pop_front()?;
        if page.is_empty() {
            self.pages.pop_front();
        }
        let bytes = u64::try_from(slot.message.stored_len()).unwrap_or(u64::MAX);
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
        Some(slot)
    }
}
