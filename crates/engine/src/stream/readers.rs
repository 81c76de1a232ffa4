//! The readers of a stream: who may go on, and whose turn it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::AHashMap;

use super::filter::Filter;
use super::progress::Progress;
use super::start::StartAt;
use crate::ids::ConsumerId;

/// How a reader subscribed.
#[derive(Clone, Debug)]
pub struct ReaderSpec {
    /// Its identity.
    pub id: ConsumerId,
    /// Most deliveries that are not settled; without any it reads nothing.
    pub prefetch: u16,
    /// Where it begins.
    pub start: StartAt,
    /// What it wants; everything without.
    pub filter: Option<Filter>,
    /// The name its position is kept under.
    pub name: Option<Arc<str>>,
}

/// A reader as the management interface shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderStatus {
    /// Its identity.
    pub id: ConsumerId,
    /// Most deliveries that are not settled.
    pub prefetch: u16,
    /// Deliveries that are not settled.
    pub unsettled: u32,
    /// The offset it looks at next.
    pub next: u64,
}

/// All readers. One that can go on is in `ready`, one that has read everything and has credit in
/// `waiting`, one whose next message is on disk only in `reading`; nothing ever scans for a ready
/// reader, nor for one that leaves.
#[derive(Debug, Default)]
pub(super) struct Readers {
    rows: AHashMap<ConsumerId, Reader>,
    /// In order of their turns.
    ready: Line,
    waiting: Line,
    reading: Line,
    unsettled: u64,
    next_seat: u64,
    next_turn: u64,
}

/// Readers in the order they came in.
type Line = BTreeMap<u64, ConsumerId>;

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) spec: ReaderSpec,
    /// The offset it looks at next.
    pub(super) next: u64,
    progress: Option<Progress>,
    unsettled: u32,
    /// Order of subscription.
    seat: u64,
    is_blocked: bool,
    place: Place,
}

/// Why a reader stops before it has all that it has credit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The gate has turned it away.
    Blocked,
    /// Its next message is on disk only.
    Paged,
}

/// In which line a reader is, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    None,
    Ready(u64),
    Waiting(u64),
    Reading(u64),
}

impl Reader {
    pub(super) fn credit(&self) -> u32 {
        u32::from(self.spec.prefetch).saturating_sub(self.unsettled)
    }

    /// Books the delivery of the message at its position.
    pub(super) fn delivered(&mut self) {
        self.unsettled += 1;
        if let Some(progress) = &mut self.progress {
            progress.delivered(self.next);
        }
    }

    /// How far it has got, if it has a name.
    pub(super) const fn progress(&mut self) -> Option<&mut Progress> {
        self.progress.as_mut()
    }

    pub(super) fn into_progress(self) -> Option<Progress> {
        self.progress
    }
}

impl Readers {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) const fn unsettled(&self) -> u64 {
        self.unsettled
    }

    pub(super) fn add(&mut self, spec: ReaderSpec, start: u64, committed: u64) {
        let id = spec.id;
        let progress = spec.name.clone().map(|name| Progress::new(name, start));
        let seat = self.next_seat;
        self.next_seat += 1;
        let reader = Reader {
            spec,
            next: start,
            progress,
            unsettled: 0,
            seat,
            is_blocked: false,
            place: Place::None,
        };
        self.rows.insert(id, reader);
        self.line_up(id, committed);
    }

    pub(super) fn remove(&mut self, id: ConsumerId) -> Option<Reader> {
        let reader = self.rows.remove(&id)?;
        self.unsettled = self.unsettled.saturating_sub(reader.unsettled.into());
        match reader.place {
            Place::None => None,
            Place::Ready(turn) => self.ready.remove(&turn),
            Place::Waiting(turn) => self.waiting.remove(&turn),
            Place::Reading(turn) => self.reading.remove(&turn),
        };
        Some(reader)
    }

    pub(super) fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Reader> {
        self.rows.get_mut(&id)
    }

    /// The reader next in turn.
    pub(super) fn next_ready(&self) -> Option<ConsumerId> {
        self.ready.first_key_value().map(|(_, id)| *id)
    }

    /// The reader in front has had its turn and so many deliveries: it goes to the end of the line,
    /// or out of it.
    pub(super) fn served(
        &mut self,
        id: ConsumerId,
        deliveries: usize,
        halt: Option<Halt>,
        committed: u64,
    ) {
        self.ready.pop_first();
        self.unsettled += deliveries as u64;
        let Some(reader) = self.rows.get_mut(&id) else { return };
        reader.place = Place::None;
        reader.is_blocked = halt == Some(Halt::Blocked);
        if let Some(progress) = &mut reader.progress {
            progress.next = reader.next;
        }
        if halt == Some(Halt::Paged) {
            reader.place = Place::Reading(self.next_turn);
            self.reading.insert(self.next_turn, id);
            self.next_turn += 1;
            return;
        }
        self.line_up(id, committed);
    }

    /// The offsets of those whose next message is on disk only.
    pub(super) fn reading(&self) -> impl Iterator<Item = u64> {
        self.reading.values().filter_map(|id| self.rows.get(id)).map(|reader| reader.next)
    }

    /// Those can go on.
    pub(super) fn go_on(&mut self, committed: u64) {
        for id in std::mem::take(&mut self.reading).into_values() {
            if let Some(reader) = self.rows.get_mut(&id) {
                reader.place = Place::None;
                self.line_up(id, committed);
            }
        }
    }

    /// The offsets that readers are at.
    pub(super) fn positions(&self) -> impl Iterator<Item = u64> {
        self.rows.values().map(|reader| reader.next)
    }

    /// More may be read: those who waited for it can go on.
    pub(super) fn wake(&mut self, committed: u64) {
        let Self { rows, ready, waiting, next_turn, .. } = self;
        waiting.retain(|_, id| {
            let Some(reader) = rows.get_mut(id) else { return false };
            if reader.next >= committed {
                return true;
            }
            reader.place = Place::Ready(*next_turn);
            ready.insert(*next_turn, *id);
            *next_turn += 1;
            false
        });
    }

    /// Gives back the credit of `count` deliveries.
    pub(super) fn settled(&mut self, id: ConsumerId, count: u32, committed: u64) {
        let Some(reader) = self.rows.get_mut(&id) else { return };
        let count = count.min(reader.unsettled);
        reader.unsettled -= count;
        self.unsettled = self.unsettled.saturating_sub(count.into());
        self.line_up(id, committed);
    }

    pub(super) fn unblock(&mut self, id: ConsumerId, committed: u64) {
        if let Some(reader) = self.rows.get_mut(&id) {
            reader.is_blocked = false;
            self.line_up(id, committed);
        }
    }

    pub(super) fn status(&self) -> Vec<ReaderStatus> {
        let mut rows: Vec<_> = self.rows.values().collect();
        rows.sort_unstable_by_key(|reader| reader.seat);
        let status = |reader: &Reader| ReaderStatus {
            id: reader.spec.id,
            prefetch: reader.spec.prefetch,
            unsettled: reader.unsettled,
            next: reader.next,
        };
        rows.into_iter().map(status).collect()
    }

    /// Puts a reader into the line it belongs in, unless it is in one.
    fn line_up(&mut self, id: ConsumerId, committed: u64) {
        let Some(reader) = self.rows.get_mut(&id) else { return };
        if reader.place != Place::None || reader.is_blocked || reader.credit() == 0 {
            return;
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        if reader.next < committed {
            reader.place = Place::Ready(turn);
            self.ready.insert(turn, id);
        } else {
            reader.place = Place::Waiting(turn);
            self.waiting.insert(turn, id);
        }
    }
}
