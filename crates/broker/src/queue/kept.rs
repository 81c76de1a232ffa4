//! A queue that keeps its dead letters until somebody takes them.

use std::sync::Arc;

use leveret_engine::{AnyEntry, Lsn, Millis, PagedEntry};

use super::{SharedQueue, State};
use crate::dead_letter::{DeadLettering, Death, Fate, Marked, Obstacle, Strategy};
use crate::turn::Turn;

impl SharedQueue {
    /// Whether a dead letter that dies now has to wait behind others.
    pub(crate) fn has_refused_letters(&self) -> bool {
        self.state.lock().kept.has_refused()
    }

    /// Whether it takes this many messages with `bytes` body bytes in all.
    pub(crate) fn has_room(&self, count: u64, bytes: u64) -> bool {
        let state = self.state.lock();
        !state.deleted && state.machine.has_room(count, bytes)
    }

    /// Learns what became of messages that died here.
    pub(crate) fn learn_fates(&self, fates: Vec<Fate>, turn: &mut Turn) {
        let mut state = self.state.lock();
        if state.deleted {
            return;
        }
        let was_empty = state.kept.load().0 == 0;
        let mut has_progress = false;
        for fate in fates {
            match fate {
                Fate::Kept(Death { entry, reason, past, .. }, taken_by, obstacle) => {
                    state.kept.keep(entry, reason, past.as_ref(), taken_by, obstacle);
                }
                Fate::Released(bytes, past) => {
                    has_progress = true;
                    state.kept.release(bytes, &past);
                }
            }
        }
        state.kept.schedule(turn.now, has_progress);
        if was_empty && state.kept.load().0 > 0 {
            tracing::warn!(
                "queue '{}' in vhost '{}' keeps dead letters that its dead-letter exchange has no \
                 queue for, or no room; they are tried again",
                self.name,
                self.vhost
            );
        }
        state.reserve();
        self.reschedule(&mut state);
        self.tell_pager(&mut state);
    }

    /// Tries letters again if it is time to.
    pub(super) fn try_letters(&self, state: &mut State, turn: &mut Turn) {
        let due = state.kept.take_due(turn.now);
        if due.is_empty() {
            return;
        }
        let Some(source) = state.dead_lettering.clone() else {
            // It dead-letters no more.
            for letter in due {
                state.kept.release(letter.entry.bytes(), &letter.past);
                state.bury(letter.entry, letter.reason, turn);
            }
            state.kept.schedule(turn.now, true);
            state.reserve();
            return;
        };
        turn.dead.extend(due.into_iter().map(|letter| Death {
            source: Arc::clone(&source),
            entry: letter.entry,
            reason: letter.reason,
            past: Some(letter.past),
        }));
    }
}

impl State {
    /// Drops all letters; `removed` learns which they were and whether they were stored.
    pub(super) fn purge_letters(&mut self, now: Millis, removed: impl FnMut(Lsn, bool)) {
        self.kept.purge(removed);
        self.kept.schedule(now, true);
        self.reserve();
    }

    /// Keeps a dead letter that the journal has. Answers it if the queue keeps no such, or had not kept it: then it goes
    /// on whatever becomes of the queue.
    pub(super) fn restore_letter(
        &mut self,
        entry: PagedEntry,
        Marked { reason, may_be_kept }: Marked,
    ) -> Option<Death<AnyEntry>> {
        let goes_on =
            |source: &&Arc<DeadLettering>| !may_be_kept || source.strategy == Strategy::AtMostOnce;
        if let Some(source) = self.dead_lettering.as_ref().filter(goes_on) {
            let source = Arc::clone(source);
            return Some(Death { source, entry: entry.into(), reason, past: None });
        }
        self.kept.keep(entry, reason, None, Arc::default(), Obstacle::NoRoute);
        self.kept.retry_soon();
        self.reserve();
        None
    }

    /// Counts the letters among what the queue holds.
    fn reserve(&mut self) {
        let (count, bytes) = self.kept.load();
        self.machine.reserve(count, bytes);
    }
}
