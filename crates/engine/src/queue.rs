//! The queue: a state machine fed with messages, consumers and time.

mod any_entry;
mod browse;
mod consumers;
mod delayed;
mod due;
mod effect;
mod entry;
mod gate;
mod level_set;
mod page;
mod paging;
mod ready;
mod returned;
mod ring;
mod settings;
mod spill;
#[cfg(test)]
mod tests;
mod unacked;

pub use any_entry::{AnyEntry, PAGED_ENTRY_MEMORY, PagedEntry};
pub use browse::Standing;
pub use consumers::{ConsumeRefused, ConsumerSpec, ConsumerStatus, RemovedConsumer};
pub use delayed::DelayedRetry;
pub use effect::{DropReason, Effect, Pushed, Return};
pub(crate) use entry::sent_len;
pub use entry::{ENTRY_MEMORY, Entry};
pub use gate::{Admission, Gate};
pub use paging::{Got, PageRequest};
pub use settings::{Overflow, QueueSettings};
pub use spill::{SpillBlock, Spilled};

use std::num::NonZeroU64;

use crate::ids::{ConsumerId, Lsn, Millis};
use consumers::Consumers;
use delayed::Delayed;
use paging::Paging;
use ready::Ready;
use unacked::Unacked;

/// A classic queue.
///
/// It holds ready messages and consumers. Delivered messages are *not* in it: the receiver's
/// table of unacknowledged deliveries holds the [`Entry`] and hands it back with
/// [`requeue`](Self::requeue), or reports it gone with [`settle`](Self::settle); the queue only
/// keeps counts.
///
/// Operations that need the caller to act push [`Effect`]s into a vector the caller owns and
/// reuses. **After anything that can make a message or a consumer ready** (push, requeue,
/// settle, add or remove a consumer, unblock, new settings) **call [`dispatch`](Self::dispatch)
/// once** before letting the queue go; several pushes may share one dispatch. Length limits and
/// deadlines are enforced there, after waiting consumers had their chance: a message with a
/// time to live of 0, or in a queue of length 0, reaches a waiting consumer or nobody.
///
/// No call drops more than about a thousand expired messages, however many are due: while
/// [`next_deadline`](Self::next_deadline) is not in the future, dispatch again.
///
/// Ordering: strict by priority level, first-in first-out inside one; a requeued message goes
/// back to its original position. Consumers take turns; those of a higher priority come first.
#[derive(Debug, Default)]
pub struct Queue {
    settings: QueueSettings,
    ready: Ready,
    /// Boxed and created with the first: few queues delay what comes back.
    delayed: Option<Box<Delayed>>,
    unacked: Unacked,
    reserved: Reserved,
    /// While a lowered limit is being worked off: the length it has come down to.
    shrinking_from: Option<NonZeroU64>,
    last_arrival: Millis,
    paging: Paging,
    /// Boxed and created with the first consumer: most queues of a large broker idle without.
    consumers: Option<Box<Consumers>>,
}

/// Room that is taken without messages in it.
#[derive(Clone, Copy, Debug, Default)]
struct Reserved {
    count: u64,
    bytes: u64,
}

/// Expired messages dropped by one call: a backlog that expires at once must not be answered with
/// one effect per message, nor keep the queue busy until the last has gone.
const EXPIRED_AT_ONCE: usize = 1024;
/// The same for messages whose delay is over.
const READY_AT_ONCE: usize = 1024;
/// The same for messages that were there before a limit was lowered.
const SHRUNK_AT_ONCE: u64 = 1024;
/// Milliseconds by which a caller's time may be behind another's; more, and the clock was set back.
const LATE: u64 = 1000;

