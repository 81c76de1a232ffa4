//! From what the journal has of a queue back to the queue.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use leveret_engine::{AnyEntry, Entry, Message, Millis, PagedEntry};
use leveret_store::{Backlog, Batch, Lsn, RecoveredMessage, Store};
use parking_lot::MutexGuard;

use super::{Purpose, SharedQueue, State};
use crate::dead_letter::{Death, Reason};

/// Messages read at a time.
const AT_ONCE: usize = 1024;
/// How long the start waits when the disk could not be read.
const RETRY: Duration = Duration::from_secs(1);

impl SharedQueue {
    /// Puts recovered messages back, before anyone can consume. Their times to live count from when
    /// they were published.
    ///
    /// They stay on disk if so told, and those of a stream in any case. What is damaged, is no message or can't be
    /// read for long is left out. What was dying, which is to go on, `goes_on` is given, some at a time.
    pub(crate) fn restore(
        &self,
        backlog: &Backlog,
        stays_on_disk: bool,
        store: &Store,
        goes_on: impl Fn(Vec<Death<AnyEntry>>),
    ) {
        let mut state = self.state.lock();
        if let Some(stream) = &mut state.stream {
            let mut dropped = Vec::new();
            for RecoveredMessage { lsn, outline, .. } in backlog.messages() {
                if lsn < stream.begins {
                    dropped.push(lsn);
                    continue;
                }
                let (lsn, time) = (leveret_engine::Lsn(lsn.0), Millis(outline.time));
                stream.machine.restore(lsn, time, outline.payload);
            }
            self.reschedule(&mut state);
            drop(state);
            self.settle_dropped(&dropped, store);
            return;
        }
        let mut dying = Vec::new();
        let goes_again = stays_on_disk && self.purpose != Purpose::History;
        let last_delayed = backlog.last_delayed();
        let mut needed = Vec::new();
        for message in backlog.messages() {
            if let Some(marked) = Reason::marked(message.deliveries) {
                // It is read when it is tried.
                let entry = PagedEntry { deliveries: 0, ..paged_entry(&message) };
                dying.extend(state.restore_letter(entry, marked));
                if dying.len() == AT_ONCE {
                    goes_on(std::mem::take(&mut dying));
                }
                continue;
            }
            if !stays_on_disk || !self.purpose.is_served_by(&message.outline) {
                needed.push(message);
                if needed.len() == AT_ONCE {
                    self.restore_read(&mut state, &mut needed, last_delayed, store);
                    state.page_out_restored(goes_again);
                }
                continue;
            }
            // Messages keep their order.
            self.restore_read(&mut state, &mut needed, last_delayed, store);
            let life = message.outline.life.map(Millis);
            let settings = state.machine.settings();
            let own = self.purpose.deadline_in(&message.outline);
            let arrival = Millis(message.outline.time);
            let deadline = own.or_else(|| settings.deadline_of(life, arrival));
            let entry = PagedEntry { deadline, ..paged_entry(&message) };
            if message.delayed_until > 0 {
                state.machine.restore_delayed(Millis(message.delayed_until), entry);
            } else if last_delayed.is_some_and(|last| message.lsn < last) {
                // It keeps its place when the other comes back to its own.
                state.machine.restore_ahead(entry);
            } else {
                state.machine.restore_paged(&entry);
            }
        }
        self.restore_read(&mut state, &mut needed, last_delayed, store);
        state.page_out_restored(goes_again);
        self.reschedule(&mut state);
        self.tell_pager(&mut state);
        goes_on(dying);
    }

    /// Settles once more what retention had dropped, where a repair lost that.
    fn settle_dropped(&self, dropped: &[Lsn], store: &Store) {
        let mut records = Batch::new();
        for lsns in dropped.chunks(AT_ONCE) {
            records.ack(self.id.0, lsns);
            store.append(&mut records);
        }
    }

    /// Reads messages and puts them back.
    fn restore_read(
        &self,
        state: &mut MutexGuard<'_, State>,
        needed: &mut Vec<RecoveredMessage>,
        last_delayed: Option<Lsn>,
        store: &Store,
    ) {
        if needed.is_empty() {
            return;
        }
        let lsns: Vec<Lsn> = needed.iter().map(|message| message.lsn).collect();
        let mut payloads = self.read_patiently(store, &lsns).into_iter().peekable();
        let mut lost = 0;
        for recovered in needed.drain(..) {
            let lsn = recovered.lsn;
            let Some((_, payload)) = payloads.next_if(|(found, _)| *found == lsn) else {
                lost += 1;
                continue;
            };
            let message = match Message::from_stored(payload) {
                Ok(message) => message,
                Err(error) => {
                    tracing::error!("cannot read the stored message at {lsn}: {error}");
                    lost += 1;
                    continue;
                }
            };
            self.restore_entry(state, message, &recovered, last_delayed);
        }
        self.say_lost(lost);
    }

    /// Reads messages as soon as the disk can be read, or the store has given up what can't.
    fn read_patiently(&self, store: &Store, lsns: &[Lsn]) -> Vec<(Lsn, Bytes)> {
        let mut is_first = true;
        loop {
            match store.read(lsns) {
                Ok(messages) => return messages,
                Err(error) if std::mem::take(&mut is_first) => {
                    let (queue, vhost) = (&self.name, &self.vhost);
                    tracing::error!(
                        "the start waits for messages of queue '{queue}' in vhost '{vhost}': {error}"
                    );
                }
                Err(_) => thread::sleep(RETRY),
            }
        }
    }

    fn restore_entry(
        &self,
        state: &mut State,
        message: Message,
        recovered: &RecoveredMessage,
        last_delayed: Option<Lsn>,
    ) {
        let mut entry = Entry::new(leveret_engine::Lsn(recovered.lsn.0), message);
        entry.stored = true;
        entry.deliveries = recovered.deliveries;
        entry.redelivered = recovered.redelivered;
        let arrival = entry.message.timestamp();
        let own = self.purpose.deadline(&entry.message);
        entry.deadline = own.or_else(|| state.machine.settings().deadline(&entry.message, arrival));
        if recovered.delayed_until > 0 {
            state.machine.restore_delayed(Millis(recovered.delayed_until), entry);
        } else if last_delayed.is_some_and(|last| recovered.lsn < last) {
            // It keeps its place when the other comes back to its own.
            state.machine.restore_ahead(entry);
        } else {
            state.machine.restore(entry);
        }
    }
}

impl State {
    /// Lets go of what has been put back, if it is too much.
    fn page_out_restored(&mut self, is_too_much: bool) {
        if !is_too_much {
            return;
        }
        let all = leveret_engine::Lsn(u64::MAX);
        self.kept.page_out(all, usize::MAX);
        self.machine.page_out(all, 0, usize::MAX);
    }
}

/// A message that stays on disk, without a deadline.
pub(crate) fn paged_entry(message: &RecoveredMessage) -> PagedEntry {
    PagedEntry {
        lsn: leveret_engine::Lsn(message.lsn.0),
        bytes: message.outline.bytes,
        priority: message.outline.priority,
        deadline: None,
        deliveries: message.deliveries,
        redelivered: message.redelivered,
        stored: true,
        spilled: None,
    }
}
