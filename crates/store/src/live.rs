//! Which segments still hold something needed.

use std::collections::VecDeque;

use ahash::AHashMap;

use crate::{
    encoding::Reader,
    record::{Entry, Record},
    segment::{HEADER, Segment},
    unit,
};

/// The segments in use, oldest first, the last being written; with the count of unsettled places in
/// each.
///
/// A segment can go when it is the oldest, holds no unsettled place, and its definition changes
/// have reached their tables: every settlement in it concerns itself or segments that went before.
#[derive(Default)]
pub(crate) struct Live {
    segments: VecDeque<LiveSegment>,
    totals: Totals,
    /// The unsettled places themselves, to catch a broker that settles what it must not: the counts
    /// would let go of a segment too early.
    #[cfg(debug_assertions)]
    exact: std::collections::BTreeSet<(u64, u64)>,
}

/// Sums over the segments in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) allocated: u64,
    pub(crate) used: u64,
    /// Places ever written in the segments, settled or not.
    pub(crate) places: u64,
    /// Places not settled.
    pub(crate) live: u64,
}

/// A segment and what is needed of it.
pub(crate) struct LiveSegment {
    pub(crate) segment: Segment,
    /// No LSN of this segment is below.
    pub(crate) first: u64,
    /// The last LSN written.
    pub(crate) last: u64,
    /// Where the next unit goes.
    pub(crate) used: u64,
    /// LSN of the last definition change in it.
    pub(crate) last_definition: u64,
    /// Places ever written.
    pub(crate) places: u64,
    live: u64,
    live_by_queue: AHashMap<u64, u64>,
}

impl Live {
    /// Adds the next segment. LSNs from `first` on will be in it.
    pub(crate) fn push(&mut self, segment: Segment, first: u64) {
        self.totals.allocated += segment.capacity;
        self.totals.used += HEADER;
        self.segments.push_back(LiveSegment {
            segment,
            first,
            last: first.saturating_sub(1),
            used: HEADER,
            last_definition: 0,
            places: 0,
            live: 0,
            live_by_queue: AHashMap::new(),
        });
    }

    /// Adds a recovered segment; its places follow with [`Live::place`].
    pub(crate) fn push_recovered(&mut self, segment: LiveSegment) {
        self.totals.allocated += segment.segment.capacity;
        self.totals.used += segment.used;
        self.totals.places += segment.places;
        self.segments.push_back(segment);
    }

    /// Counts one unsettled place.
    pub(crate) fn place(&mut self, queue: u64, lsn: u64) {
        #[cfg(debug_assertions)]
        self.exact.insert((queue, lsn));
        if let Some(segment) = Self::segment_of(&mut self.segments, lsn) {
            segment.live += 1;
            *segment.live_by_queue.entry(queue).or_default() += 1;
            self.totals.live += 1;
        }
    }

    /// The segment being written.
    pub(crate) fn tail(&self) -> Option<&LiveSegment> {
        self.segments.back()
    }

    /// Notes that the tail grew by `bytes`.
    pub(crate) fn wrote(&mut self, bytes: u64) {
        if let Some(tail) = self.segments.back_mut() {
            tail.used += bytes;
            self.totals.used += bytes;
        }
    }

    /// Notes that the tail was enlarged to `capacity`.
    pub(crate) fn enlarged(&mut self, capacity: u64) {
        if let Some(tail) = self.segments.back_mut() {
            self.totals.allocated += capacity.saturating_sub(tail.segment.capacity);
            tail.segment.capacity = capacity;
        }
    }

