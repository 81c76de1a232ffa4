//! Deaths beyond what their turns could take, or the disk.

use std::collections::VecDeque;

use ahash::{HashMap, HashSet};
use leveret_engine::{AnyEntry, QueueId};
use parking_lot::Mutex;

use super::{Death, Departed, DyingPlace, TURN, TURN_BYTES};

/// Deaths that wait for the ticker, in the order in which they happened.
///
/// Messages of one queue arrive in the order in which they died. So as long as some of a queue's
/// wait here, or are being dead-lettered by any turn, all that dies in it lines up behind them.
#[derive(Default)]
pub(crate) struct Postponed {
    waiting: VecDeque<Death<AnyEntry>>,
    /// Queues of which deaths wait or are being dead-lettered.
    sources: HashMap<QueueId, Source>,
    /// Deleted queues whose places cannot be dropped yet.
    pub(crate) departed: Vec<Departed>,
}

#[derive(Default)]
struct Source {
    /// How many of its deaths wait.
    waiting: usize,
    /// The places of those that a turn is dead-lettering, if one is. What waits has to wait for it.
    held: Option<Vec<DyingPlace>>,
}

/// Deaths that one turn dead-letters. What is left when this is dropped waits on, in front.
pub(super) struct Lot<'a> {
    pub(super) deaths: VecDeque<Death<AnyEntry>>,
    postponed: &'a Mutex<Postponed>,
    /// The queues in which they died.
    held: HashSet<QueueId>,
}

impl<'a> Lot<'a> {
    /// Of a turn's deaths those that need not wait.
    pub(super) fn of(postponed: &'a Mutex<Postponed>, deaths: Vec<Death<AnyEntry>>) -> Self {
        let held = HashSet::default();
        let mut lot = Self { deaths: VecDeque::new(), postponed, held };
        lot.add(deaths);
        lot
    }

    /// One turn's work of those that wait.
    pub(super) fn next(postponed: &'a Mutex<Postponed>) -> Self {
        let mut held = HashSet::default();
        let deaths = postponed.lock().take(&mut held);
        Self { deaths, postponed, held }
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
            let is_ours = source.is_some_and(|source| source.waiting == 0 && source.held.is_some())
                && self.held.contains(&queue);
            if is_full || (source.is_some() && !is_ours) {
                postponed.push(death);
                continue;
            }
            count += 1;
            bytes += death.entry.bytes();
            if is_ours && are_others_left {
                postponed.hold(&death, &mut self.held);
                self.deaths.push_back(death);
            } else {
                first.push(death);
            }
        }
        first.iter().for_each(|death| postponed.hold(death, &mut self.held));
        drop(postponed);
        first.into_iter().rev().for_each(|death| self.deaths.push_front(death));
    }
}

impl Drop for Lot<'_> {
    fn drop(&mut self) {
        let mut postponed = self.postponed.lock();
        for death in self.deaths.drain(..).rev() {
            postponed.source(&death).waiting += 1;
            postponed.waiting.push_front(death);
        }
        for queue in &self.held {
            if let Some(source) = postponed.sources.get_mut(queue) {
                source.held = None;
                if source.waiting == 0 {
                    postponed.sources.remove(queue);
                }
            }
        }
    }
}

impl Postponed {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Has a death wait, behind all others.
    pub(super) fn push(&mut self, death: Death<AnyEntry>) {
        self.source(&death).waiting += 1;
        self.waiting.push_back(death);
    }

    /// The places of what died in this queue and has not gone on, or just now.
    pub(super) fn places(&self, queue: QueueId) -> Vec<DyingPlace> {
        let Some(source) = self.sources.get(&queue) else { return Vec::new() };
        let waiting = self.waiting.iter().filter(|death| death.source.queue == queue);
        let held = source.held.iter().flatten().cloned();
        held.chain(waiting.filter_map(DyingPlace::of)).collect()
    }

    /// Takes one turn's work out, up to what died in a queue that another turn has to do with.
    fn take(&mut self, held: &mut HashSet<QueueId>) -> VecDeque<Death<AnyEntry>> {
        let is_free = |death: &&Death<AnyEntry>| {
            self.sources.get(&death.source.queue).is_none_or(|source| source.held.is_none())
        };
        let count = self.waiting.iter().take(TURN).take_while(is_free).count();
        let deaths: VecDeque<_> = self.waiting.drain(..count).collect();
        for death in &deaths {
            self.source(death).waiting -= 1;
            self.hold(death, held);
        }
        deaths
    }

    /// Has what dies from now on where this one did line up.
    fn hold(&mut self, death: &Death<AnyEntry>, held: &mut HashSet<QueueId>) {
        let places = self.source(death).held.get_or_insert_with(|| {
            held.insert(death.source.queue);
            Vec::new()
        });
        places.extend(DyingPlace::of(death));
    }

    fn source(&mut self, death: &Death<AnyEntry>) -> &mut Source {
        self.sources.entry(death.source.queue).or_default()
    }
}
