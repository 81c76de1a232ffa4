//! A run of numbers whose messages lie in one segment.

use ahash::AHashMap;

use super::lsn_set::LsnSet;
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

/// The unsettled places of one queue in an area.
#[derive(Default)]
struct Places {
    lsns: LsnSet,
    count: u64,
    /// About how many bytes of the journal they take.
    bytes: u64,
    /// What few places have.
    seen: Option<Box<Seen>>,
}

#[derive(Default)]
struct Seen {
    redelivered: LsnSet,
    /// Delivery counts and delays that are not 0.
    noted: AHashMap<u64, (u32, u64)>,
}

/// Places and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) places: u64,
    pub(super) bytes: u64,
}

impl Area {
    pub(super) fn new(segment: u64, last: u64) -> Self {
        Self { segment, last, queues: AHashMap::new(), quiet: Quiet::default() }
    }

    /// Nothing more comes to it for now: what is known of its queues can be put together closely. No
    /// LSN of it is below `first`.
    pub(super) fn rest(&mut self, first: u64) {
        let is_quiet = |places: &Places| places.seen.is_none() && places.lsns.is_short();
        let quiet = self.queues.iter().filter(|(_, places)| is_quiet(places));
        let mut queues: Vec<u64> = quiet.map(|(queue, _)| *queue).collect();
        queues.sort_unstable();
        self.quiet = Quiet::above(first);
        for queue in queues {
            if let Some(places) = self.queues.get(&queue)
                && self.quiet.push(queue, &places.lsns, places.bytes)
            {
                self.queues.remove(&queue);
            }
        }
        self.quiet.seal();
        self.queues.shrink_to_fit();
    }

    /// Adds unsettled places of the `count` messages from `first` on, and their share of the messages'
    /// bytes.
    pub(super) fn add(&mut self, queue: u64, first: u64, count: u64, bytes: u64) {
        self.wake(queue);
        let places = self.queues.entry(queue).or_default();
        places.lsns.insert(first, count);
        places.count += count;
        places.bytes += bytes;
    }

    /// How many places of a queue are not settled, if nothing more is known of any of them.
    pub(super) fn plain(&self, queue: u64) -> Option<u64> {
        match self.queues.get(&queue) {
            Some(places) => places.seen.is_none().then_some(places.count),
            None => Some(self.quiet.get(queue).map_or(0, Waiting::count)),
        }
    }

    /// The queue is to be changed.
    fn wake(&mut self, queue: u64) -> Option<&mut Places> {
        // Mostly it is awake, or nothing here is quiet.
        if !self.queues.contains_key(&queue)
            && let Some((lsns, bytes)) = self.quiet.take(queue)
        {
            let count = lsns.iter().count() as u64;
            self.queues.insert(queue, Places { lsns, count, bytes, seen: None });
        }
        self.queues.get_mut(&queue)
    }

    /// Settles what is there of the `count` messages from `start` on.
    pub(super) fn settle(&mut self, queue: u64, start: u64, count: u64) -> Amount {
        let Some(places) = self.wake(queue) else { return Amount::default() };
        let settled = places.lsns.remove(start, count);
        if settled >= places.count || places.lsns.is_empty() {
            return self.drop_queue(queue);
        }
        let bytes = u128::from(places.bytes) * u128::from(settled) / u128::from(places.count);
        let bytes = u64::try_from(bytes).unwrap_or(places.bytes);
        places.count -= settled;
        places.bytes -= bytes;
        if let Some(seen) = &mut places.seen {
            seen.redelivered.remove(start, count);
            if !seen.noted.is_empty() {
                for lsn in start..start.saturating_add(count) {
                    seen.noted.remove(&lsn);
                }
            }
        }
        Amount { places: settled, bytes }
    }

    /// Settles all places of a queue.
    pub(super) fn drop_queue(&mut self, queue: u64) -> Amount {
        self.wake(queue);
        let places = self.queues.remove(&queue).unwrap_or_default();
        Amount { places: places.count, bytes: places.bytes }
    }

    /// The place of message `lsn` in `queue`, unless it is settled.
    pub(super) fn place(&self, queue: u64, lsn: u64) -> Option<RecoveredPlace> {
        match self.queues.get(&queue) {
            Some(places) => places.lsns.contains(lsn).then(|| places.place(queue, lsn)),
            None => self.quiet.get(queue)?.contains(lsn).then(|| unseen(queue)),
        }
    }

    /// The unsettled places of a queue, ascending by LSN.
    pub(super) fn places(&self, queue: u64) -> impl Iterator<Item = (u64, RecoveredPlace)> {
        let places = self.queues.get(&queue).into_iter();
        let quiet = self.quiet.get(queue).into_iter();
        places
            .flat_map(move |places| {
                places.lsns.iter().map(move |lsn| (lsn, places.place(queue, lsn)))
            })
            .chain(quiet.flat_map(Waiting::lsns).map(move |lsn| (lsn, unseen(queue))))
    }

    /// The unsettled places of all queues: each with the numbers of its messages, ascending.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Vec<u64>)> {
        let awake =
            self.queues.iter().map(|(queue, places)| (*queue, places.lsns.iter().collect()));
        awake.chain(self.quiet.all().map(|(queue, waiting)| (queue, waiting.lsns().collect())))
    }

    /// Changes what such a place has seen.
    pub(super) fn note(&mut self, queue: u64, lsn: u64, change: impl FnOnce(&mut RecoveredPlace)) {
        let Some(old) = self.place(queue, lsn) else { return };
        let mut new = old;
        change(&mut new);
        if new == old {
            return;
        }
        let Some(places) = self.wake(queue) else { return };
        let seen = places.seen.get_or_insert_default();
        if new.redelivered {
            seen.redelivered.insert(lsn, 1);
        }
        match (new.deliveries, new.delayed_until) {
            (0, 0) => drop(seen.noted.remove(&lsn)),
            noted => drop(seen.noted.insert(lsn, noted)),
        }
    }
}

impl Places {
    /// What is known of one of them.
    fn place(&self, queue: u64, lsn: u64) -> RecoveredPlace {
        let seen = self.seen.as_ref();
        let noted = seen.and_then(|seen| seen.noted.get(&lsn));
        let (deliveries, delayed_until) = noted.copied().unwrap_or_default();
        let redelivered = seen.is_some_and(|seen| seen.redelivered.contains(lsn));
        RecoveredPlace { queue, deliveries, redelivered, delayed_until }
    }
}

/// The place of a message of which nothing more is known.
fn unseen(queue: u64) -> RecoveredPlace {
    RecoveredPlace { queue, ..RecoveredPlace::default() }
}
