//! The sending side of a channel: its deliveries, its confirms, its shared prefetch limit.

mod holding_times;

use std::sync::Arc;
use std::time::Duration;

use ahash::{HashMap, HashSet};
use leveret_broker::{HeldMemory, HeldShare, OpenChannel, SettleGroup, SharedQueue};
use leveret_engine::{Admission, AnyEntry, ConsumerId, Entry, Spilled};
use leveret_store::Lsn;

use super::blocked::{Blocked, BlockedConsumers};
use super::confirms::Confirms;
use super::holding::Gone;
use super::overdue::{AckTimeouts, TagAges};
use super::sources::{Source, Sources};
use super::unacked::{Rest, Slot, SpillRun, Unacked, UnknownTag};

/// What the outbox knows of a channel.
pub(crate) struct ChannelOut {
    pub(super) confirms: Confirms,
    /// What operators see of it.
    open: Arc<OpenChannel>,
    unacked: Unacked,
    /// The memory of the unsettled.
    held: HeldShare,
    tag_ages: TagAges,
    /// As [`note_deliveries`](Self::note_deliveries) was told.
    noted: TagAges,
    sources: Sources,
    /// Unsettled answers to `basic.get`, which no limit counts.
    got: usize,
    /// `basic.qos` with global: unsettled deliveries of all consumers together, 0 for no bound.
    shared_limit: u32,
    /// Deliveries admitted under the limit and not yet made.
    reserved: usize,
    /// Consumers waiting for room under the limit.
    blocked: BlockedConsumers,
}

/// Deliveries of one settlement that are taken out at a time, about. Those of many have perhaps no
/// messages in memory, and are larger outside of their place there.
const TAKEN_AT_ONCE: usize = 4096;
/// Groups among which a search finds one fast.
const SEARCHED: usize = 16;

/// How a delivery came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Consumer,
    Get,
}

/// Deliveries that have waited longer than they may.
pub(crate) struct Overdue {
    /// How long one of them could have.
    pub(crate) timeout: Duration,
    /// Their tags, in order.
    pub(crate) tags: Vec<u64>,
    /// Where they came from.
    pub(crate) sources: HashSet<u32>,
    /// Whether all came to consumers of quorum queues.
    pub(crate) is_quorum: bool,
}

/// Deliveries taken out for settlement, with their tags.
pub(crate) type TakenSlots = Vec<(u64, Slot)>;

impl ChannelOut {
    pub(super) fn new(open: Arc<OpenChannel>, held: Arc<HeldMemory>) -> Self {
        Self {
            confirms: Confirms::new(),
            open,
            unacked: Unacked::default(),
            held: HeldShare::new(held),
            tag_ages: TagAges::default(),
            noted: TagAges::default(),
            sources: Sources::default(),
            got: 0,
            shared_limit: 0,
            reserved: 0,
            blocked: BlockedConsumers::default(),
        }
    }

    pub(super) fn next_tag(&self) -> u64 {
        self.unacked.next_tag()
    }

    /// Remembers a delivery under the next tag; without a source it is settled already.
    pub(super) fn delivered(&mut self, way: Way, source: Option<u32>, entry: Entry) {
        let counters = &self.open.counters;
        let counter = match (way, source) {
            (Way::Consumer, Some(_)) => &counters.deliver,
            (Way::Consumer, None) => &counters.deliver_no_ack,
            (Way::Get, Some(_)) => &counters.get,
            (Way::Get, None) => &counters.get_no_ack,
        };
        counter.add(1);
        if entry.redelivered {
            counters.redeliver.add(1);
        }
        match source {
            None => self.unacked.skip(),
            Some(source) => {
                match way {
                    Way::Consumer => self.reserved = self.reserved.saturating_sub(1),
                    Way::Get => self.got += 1,
                }
                self.unacked.push(Slot { source, entry: entry.into() });
                self.show_unacked();
                if let Some(source) = self.sources.get_mut(source) {
                    source.outstanding += 1;
                }
            }
        }
    }

    /// The place of a new consumer among the channel's sources.
    pub(crate) fn open_source(
        &mut self,
        queue: &Arc<SharedQueue>,
        consumer: ConsumerId,
        ack_timeouts: AckTimeouts,
    ) -> u32 {
        self.sources.open(queue, consumer, ack_timeouts)
    }

    /// That of `basic.get` from a queue.
    pub(super) fn source_of_gets(
        &mut self,
        queue: &Arc<SharedQueue>,
        ack_timeouts: AckTimeouts,
    ) -> u32 {
        self.sources.of_gets(queue, ack_timeouts)
    }

    /// A consumer is gone: its place is free once its deliveries are settled.
    pub(super) fn remove_consumer(&mut self, consumer: ConsumerId, source: u32) {
        self.blocked.remove(consumer);
        self.sources.close(source);
    }

