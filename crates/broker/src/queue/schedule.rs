//! When a queue has to be looked at though nobody asks for it.

use std::sync::Weak;

use leveret_engine::Millis;
use leveret_store::Store;
use parking_lot::{Mutex, MutexGuard};

use super::{DeleteRefused, SharedQueue, State};
use crate::agenda::Agenda;
use crate::broker::BrokerOptions;
use crate::even_shares::EvenShares;
use crate::pager::Pager;
use crate::stream_work::StreamWork;
use crate::turn::{Abandoned, Turn};

/// The queues that have to be looked at.
pub(crate) struct QueueAgenda {
    due: Mutex<Agenda<Weak<SharedQueue>>>,
    /// Streams that have something to do for their readers.
    pub(crate) streams: StreamWork,
    pub(crate) pager: Pager,
    /// What recent history exchanges keep.
    pub(crate) histories: EvenShares,
}

impl QueueAgenda {
    /// Of queues that keep to these budgets.
    pub(crate) fn new(options: &BrokerOptions) -> Self {
        let (due, streams) = Default::default();
        let pager = Pager::new(options.message_memory, options.transient_memory);
        Self { due, streams, pager, histories: EvenShares::new(options.history_memory) }
    }

    /// The queues with a deadline. A leaf among the locks, taken under a queue's.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Agenda<Weak<SharedQueue>>> {
        self.due.lock()
    }
}

/// Not on the agenda.
pub(super) const NEVER: Millis = Millis(u64::MAX);

/// `x-expires`: how long the queue may go unused, and its last use, which is a consumer's leaving,
/// a get, or a declaration. Unknown after a restart, until the clock is first looked at.
pub(super) struct Lease {
    span: Millis,
    last_use: Option<Millis>,
}

impl Lease {
    pub(super) const fn new(span: Millis) -> Self {
        Self { span, last_use: None }
    }

    pub(super) const fn span(&self) -> Millis {
        self.span
    }

    fn end(&self) -> Option<Millis> {
        self.last_use.map(|at| at.saturating_add(self.span))
    }
}

impl SharedQueue {
    /// Drops what has expired and hands out what waited behind it; notes that the queue itself has
    /// expired.
    pub(crate) fn look(&self, turn: &mut Turn, store: &Store) {
        let mut state = self.state.lock();
        state.scheduled = NEVER;
        if state.deleted {
            return;
        }
        if state.stream.is_some() {
            drop(state);
            self.look_at_stream(turn, store);
            return;
        }
        if let Some(lease) = &mut state.lease {
            lease.last_use.get_or_insert(turn.now);
        }
        if state.is_unused(turn.now) {
            if let Some(this) = self.this.upgrade() {
                turn.abandon(this, Abandoned::ByEveryone);
            }
            return;
        }
        self.try_letters(&mut state, turn);
        self.dispatch(&mut state, turn);
    }

    /// Whether the delay of a message that is to be tried again is over.
    pub(crate) fn has_retries_due(&self, now: Millis) -> bool {
        self.state.lock().machine.next_delayed_at().is_some_and(|at| at <= now)
    }

    /// Has it looked at again, which was due and was not done.
    pub(crate) fn put_off(&self, now: Millis) {
        let mut state = self.state.lock();
        if state.deleted {
            return;
        }
        let mut agenda = self.agenda.lock();
        agenda.cancel(state.scheduled, self.id);
        agenda.insert(now, self.id, Weak::clone(&self.this));
        state.scheduled = now;
    }

    /// Deletes the queue if it is still unused; see [`delete`](Self::delete).
    pub(crate) fn delete_expired(&self, turn: &mut Turn) -> Result<u64, DeleteRefused> {
        let mut state = self.state.lock();
        if !state.is_unused(turn.now) {
            self.reschedule(&mut state);
            return Err(DeleteRefused::InUse);
        }
        Ok(self.delete_locked(&mut state, turn))
    }

    /// Puts the queue on the agenda, unless it is there early enough. What it was there for may be
    /// gone by then; it finds out when it is looked at.
    pub(super) fn reschedule(&self, state: &mut State) {
        let Some(at) = state.next_event() else { return };
        if at >= state.scheduled {
            return;
        }
        let mut agenda = self.agenda.lock();
        if state.scheduled != NEVER {
            agenda.cancel(state.scheduled, self.id);
        }
        agenda.insert(at, self.id, Weak::clone(&self.this));
        state.scheduled = at;
    }

    pub(super) fn unschedule(&self, state: &mut State) {
        if state.scheduled != NEVER {
            self.agenda.lock().cancel(state.scheduled, self.id);
            state.scheduled = NEVER;
        }
    }
}

impl State {
    /// Notes a use of the queue.
    pub(super) fn touch(&mut self, now: Millis) {
        if let Some(lease) = &mut self.lease {
            lease.last_use = Some(now);
        }
    }

    fn is_unused(&self, now: Millis) -> bool {
        let end = self.lease.as_ref().and_then(Lease::end);
        self.consumers.is_empty() && end.is_some_and(|end| end <= now)
    }

    fn next_event(&self) -> Option<Millis> {
        if let Some(stream) = &self.stream {
            return stream.next_event();
        }
        if self.machine.is_shrinking() {
            return Some(Millis(0));
        }
        let deadline = [self.machine.next_deadline(), self.kept.retry_at()];
        let deadline = deadline.into_iter().flatten().min();
        let Some(lease) = &self.lease else { return deadline };
        if !self.consumers.is_empty() {
            return deadline;
        }
        let end = lease.end().unwrap_or_default();
        Some(deadline.map_or(end, |deadline| deadline.min(end)))
    }
}
