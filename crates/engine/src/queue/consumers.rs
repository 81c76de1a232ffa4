//! The consumers of a queue: who may get the next message.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ahash::AHashMap;

use crate::give_back::GiveBack;
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

/// All consumers, and in a line those that are *ready*.
///
/// A consumer is in the line exactly if it has credit, is not blocked and is eligible (in a
/// single-active queue: the active one). Nothing ever scans for a ready consumer, nor for one that
/// leaves: there may be very many.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    rows: AHashMap<ConsumerId, Consumer>,
    ready: ReadyLine,
    /// Of a single-active queue all, by priority and then by when they subscribed: who is to be the active
    /// one comes first.
    ranks: Line,
    mode: Mode,
    next_seat: u64,
    exclusive: bool,
}

/// Highest priority first, and of those with the same the lowest number.
type Line = BTreeMap<(Reverse<i32>, u64), ConsumerId>;

/// Those that are ready.
#[derive(Debug, Default)]
struct ReadyLine {
    /// By priority, then by when they lined up.
    line: Line,
    next_turn: Turn,
    /// What they have together: a full queue asks for it with each message, and they may be very many.
    credit: u128,
}

/// Grows with each place in the line that is given.
type Turn = u64;

#[derive(Debug)]
struct Consumer {
    spec: ConsumerSpec,
    /// Order of subscription.
    seat: u64,
    outstanding: u32,
    blocked: bool,
    /// Its number in the line, if it is ready.
    turn: Option<Turn>,
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

    const fn place(&self, number: u64) -> (Reverse<i32>, u64) {
        (Reverse(self.spec.priority), number)
    }

    /// Goes to the end of the line of its priority.
    fn join(&mut self, ready: &mut ReadyLine) {
        let turn = ready.next_turn;
        ready.next_turn += 1;
        self.turn = Some(turn);
        ready.line.insert(self.place(turn), self.spec.id);
        ready.credit += u128::from(self.credit());
    }

    fn leave(&mut self, ready: &mut ReadyLine) {
        if let Some(turn) = self.turn.take() {
            ready.line.remove(&self.place(turn));
            ready.credit -= u128::from(self.credit());
        }
    }

    /// Has so many deliveries from now on, wherever it is in the line.
    fn hold(&mut self, outstanding: u32, ready: &mut ReadyLine) {
        let before = self.credit();
        self.outstanding = outstanding;
        if self.turn.is_some() {
            ready.credit -= u128::from(before);
            ready.credit += u128::from(self.credit());
        }
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
        let consumer = Consumer { spec, seat, outstanding: 0, blocked: false, turn: None };
        if let Mode::SingleActive(active) = &mut self.mode {
            self.ranks.insert(consumer.place(seat), spec.id);
            active.get_or_insert(spec.id);
        }
        self.rows.insert(spec.id, consumer);
        self.line_up(spec.id);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: ConsumerId) -> RemovedConsumer {
        let Some(mut row) = self.rows.remove(&id) else { return RemovedConsumer::default() };
        self.rows.give_back();
        row.leave(&mut self.ready);
        self.ranks.remove(&row.place(row.seat));
        self.exclusive = false;
        let mut promoted = None;
        if self.mode == Mode::SingleActive(Some(id)) {
            promoted = self.preferred();
            self.mode = Mode::SingleActive(promoted);
            promoted.into_iter().for_each(|id| self.line_up(id));
        }
        RemovedConsumer { existed: true, was_last: self.rows.is_empty(), promoted }
    }

    /// Switches single-active-consumer on or off.
    pub(super) fn set_single_active(&mut self, on: bool) {
        if on == (self.mode != Mode::All) {
            return;
        }
        let mut ids: Vec<_> = self
            .rows
            .values_mut()
            .map(|row| {
                row.turn = None;
                (row.seat, row.spec.id)
            })
            .collect();
        ids.sort_unstable();
        self.ready = ReadyLine::default();
        self.ranks.clear();
        if on {
            self.ranks.extend(self.rows.values().map(|row| (row.place(row.seat), row.spec.id)));
        }
        self.mode = if on { Mode::SingleActive(self.preferred()) } else { Mode::All };
        ids.into_iter().for_each(|(_, id)| self.line_up(id));
    }

    /// The consumer next in turn.
    pub(super) fn next_ready(&self) -> Option<ConsumerId> {
        self.ready.line.first_key_value().map(|(_, id)| *id)
    }

    /// Whether the ready consumers would take so many messages, if nothing blocks them.
    pub(super) fn would_take(&self, messages: u64) -> bool {
        u128::from(messages) <= self.ready.credit
    }

    /// Books a delivery to the consumer [`next_ready`](Self::next_ready) named and moves it to
    /// the end of the line of its priority. Returns whether the delivery awaits an acknowledgement.
    pub(super) fn delivered(&mut self, id: ConsumerId) -> bool {
        let Some(row) = self.rows.get_mut(&id) else { return false };
        let no_ack = row.spec.no_ack;
        if !no_ack {
            row.hold(row.outstanding.saturating_add(1), &mut self.ready);
        }
        if row.credit() == 0 {
            row.leave(&mut self.ready);
        } else if self.ready.line.len() > 1 {
            row.leave(&mut self.ready);
            row.join(&mut self.ready);
        }
        !no_ack
    }

    /// Gives back the credit of `count` deliveries.
    pub(super) fn settled(&mut self, id: ConsumerId, count: u32) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.hold(row.outstanding.saturating_sub(count), &mut self.ready);
            self.line_up(id);
        }
    }

    pub(super) fn block(&mut self, id: ConsumerId) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.leave(&mut self.ready);
            row.blocked = true;
        }
    }

    pub(super) fn unblock(&mut self, id: ConsumerId) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.blocked = false;
            self.line_up(id);
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
        self.ranks.first_key_value().map(|(_, id)| *id)
    }

    /// Puts a consumer at the end of the line of its priority if it is ready and not there already.
    fn line_up(&mut self, id: ConsumerId) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        if row.turn.is_some() || row.blocked || row.credit() == 0 || !self.mode.serves(id) {
            return;
        }
        row.join(&mut self.ready);
    }
}