    /// Takes the deliveries a settlement names: `tag` alone, or all up to it, or all if it is 0.
    /// Of many the rest is answered, to be [taken](Self::take_rest) next.
    pub(crate) fn take(
        &mut self,
        tag: u64,
        multiple: bool,
        taken: &mut TakenSlots,
    ) -> Result<Option<Rest>, UnknownTag> {
        let before = taken.len();
        let result = if multiple {
            self.unacked.take_through(tag, TAKEN_AT_ONCE, |tag, slot| taken.push((tag, slot)))
        } else {
            self.unacked.take(tag).map(|slot| {
                taken.extend(slot.map(|slot| (tag, slot)));
                None
            })
        };
        self.count_taken(taken, before);
        result
    }

    /// Goes on with what [`take`](Self::take) has left.
    pub(crate) fn take_rest(&mut self, rest: Rest, taken: &mut TakenSlots) -> Option<Rest> {
        let before = taken.len();
        let rest = self.unacked.take_rest(rest, TAKEN_AT_ONCE, |tag, slot| taken.push((tag, slot)));
        self.count_taken(taken, before);
        rest
    }

    fn count_taken(&mut self, taken: &TakenSlots, before: usize) {
        if self.got > 0 {
            let got = taken.iter().skip(before).filter(|(_, slot)| self.was_got(slot)).count();
            self.got = self.got.saturating_sub(got);
        }
        self.show_unacked();
    }

    pub(crate) fn count_acknowledged(&self, deliveries: usize) {
        self.open.counters.ack.add(deliveries as u64);
    }

    /// Tells operators and the pager what is unsettled.
    fn show_unacked(&mut self) {
        self.open.unacknowledged.set(self.unacked.outstanding() as u64);
        self.held.set(self.unacked.memory());
    }

    /// Writes the confirms that are due, as [`Confirms::write_due`].
    pub(super) fn write_confirms(&mut self, durable: Lsn, number: u16, out: &mut Vec<u8>) {
        let acked = self.confirms.write_due(durable, number, out);
        self.open.counters.confirm.add(acked);
        self.open.unconfirmed.set(self.confirms.len() as u64);
    }

    /// Puts taken deliveries back under their tags.
    pub(crate) fn restore(&mut self, taken: TakenSlots) {
        for (tag, slot) in taken {
            self.got += usize::from(self.was_got(&slot));
            self.unacked.restore(tag, slot);
        }
        self.show_unacked();
    }

    fn was_got(&self, slot: &Slot) -> bool {
        let source = self.sources.get(slot.source);
        source.is_some_and(|source| source.consumer.is_none())
    }

    /// Sorts taken deliveries by where they came from. `groups` is empty; `spare` has vectors to
    /// use again.
    pub(crate) fn group(
        &mut self,
        taken: impl IntoIterator<Item = Slot>,
        groups: &mut Vec<SettleGroup>,
        spare: &mut Vec<Vec<AnyEntry>>,
    ) {
        // Where groups are, by source, once there are too many for a search.
        let mut index = HashMap::default();
        for slot in taken {
            let Some(source) = self.sources.get_mut(slot.source) else {
                debug_assert!(false, "slots name sources of their channel");
                continue;
            };
            source.outstanding = source.outstanding.saturating_sub(1);
            let same = |group: &SettleGroup| {
                group.consumer == source.consumer && group.queue.id() == source.queue.id()
            };
            let searched = groups.get(..SEARCHED).unwrap_or(groups);
            let found = match groups.last() {
                Some(last) if same(last) => Some(groups.len() - 1),
                _ => searched.iter().position(same).or_else(|| index.get(&slot.source).copied()),
            };
            match found.and_then(|at| groups.get_mut(at)) {
                Some(group) => group.entries.push(slot.entry),
                None => {
                    let mut entries = spare.pop().unwrap_or_default();
                    entries.push(slot.entry);
                    let (queue, consumer) = (Arc::clone(&source.queue), source.consumer);
                    if groups.len() >= SEARCHED {
                        index.insert(slot.source, groups.len());
                    }
                    groups.push(SettleGroup { queue, consumer, entries });
                }
            }
            self.sources.free_if_done(slot.source);
        }
    }

    /// Deliveries that have waited longer than they may, if there are any.
    pub(crate) fn overdue(&mut self, now: Duration) -> Option<Overdue> {
        let timeouts = self.sources.iter().filter_map(Source::ack_timeout);
        let Some(longest) = timeouts.max() else {
            self.tag_ages.clear();
            return None;
        };
        self.tag_ages.note(now, self.unacked.next_tag());
        self.tag_ages.trim(longest, now);
        let sources = self.sources.places().map(|source| {
            let timeout = source.and_then(Source::ack_timeout)?;
            Some((timeout, self.tag_ages.older_than(timeout, now)))
        });
        let sources: Vec<Option<(Duration, u64)>> = sources.collect();
        let last = sources.iter().flatten().map(|(_, older)| *older).max()?;
        let candidates = self.unacked.sources().take_while(|(tag, _)| *tag < last);
        let mut overdue: Option<Overdue> = None;
        for (tag, from) in candidates {
            let Some(Some((timeout, older))) = sources.get(from as usize) else { continue };
            if tag >= *older {
                continue;
            }
            let all = overdue.get_or_insert_with(|| Overdue {
                timeout: *timeout,
                tags: Vec::new(),
                sources: HashSet::default(),
                is_quorum: true,
            });
            all.tags.push(tag);
            if all.sources.insert(from) {
                let source = self.sources.get(from);
                all.is_quorum &= source.is_some_and(Source::is_quorum_consumer);
            }
        }
        overdue
    }

