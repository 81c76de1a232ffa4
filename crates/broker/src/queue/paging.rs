//! What of a queue's messages is in memory.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use leveret_engine::{Message, PageRequest, Spilled};
use leveret_store::{Lsn, ReadError, SpilledBlock, Store};
use parking_lot::MutexGuard;

use super::{Purpose, SharedQueue, State};
use crate::turn::Turn;

/// What the [pager](crate::pager) knows of a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Paged {
    /// What its messages take in memory, as it was told.
    memory: u64,
    /// It is among those who can be asked to page out.
    is_holding: bool,
    /// It is among those who want something read.
    pub(super) is_wanting: bool,
    /// Some of it is being written.
    is_spilling: bool,
    /// What was wanted last could not be read, and that has been said.
    pub(super) is_unreadable: bool,
}

/// Ends the writing of a queue's messages, also by a panic.
struct Spilling<'a>(&'a SharedQueue);

impl Drop for Spilling<'_> {
    fn drop(&mut self) {
        self.0.state.lock().paged.is_spilling = false;
    }
}

impl SharedQueue {
    /// Tells the pager what has changed. Whether it is more, and too much.
    pub(super) fn tell_pager(&self, state: &mut State) -> bool {
        let mut is_too_much = false;
        let State { machine, stream, kept, paged, .. } = state;
        let of_stream = stream.as_ref().map_or(0, |stream| stream.machine.memory());
        let memory = machine.memory() + of_stream + kept.memory();
        // What a recent history exchange keeps is looked at as a whole, and is short.
        let is_asked = self.purpose != Purpose::History;
        if memory > 0 && !paged.is_holding && is_asked {
            paged.is_holding = true;
            self.agenda.pager.hold(self.this.clone());
        }
        if memory != paged.memory {
            is_too_much = self.agenda.pager.changed(paged.memory, memory);
            if !is_asked {
                self.agenda.histories.changed(paged.memory, memory);
            } else if (memory > 0) != (paged.memory > 0) {
                self.agenda.pager.holds_some(memory > 0);
            }
            paged.memory = memory;
        }
        let wants_pages = match stream {
            Some(stream) => stream.machine.wants_pages(),
            None => machine.paged_len() > 0 && machine.wants_pages(self.agenda.pager.window()),
        };
        if wants_pages && !paged.is_wanting {
            paged.is_wanting = true;
            self.agenda.pager.want(self.this.clone());
        }
        is_too_much
    }

    /// Lets go of the oldest messages of a recent history exchange if all of these keep too much.
    pub(super) fn shorten_history(&self, state: &mut State, turn: &mut Turn) {
        while self.agenda.histories.is_too_much(state.paged.memory)
            && state.machine.get(turn.now, true, &mut turn.effects).message().is_some()
        {
            self.tell_pager(state);
        }
        turn.effects.clear();
    }

    /// Pages out what is readable, but for what is delivered next if there are consumers. Whether
    /// anything went.
    pub(crate) fn page_out(&self, readable: Lsn, most: usize) -> bool {
        let mut state = self.state.lock();
        state.paged.is_holding = false;
        let keep = if state.consumers.is_empty() { 0 } else { self.agenda.pager.window() };
        let readable = leveret_engine::Lsn(readable.0);
        let gone = match &mut state.stream {
            Some(stream) => stream.machine.page_out(readable, keep, most),
            None => {
                let letters = state.kept.page_out(readable, most);
                let left = most.saturating_sub(usize::try_from(letters).unwrap_or(usize::MAX));
                letters + state.machine.page_out(readable, keep, left)
            }
        };
        // Behind all others, if it still holds anything.
        self.tell_pager(&mut state);
        gone > 0
    }

    /// Writes to disk what the journal doesn't have, of about `most` bytes in memory, but for what is delivered
    /// next if there are consumers. Whether anything went.
    ///
    /// # Errors
    /// When the disk is full or fails: the messages stay in memory.
    pub(crate) fn spill(&self, store: &Store, most: u64) -> io::Result<bool> {
        if std::mem::replace(&mut self.state.lock().paged.is_spilling, true) {
            // The other would write the same.
            return Ok(false);
        }
        let _spilling = Spilling(self);
        let state = self.state.lock();
        let keep = if state.consumers.is_empty() { 0 } else { self.agenda.pager.window() };
        let blocks = state.machine.spill(keep, most);
        drop(state);
        let mut gone = 0;
        for block in blocks {
            let messages = block.messages().iter();
            let payloads = messages.map(|(lsn, message)| (Lsn(lsn.0), message.stored_parts()));
            let spilled: Spilled = Arc::new(store.spill(payloads)?);
            let mut state = self.state.lock();
            gone += state.machine.spilled(&block, &spilled);
            self.tell_pager(&mut state);
        }
        Ok(gone > 0)
    }

