//! Dead-lettering: messages that left a queue without being consumed go to its dead-letter exchange.
//!
//! A queue only notes what died, under its lock; [`Broker::finish`](crate::Broker::finish) rewrites,
//! routes and enqueues it with no queue locked. The record of the message in its new queues and the
//! settlement of its old place are one unit of the journal: after a crash it is in one or the other.
//!
//! A dead letter takes space in the journal as a publish does, and nobody can be asked to wait with it.
//! So it waits itself while the disk is full or behind: what is left of a full disk is for settlements,
//! which free some. One that gets nowhere is but a settlement, and does not wait.

mod aimless;
mod counts;
mod departed;
mod fixed_limits;
mod history;
mod holding;
mod kept;
mod letter;
mod line;
mod portion;
mod postponed;
mod reading;
mod router;
mod taken;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ahash::AHashMap;
use leveret_engine::{AnyEntry, DropReason, Entry, MessageArena, Millis, PagedEntry, QueueId};
use leveret_store::{Appended, Batch, Lsn};

pub(crate) use self::counts::Counters;
pub use self::counts::{DeadLetterCounts, DeathsByReason};
pub(crate) use self::departed::{Departed, Dying, DyingPlace, restore_departed};
pub use self::fixed_limits::FIXED_LIMITS;
pub(crate) use self::kept::{KeptLetters, Obstacle, Past};
use self::letter::Letter;
use self::portion::{Load, PORTION_BYTES, TURN, TURN_BYTES, take_portion};
use self::postponed::Lot;
pub(crate) use self::postponed::{Behind, Postponed};
pub(crate) use self::reading::{Found, Unread, with_messages};
use self::router::Router;
use crate::broker::Broker;
use crate::buckets::{self, Buckets, Origin};
use crate::queue::SharedQueue;
use crate::spans::DeathSpan;
use crate::turn::Turn;

/// How a queue dead-letters.
#[derive(Debug)]
pub(crate) struct DeadLettering {
    pub(crate) queue: QueueId,
    pub(crate) queue_name: Arc<str>,
    pub(crate) vhost: Arc<str>,
    /// The exchange, looked up by name each time.
    pub(crate) exchange: Arc<str>,
    /// The key its messages get instead of their own.
    pub(crate) routing_key: Option<Arc<str>>,
    pub(crate) onward: Onward,
    pub(crate) strategy: Strategy,
    /// Says that messages of the queue may be dying.
    pub(crate) _dying: Dying,
}

/// What becomes of a dead letter that nobody takes (`x-dead-letter-strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// It is lost.
    #[default]
    AtMostOnce,
    /// Its queue keeps it until somebody does.
    AtLeastOnce,
}

/// As what messages go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Onward {
    /// As dead letters.
    Dead,
    /// As what they are: the queue is a delayed exchange's, and they were only waiting.
    Delayed,
}

/// A message that left its queue without being consumed. Its place there is still recorded. While it
/// waits it may be on disk only: an [`AnyEntry`] then.
#[derive(Clone, Debug)]
pub(crate) struct Death<E = Entry> {
    pub(crate) source: Arc<DeadLettering>,
    pub(crate) entry: E,
    pub(crate) reason: Reason,
    /// If it was tried before and kept.
    pub(crate) past: Option<Past>,
}

impl From<Death> for Death<AnyEntry> {
    fn from(Death { source, entry, reason, past }: Death) -> Self {
        Self { source, entry: entry.into(), reason, past }
    }
}

impl Death<AnyEntry> {
    /// Gives up the message in memory if the journal has it: up to `readable` it can be read there.
    fn page_out(&mut self, readable: leveret_engine::Lsn) {
        if let AnyEntry::Hot(entry) = &self.entry
            && entry.stored
            && entry.lsn <= readable
        {
            self.entry = PagedEntry::of(entry, None).into();
        }
    }
}

/// Why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `basic.reject` or `basic.nack` without requeue.
    Rejected,
    /// Its time to live was over.
    Expired,
    /// The queue was full.
    MaxLength,
    /// It came back more often than allowed.
    DeliveryLimit,
}

