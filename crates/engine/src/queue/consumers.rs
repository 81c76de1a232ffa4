//! The consumers of a queue: who may get the next message.

use std::cmp::Reverse;
use std::collections::VecDeque;

use ahash::AHashMap;

use crate::ids::ConsumerId;

/// How a consumer subscribed (`basic.consume` and the channel's prefetch at that moment).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// Its identity.
    pub id: ConsumerId,
    /// Most unacknowledged deliveries; 0 is unlimited. Without effect for
    /// no-ack consumers.
    pub prefetch: u16,
    /// Whether deliveries count as acknowledged when sent (`no-ack`).
    pub no_ack: bool,
    /// Whether it refuses company (`exclusive`).
    pub exclusive: bool,
    /// `x-priority`: higher is served first.
    pub priority: i32,
}

/// Why a consumer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeRefused {
    /// An exclusive consumer is there, or the new one is exclusive and is not the only one (in
    /// a single-active-consumer queue: can never be).
    #[error("in exclusive use")]
    ExclusiveInUse,
}

/// What the removal of a consumer changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedConsumer {
    /// Whether it was there.
    pub existed: bool,
    /// Whether it was the last one, so that an auto-delete queue goes now.
    pub was_last: bool,
    /// The consumer that became the single active one.
    pub promoted: Option<ConsumerId>,
}

/// A consumer as the management interface shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerStatus {
    /// How it subscribed.
    pub spec: ConsumerSpec,
    /// Its unacknowledged deliveries.
    pub outstanding: u32,
    /// Whether it is served at all: false for those waiting behind a single active consumer.
    pub active: bool,
}

/// All consumers, and per priority a ring of those that are *ready*.
///
/// A consumer is in its ring exactly if it has credit, is not blocked and is eligible (in a
/// single-active queue: the active one). Nothing ever scans for a ready consumer.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    rows: AHashMap<ConsumerId, Consumer>,
    /// Highest priority first; a ring comes and goes with the consumers of its priority.
    rings: Vec<Ring>,
    mode: Mode,
    next_seat: u64,
    exclusive: bool,
}

#[derive(Debug)]
struct Consumer {
    spec: ConsumerSpec,
    /// Order of subscription.
    seat: u64,
    outstanding: u32,
    blocked: bool,
    in_ring: bool,
}

#[derive(Debug)]
struct Ring {
    priority: i32,
    /// Consumers of this priority, ready or not.
    members: usize,
    ready: VecDeque<ConsumerId>,
}

/// Who is eligible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    All,
    SingleActive(Option<ConsumerId>),
}

impl Mode {
    fn serves(self, id: ConsumerId) -> bool {
        match self {
            Self::All => true,
            Self::SingleActive(active) => active == Some(id),
        }
    }
}

impl Consumer {
    const fn credit(&self) -> u64 {
        if self.spec.no_ack || self.spec.prefetch == 0 {
            return u64::MAX;
        }
        (self.spec.prefetch as u64).saturating_sub(self.outstanding as u64)
    }
}