    /// Reads what the queue wants, and hands out what it can.
    ///
    /// # Errors
    /// When they cannot be read; [`retry_pages`](Self::retry_pages) then.
    pub(crate) fn read_pages(&self, store: &Store, turn: &mut Turn) -> Result<(), ReadError> {
        let mut state = self.state.lock();
        state.paged.is_wanting = false;
        if state.stream.is_some() {
            drop(state);
            return self.read_for_readers(store, turn);
        }
        let request = state.machine.next_pages(self.agenda.pager.window());
        drop(state);
        let Some(request) = request else { return Ok(()) };
        let messages = read(store, request.lsns(), request.spilled());
        let mut state = self.state.lock();
        if let Err(error) = self.take_pages(&mut state, request, messages) {
            // It is asked for again when it is time to.
            state.paged.is_wanting = true;
            return Err(error);
        }
        if state.deleted {
            return Ok(());
        }
        let is_overdue = state.machine.next_deadline().is_some_and(|deadline| deadline <= turn.now);
        if is_overdue && state.dead_lettering.is_some() {
            // The ticker's work: what it is doing to the messages ahead may not be done yet, and
            // dead letters arrive in the order in which they died. Before that nothing more is
            // read for it.
            self.reschedule(&mut state);
        } else {
            self.dispatch(&mut state, turn);
        }
        Ok(())
    }

    /// Wants again what could not be read.
    pub(crate) fn retry_pages(&self) {
        let mut state = self.state.lock();
        state.paged.is_wanting = false;
        self.tell_pager(&mut state);
    }

    /// Reads the page in front.
    pub(super) fn read_front(&self, store: &Store) -> Result<(), ReadError> {
        let Some(request) = self.state.lock().machine.front_page() else { return Ok(()) };
        let messages = read(store, request.lsns(), request.spilled());
        self.take_pages(&mut self.state.lock(), request, messages)
    }

    pub(super) fn take_pages(
        &self,
        state: &mut MutexGuard<'_, State>,
        request: PageRequest,
        messages: Result<Vec<(leveret_engine::Lsn, Message)>, ReadError>,
    ) -> Result<(), ReadError> {
        let messages = match messages {
            Ok(messages) => messages,
            Err(error) => {
                self.say_unreadable(state, &error);
                state.machine.abandon(request);
                return Err(error);
            }
        };
        state.paged.is_unreadable = false;
        let lost = state.machine.page_in(request, &messages);
        if !state.deleted {
            self.say_lost(lost.len());
        }
        Ok(())
    }

    /// Says that the disk refuses to be read, once until it can be.
    pub(super) fn say_unreadable(&self, state: &mut State, error: &ReadError) {
        if !std::mem::replace(&mut state.paged.is_unreadable, true) {
            let (queue, vhost) = (&self.name, &self.vhost);
            tracing::error!("queue '{queue}' in vhost '{vhost}' waits for its messages: {error}");
        }
    }

    /// Says that messages could not be read, unless there are none.
    pub(super) fn say_lost(&self, count: usize) {
        if count > 0 {
            let (queue, vhost) = (&self.name, &self.vhost);
            tracing::error!(
                "queue '{queue}' in vhost '{vhost}' has lost {count} messages that cannot be read"
            );
        }
    }
}

/// Reads messages that are stored and what was spilled, ascending by LSN. Those that are gone are left out.
pub(crate) fn read(
    store: &Store,
    lsns: &[leveret_engine::Lsn],
    spilled: &[Spilled],
) -> Result<Vec<(leveret_engine::Lsn, Message)>, ReadError> {
    read_with_places(store, lsns, spilled).map(|(messages, _)| messages)
}

/// As [`read`]; and of how many there is a place without a message, as a stream keeps of those that it has lost.
pub(super) fn read_with_places(
    store: &Store,
    lsns: &[leveret_engine::Lsn],
    spilled: &[Spilled],
) -> Result<(Vec<(leveret_engine::Lsn, Message)>, usize), ReadError> {
    let lsns: Vec<Lsn> = lsns.iter().map(|lsn| Lsn(lsn.0)).collect();
    let mut payloads = if lsns.is_empty() { Vec::new() } else { store.read(&lsns)? };
    if !spilled.is_empty() {
        let blocks = spilled.iter().filter_map(|block| block.downcast_ref::<SpilledBlock>());
        payloads.extend(blocks.flat_map(read_block));
        payloads.sort_unstable_by_key(|(lsn, _)| *lsn);
        payloads.dedup_by_key(|(lsn, _)| *lsn);
    }
    let all = payloads.len();
    payloads.retain(|(_, payload)| !payload.is_empty());
    let places = all - payloads.len();
    let messages =
        payloads.into_iter().filter_map(|(lsn, payload)| match Message::from_stored(payload) {
            Ok(message) => Some((leveret_engine::Lsn(lsn.0), message)),
            Err(error) => {
                tracing::error!("cannot read the stored message at {lsn}: {error}");
                None
            }
        });
    Ok((messages.collect(), places))
}

/// Reads a block. One that can't be read is lost, as transient messages may be: to wait for it would
/// hold up its queue for good.
fn read_block(block: &SpilledBlock) -> Vec<(Lsn, Bytes)> {
    block.read().or_else(|_| block.read()).unwrap_or_else(|error| {
        tracing::error!("{error}");
        Vec::new()
    })
}