impl Reason {
    /// The word in the `x-death` header.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => DropReason::Expired.as_str(),
            Self::MaxLength => DropReason::MaxLength.as_str(),
            Self::DeliveryLimit => DropReason::DeliveryLimit.as_str(),
        }
    }

    /// How many there are.
    const COUNT: u32 = 4;
    const ALL: [Self; Self::COUNT as usize] =
        [Self::Rejected, Self::Expired, Self::MaxLength, Self::DeliveryLimit];

    /// The number of deliveries by which the journal tells a dead message that its queue keeps. No
    /// message is delivered so often.
    pub(crate) const fn mark(self) -> u32 {
        match self {
            Self::Rejected => u32::MAX - 1,
            Self::Expired => u32::MAX - 2,
            Self::MaxLength => u32::MAX - 3,
            Self::DeliveryLimit => u32::MAX - 4,
        }
    }

    /// How a message with this number of deliveries died, if that is a [`mark`](Self::mark), or one for a
    /// queue that was about to be deleted.
    pub(crate) fn marked(deliveries: u32) -> Option<Marked> {
        let marked = Self::ALL.into_iter().find(|reason| reason.mark() == deliveries);
        let marked = marked.map(|reason| Marked { reason, may_be_kept: true });
        let departing = || Self::departed_marked(deliveries);
        marked.or_else(|| Some(Marked { reason: departing()?, may_be_kept: false }))
    }

    /// The number of deliveries by which the journal tells a dead message that waits for the ticker
    /// though its queue is gone, or about to go. Letters the queue kept go with it.
    const fn departed_mark(self) -> u32 {
        self.mark() - Self::COUNT
    }

    /// How a message with this number of deliveries died, if that is such a mark.
    fn departed_marked(deliveries: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.departed_mark() == deliveries)
    }
}

/// What the journal tells of a dead message in a queue that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) reason: Reason,
    /// Its queue has kept it, or was about to send it on. Otherwise it was about to be sent on for certain.
    pub(crate) may_be_kept: bool,
}

impl From<DropReason> for Reason {
    fn from(reason: DropReason) -> Self {
        match reason {
            DropReason::Expired => Self::Expired,
            DropReason::MaxLength => Self::MaxLength,
            DropReason::DeliveryLimit => Self::DeliveryLimit,
        }
    }
}

/// Journal bytes that wait for the disk, beyond which whoever adds to them waits as well.
pub const UNWRITTEN_JOURNAL_MAX: usize = 16 * 1024 * 1024;

impl Broker {
    /// Dead-letters what died in the turn, and what dies of that.
    pub(crate) fn dead_letter(&self, turn: &mut Turn) {
        let deaths = std::mem::take(&mut turn.dead);
        let mut lot = Lot::of(&self.postponed, deaths, self.readable_lsn());
        self.dead_letter_some(&mut lot, turn);
        turn.behind.extend(lot.leave());
    }

    /// Dead-letters some of what earlier turns have left. Whether more can follow at once.
    pub(crate) fn dead_letter_postponed(&self, turn: &mut Turn) -> bool {
        let did_wait = !self.postponed.lock().is_empty();
        let has_progress = self.dead_letter_next(turn) > 0;
        let mut postponed = self.postponed.lock();
        // Finishing the turn sees whether they can be dropped now.
        turn.departed.append(&mut postponed.departed);
        let do_wait = !postponed.is_empty();
        drop(postponed);
        if did_wait {
            self.agenda.pager.tell_relief();
        }
        has_progress && do_wait
    }

    /// Whether dead letters of this queue wait for their turn.
    pub(crate) fn has_dead_letters_to_go(&self, queue: QueueId) -> bool {
        !self.is_journal_short() && self.postponed.lock().has_waiting(queue)
    }

