//! Looking at ready messages where they stand, and taking some from there.
//!
//! To look at them changes nothing. What is paged out is shown without its message, for the caller
//! to read.

use super::Queue;
use super::entry::Entry;
use super::paging::PageRequest;
use super::ring::Slot;
use super::spill::Spilled;
use crate::ids::{Lsn, Millis};
use crate::message::Message;
use crate::paged_list::PagedSlot;

/// A ready message as it stands in its queue.
#[derive(Clone, Debug)]
pub struct Standing {
    /// As [`Entry::lsn`].
    pub lsn: Lsn,
    /// The message, unless it is paged out.
    pub message: Option<Message>,
    /// Where it is then, if not in the journal.
    pub spilled: Option<Spilled>,
    /// As [`Entry::deadline`].
    pub deadline: Option<Millis>,
    /// As [`Entry::deliveries`].
    pub deliveries: u32,
    /// As [`Entry::redelivered`].
    pub redelivered: bool,
    /// As [`Entry::stored`].
    pub stored: bool,
}

impl Standing {
    /// What stands nowhere but in the journal, and was never delivered.
    #[must_use]
    pub const fn new(lsn: Lsn, message: Option<Message>) -> Self {
        Self {
            lsn,
            message,
            spilled: None,
            deadline: None,
            deliveries: 0,
            redelivered: false,
            stored: false,
        }
    }

    /// What a consumer would get, given its message.
    #[must_use]
    pub const fn with(&self, message: Message) -> Entry {
        let Self { lsn, deadline, deliveries, redelivered, stored, .. } = *self;
        Entry { lsn, message, deadline, deliveries, redelivered, stored }
    }
}

impl From<Slot<'_>> for Standing {
    fn from(slot: Slot<'_>) -> Self {
        match slot {
            Slot::Hot(entry) => Self {
                lsn: entry.lsn,
                message: Some(entry.message.clone()),
                spilled: None,
                deadline: entry.deadline,
                deliveries: entry.deliveries,
                redelivered: entry.redelivered,
                stored: entry.stored,
            },
            Slot::Paged(slot) => Self {
                lsn: slot.lsn,
                message: None,
                spilled: None,
                deadline: slot.deadline,
                deliveries: slot.deliveries,
                redelivered: slot.redelivered,
                stored: slot.stored,
            },
        }
    }
}

/// What of a queue is to be shown.
pub(super) struct View {
    /// Messages to be passed before the first that is shown.
    skip: u64,
    /// Messages to be shown, and bytes of bodies, at most.
    most: usize,
    bytes: u64,
    shown: Vec<Standing>,
}

impl View {
    /// Passes so many messages at once, if none of them is to be shown.
    pub(super) const fn passes(&mut self, count: usize) -> bool {
        match self.skip.checked_sub(count as u64) {
            None => false,
            Some(rest) => {
                self.skip = rest;
                true
            }
        }
    }

    /// The next message in order.
    pub(super) fn add(&mut self, slot: Slot<'_>) {
        let bytes = slot.bytes();
        if self.skip > 0 {
            self.skip -= 1;
        } else if !self.is_full() {
            self.bytes = self.bytes.saturating_sub(bytes.max(1));
            self.shown.push(slot.into());
        }
    }

    /// As [`add`](Self::add), of a message that was perhaps spilled.
    pub(super) fn add_paged(&mut self, slot: PagedSlot, spilled: Option<&Spilled>) {
        let before = self.shown.len();
        self.add(Slot::Paged(slot));
        if let Some(standing) = self.shown.get_mut(before) {
            standing.spilled = spilled.cloned();
        }
    }

    /// Whether everything is there that is to be shown.
    pub(super) const fn is_full(&self) -> bool {
        self.shown.len() >= self.most || self.bytes == 0
    }
}

