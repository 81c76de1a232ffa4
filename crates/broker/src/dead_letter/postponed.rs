//! Deaths beyond what their turns could take, or the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::{HashMap, HashSet};
use leveret_engine::{AnyEntry, Entry, Lsn, Millis, PagedEntry, QueueId};
use leveret_store::ReadError;
use parking_lot::Mutex;

use super::line::Line;
use super::{DeadLettering, Death, Departed, DyingPlace, PORTION_BYTES, TURN, TURN_BYTES};
use crate::held_memory::{HeldMemory, HeldShare};

/// Deaths that wait for the ticker, those of each queue in the order in which they happened.
///
/// Messages of one queue arrive in the order in which they died. So as long as some of a queue's
/// wait here, or are being dead-lettered by any turn, all that dies in it lines up behind them.
#[derive(Default)]
pub(crate) struct Postponed {
    /// Queues of which deaths wait or are being dead-lettered.
    sources: HashMap<QueueId, Source>,
    /// Those of which some wait, in the order in which it is their turn; each once.
    order: VecDeque<QueueId>,
    /// What those that wait take in memory with their messages, about, in bytes, and who tells the pager.
    memory: u64,
    share: Option<HeldShare>,
    /// How many have ever lined up or gone at once.
    pushed: i64,
    /// Deleted queues whose places cannot be dropped yet.
    pub(crate) departed: Vec<Departed>,
}

#[derive(Default)]
struct Source {
    waiting: Line,
    /// The places of those that a turn is dead-lettering, if one is. What waits has to wait for it.
    held: Option<Vec<DyingPlace>>,
    /// Its messages could not be read when that was tried last; not before this time again.
    unread_until: Option<Millis>,
    /// How many have lined up or gone at once, and how many were taken and not put back. Both from where
    /// the count of all stood when there were none: no [`Behind`] of before is met again.
    pushed: i64,
    popped: i64,
}

/// What died in a queue up to now, and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    queue: QueueId,
    pushed: i64,
}

/// Memory of deaths that wait with their messages, in bytes, beyond which those that are on disk leave
/// it: as much as is dead-lettered at once.
pub(super) const WAITING_BYTES: u64 = PORTION_BYTES;
/// How long a queue waits whose messages could not be read.
const RETRY: Millis = Millis(1000);

/// Deaths that one turn dead-letters. What is left when this is dropped waits on, in front.
pub(super) struct Lot<'a> {
    pub(super) deaths: VecDeque<Death<AnyEntry>>,
    postponed: &'a Mutex<Postponed>,
    /// Up to where messages can be read if they are not in memory.
    readable: Lsn,
    /// The queues in which they died.
    held: HashSet<QueueId>,
    /// Those that had their turn.
    served: HashSet<QueueId>,
    /// Others, in which more died that has to wait.
    behind: HashSet<QueueId>,
    /// Those whose messages cannot be read now, and what died in them.
    resting: HashSet<QueueId>,
    unread: VecDeque<Death<AnyEntry>>,
}

impl<'a> Lot<'a> {
    fn new(postponed: &'a Mutex<Postponed>, readable: Lsn) -> Self {
        let (held, served, behind, resting) = Default::default();
        let (deaths, unread) = Default::default();
        Self { deaths, postponed, readable, held, served, behind, resting, unread }
    }

    /// Of a turn's deaths those that need not wait.
    pub(super) fn of(
        postponed: &'a Mutex<Postponed>,
        deaths: Vec<Death<AnyEntry>>,
        readable: Lsn,
    ) -> Self {
        let mut lot = Self::new(postponed, readable);
        lot.add(deaths);
        lot
    }

    /// One turn's work of those that wait, of queues that `may_go`.
    pub(super) fn next_of(
        postponed: &'a Mutex<Postponed>,
        now: Millis,
        readable: Lsn,
        may_go: impl Fn(QueueId) -> bool,
    ) -> Self {
        let mut lot = Self::new(postponed, readable);
        lot.deaths = postponed.lock().take(now, may_go, &mut lot.held);
        lot
    }

    /// Adds deaths, but for those that have to wait. They go first, though not before others of their
    /// queues.
    pub(super) fn add(&mut self, deaths: Vec<Death<AnyEntry>>) {
        let (mut count, mut bytes) = (0, 0);
        let mut first = Vec::new();
        let are_others_left = !self.deaths.is_empty();
        let mut postponed = self.postponed.lock();
        for death in deaths {
            let queue = death.source.queue;
            let is_full = count >= TURN || bytes >= TURN_BYTES;
            let source = postponed.sources.get(&queue);
            let is_held = |source: &Source| source.waiting.is_empty() && source.held.is_some();
            let is_ours = source.is_some_and(is_held)
                && self.held.contains(&queue)
                && !self.resting.contains(&queue);
            if is_full || (source.is_some() && !is_ours) {
                self.behind.insert(queue);
                postponed.push(death, self.readable);
                continue;
            }
            count += 1;
            bytes += death.entry.bytes();
            if is_ours && are_others_left {
                postponed.go_at_once(&death, &mut self.held);
                self.deaths.push_back(death);
            } else {
                first.push(death);
            }
        }
        first.iter().for_each(|death| postponed.go_at_once(death, &mut self.held));
        drop(postponed);
        first.into_iter().rev().for_each(|death| self.deaths.push_front(death));
    }

