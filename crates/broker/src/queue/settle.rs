//! What becomes of deliveries: they are done with, rejected, or come back.

use leveret_engine::{AnyEntry, ConsumerId, Queue, Return, Settled};
use leveret_store::Lsn;

use super::SharedQueue;
use crate::dead_letter::Reason;
use crate::spans::SettleOutcome;
use crate::turn::Turn;

impl SharedQueue {
    /// Credit comes back for settled deliveries of one consumer (or of `basic.get`).
    pub(crate) fn settle(
        &self,
        consumer: Option<ConsumerId>,
        entries: &[AnyEntry],
        turn: &mut Turn,
    ) {
        let load = Load::of(entries);
        let mut state = self.state.lock();
        if let Some(spans) = self.spans() {
            spans.settle(self, consumer, entries, SettleOutcome::Acknowledged, false);
        }
        if let (Some(_), Some(reader)) = (&state.stream, consumer) {
            self.settle_reads(&mut state, reader, Settled::Done, entries, turn);
            return;
        }
        load.settle(&mut state.machine, consumer);
        state.count().ack += u64::from(load.count);
        if !state.deleted {
            let stored = entries.iter().filter(|entry| entry.stored());
            turn.settled.extend(stored.map(|entry| Lsn(entry.lsn().0)));
        }
        self.dispatch(&mut state, turn);
    }

    /// As [`settle`](Self::settle), for deliveries that were rejected for good.
    pub(crate) fn discard(
        &self,
        consumer: Option<ConsumerId>,
        entries: &mut Vec<AnyEntry>,
        turn: &mut Turn,
    ) {
        let load = Load::of(entries);
        let mut state = self.state.lock();
        if let Some(spans) = self.spans() {
            let goes_on = state.dead_lettering.is_some() && !state.deleted;
            spans.settle(self, consumer, entries, SettleOutcome::Rejected, goes_on);
        }
        if let (Some(_), Some(reader)) = (&state.stream, consumer) {
            self.settle_reads(&mut state, reader, Settled::Done, entries, turn);
            entries.clear();
            return;
        }
        load.settle(&mut state.machine, consumer);
        if !state.deleted {
            entries.drain(..).for_each(|entry| state.bury(entry, Reason::Rejected, turn));
        }
        entries.clear();
        self.dispatch(&mut state, turn);
    }

    /// Puts unsettled deliveries back where they were, marked redelivered.
    pub(crate) fn requeue(
        &self,
        consumer: Option<ConsumerId>,
        entries: &mut Vec<AnyEntry>,
        kind: Return,
        turn: &mut Turn,
    ) {
        let mut state = self.state.lock();
        if let Some(spans) = self.spans() {
            let goes_on = state.stream.is_none() && !state.deleted;
            spans.settle(self, consumer, entries, SettleOutcome::Returned, goes_on);
        }
        if state.deleted {
            entries.clear();
            return;
        }
        if let (Some(_), Some(reader)) = (&state.stream, consumer) {
            self.settle_reads(&mut state, reader, Settled::Returned, entries, turn);
            entries.clear();
            return;
        }
        for entry in entries.drain(..) {
            let stored = entry.stored().then_some(Lsn(entry.lsn().0));
            let deliveries = entry.deliveries().saturating_add(1);
            turn.returned.extend(stored.map(|lsn| (lsn, deliveries)));
            let ready_at =
                state.machine.requeue(consumer, entry, kind, turn.now, &mut turn.effects);
            turn.delayed.extend(stored.zip(ready_at).map(|(lsn, at)| (lsn, at.0)));
        }
        self.dispatch(&mut state, turn);
    }
}

/// Deliveries that are settled together.
#[derive(Clone, Copy, Default)]
struct Load {
    count: u32,
    bytes: u64,
    /// Of those that are paged out.
    paged: i64,
    paged_bytes: i64,
}

impl Load {
    fn of(entries: &[AnyEntry]) -> Self {
        let mut load = Self::default();
        for entry in entries {
            let bytes = entry.bytes();
            load.count = load.count.saturating_add(1);
            load.bytes = load.bytes.saturating_add(bytes);
            if entry.is_paged() {
                load.paged += 1;
                load.paged_bytes = load.paged_bytes.saturating_add_unsigned(bytes);
            }
        }
        load
    }

    fn settle(&self, machine: &mut Queue, consumer: Option<ConsumerId>) {
        machine.settle(consumer, self.count, self.bytes);
        if self.paged > 0 {
            machine.unacked_paged(-self.paged, -self.paged_bytes);
        }
    }
}
