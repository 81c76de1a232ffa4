//! Which segments still hold something needed, and what of it.

mod area;
mod lsn_set;
mod places;
mod quiet;

use std::collections::{BTreeMap, VecDeque};

use smallvec::SmallVec;

pub(crate) use self::lsn_set::LsnSet;
use self::{
    area::Area,
    places::{Amount, like_size},
};
use crate::{
    RecoveredPlace,
    encoding::Reader,
    record::{Entry, Record},
    segment::{HEADER, Segment},
};

/// The segments in use, oldest first, the last being written; with the unsettled places of the
/// messages in each.
///
/// A segment can go when it is the oldest, holds no unsettled place, and its definition changes
/// have reached their tables: every settlement in it concerns itself or segments that went before.
#[derive(Default)]
pub(crate) struct Live {
    segments: VecDeque<LiveSegment>,
    /// By the first LSN of each; they don't overlap. A segment has one for the messages that were
    /// written to it first, and one for each run of messages that were moved to it.
    areas: BTreeMap<u64, Area>,
    totals: Totals,
    /// What is at or below may have been delivered by a process that ended without a clean stop.
    crashed_at: u64,
    /// Messages of the unit that is being counted, to be added together.
    run: Run,
}

/// Consecutive messages of one queue, of a like size.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    queue: u64,
    first: u64,
    count: u64,
    like_size: u32,
    /// Their bytes.
    bytes: u64,
}

/// Sums over the segments in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) allocated: u64,
    pub(crate) used: u64,
    /// Places not settled.
    pub(crate) live: u64,
    /// About how many bytes their messages take.
    pub(crate) live_bytes: u64,
}

/// A segment and what is needed of it.
pub(crate) struct LiveSegment {
    pub(crate) segment: Segment,
    /// The last LSN written.
    last: u64,
    /// Where the next unit goes.
    pub(crate) used: u64,
    /// LSN of the last definition change in it.
    last_definition: u64,
    live: Amount,
    /// It holds copies of messages that lie in older segments: a process ended that was moving them.
    pub(crate) has_copies: bool,
    /// Messages count for it of which it has no record: they were lost in a repair, and moved before.
    lacks_some: bool,
}

/// Whose moved messages a unit has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moves {
    /// This process has just moved them: from now on they lie here.
    Made,
    /// They were read back. As long as a message's older record is there that one counts, since not
    /// all of its segment need have been moved.
    Found,
}

impl LiveSegment {
    /// How many bytes its messages take when they are moved, at most.
    pub(crate) const fn moved_bytes(&self) -> u64 {
        self.live.bytes + self.live.places * MOVED_EXTRA
    }
}

impl Run {
    /// Whether `lsn` is the next one.
    const fn takes(&self, queue: u64, lsn: u64, bytes: u64) -> bool {
        self.queue == queue
            && self.count > 0
            && self.first.saturating_add(self.count) == lsn
            && self.like_size == like_size(bytes)
    }