impl Consumers {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) const fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    pub(super) fn add(&mut self, spec: ConsumerSpec) -> Result<(), ConsumeRefused> {
        let alone = self.rows.is_empty() && self.mode == Mode::All;
        if self.exclusive || (spec.exclusive && !alone) {
            return Err(ConsumeRefused::ExclusiveInUse);
        }
        self.exclusive = spec.exclusive;
        let seat = self.next_seat;
        self.next_seat += 1;
        let consumer = Consumer { spec, seat, outstanding: 0, blocked: false, in_ring: false };
        self.rows.insert(spec.id, consumer);
        self.join_ring(spec.priority);
        if self.mode == Mode::SingleActive(None) {
            self.mode = Mode::SingleActive(Some(spec.id));
        }
        self.enter_ring(spec.id);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: ConsumerId) -> RemovedConsumer {
        self.leave_ring(id);
        let Some(row) = self.rows.remove(&id) else { return RemovedConsumer::default() };
        self.quit_ring(row.spec.priority);
        self.exclusive = false;
        let mut promoted = None;
        if self.mode == Mode::SingleActive(Some(id)) {
            promoted = self.preferred();
            self.mode = Mode::SingleActive(promoted);
            promoted.into_iter().for_each(|id| self.enter_ring(id));
        }
        RemovedConsumer { existed: true, was_last: self.rows.is_empty(), promoted }
    }

    /// Switches single-active-consumer on or off.
    pub(super) fn set_single_active(&mut self, on: bool) {
        if on == (self.mode != Mode::All) {
            return;
        }
        self.mode = if on { Mode::SingleActive(self.preferred()) } else { Mode::All };
        self.rings.iter_mut().for_each(|ring| ring.ready.clear());
        let mut ids: Vec<_> = self
            .rows
            .values_mut()
            .map(|row| {
                row.in_ring = false;
                (row.seat, row.spec.id)
            })
            .collect();
        ids.sort_unstable();
        ids.into_iter().for_each(|(_, id)| self.enter_ring(id));
    }

    /// The consumer next in turn.
    pub(super) fn next_ready(&self) -> Option<ConsumerId> {
        self.rings.iter().find_map(|ring| ring.ready.front().copied())
    }

    /// How many more messages the ready consumers would take, if nothing blocks them.
    pub(super) fn ready_credit(&self) -> u64 {
        self.rings
            .iter()
            .flat_map(|ring| &ring.ready)
            .filter_map(|id| self.rows.get(id))
            .fold(0, |sum, row| sum.saturating_add(row.credit()))
    }

    /// Books a delivery to the consumer [`next_ready`](Self::next_ready) named and moves it to
    /// the end of its ring. Returns whether the delivery awaits an acknowledgement.
    pub(super) fn delivered(&mut self, id: ConsumerId) -> bool {
        let Some(row) = self.rows.get_mut(&id) else { return false };
        if !row.spec.no_ack {
            row.outstanding = row.outstanding.saturating_add(1);
        }
        let stays = row.credit() > 0;
        row.in_ring = stays;
        let no_ack = row.spec.no_ack;
        if let Some(ring) = self.rings.iter_mut().find(|ring| !ring.ready.is_empty()) {
            ring.ready.pop_front();
            if stays {
                ring.ready.push_back(id);
            }
        }
        !no_ack
    }

    /// Gives back the credit of `count` deliveries.
    pub(super) fn settled(&mut self, id: ConsumerId, count: u32) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.outstanding = row.outstanding.saturating_sub(count);
            self.enter_ring(id);
        }
    }

    pub(super) fn block(&mut self, id: ConsumerId) {
        self.leave_ring(id);
        if let Some(row) = self.rows.get_mut(&id) {
            row.blocked = true;
        }
    }

    pub(super) fn unblock(&mut self, id: ConsumerId) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.blocked = false;
            self.enter_ring(id);
        }
    }

    /// All consumers in the order they subscribed.
    pub(super) fn status(&self) -> Vec<ConsumerStatus> {
        let mut rows: Vec<_> = self.rows.values().collect();
        rows.sort_unstable_by_key(|row| row.seat);
        rows.into_iter()
            .map(|row| ConsumerStatus {
                spec: row.spec,
                outstanding: row.outstanding,
                active: self.mode.serves(row.spec.id),
            })
            .collect()
    }

    /// Who is to be the single active one: of those with the highest priority, the first that
    /// subscribed.
    fn preferred(&self) -> Option<ConsumerId> {
        let rank = |row: &&Consumer| (Reverse(row.spec.priority), row.seat);
        self.rows.values().min_by_key(rank).map(|row| row.spec.id)
    }

    /// Counts a new consumer in, making the ring of its priority if it is the first.
    fn join_ring(&mut self, priority: i32) {
        match self.ring_index(priority) {
            Ok(at) => self.rings.get_mut(at).into_iter().for_each(|ring| ring.members += 1),
            Err(at) => self.rings.insert(at, Ring { priority, members: 1, ready: VecDeque::new() }),
        }
    }

    /// Counts a removed consumer out, and removes the ring of its priority after the last.
    fn quit_ring(&mut self, priority: i32) {
        if let Ok(at) = self.ring_index(priority)
            && let Some(ring) = self.rings.get_mut(at)
        {
            ring.members -= 1;
            if ring.members == 0 {
                self.rings.remove(at);
            }
        }
    }

    /// Puts a consumer at the end of its ring if it is ready and not there already.
    fn enter_ring(&mut self, id: ConsumerId) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        if row.in_ring || row.blocked || row.credit() == 0 || !self.mode.serves(id) {
            return;
        }
        row.in_ring = true;
        let priority = row.spec.priority;
        if let Some(ring) = self.ring_mut(priority) {
            ring.ready.push_back(id);
        }
    }

    fn leave_ring(&mut self, id: ConsumerId) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        if !std::mem::take(&mut row.in_ring) {
            return;
        }
        let priority = row.spec.priority;
        let Some(ring) = self.ring_mut(priority) else { return };
        if ring.ready.front() == Some(&id) {
            ring.ready.pop_front();
        } else {
            ring.ready.retain(|&other| other != id);
        }
    }

    fn ring_mut(&mut self, priority: i32) -> Option<&mut Ring> {
        let at = self.ring_index(priority).ok()?;
        self.rings.get_mut(at)
    }

    fn ring_index(&self, priority: i32) -> Result<usize, usize> {
        self.rings.binary_search_by(|ring| priority.cmp(&ring.priority))
    }
}