    /// The next go on of those that died in this queue.
    pub(super) fn serve(&mut self, queue: QueueId) {
        self.served.insert(queue);
    }

    /// Takes some back that were the first.
    pub(super) fn put_back(&mut self, deaths: Vec<impl Into<Death<AnyEntry>>>) {
        deaths.into_iter().rev().for_each(|death| self.deaths.push_front(death.into()));
    }

    /// Has what is left wait. Answers what of it does, by queue.
    pub(super) fn leave(mut self) -> Vec<Behind> {
        let postponed = self.postponed;
        let mut queues = std::mem::take(&mut self.behind);
        queues.extend(self.deaths.iter().map(|death| death.source.queue));
        drop(self);
        let postponed = postponed.lock();
        queues.into_iter().filter_map(|queue| postponed.behind(queue)).collect()
    }

    /// Messages of these could not be read: they rest for a while, and so do all that died in their
    /// queues.
    pub(super) fn rest(&mut self, unread: Vec<Death<AnyEntry>>, error: &ReadError, now: Millis) {
        let mut postponed = self.postponed.lock();
        for death in &unread {
            if self.resting.insert(death.source.queue) {
                postponed.source(death).rest(death, error, now);
            }
        }
        drop(postponed);
        self.unread.extend(unread);
        let of_them: Vec<_> = self.deaths.drain(..).collect();
        for death in of_them {
            let is_resting = self.resting.contains(&death.source.queue);
            if is_resting { &mut self.unread } else { &mut self.deaths }.push_back(death);
        }
    }
}

impl Drop for Lot<'_> {
    fn drop(&mut self) {
        let mut postponed = self.postponed.lock();
        let mut left: HashMap<QueueId, Line> = HashMap::default();
        for death in self.unread.drain(..).chain(self.deaths.drain(..)) {
            let queue = death.source.queue;
            let line = left.entry(queue).or_default();
            line.push(postponed.cool(death, self.readable));
            if let Some(source) = postponed.sources.get_mut(&queue) {
                source.popped -= 1;
            }
        }
        for queue in &self.held {
            let Some(source) = postponed.sources.get_mut(queue) else { continue };
            source.held = None;
            if !self.resting.contains(queue) {
                source.unread_until = None;
            }
            let was_empty = source.waiting.is_empty();
            if let Some(line) = left.remove(queue) {
                source.waiting.prepend(line);
            }
            if source.waiting.is_empty() {
                postponed.sources.remove(queue);
            } else if was_empty && self.served.contains(queue) {
                // However long that takes, others have their turns.
                postponed.order.push_back(*queue);
            } else if was_empty {
                postponed.order.push_front(*queue);
            }
        }
    }
}