impl Queue {
    /// An empty queue. Allocates nothing.
    #[must_use]
    pub fn new(settings: QueueSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// Replaces the settings, as a changed policy does. Ready messages keep their deadline and
    /// priority level; new limits apply at the next [`dispatch`](Self::dispatch). What exceeds a
    /// lowered limit goes in portions: see [`is_shrinking`](Self::is_shrinking).
    pub fn set_settings(&mut self, settings: QueueSettings) {
        self.settings = settings;
        self.shrinking_from = NonZeroU64::new(self.ready.len());
        if let Some(consumers) = &mut self.consumers {
            consumers.set_single_active(settings.single_active_consumer);
        }
    }

    /// Whether the queue still exceeds a limit that was lowered: dispatch again. Each dispatch
    /// brings it down by about a thousand messages, whatever was pushed meanwhile.
    #[must_use]
    pub fn is_shrinking(&self) -> bool {
        self.shrinking_from.is_some()
            && !self.ready.is_empty()
            && !self.ready.is_front_paged()
            && self.settings.overflow == Overflow::DropHead
            && self.exceeds_limits(0, 0)
    }

    /// Appends a message. Gives it a deadline unless it has one.
    ///
    /// A full queue that rejects publishes refuses the entry, unless its ready consumers have
    /// credit for everything waiting and for this entry too; should the [`Gate`] then block
    /// them, the queue holds the entry above its limit rather than losing it.
    pub fn push(&mut self, entry: Entry, now: Millis) -> Pushed {
        if !self.has_room(1, entry.bytes()) {
            return Pushed::Refused(entry);
        }
        self.push_anyway(entry, now);
        Pushed::Accepted
    }

    /// Whether [`push`](Self::push) would take this many messages with `bytes` body bytes in all.
    #[must_use]
    pub fn has_room(&self, count: u64, bytes: u64) -> bool {
        let Reserved { count: reserved, bytes: reserved_bytes } = self.reserved;
        self.settings.overflow == Overflow::DropHead
            || !self.exceeds_limits(reserved + count, reserved_bytes + bytes)
            || self.would_be_taken(self.ready.len() + count)
    }

    /// Appends a message for which there was room when it was asked for.
    pub fn push_anyway(&mut self, mut entry: Entry, now: Millis) {
        if entry.deadline.is_none() {
            let arrival = self.arrival(now);
            entry.deadline = self.settings.deadline(&entry.message, arrival);
        }
        self.restore(entry);
    }

    /// The time at which a message counts as arrived. Callers get the time before they get the
    /// queue: who comes a moment late must not have its messages expire before those ahead of them.
    fn arrival(&mut self, now: Millis) -> Millis {
        if self.last_arrival.0.saturating_sub(now.0) > LATE || now > self.last_arrival {
            self.last_arrival = now;
        }
        self.last_arrival
    }

    /// Sets how much of its room is taken by messages that have left the queue and that it still
    /// answers for: a queue that refuses what is too much counts them.
    pub fn reserve(&mut self, count: u64, bytes: u64) {
        self.reserved = Reserved { count, bytes };
    }

    /// Appends a message that already belongs to this queue, as recovery does: nothing is
    /// refused and nothing is added to the entry.
    pub fn restore(&mut self, entry: Entry) {
        self.ready.push(self.settings.level(&entry.message), entry);
    }

    /// As [`restore`](Self::restore), of a message that stands ahead of one that is delayed: it
    /// keeps its place when the other comes back to its own.
    pub fn restore_ahead(&mut self, entry: impl Into<AnyEntry>) {
        self.put_back(entry.into());
    }

    fn put_back(&mut self, entry: AnyEntry) {
        let level = self.settings.level_of(entry.priority());
        match entry {
            AnyEntry::Hot(entry) => self.ready.put_back(level, entry),
            AnyEntry::Paged(entry) => self.ready.put_back_paged(level, &entry),
        }
    }

    /// As [`restore`](Self::restore), of a message whose delay ends at `ready_at`.
    pub fn restore_delayed(&mut self, ready_at: Millis, entry: impl Into<AnyEntry>) {
        self.delayed.get_or_insert_default().insert(ready_at, entry.into());
    }

    /// Hands ready messages to ready consumers until either runs out, then drops what expired
    /// or exceeds the length limit. Messages whose delay is over are ready.
    ///
    /// A message is deliverable up to and including its deadline and is dropped afterwards. If
    /// more are overdue than one call drops, the rest and the limits are left to the next call.
    pub fn dispatch(&mut self, now: Millis, gate: &mut impl Gate, effects: &mut Vec<Effect>) {
        self.end_delays(now);
        if self.ready.is_empty() {
            return;
        }
        if let Some(consumers) = &mut self.consumers {
            let mut allowance = EXPIRED_AT_ONCE;
            while let Some(id) = consumers.next_ready() {
                if self.ready.is_front_paged() {
                    self.paging.awaits_front = true;
                    return;
                }
                while let Some(entry) = self.ready.pop_front_overdue(now) {
                    effects.push(Effect::Drop { entry: entry.into(), reason: DropReason::Expired });
                    allowance -= 1;
                    if allowance == 0 {
                        return;
                    }
                }
                if self.ready.is_empty() {
                    return;
                }
                if self.ready.is_front_paged() {
                    continue;
                }
                if gate.admit(id) == Admission::Blocked {
                    consumers.block(id);
                    continue;
                }
                let Some(entry) = self.ready.pop() else { return };
                gate.delivered(id, sent_len(&entry.message));
                self.paging.reads_ahead = true;
                if consumers.delivered(id) {
                    self.unacked.add(entry.bytes());
                }
                effects.push(Effect::Deliver { consumer: id, entry });
            }
        }
        self.expire_ready(now, effects);
        // What has expired on pages that have to be read first makes room.
        if self.paging.due.is_empty() {
            self.drop_excess(effects);
        }
    }

    /// Takes the next message for `basic.get`. Drops expired messages on the way. Unless
    /// `no_ack`, the caller settles or requeues it with `None` for the consumer.
    pub fn get(&mut self, now: Millis, no_ack: bool, effects: &mut Vec<Effect>) -> Got {
        self.expire(now, effects);
        // What is left of a crowd that expired at once stands in front.
        let entry = loop {
            let Some(entry) = self.ready.pop() else {
                return if self.ready.is_empty() { Got::Nothing } else { Got::Paged };
            };
            if entry.deadline.is_none_or(|deadline| deadline > now) {
                break entry;
            }
            effects.push(Effect::Drop { entry: entry.into(), reason: DropReason::Expired });
        };
        if !no_ack {
            self.unacked.add(entry.bytes());
        }
        Got::Message(entry)
    }

    /// Subscribes a consumer.
    ///
    /// # Errors
    /// [`ConsumeRefused::ExclusiveInUse`] if exclusiveness forbids it: RabbitMQ's channel error
    /// 403 `queue '<q>' in vhost '<v>' in exclusive use`.
    pub fn add_consumer(&mut self, spec: ConsumerSpec) -> Result<(), ConsumeRefused> {
        let consumers = self.consumers.get_or_insert_with(|| {
            let mut consumers = Box::<Consumers>::default();
            consumers.set_single_active(self.settings.single_active_consumer);
            consumers
        });
        consumers.add(spec)
    }

    /// Unsubscribes a consumer. What it holds stays outstanding and is settled or requeued
    /// later under its id all the same.
    pub fn remove_consumer(&mut self, id: ConsumerId) -> RemovedConsumer {
        let Some(consumers) = &mut self.consumers else { return RemovedConsumer::default() };
        let removed = consumers.remove(id);
        if removed.was_last {
            self.consumers = None;
        }
        removed
    }

    /// Lets a consumer a [`Gate`] blocked take part again.
    pub fn unblock(&mut self, id: ConsumerId) {
        if let Some(consumers) = &mut self.consumers {
            consumers.unblock(id);
        }
    }

    /// `count` deliveries with `bytes` body bytes in all were acknowledged, rejected for good,
    /// or dropped by their holder: credit returns to the consumer, if it is still there.
    /// `None` stands for messages from [`get`](Self::get).
    pub fn settle(&mut self, consumer: Option<ConsumerId>, count: u32, bytes: u64) {
        self.unacked.remove(u64::from(count), bytes);
        if let (Some(consumers), Some(id)) = (&mut self.consumers, consumer) {
            consumers.settled(id, count);
        }
    }

    /// A delivery comes back: credit returns, and the message takes its original position,
    /// marked as redelivered, at once or when the delay is over that the settings give it. It is
    /// dropped instead if this is one return more than the delivery limit allows, or if it expired
    /// meanwhile.
    ///
    /// Returns the time at which a delayed message is ready again.
    pub fn requeue(
        &mut self,
        consumer: Option<ConsumerId>,
        entry: impl Into<AnyEntry>,
        kind: Return,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) -> Option<Millis> {
        let mut entry = entry.into();
        self.settle(consumer, 1, entry.bytes());
        if entry.is_paged() {
            self.unacked_paged(-1, -entry.bytes().cast_signed());
        }
        entry.count_return();
        let deliveries = entry.deliveries();
        if self.settings.delivery_limit.is_some_and(|limit| deliveries > limit) {
            effects.push(Effect::Drop { entry, reason: DropReason::DeliveryLimit });
        } else if entry.deadline().is_some_and(|deadline| deadline <= now) {
            effects.push(Effect::Drop { entry, reason: DropReason::Expired });
        } else {
            let retry = self.settings.delayed_retry;
            let ready_at = retry.and_then(|retry| retry.ready_at(kind, deliveries, now));
            match ready_at {
                Some(ready_at) => self.restore_delayed(ready_at, entry),
                None => self.put_back(entry),
            }
            return ready_at;
        }
        None
    }

    /// Removes all ready messages, in delivery order, then those that are delayed: `removed` gets
    /// their LSNs, and whether they are [stored](Entry::stored). Deliveries stay outstanding.
    pub fn purge(&mut self, mut removed: impl FnMut(Lsn, bool)) {
        self.ready.slots().for_each(|slot| removed(slot.lsn(), slot.stored()));
        self.ready = Ready::default();
        self.paging.forget();
        let delayed = self.delayed.take().into_iter().flat_map(|mut delayed| delayed.take_all());
        delayed.for_each(|entry| removed(entry.lsn(), entry.stored()));
    }

    /// Drops messages whose deadline is now or past, wherever they wait, though no more than a
    /// turn should take: call again while [`next_deadline`](Self::next_deadline) is due. Delays
    /// that are over end.
    pub fn expire(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.end_delays(now);
        self.expire_ready(now, effects);
    }

    /// When to call [`expire`](Self::expire) next: the earliest deadline of all ready messages, or
    /// the earliest end of a delay.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let deadlines = [self.ready.next_deadline(), self.next_delayed_at()];
        deadlines.into_iter().flatten().min()
    }