    /// Whether some of these dead letters still wait for their turn. While they wait for the disk nobody is to
    /// wait for them.
    pub(crate) fn are_to_go(&self, letters: &[Behind]) -> bool {
        if letters.is_empty() || self.is_journal_short() {
            return false;
        }
        let postponed = self.postponed.lock();
        letters.iter().any(|behind| postponed.is_to_go(*behind))
    }

    /// Whether dead letters have to wait for the disk.
    pub(crate) fn is_journal_short(&self) -> bool {
        let store = self.store();
        store.is_full() || store.buffered_bytes() > UNWRITTEN_JOURNAL_MAX
    }

    /// Up to where a death that waits can do without its message.
    fn readable_lsn(&self) -> leveret_engine::Lsn {
        leveret_engine::Lsn(self.store().readable_lsn().0)
    }

    /// Answers how many deaths that was.
    fn dead_letter_next(&self, turn: &mut Turn) -> usize {
        let (now, readable) = (turn.now, self.readable_lsn());
        let mut lot = if self.is_journal_short() {
            let queues = self.aimless_queues();
            Lot::next_of(&self.postponed, now, readable, |queue| queues.contains(&queue))
        } else {
            Lot::next_of(&self.postponed, now, readable, |_| true)
        };
        self.dead_letter_some(&mut lot, turn)
    }

    /// Answers how many deaths that was; the others stay.
    fn dead_letter_some(&self, lot: &mut Lot<'_>, turn: &mut Turn) -> usize {
        let (mut load, mut lost_count) = (Load::default(), 0);
        while !load.fills_turn() {
            let portion = if self.is_journal_short() {
                self.take_aimless(&mut lot.deaths)
            } else {
                take_portion(&mut lot.deaths)
            };
            let Some(first) = portion.first() else { break };
            lot.serve(first.source.queue);
            let (mut found, unread) = with_messages(self.store(), portion);
            lot.put_back(std::mem::take(&mut found.rest));
            if let Some(Unread { deaths, error }) = unread {
                lot.rest(deaths, &error, turn.now);
            }
            lost_count += found.lost.len();
            let mut letters = DeadLetters::write(self, &mut found, turn.now, &mut turn.records);
            load += letters.load;
            lot.put_back(found.deaths);
            let mut records = std::mem::take(&mut turn.records);
            let appended = letters.append(self, &mut records, turn);
            if turn.records.is_empty() {
                turn.records = records;
            }
            letters.enqueue(self, appended.first, turn);
            if !turn.dead.is_empty() {
                // What died of this portion goes next: in order, and before it gets more.
                lot.add(std::mem::take(&mut turn.dead));
            }
        }
        load.letters + lost_count
    }
}

/// Adds to `records` that these have died, for what must not wait until they go on. After a crash their
/// queues send them on, as they do with letters they kept.
pub(crate) fn mark(deaths: &[Death<AnyEntry>], records: &mut Batch) {
    for of_queue in deaths.chunk_by(|a, b| a.source.queue == b.source.queue) {
        let Some(Death { source, .. }) = of_queue.first() else { continue };
        let stored = of_queue.iter().filter(|death| death.entry.stored());
        let mark = |death: &Death<AnyEntry>| (Lsn(death.entry.lsn().0), death.reason.mark());
        let marks: Vec<(Lsn, u32)> = stored.map(mark).collect();
        records.returned(source.queue.0, &marks);
    }
}

/// Dead messages rewritten, routed and recorded, not yet in their queues.
#[derive(Default)]
pub(crate) struct DeadLetters {
    buckets: Buckets,
    load: Load,
    /// What their own queues have to be told, queue by queue.
    news: Vec<(Arc<SharedQueue>, Vec<Fate>)>,
}

/// What became of a dead letter that its queue answers for.
pub(crate) enum Fate {
    /// It is kept: what there is in its way, and who has it already.
    Kept(Death, Arc<[QueueId]>, Obstacle),
    /// It was kept, with so many body bytes, and has gone on, or is lost.
    Released(u64, Past),
}