impl Queue {
    /// Shows ready messages in delivery order, from the one at this position on: at most `most`, and
    /// no more once they have `bytes` body bytes, about. The first has position 0.
    #[must_use]
    pub fn browse(&self, from: u64, most: usize, bytes: u64) -> Vec<Standing> {
        let mut view = View { skip: from, most, bytes, shown: Vec::new() };
        self.ready.browse(&mut view);
        view.shown
    }

    /// What has to be read before these messages can be [taken](Self::take), whose LSNs ascend;
    /// `None` if nothing has. To be answered by [`page_in`](Self::page_in) or
    /// [`abandon`](Self::abandon).
    pub fn pages_of(&mut self, lsns: &[Lsn]) -> Option<PageRequest> {
        if self.ready.paged() == 0 {
            return None;
        }
        let mut request = self.paging.request(false);
        self.ready.request_pages(lsns, &mut request);
        (!request.is_empty()).then_some(request)
    }

    /// Takes ready messages from wherever they stand, as [`get`](Self::get) does from the front:
    /// those of these LSNs, which ascend, that are in memory and have not expired. The caller
    /// settles or requeues them with `None` for the consumer.
    pub fn take(&mut self, lsns: &[Lsn], now: Millis) -> Vec<Entry> {
        let taken = self.ready.take(lsns, now);
        taken.iter().for_each(|entry| self.unacked.add(entry.bytes()));
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use leveret_codec::Properties;

    use super::*;
    use crate::message::{Body, MessageArena};
    use crate::queue::{Pushed, QueueSettings, Return};

    const NOW: Millis = Millis(1_000);

    fn entry(lsn: u64, priority: Option<u8>) -> Entry {
        let properties = Properties { priority, ..Properties::default() };
        let mut raw = Vec::new();
        properties.encode(&mut raw);
        let mut arena = MessageArena::new();
        let message = arena.message(NOW, "x", "key", &properties, &raw, Body::Copy(b"body"));
        Entry { stored: true, ..Entry::new(Lsn(lsn), message) }
    }

    fn queue(entries: impl IntoIterator<Item = (u64, Option<u8>)>) -> Queue {
        let settings = QueueSettings { max_priority: Some(9), ..QueueSettings::default() };
        let mut queue = Queue::new(settings);
        for (lsn, priority) in entries {
            assert!(matches!(queue.push(entry(lsn, priority), NOW), Pushed::Accepted));
        }
        queue
    }

    fn lsns(shown: &[Standing]) -> Vec<u64> {
        shown.iter().map(|standing| standing.lsn.0).collect()
    }

    fn page_in(queue: &mut Queue, request: PageRequest) {
        let read = request.lsns().iter().map(|lsn| (*lsn, entry(lsn.0, None).message));
        let mut read: Vec<_> = read.collect();
        read.sort_by_key(|(lsn, _)| *lsn);
        assert_eq!(queue.page_in(request, &read), []);
    }

    #[test]
    fn messages_are_shown_in_the_order_of_delivery() {
        let mut queue = queue([(1, None), (2, Some(5)), (3, None), (4, Some(5))]);
        let first = queue.get(NOW, false, &mut Vec::new()).message().unwrap();
        assert_eq!(first.lsn, Lsn(2));
        let kind = Return::Released;
        assert_eq!(queue.requeue(None, first, kind, NOW, &mut Vec::new()), None);
        let shown = queue.browse(0, 10, u64::MAX);
        assert_eq!(lsns(&shown), [2, 4, 1, 3]);
        assert_eq!(shown.iter().filter(|standing| standing.redelivered).count(), 1);
        assert_eq!(lsns(&queue.browse(1, 2, u64::MAX)), [4, 1]);
        assert_eq!(lsns(&queue.browse(3, 2, u64::MAX)), [3]);
        assert_eq!(lsns(&queue.browse(4, 2, u64::MAX)), []);
        assert_eq!(lsns(&queue.browse(0, 10, 5)), [2, 4], "8 bytes are enough");
        let order = std::iter::from_fn(|| queue.get(NOW, true, &mut Vec::new()).message());
        assert_eq!(order.map(|entry| entry.lsn.0).collect::<Vec<_>>(), [2, 4, 1, 3]);
    }

    #[test]
    fn what_is_on_disk_is_shown_without_its_message() {
        let mut queue = queue((0..1000).map(|lsn| (lsn, None)));
        queue.page_out(Lsn(600), 0, usize::MAX);
        for from in [0, 1, 255, 256, 300, 590, 999] {
            let shown = queue.browse(from, 20, u64::MAX);
            let expected: Vec<u64> = (from..1000).take(20).collect();
            assert_eq!(lsns(&shown), expected);
            assert!(shown.iter().all(|one| one.message.is_none() == (one.lsn.0 <= 600)));
        }
    }

    #[test]
    fn messages_are_taken_from_where_they_stand() {
        let mut queue = queue((0..1000).map(|lsn| (lsn, None)));
        let wanted = [3, 300, 301, 900, 5000].map(Lsn);
        queue.page_out(Lsn(600), 0, usize::MAX);
        let in_memory = queue.take(&wanted, NOW);
        assert_eq!(in_memory.iter().map(|entry| entry.lsn.0).collect::<Vec<_>>(), [900]);
        let request = queue.pages_of(&wanted).unwrap();
        page_in(&mut queue, request);
        assert!(queue.pages_of(&wanted).is_none());
        let taken = queue.take(&wanted, NOW);
        assert_eq!(taken.iter().map(|entry| entry.lsn.0).collect::<Vec<_>>(), [3, 300, 301]);
        assert_eq!((queue.ready_len(), queue.unacked_len()), (996, 4));
        let back = taken.into_iter().nth(1).unwrap();
        assert_eq!(queue.requeue(None, back, Return::Released, NOW, &mut Vec::new()), None);
        queue.settle(None, 3, 12);
        let gone = [3, 301, 900];
        let expected: Vec<u64> = (0..1000).filter(|lsn| !gone.contains(lsn)).collect();
        let mut shown = lsns(&queue.browse(0, 1000, u64::MAX));
        assert_eq!(shown.remove(0), 300, "what came back is ahead of what never left");
        shown.insert(299, 300);
        assert_eq!(shown, expected);
    }

    /// Of the messages of several publishers a later one may have the lower number.
    #[test]
    fn messages_are_found_on_pages_whatever_their_order() {
        let number = |at: u64| if at % 256 == 100 { at + 10_000 } else { at ^ 0x8f };
        let mut queue = queue((0..1024).map(|at| (number(at), None)));
        assert_eq!(queue.page_out(Lsn(u64::MAX), 0, usize::MAX), 1024);
        let on_page = |page: u64| (256 * page..256 * (page + 1)).map(number);
        for page in 0..4 {
            for wanted in on_page(page) {
                let mut wanted = [wanted, 5000].map(Lsn);
                wanted.sort_unstable();
                let request = queue.pages_of(&wanted).unwrap();
                assert!(request.lsns().iter().map(|lsn| lsn.0).eq(on_page(page)));
                queue.abandon(request);
            }
        }
        let wanted: Vec<Lsn> =
            (0..1024).map(number).collect::<BTreeSet<_>>().into_iter().map(Lsn).collect();
        let request = queue.pages_of(&wanted).unwrap();
        page_in(&mut queue, request);
        assert_eq!(queue.take(&wanted, NOW).len(), 1024);
    }

    #[test]
    fn what_has_expired_is_not_taken() {
        let mut queue = queue([(1, None)]);
        let mortal = Entry { deadline: Some(NOW), ..entry(2, None) };
        queue.restore(mortal);
        assert_eq!(queue.take(&[Lsn(1), Lsn(2)], NOW).len(), 1);
        assert_eq!(queue.ready_len(), 1);
        queue.expire(NOW, &mut Vec::new());
        assert_eq!((queue.ready_len(), queue.next_deadline()), (0, None));
    }
}