    const fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl Live {
    /// Adds the next segment. LSNs from `first` on will be in it.
    pub(crate) fn push(&mut self, segment: Segment, first: u64) {
        self.totals.allocated += segment.capacity;
        self.totals.used += HEADER;
        if let Some((_, before)) = self.areas.range_mut(..first).next_back() {
            before.last = before.last.min(first - 1);
        }
        if let Some(tail) = self.segments.back() {
            let number = tail.segment.number;
            let of_tail = self.areas.iter_mut().filter(|(_, area)| area.segment == number);
            of_tail.for_each(|(first, area)| area.rest(*first));
        }
        self.areas.insert(first, Area::new(segment.number, u64::MAX));
        self.segments.push_back(LiveSegment {
            segment,
            last: first.saturating_sub(1),
            used: HEADER,
            last_definition: 0,
            live: Amount::default(),
            has_copies: false,
            lacks_some: false,
        });
    }

    /// Notes that all messages up to `last` may have been delivered.
    pub(crate) fn crashed(&mut self, last: u64) {
        self.crashed_at = self.crashed_at.max(last);
    }

    /// Whether all messages up to `last` may have been delivered by a process that crashed.
    pub(crate) const fn has_crashed(&self, last: u64) -> bool {
        self.crashed_at >= last
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

    /// Counts what the records of a unit, whose first has number `first`, add and settle; `body` are its
    /// bytes without its header. Returns
    /// its definition changes to `definition`, as `(LSN, payload)`. A unit with moved messages must
    /// be in the last segment.
    pub(crate) fn unit(
        &mut self,
        first: u64,
        body: &[u8],
        moves: Moves,
        mut definition: impl FnMut(u64, &[u8]),
    ) {
        let mut reader = Reader(body);
        let mut lsn = first;
        while let Some(record) = Record::read_own(&mut reader) {
            if let Some(entry) = record.entry() {
                if let Entry::Define { payload } = entry {
                    definition(lsn, payload);
                }
                self.record(lsn, record.length(), entry, moves);
            }
            lsn += 1;
        }
        self.end_unit(first, lsn);
    }

    /// Counts what a record of `bytes` adds and settles.
    pub(crate) fn record(&mut self, lsn: u64, bytes: u64, entry: Entry<'_>, moves: Moves) {
        if let Entry::Message { queues, .. } = entry {
            let share = bytes / (queues.clone().count() as u64).max(1);
            for queue in queues {
                self.message(lsn, share, queue);
            }
            return;
        }
        self.end_run();
        match entry {
            Entry::Message { .. } => {}
            Entry::Ack { queue, ranges } => {
                for (start, count) in ranges {
                    self.settle(queue, start, count);
                }
            }
            Entry::Returned { queue, returns } => {
                for (lsn, deliveries) in returns {
                    self.note(queue, lsn, |place| {
                        place.deliveries = deliveries;
                        place.redelivered = true;
                        place.delayed_until = 0;
                    });
                }
            }
            Entry::Delayed { queue, delays } => {
                for (lsn, until) in delays {
                    self.note(queue, lsn, |place| place.delayed_until = until);
                }
            }
            Entry::DropQueue { queue } => self.drop_queue(queue),
            Entry::Define { .. } => {
                if let Some(segment) = self.segment_of(lsn) {
                    segment.last_definition = lsn;
                }
            }
            Entry::Moved { from, lsn, places, .. } => {
                let places: SmallVec<[_; 1]> = places.collect();
                match moves {
                    Moves::Made => self.moved(from, lsn, &places, bytes),
                    Moves::Found => self.found_moved(from, lsn, &places, bytes),
                }
            }
        }
    }

    /// Counts a message in one of its queues, of which that has a `share` of its bytes.
    pub(crate) fn message(&mut self, lsn: u64, share: u64, queue: u64) {
        if self.run.takes(queue, lsn, share) {
            self.run.add(share);
            return;
        }
        self.end_run();
        let like_size = like_size(share);
        self.run = Run { queue, first: lsn, count: 1, like_size, bytes: share };
    }

    /// All records of a unit have been counted, from `first` up to below `next`.
    pub(crate) fn end_unit(&mut self, first: u64, next: u64) {
        self.end_run();
        if let Some(segment) = self.segment_of(first) {
            segment.last = segment.last.max(next.saturating_sub(1));
        }
    }

    /// Takes the oldest segment if nothing in it is needed any more. All that was counted must be
    /// durable up to `durable`, and definitions must have reached their tables up to `applied`.
    pub(crate) fn take_dead(&mut self, durable: u64, applied: u64) -> Option<Segment> {
        let oldest = self.segments.front()?;
        // Something durable must follow it, or the journal would forget how far its numbers went.
        let dead = self.segments.len() > 1
            && oldest.live.places == 0
            && oldest.last_definition <= applied
            && oldest.last < durable;
        if !dead {
            return None;
        }
        let oldest = self.segments.pop_front()?;
        self.areas.retain(|_, area| area.segment != oldest.segment.number);
        self.totals.allocated -= oldest.segment.capacity;
        self.totals.used -= oldest.used;
        Some(oldest.segment)
    }

    /// The number of the oldest segment.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.segments.front().map(|oldest| oldest.segment.number)
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(crate) const fn totals(&self) -> Totals {
        self.totals
    }

    /// The oldest segment that messages keep, if it is not the one being written.
    pub(crate) fn oldest_kept(&self) -> Option<&LiveSegment> {
        let sealed = self.segments.len().saturating_sub(1);
        self.segments.iter().take(sealed).find(|segment| segment.live.places > 0)
    }

    /// The unsettled places of the messages in a segment: queues, some more than once, each with numbers of
    /// its messages, ascending.
    pub(crate) fn unsettled_in(&self, number: u64) -> Vec<(u64, Vec<u64>)> {
        let areas = self.areas.values().filter(|area| area.segment == number);
        areas.flat_map(Area::all).collect()
    }

    /// Its messages that are not settled everywhere.
    pub(crate) fn unsettled_of(&self, number: u64) -> LsnSet {
        let mut unsettled = LsnSet::default();
        let areas = self.areas.values().filter(|area| area.segment == number);
        areas.for_each(|area| area.add_to(&mut unsettled));
        unsettled
    }

    /// Whether some of a segment's unsettled messages were lost there in a repair.
    pub(crate) fn lacks_some(&self, number: u64) -> bool {
        self.segment(number).is_some_and(|segment| segment.lacks_some)
    }

    /// How many of a segment's unsettled places may be those of messages that it has no record of, or only
    /// damaged ones if it `has_gaps`.
    pub(crate) fn lacking(&self, number: u64, has_gaps: bool) -> u64 {
        let segment = self.segment(number).filter(|segment| segment.lacks_some || has_gaps);
        segment.map_or(0, |segment| segment.live.places)
    }

    /// Bytes of the segments in use before the one being written that no message takes.
    pub(crate) fn garbage(&self) -> u64 {
        let tail = self.segments.back();
        let sealed = self.totals.allocated - tail.map_or(0, |tail| tail.segment.capacity);
        let live = self.totals.live_bytes - tail.map_or(0, |tail| tail.live.bytes);
        sealed.saturating_sub(live)
    }

    /// The unsettled places of a queue, ascending by LSN.
    pub(crate) fn waiting_in(&self, queue: u64) -> impl Iterator<Item = (u64, RecoveredPlace)> {
        self.areas.values().flat_map(move |area| area.places(queue))
    }

    /// How many places of a queue are not settled, if nothing more is known of any of them.
    pub(crate) fn plain_in(&self, queue: u64) -> Option<u64> {
        self.areas.values().map(|area| area.plain(queue)).sum()
    }

    /// The places in which the message `lsn`, read in `segment` with these `queues`, is not settled;
    /// none if it was moved elsewhere.
    pub(crate) fn places(
        &self,
        segment: u64,
        lsn: u64,
        queues: impl Iterator<Item = u64>,
    ) -> SmallVec<[RecoveredPlace; 1]> {
        let area = self.area(lsn).filter(|area| area.segment == segment);
        let place = |queue| {
            let mut place = area?.place(queue, lsn)?;
            place.redelivered |= lsn <= self.crashed_at;
            Some(place)
        };
        queues.filter_map(place).collect()
    }

    /// All places in which the message `lsn` is not settled, if it lies in `segment`.
    pub(crate) fn all_places(&self, segment: u64, lsn: u64) -> SmallVec<[RecoveredPlace; 1]> {
        let queues = self.area(lsn).into_iter().flat_map(|area| area.queues_of(lsn));
        self.places(segment, lsn, queues)
    }

    /// The area of message `lsn`, by its first number, and the number from which on no area but this
    /// one has any.
    pub(crate) fn below(&self, lsn: u64) -> Option<(u64, u64)> {
        let mut areas = self.areas.range(..=lsn);
        let (first, _) = areas.next_back()?;
        let below = areas.next_back().map_or(0, |(_, before)| before.last.saturating_add(1));
        Some((*first, below))
    }

    /// The number behind the last of the area of message `lsn`.
    pub(crate) fn behind_area(&self, lsn: u64) -> u64 {
        self.area(lsn).map_or(lsn, |area| area.last).saturating_add(1)
    }

    fn area(&self, lsn: u64) -> Option<&Area> {
        let (_, area) = self.areas.range(..=lsn).next_back()?;
        Some(area).filter(|area| lsn <= area.last)
    }

    /// Adds the places of the messages of [`Live::run`].
    fn end_run(&mut self) {
        if self.run.count == 0 {
            return;
        }
        let Run { queue, first, count, bytes, .. } = std::mem::take(&mut self.run);
        let Some((_, area)) = self.areas.range_mut(..=first).next_back() else { return };
        area.add(queue, first, count, bytes);
        let number = area.segment;
        self.count_in(number, Amount { places: count, bytes });
    }

    fn settle(&mut self, queue: u64, start: u64, count: u64) {
        let end = start.saturating_add(count);
        let first = self.areas.range(..=start).next_back().map_or(start, |(first, _)| *first);
        let mut settled = SmallVec::<[(u64, Amount); 2]>::new();
        for (first, area) in self.areas.range_mut(first..end) {
            let from = start.max(*first);
            let to = end.min(area.last.saturating_add(1));
            if from < to {
                settled.push((area.segment, area.settle(queue, from, to - from)));
            }
        }
        for (segment, amount) in settled {
            self.count_out(segment, amount);
        }
    }

    fn note(&mut self, queue: u64, lsn: u64, change: impl FnOnce(&mut RecoveredPlace)) {
        if let Some((_, area)) = self.areas.range_mut(..=lsn).next_back()
            && lsn <= area.last
        {
            area.note(queue, lsn, change);
        }
    }

    fn drop_queue(&mut self, queue: u64) {
        let mut dropped = SmallVec::<[(u64, Amount); 8]>::new();
        for area in self.areas.values_mut() {
            dropped.push((area.segment, area.drop_queue(queue)));
        }
        for (segment, amount) in dropped {
            self.count_out(segment, amount);
        }
    }

    /// The message `lsn` is now in the last segment. Those of an area are moved in ascending order, so
    /// what is below it in its area is settled or was moved before.
    fn moved(&mut self, from: u64, lsn: u64, places: &[RecoveredPlace], bytes: u64) {
        let old = self.areas.range(..=lsn).next_back().filter(|(_, area)| lsn <= area.last);
        if let Some(key) = old.map(|(key, _)| *key)
            && let Some(mut old) = self.areas.remove(&key)
        {
            for place in places {
                let gone = old.settle(place.queue, lsn, 1);
                self.count_out(old.segment, gone);
            }
            if lsn < old.last {
                self.areas.insert(lsn + 1, old);
            }
        }
        self.add_moved(from, lsn, places, bytes);
    }

    /// The message `lsn` was moved to the last segment by a process before. It may lie in an older one
    /// still; then this one may take no second copy of it, so that each segment has the messages of an
    /// area once, ascending.
    fn found_moved(&mut self, from: u64, lsn: u64, places: &[RecoveredPlace], bytes: u64) {
        let old = self.areas.range_mut(..=lsn).next_back();
        let Some((_, old)) = old.filter(|(_, old)| lsn <= old.last) else {
            self.add_moved(from, lsn, places, bytes);
            return;
        };
        if places.iter().any(|place| old.place(place.queue, lsn).is_some()) {
            if let Some(tail) = self.segments.back_mut() {
                tail.has_copies = true;
            }
            return;
        }
        // Its first record was lost in a repair. It counts for the segment that had it, which is older
        // and so keeps this one, and may not be moved here once more.
        if let Some(tail) = self.segments.back_mut() {
            tail.has_copies = true;
        }
        let segment = old.segment;
        let share = bytes / (places.len() as u64).max(1);
        for place in places {
            old.add(place.queue, lsn, 1, share);
            old.note(place.queue, lsn, |new| *new = *place);
        }
        let amount = Amount { places: places.len() as u64, bytes: share * places.len() as u64 };
        self.count_in(segment, amount);
        if let Some(segment) = self.segment_mut(segment) {
            segment.lacks_some = true;
        }
    }

    /// Adds a moved message to an area of the last segment: one that ends below `from`, or a new one
    /// that begins there.
    fn add_moved(&mut self, from: u64, lsn: u64, places: &[RecoveredPlace], bytes: u64) {
        let Some(tail) = self.segments.back().map(|tail| tail.segment.number) else { return };
        let before = self.areas.range(..lsn).next_back();
        let from = before.map_or(from, |(_, before)| from.max(before.last.saturating_add(1)));
        let key = before
            .filter(|(_, before)| before.segment == tail && before.last.saturating_add(1) == from)
            .map_or(from, |(key, _)| *key);
        let area = self.areas.entry(key).or_insert_with(|| Area::new(tail, lsn));
        area.last = lsn;
        let share = bytes / (places.len() as u64).max(1);
        for place in places {
            area.add(place.queue, lsn, 1, share);
            area.note(place.queue, lsn, |new| *new = *place);
        }
        let amount = Amount { places: places.len() as u64, bytes: share * places.len() as u64 };
        self.count_in(tail, amount);
    }

    fn count_in(&mut self, segment: u64, amount: Amount) {
        self.totals.live += amount.places;
        self.totals.live_bytes += amount.bytes;
        if let Some(segment) = self.segment_mut(segment) {
            segment.live.places += amount.places;
            segment.live.bytes += amount.bytes;
        }
    }

    fn count_out(&mut self, segment: u64, amount: Amount) {
        self.totals.live -= amount.places;
        self.totals.live_bytes -= amount.bytes;
        if let Some(segment) = self.segment_mut(segment) {
            segment.live.places -= amount.places;
            segment.live.bytes -= amount.bytes;
        }
    }

    /// The segment of this number.
    fn segment(&self, number: u64) -> Option<&LiveSegment> {
        self.segments.get(self.place(number)?)
    }

    /// The same, to be changed.
    fn segment_mut(&mut self, number: u64) -> Option<&mut LiveSegment> {
        let at = self.place(number)?;
        self.segments.get_mut(at)
    }

    /// Where the segment of this number stands.
    fn place(&self, number: u64) -> Option<usize> {
        let oldest = self.segments.front()?.segment.number;
        usize::try_from(number.checked_sub(oldest)?).ok()
    }

    /// The segment that `lsn` was written to first.
    fn segment_of(&mut self, lsn: u64) -> Option<&mut LiveSegment> {
        let (_, area) = self.areas.range(..=lsn).next_back()?;
        let number = area.segment;
        self.segment_mut(number)
    }
}

/// Bytes more that a place takes in the record of a moved message than in that of a message, at most.
const MOVED_EXTRA: u64 = 64;