impl Fate {
    fn kept(death: &Death, queues: &[Arc<SharedQueue>], obstacle: Obstacle) -> Self {
        let before = death.past.as_ref().map(|past| Arc::clone(&past.taken_by));
        let before = before.unwrap_or_default();
        if queues.is_empty() {
            return Self::Kept(death.clone(), before, obstacle);
        }
        let mut taken_by = before.to_vec();
        taken_by.extend(queues.iter().map(|queue| queue.id));
        taken_by.sort_unstable();
        Self::Kept(death.clone(), taken_by.into(), obstacle)
    }

    /// `None` for what was not kept before.
    fn released<E>(bytes: u64, death: &Death<E>) -> Option<Self> {
        death.past.clone().map(|past| Self::Released(bytes, past))
    }
}

impl DeadLetters {
    /// Adds the records of the messages in their new queues, and the settlements of their old
    /// places, to `records`. What is beyond a portion, as one letter may go to thousands of queues, is
    /// left in `deaths`.
    pub(crate) fn write(
        broker: &Broker,
        Found { deaths, lost, .. }: &mut Found,
        now: Millis,
        records: &mut Batch,
    ) -> Self {
        let mut letters = Self::default();
        for of_queue in lost.chunk_by(|a, b| a.source.queue == b.source.queue) {
            let Some(owner) = answerable(broker, of_queue) else { continue };
            let kept =
                of_queue.iter().filter_map(|death| Fate::released(death.entry.bytes(), death));
            kept.for_each(|fate| letters.tell(&owner, fate));
        }
        if deaths.is_empty() {
            return letters;
        }
        let mut counts = DeadLetterCounts::default();
        let (mut arena, mut router) = (MessageArena::new(), Router::default());
        let mut way = WayOn::default();
        for of_queue in deaths.chunk_by(|a, b| a.source.queue == b.source.queue) {
            let Some(Death { source, .. }) = of_queue.first() else { continue };
            if letters.load.fills_portion() {
                break;
            }
            let owner = answerable(broker, of_queue);
            let (mut settled, mut kept) = (Vec::new(), Vec::new());
            for death in of_queue {
                if letters.load.fills_portion() {
                    break;
                }
                let span = broker.spans.as_ref().and_then(|spans| spans.die(death));
                let traced = span.as_ref().map(DeathSpan::traced);
                let letter = match death.source.onward {
                    Onward::Dead => Letter::write(death, traced, now, &mut arena),
                    Onward::Delayed => Letter::released(death, now, &mut arena),
                };
                let places = router.route(broker, death, &letter);
                letters.load.add(letter.message.stored_len() as u64, places);
                let obstacle = match (&owner, death.source.strategy) {
                    (Some(owner), Strategy::AtLeastOnce) => {
                        way.find(owner, death, letter.message.size(), &mut router.queues)
                    }
                    _ => None,
                };
                let lsn = death.entry.stored.then_some(Lsn(death.entry.lsn.0));
                let is_new = death.past.is_none();
                match obstacle {
                    None => settled.extend(lsn),
                    Some(_) if is_new => kept.extend(lsn.map(|lsn| (lsn, death.reason.mark()))),
                    Some(_) => {}
                }
                if death.source.onward == Onward::Dead {
                    counts.dead_lettered.count(death.reason, u64::from(is_new));
                    counts.kept += u64::from(is_new && obstacle.is_some());
                    let is_lost = obstacle.is_none() && router.queues.is_empty();
                    counts.unroutable += u64::from(is_lost);
                }
                let fate = match obstacle {
                    Some(obstacle) => Some(Fate::kept(death, &router.queues, obstacle)),
                    None => Fate::released(death.entry.bytes(), death),
                };
                if let (Some(owner), Some(fate)) = (&owner, fate) {
                    letters.tell(owner, fate);
                }
                if let Some(span) = span
                    && obstacle.is_none()
                {
                    span.dead_lettered(death, &letter.message, router.queues.len());
                }
                // Whoever rejected it has seen it.
                let redelivered = death.entry.redelivered || death.reason == Reason::Rejected;
                let is_expected = death.source.strategy == Strategy::AtLeastOnce;
                let origin = Origin { ticket: None, redelivered, is_expected };
                letters.buckets.add(letter.message, &router.queues, origin, records);
            }
            if !settled.is_empty() {
                records.ack(source.queue.0, &settled);
            }
            records.returned(source.queue.0, &kept);
        }
        deaths.drain(..letters.load.letters);
        broker.dead_letter_counters.add(&counts);
        letters
    }