    /// The message next to be delivered, if it is in memory.
    #[must_use]
    pub fn head(&self) -> Option<&Entry> {
        self.ready.front()
    }

    /// The ready messages that are in memory, in delivery order.
    pub fn ready(&self) -> impl Iterator<Item = &Entry> {
        self.ready.iter()
    }

    /// Messages ready for delivery: the message count of declare-ok and get-ok.
    #[must_use]
    pub const fn ready_len(&self) -> u64 {
        self.ready.len()
    }

    /// Body bytes of the ready messages.
    #[must_use]
    pub const fn ready_bytes(&self) -> u64 {
        self.ready.bytes()
    }

    /// Number of consumers, waiting ones included.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.consumers.as_ref().map_or(0, |consumers| consumers.len())
    }

    /// Whether the queue has an exclusive consumer.
    #[must_use]
    pub fn is_exclusively_consumed(&self) -> bool {
        self.consumers.as_ref().is_some_and(|consumers| consumers.is_exclusive())
    }

    /// All consumers in the order they subscribed.
    #[must_use]
    pub fn consumers(&self) -> Vec<ConsumerStatus> {
        self.consumers.as_ref().map_or_else(Vec::new, |consumers| consumers.status())
    }

    /// Empties the queue for deletion: ready messages, consumers and outstanding deliveries are
    /// forgotten.
    pub fn clear(&mut self) {
        *self = Self::new(self.settings);
    }

    /// Gives memory of past backlogs back; for queues found idle.
    pub fn trim(&mut self) {
        self.ready.trim();
    }

    /// Whether the ready consumers would take so many messages.
    fn would_be_taken(&self, messages: u64) -> bool {
        self.consumers.as_ref().map_or(messages == 0, |consumers| consumers.would_take(messages))
    }

    fn exceeds_limits(&self, more: u64, more_bytes: u64) -> bool {
        let over = |limit: Option<u64>, have: u64, more: u64| {
            limit.is_some_and(|limit| have.saturating_add(more) > limit)
        };
        let len = self.ready.len() + self.delayed_len();
        let bytes = self.ready.bytes().saturating_add(self.delayed_bytes());
        over(self.settings.max_length, len, more)
            || over(self.settings.max_length_bytes, bytes, more_bytes)
    }

    fn expire_ready(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let Self { ready, paging, .. } = self;
        let due = std::iter::from_fn(|| ready.pop_due(now, &mut paging.due)).take(EXPIRED_AT_ONCE);
        effects.extend(
            due.map(|entry| Effect::Drop { entry: entry.into(), reason: DropReason::Expired }),
        );
    }

    /// Makes messages ready whose delay is over, at their original positions.
    fn end_delays(&mut self, now: Millis) {
        let Some(mut delayed) = self.delayed.take() else { return };
        for entry in std::iter::from_fn(|| delayed.pop_due(now)).take(READY_AT_ONCE) {
            self.put_back(entry);
        }
        self.delayed = Some(delayed).filter(|delayed| delayed.len() > 0);
    }

    fn drop_excess(&mut self, effects: &mut Vec<Effect>) {
        if self.settings.overflow != Overflow::DropHead {
            return;
        }
        let least = self
            .shrinking_from
            .map_or(0, |length| length.get().min(self.ready.len()).saturating_sub(SHRUNK_AT_ONCE));
        while self.exceeds_limits(0, 0) {
            if self.ready.len() <= least {
                self.shrinking_from = NonZeroU64::new(least);
                return;
            }
            let Some(entry) = self.ready.pop() else {
                self.paging.awaits_front = !self.ready.is_empty();
                return;
            };
            effects.push(Effect::Drop { entry: entry.into(), reason: DropReason::MaxLength });
        }
        self.shrinking_from = None;
    }
}