impl Postponed {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The queues of which some wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = QueueId> + '_ {
        self.order.iter().copied()
    }

    /// Whether some of what died in this queue waits for its turn, and for nothing else.
    pub(super) fn has_waiting(&self, queue: QueueId) -> bool {
        self.behind(queue).is_some()
    }

    /// What waits of it.
    fn behind(&self, queue: QueueId) -> Option<Behind> {
        let source = self.sources.get(&queue)?;
        let waits = !source.waiting.is_empty() && source.unread_until.is_none();
        waits.then_some(Behind { queue, pushed: source.pushed })
    }

    /// Whether some of what waited then still does, for its turn and for nothing else. What has lined up since
    /// doesn't matter.
    pub(super) fn is_to_go(&self, Behind { queue, pushed }: Behind) -> bool {
        self.has_waiting(queue)
            && self.sources.get(&queue).is_some_and(|source| source.popped < pushed)
    }

    /// Has a death wait, behind all others of its queue.
    pub(super) fn push(&mut self, death: Death<AnyEntry>, readable: Lsn) {
        let death = self.cool(death, readable);
        let queue = death.source.queue;
        let source = self.source(&death);
        let was_empty = source.waiting.is_empty();
        source.waiting.push(death);
        source.pushed += 1;
        if was_empty {
            self.order.push_back(queue);
        }
        self.pushed += 1;
    }

    /// A death as it waits: without its message, if too many have theirs.
    fn cool(&mut self, mut death: Death<AnyEntry>, readable: Lsn) -> Death<AnyEntry> {
        if self.memory >= WAITING_BYTES {
            death.page_out(readable);
        }
        self.remember(self.memory + hot_memory(&death));
        death
    }

    /// None yet, whose memory that is told of.
    pub(super) fn held(share: HeldShare) -> Self {
        Self { share: Some(share), ..Self::default() }
    }

    pub(super) fn held_memory(&self) -> Option<&Arc<HeldMemory>> {
        self.share.as_ref().map(HeldShare::held)
    }

    /// What waits takes so much in memory now.
    fn remember(&mut self, memory: u64) {
        self.memory = memory;
        if let Some(share) = &mut self.share {
            share.set(memory);
        }
    }

    /// Whether any has its message.
    pub(super) const fn has_messages(&self) -> bool {
        self.memory > 0
    }

    /// What waits, in the order in which queues have their turns.
    pub(super) fn lines(&self) -> impl Iterator<Item = (QueueId, &Line)> {
        self.order.iter().filter_map(|queue| Some((*queue, &self.sources.get(queue)?.waiting)))
    }

    /// Forgets messages of a queue's line, as [`Line::page_out`]. What that frees, in bytes.
    pub(super) fn page_out(
        &mut self,
        queue: QueueId,
        most: usize,
        paged: impl Fn(&Entry) -> Option<PagedEntry>,
    ) -> u64 {
        let Some(source) = self.sources.get_mut(&queue) else { return 0 };
        let gone = source.waiting.page_out(most, paged);
        self.remember(self.memory - gone);
        gone
    }

    /// The places of what died in this queue and has not gone on, or just now.
    pub(super) fn places(&self, queue: QueueId) -> impl Iterator<Item = DyingPlace> + '_ {
        self.sources.get(&queue).into_iter().flat_map(|source| {
            let held = source.held.iter().flatten().cloned();
            held.chain(source.waiting.iter().filter_map(|death| DyingPlace::of(&death)))
        })
    }

    /// How those are dead-lettered that are the first of their queues, for one turn's work of queues.
    pub(super) fn look_at_first(&mut self) -> Vec<Arc<DeadLettering>> {
        let count = self.order.len().min(TURN);
        let queues = self.order.iter().take(count);
        let first =
            |queue| self.sources.get(queue).and_then(|source| source.waiting.first_source());
        let sources = queues.filter_map(first).cloned().collect();
        // The next look is at others.
        self.order.rotate_left(count);
        sources
    }

    /// Takes one turn's work out, of each queue that `may_go`, with which no turn has to do and that
    /// does not rest.
    fn take(
        &mut self,
        now: Millis,
        may_go: impl Fn(QueueId) -> bool,
        held: &mut HashSet<QueueId>,
    ) -> VecDeque<Death<AnyEntry>> {
        let mut deaths = VecDeque::new();
        for _ in 0..self.order.len() {
            if deaths.len() >= TURN {
                break;
            }
            let Some(queue) = self.order.pop_front() else { break };
            let Some(source) = self.sources.get_mut(&queue) else { continue };
            let rests = source.unread_until.is_some_and(|until| until > now);
            if source.held.is_none() && !rests && may_go(queue) {
                let most = TURN - deaths.len();
                let of_queue: Vec<_> =
                    std::iter::from_fn(|| source.waiting.pop()).take(most).collect();
                source.popped += i64::try_from(of_queue.len()).unwrap_or(i64::MAX);
                for death in of_queue {
                    self.remember(self.memory - hot_memory(&death));
                    self.hold(&death, held);
                    deaths.push_back(death);
                }
            }
            if self.sources.get(&queue).is_some_and(|source| !source.waiting.is_empty()) {
                self.order.push_back(queue);
            }
        }
        deaths
    }

    /// What those that wait take with their messages, and in how many parts they are in memory.
    #[cfg(test)]
    pub(super) fn load(&self) -> (u64, usize) {
        (self.memory, self.sources.values().map(|source| source.waiting.parts()).sum())
    }

    /// Has what dies from now on where this one did line up.
    fn hold(&mut self, death: &Death<AnyEntry>, held: &mut HashSet<QueueId>) {
        let places = self.source(death).held.get_or_insert_with(|| {
            held.insert(death.source.queue);
            Vec::new()
        });
        places.extend(DyingPlace::of(death));
    }

    /// The same for one that goes before it has waited: should it be put back, it counts as those that
    /// lined up.
    fn go_at_once(&mut self, death: &Death<AnyEntry>, held: &mut HashSet<QueueId>) {
        self.hold(death, held);
        let source = self.source(death);
        source.pushed += 1;
        source.popped += 1;
        self.pushed += 1;
    }

    fn source(&mut self, death: &Death<AnyEntry>) -> &mut Source {
        let (pushed, popped) = (self.pushed, self.pushed);
        let source = || Source { pushed, popped, ..Source::default() };
        self.sources.entry(death.source.queue).or_insert_with(source)
    }
}

impl Source {
    /// Waits for its messages, which is said once until they can be read.
    fn rest(&mut self, death: &Death<AnyEntry>, error: &ReadError, now: Millis) {
        if self.unread_until.replace(now.saturating_add(RETRY)).is_none() {
            let (queue, vhost) = (&death.source.queue_name, &death.source.vhost);
            tracing::error!(
                "dead letters of queue '{queue}' in vhost '{vhost}' have to wait: {error}"
            );
        }
    }
}

/// What its message takes in memory, about, in bytes.
fn hot_memory(death: &Death<AnyEntry>) -> u64 {
    match &death.entry {
        AnyEntry::Hot(entry) => entry.memory(),
        AnyEntry::Paged(_) => 0,
    }
}