    /// Appends the records.
    fn append(&mut self, broker: &Broker, records: &mut Batch, turn: &mut Turn) -> Appended {
        buckets::append(broker.store(), records, &mut [&mut self.buckets], turn)
    }

    /// The messages on their way.
    pub(crate) fn buckets(&mut self) -> &mut Buckets {
        &mut self.buckets
    }

    /// Puts the messages into their queues once the records have been appended, the first of them
    /// under the number `first`.
    pub(crate) fn enqueue(&mut self, broker: &Broker, first: Lsn, turn: &mut Turn) {
        // A queue that refuses publishes refuses these as well, unless it was asked before.
        self.buckets.enqueue(broker.store(), first, turn, &mut Vec::new());
        for (queue, fates) in self.news.drain(..) {
            queue.learn_fates(fates, turn);
        }
    }

    /// Notes what the queue a message died in has to know.
    fn tell(&mut self, owner: &Arc<SharedQueue>, fate: Fate) {
        match self.news.last_mut() {
            Some((last, fates)) if last.id == owner.id => fates.push(fate),
            _ => self.news.push((Arc::clone(owner), vec![fate])),
        }
    }
}

/// The queue in which these messages died, if it answers for one of them.
fn answerable<E>(broker: &Broker, deaths: &[Death<E>]) -> Option<Arc<SharedQueue>> {
    let is_kept =
        |death: &&Death<E>| death.past.is_some() || death.source.strategy == Strategy::AtLeastOnce;
    let source = &deaths.iter().find(is_kept)?.source;
    let vhost = broker.vhost(&source.vhost)?;
    vhost.directory.read().queue_by_id(source.queue).cloned()
}

/// Asks the queues of messages that must not be lost whether they take them.
#[derive(Default)]
pub(crate) struct WayOn {
    /// What queues are about to get, which may be thousands. `None` for those that have refused one: the
    /// next must not overtake it.
    promised: AHashMap<QueueId, Option<Promised>>,
}

/// Messages that a queue is about to get, and their body bytes.
#[derive(Clone, Copy, Default)]
struct Promised {
    count: u64,
    bytes: u64,
}

impl WayOn {
    /// Leaves in `queues` those that take the letter now. Answers why it can't be given to all.
    fn find(
        &mut self,
        owner: &SharedQueue,
        death: &Death,
        bytes: usize,
        queues: &mut Vec<Arc<SharedQueue>>,
    ) -> Option<Obstacle> {
        if queues.is_empty() && death.past.as_ref().is_none_or(|past| past.taken_by.is_empty()) {
            return Some(Obstacle::NoRoute);
        }
        match &death.past {
            None if owner.has_refused_letters() => {
                queues.clear();
                return Some(Obstacle::Refused);
            }
            None => {}
            Some(past) => queues.retain(|queue| past.taken_by.binary_search(&queue.id).is_err()),
        }
        let mut obstacle = None;
        queues.retain(|queue| {
            let takes = self.takes(queue, bytes as u64);
            if !takes {
                obstacle = Some(Obstacle::Refused);
            }
            takes
        });
        obstacle
    }

    /// Whether a queue has room for one more message, besides those it is about to get.
    pub(crate) fn takes(&mut self, queue: &SharedQueue, bytes: u64) -> bool {
        let promised = self.promised.entry(queue.id).or_insert_with(|| Some(Promised::default()));
        let Some(Promised { count, bytes: before }) = *promised else { return false };
        let more = Promised { count: count + 1, bytes: before + bytes };
        *promised = Some(more).filter(|more| queue.has_room(more.count, more.bytes));
        promised.is_some()
    }
}
