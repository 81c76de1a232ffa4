//! A run of numbers whose messages lie in one segment.

use ahash::AHashMap;

use super::lsn_set::LsnSet;
use super::places::{Amount, Places};
use super::quiet::{Quiet, Waiting};
use crate::RecoveredPlace;

/// The messages with numbers from its key in [`Live`](super::Live) up to `last` that are still
/// waiting somewhere; all of them lie in one segment.
pub(super) struct Area {
    /// The segment's number.
    pub(super) segment: u64,
    /// No LSN of it is above.
    pub(super) last: u64,
    /// None of them is empty.
    queues: AHashMap<u64, Places>,
    /// Others, each here or there.
    quiet: Quiet,
}

impl Area {
    pub(super) fn new(segment: u64, last: u64) -> Self {
        Self { segment, last, queues: AHashMap::new(), quiet: Quiet::default() }
    }

    /// Nothing more comes to it for now: what is known of its queues can be put together closely. No
    /// LSN of it is below `first`.
    pub(super) fn rest(&mut self, first: u64) {
        let quiet = self.queues.iter().filter(|(_, places)| places.quiet().is_some());
        let mut queues: Vec<u64> = quiet.map(|(queue, _)| *queue).collect();
        queues.sort_unstable();
        self.quiet = Quiet::above(first);
        for queue in queues {
            if let Some(sizes) = self.queues.get(&queue).and_then(Places::quiet)
                && self.quiet.push(queue, sizes)
            {
                self.queues.remove(&queue);
            }
        }
        self.quiet.seal();
        self.queues.shrink_to_fit();
    }

    /// Adds unsettled places of the `count` messages from `first` on, which are of a like size, and their
    /// share of the messages' bytes.
    pub(super) fn add(&mut self, queue: u64, first: u64, count: u64, bytes: u64) {
        self.wake(queue);
        self.queues.entry(queue).or_default().add(first, count, bytes);
    }

    /// How many places of a queue are not settled, if nothing more is known of any of them.
    pub(super) fn plain(&self, queue: u64) -> Option<u64> {
        match self.queues.get(&queue) {
            Some(places) => places.plain(),
            None => Some(self.quiet.get(queue).map(Waiting::count).sum()),
        }
    }

    /// The queue is to be changed.
    fn wake(&mut self, queue: u64) -> Option<&mut Places> {
        // Mostly it is awake, or nothing here is quiet.
        if !self.queues.contains_key(&queue) {
            let places = Places::unseen(self.quiet.take(queue));
            if !places.is_empty() {
                self.queues.insert(queue, places);
            }
        }
        self.queues.get_mut(&queue)
    }

    /// Settles what is there of the `count` messages from `start` on.
    pub(super) fn settle(&mut self, queue: u64, start: u64, count: u64) -> Amount {
        let Some(places) = self.wake(queue) else { return Amount::default() };
        let settled = places.settle(start, count);
        if places.is_empty() {
            self.queues.remove(&queue);
        }
        settled
    }

    /// Settles all places of a queue.
    pub(super) fn drop_queue(&mut self, queue: u64) -> Amount {
        self.wake(queue);
        self.queues.remove(&queue).unwrap_or_default().amount()
    }

    /// The place of message `lsn` in `queue`, unless it is settled.
    pub(super) fn place(&self, queue: u64, lsn: u64) -> Option<RecoveredPlace> {
        if let Some(places) = self.queues.get(&queue) {
            return places.contains(lsn).then(|| places.place(queue, lsn));
        }
        let is_quiet = self.quiet.get(queue).any(|waiting| waiting.contains(lsn));
        is_quiet.then(|| unseen(queue))
    }

    /// The unsettled places of a queue, ascending by LSN.
    pub(super) fn places(&self, queue: u64) -> impl Iterator<Item = (u64, RecoveredPlace)> {
        let places = self.queues.get(&queue);
        let mut lsns: Vec<u64> = match places {
            Some(places) => places.lsns().flatten().collect(),
            None => self.quiet.get(queue).flat_map(Waiting::lsns).collect(),
        };
        // Those of each size are.
        if !lsns.is_sorted() {
            lsns.sort_unstable();
        }
        let place =
            move |lsn| places.map_or_else(|| unseen(queue), |places| places.place(queue, lsn));
        lsns.into_iter().map(move |lsn| (lsn, place(lsn)))
    }

    /// The unsettled places of all queues: queues, some more than once, each with numbers of its messages,
    /// ascending.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Vec<u64>)> {
        let awake = self.queues.iter();
        let awake = awake.flat_map(|(queue, places)| places.lsns().map(|lsns| (*queue, lsns)));
        awake.chain(self.quiet.all().map(|(queue, waiting)| (queue, waiting.lsns().collect())))
    }

    /// Adds all messages that are not settled to `unsettled`.
    pub(super) fn add_to(&self, unsettled: &mut LsnSet) {
        self.queues.values().for_each(|places| places.add_to(unsettled));
        let quiet = self.quiet.all().flat_map(|(_, waiting)| waiting.lsns());
        quiet.for_each(|lsn| unsettled.insert(lsn, 1));
    }

    /// The queues in which a message is not settled.
    pub(super) fn queues_of(&self, lsn: u64) -> impl Iterator<Item = u64> {
        let awake = self.queues.iter().filter(move |(_, places)| places.contains(lsn));
        let quiet = self.quiet.all().filter(move |(_, waiting)| waiting.contains(lsn));
        awake.map(|(queue, _)| *queue).chain(quiet.map(|(queue, _)| queue))
    }

    /// Changes what such a place has seen.
    pub(super) fn note(&mut self, queue: u64, lsn: u64, change: impl FnOnce(&mut RecoveredPlace)) {
        let Some(old) = self.place(queue, lsn) else { return };
        let mut new = old;
        change(&mut new);
        if new != old
            && let Some(places) = self.wake(queue)
        {
            places.note(lsn, new);
        }
    }
}

/// The place of a message of which nothing more is known.
fn unseen(queue: u64) -> RecoveredPlace {
    RecoveredPlace { queue, ..RecoveredPlace::default() }
}