    /// Takes deliveries back that their client may still settle, to no effect.
    pub(crate) fn take_back(&mut self, tags: &[u64]) -> Vec<SettleGroup> {
        let mut groups = Vec::new();
        let taken: Vec<Slot> = tags.iter().filter_map(|tag| self.unacked.take_back(*tag)).collect();
        self.group(taken, &mut groups, &mut Vec::new());
        self.show_unacked();
        groups
    }

    /// How long a delivery from a source may wait.
    pub(crate) fn ack_timeout(&self, source: u32) -> Option<Duration> {
        self.sources.get(source).and_then(Source::ack_timeout)
    }

    /// The shortest time a delivery of the channel may wait.
    pub(crate) fn shortest_ack_timeout(&self) -> Option<Duration> {
        self.sources.iter().filter_map(Source::ack_timeout).min()
    }

    /// Takes what is unsettled, the oldest first: some of it, of much. Nothing when nothing is left.
    pub(crate) fn take_unsettled(&mut self) -> Vec<SettleGroup> {
        let (mut all, mut groups) = (TakenSlots::new(), Vec::new());
        let taken = self.take(0, true, &mut all);
        debug_assert!(taken.is_ok(), "tag 0 stands for all there are");
        self.group(all.into_iter().map(|(_, slot)| slot), &mut groups, &mut Vec::new());
        groups
    }

    /// Where deliveries came from that take memory.
    pub(super) fn holding_queues(&self) -> impl Iterator<Item = &Arc<SharedQueue>> {
        let sources = self.sources.iter().filter(|source| source.outstanding > 0);
        sources.filter(|_| self.holds_some()).map(|source| &source.queue)
    }

    /// Whether the pager knows of any.
    pub(super) fn holds_some(&self) -> bool {
        self.held.is_told()
    }

    /// Forgets the messages of about `most` deliveries that can be read back, or that their queues don't
    /// need. Returns how much less is in memory, about.
    pub(super) fn page_out(
        &mut self,
        readable: Lsn,
        is_needed: impl Fn(&SharedQueue) -> bool,
        most: usize,
        gone: &mut Gone,
    ) -> u64 {
        let before = self.unacked.memory();
        let needed: Vec<bool> = self
            .sources
            .places()
            .map(|source| source.is_some_and(|source| is_needed(&source.queue)))
            .collect();
        let can_go = |source: u32, entry: &Entry| {
            (entry.stored && entry.lsn.0 <= readable.0)
                || needed.get(source as usize).is_some_and(|is_needed| !is_needed)
        };
        let Self { unacked, sources, .. } = self;
        unacked.page_out(can_go, most, |source, bytes| note(sources, source, bytes, gone));
        self.show_unacked();
        before.saturating_sub(self.unacked.memory())
    }

    /// Messages that the journal does not have, of about `most` bytes in memory.
    pub(super) fn spill(&self, most: u64) -> Vec<SpillRun> {
        if self.holds_some() { self.unacked.spill(most) } else { Vec::new() }
    }

    /// Forgets the messages of a run that were written elsewhere.
    pub(super) fn spilled(&mut self, run: &SpillRun, spilled: &Spilled, gone: &mut Gone) {
        let Self { unacked, sources, .. } = self;
        unacked.spilled(run, spilled, |source, bytes| note(sources, source, bytes, gone));
        self.show_unacked();
    }

    /// Most unsettled deliveries of all consumers together, 0 for no bound.
    pub(crate) fn shared_limit(&self) -> u32 {
        self.shared_limit
    }

    pub(super) fn set_shared_limit(&mut self, limit: u32) {
        self.shared_limit = limit;
    }

    /// Consumers that waited for room under the shared limit, if there is some now.
    pub(crate) fn unblocked(&mut self) -> Vec<Blocked> {
        if self.blocked.is_empty() || self.is_at_shared_limit() {
            return Vec::new();
        }
        self.blocked.take()
    }

    pub(super) fn admit_shared(&mut self, blocked: impl FnOnce() -> Blocked) -> Admission {
        if self.is_at_shared_limit() {
            self.blocked.push(blocked());
            return Admission::Blocked;
        }
        self.reserved += 1;
        Admission::Ready
    }

    fn is_at_shared_limit(&self) -> bool {
        let delivered = self.unacked.outstanding().saturating_sub(self.got);
        self.shared_limit > 0 && delivered + self.reserved >= self.shared_limit as usize
    }
}

/// A delivery was paged out.
fn note(sources: &Sources, source: u32, bytes: u64, gone: &mut Gone) {
    if let Some(source) = sources.get(source) {
        gone.add(&source.queue, bytes);
    }
}
