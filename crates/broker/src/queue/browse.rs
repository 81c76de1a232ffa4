//! Looking at messages where they stand, and taking some from there.

use std::sync::Arc;

use leveret_engine::{Entry, Lsn, Message, Shown, Spilled, Standing};
use leveret_store::{ReadError, Store};

use super::paging::read;
use super::{SharedQueue, State};
use crate::turn::Turn;

/// Messages that stand one behind the other in a queue.
#[derive(Debug)]
pub struct Browsed {
    /// The position of the first there is.
    pub first: u64,
    /// Where to go on: behind the last that was looked at.
    pub next: u64,
    /// Behind the last there is.
    pub end: u64,
    /// The messages and their positions: from 0 on in the order of delivery; of a stream the
    /// offsets.
    pub messages: Vec<(u64, Entry)>,
}

/// How often messages are looked for that are paged out while they are to be taken.
const ATTEMPTS: u32 = 4;

impl SharedQueue {
    /// Shows messages from a position on: at most `most`, and no more once they have `bytes` body
    /// bytes, about. To the queue nothing has happened.
    ///
    /// # Errors
    /// When they cannot be read from disk.
    pub(crate) fn browse(
        &self,
        from: u64,
        most: usize,
        bytes: u64,
        store: &Store,
    ) -> Result<Browsed, ReadError> {
        let state = self.state.lock();
        if let Some(stream) = &state.stream {
            let (first, end) = (stream.machine.first_offset(), stream.machine.committed_offset());
            let shown = stream.machine.browse(from, most, bytes);
            drop(state);
            let next = shown.last().map_or_else(|| from.min(end), |last| last.offset + 1);
            let paged = shown.iter().filter(|one| one.message.is_none());
            let paged: Vec<Lsn> = paged.map(|one| one.lsn).collect();
            let read = read(store, &paged, &[])?;
            let messages = shown.into_iter().filter_map(|Shown { offset, lsn, message }| {
                let message = message.or_else(|| found(&read, lsn))?;
                Some((offset, Entry::new(Lsn(offset), message)))
            });
            return Ok(Browsed { first, next, end, messages: messages.collect() });
        }
        let end = state.machine.ready_len();
        let shown = state.machine.browse(from, most, bytes);
        drop(state);
        let paged = shown.iter().filter(|standing| standing.message.is_none());
        let (spilled, stored): (Vec<&Standing>, Vec<&Standing>) =
            paged.partition(|standing| standing.spilled.is_some());
        let stored: Vec<Lsn> = stored.iter().map(|standing| standing.lsn).collect();
        let mut spilled: Vec<Spilled> =
            spilled.iter().filter_map(|standing| standing.spilled.clone()).collect();
        spilled.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let read = read(store, &stored, &spilled)?;
        let next = from.min(end) + shown.len() as u64;
        let messages = (from..).zip(shown).filter_map(|(position, mut standing)| {
            let message = standing.message.take().or_else(|| found(&read, standing.lsn))?;
            Some((position, standing.with(message)))
        });
        Ok(Browsed { first: 0, next, end, messages: messages.collect() })
    }

    /// Takes those of these messages that are still ready, as `basic.get` does, from wherever they
    /// stand. The LSNs ascend.
    ///
    /// # Errors
    /// When they cannot be read from disk: nothing is taken then.
    pub(crate) fn take(
        &self,
        lsns: &[Lsn],
        store: &Store,
        turn: &mut Turn,
    ) -> Result<Vec<Entry>, ReadError> {
        let mut state = self.state.lock();
        for _ in 0..ATTEMPTS {
            let Some(request) = state.machine.pages_of(lsns) else { break };
            drop(state);
            let messages = read(store, request.lsns(), request.spilled());
            state = self.state.lock();
            self.take_pages(&mut state, request, messages)?;
        }
        let State { machine, .. } = &mut *state;
        let taken = machine.take(lsns, turn.now);
        taken.iter().for_each(|entry| state.count_get(Some(entry), false));
        self.carry_out(&mut state, turn);
        Ok(taken)
    }
}

/// A message among those read. One that isn't there was settled meanwhile.
fn found(read: &[(Lsn, Message)], lsn: Lsn) -> Option<Message> {
    let at = read.binary_search_by_key(&lsn, |(lsn, _)| *lsn).ok()?;
    read.get(at).map(|(_, message)| message.clone())
}