    /// Counts what the records of a unit, whose first has number `first`, add and settle. Returns
    /// its definition changes to `definition`, as `(LSN, payload)`.
    pub(crate) fn unit(
        &mut self,
        first: u64,
        bytes: &[u8],
        mut definition: impl FnMut(u64, &[u8]),
    ) {
        let mut reader = Reader(bytes.get(unit::HEADER..).unwrap_or_default());
        let mut lsn = first;
        while let Some(record) = Record::read_own(&mut reader) {
            match record.entry() {
                Some(Entry::Message { queues, .. }) => {
                    for queue in queues {
                        self.place(queue, lsn);
                        self.totals.places += 1;
                        if let Some(segment) = Self::segment_of(&mut self.segments, lsn) {
                            segment.places += 1;
                        }
                    }
                }
                Some(Entry::Ack { queue, ranges }) => {
                    for (start, count) in ranges {
                        self.settle(queue, start, count);
                    }
                }
                Some(Entry::DropQueue { queue }) => self.drop_queue(queue),
                Some(Entry::Define { payload }) => {
                    if let Some(segment) = Self::segment_of(&mut self.segments, lsn) {
                        segment.last_definition = lsn;
                    }
                    definition(lsn, payload);
                }
                Some(Entry::Returned { .. } | Entry::Delayed { .. }) | None => {}
            }
            lsn += 1;
        }
        if let Some(tail) = Self::segment_of(&mut self.segments, first) {
            tail.last = tail.last.max(lsn.saturating_sub(1));
        }
    }

    /// Takes the oldest segment if nothing in it is needed any more. All that was counted must be
    /// durable up to `durable`, and definitions must have reached their tables up to `applied`.
    pub(crate) fn take_dead(&mut self, durable: u64, applied: u64) -> Option<Segment> {
        let oldest = self.segments.front()?;
        // Something durable must follow it, or the journal would forget how far its numbers went.
        let dead = self.segments.len() > 1
            && oldest.live == 0
            && oldest.last_definition <= applied
            && oldest.last < durable;
        if !dead {
            return None;
        }
        let oldest = self.segments.pop_front()?;
        self.totals.allocated -= oldest.segment.capacity;
        self.totals.used -= oldest.used;
        self.totals.places -= oldest.places;
        Some(oldest.segment)
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(crate) const fn totals(&self) -> Totals {
        self.totals
    }

    fn settle(&mut self, queue: u64, mut start: u64, mut count: u64) {
        while count > 0 {
            let at = self.segments.partition_point(|segment| segment.first <= start);
            let next_first = self.segments.get(at).map_or(u64::MAX, |segment| segment.first);
            let here = count.min(next_first - start);
            if let Some(segment) = at.checked_sub(1).and_then(|at| self.segments.get_mut(at))
                && let Some(live) = segment.live_by_queue.get_mut(&queue)
            {
                #[cfg(debug_assertions)]
                for lsn in start..start + here {
                    let there = self.exact.remove(&(queue, lsn));
                    assert!(there, "LSN {lsn} was settled in queue {queue} where it is not");
                }
                let settled = here.min(*live);
                *live -= settled;
                if *live == 0 {
                    segment.live_by_queue.remove(&queue);
                }
                segment.live -= settled;
                self.totals.live -= settled;
            }
            start += here;
            count -= here;
        }
    }

    fn drop_queue(&mut self, queue: u64) {
        #[cfg(debug_assertions)]
        self.exact.retain(|(place, _)| *place != queue);
        for segment in &mut self.segments {
            if let Some(live) = segment.live_by_queue.remove(&queue) {
                segment.live -= live;
                self.totals.live -= live;
            }
        }
    }

    fn segment_of(segments: &mut VecDeque<LiveSegment>, lsn: u64) -> Option<&mut LiveSegment> {
        // Nearly always the last one.
        if segments.back().is_some_and(|tail| tail.first <= lsn) {
            return segments.back_mut();
        }
        let at = segments.partition_point(|segment| segment.first <= lsn);
        segments.get_mut(at.checked_sub(1)?)
    }
}

impl LiveSegment {
    /// A recovered segment: its first and last LSN, where the next unit would go, the LSN of its
    /// last definition change and the places ever written.
    pub(crate) fn recovered(
        segment: Segment,
        (first, last): (u64, u64),
        used: u64,
        last_definition: u64,
        places: u64,
    ) -> Self {
        let live_by_queue = AHashMap::new();
        Self { segment, first, last, used, last_definition, places, live: 0, live_by_queue }
    }
}
