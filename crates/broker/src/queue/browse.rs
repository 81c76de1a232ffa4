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

/// Messages that are read at a time when they are paged out: only then it is known how large their headers are.
const READ_AT_ONCE: usize = 32;

impl SharedQueue {
    /// Shows messages from a position on: at most `most`, and no more once they have `bytes` bytes,
    /// headers included, about. To the queue nothing has happened.
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
            let browsed = Browsed { first, next: from.min(end), end, messages: Vec::new() };
            let standing = |Shown { offset, lsn, message }| (offset, Standing::new(lsn, message));
            let mut browsed = browsed.filled(shown.into_iter().map(standing), bytes, store)?;
            browsed.messages.iter_mut().for_each(|(offset, entry)| entry.lsn = Lsn(*offset));
            return Ok(browsed);
        }
        let end = state.machine.ready_len();
        let shown = state.machine.browse(from, most, bytes);
        drop(state);
        let browsed = Browsed { first: 0, next: from.min(end), end, messages: Vec::new() };
        browsed.filled((from..).zip(shown), bytes, store)
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

impl Browsed {
    /// With these messages and their positions, up to so many bytes; those that are paged out are read.
    fn filled(
        mut self,
        shown: impl Iterator<Item = (u64, Standing)>,
        bytes: u64,
        store: &Store,
    ) -> Result<Self, ReadError> {
        let (mut shown, mut left) = (shown.peekable(), bytes);
        while left > 0 && shown.peek().is_some() {
            let few: Vec<(u64, Standing)> = shown.by_ref().take(READ_AT_ONCE).collect();
            let read = read_paged(&few, store)?;
            for (position, mut standing) in few {
                if left == 0 {
                    break;
                }
                self.next = position + 1;
                let message = standing.message.take();
                let Some(message) = message.or_else(|| found(&read, standing.lsn)) else {
                    continue;
                };
                let size = message.head_len() + message.size();
                left = left.saturating_sub(size.max(1) as u64);
                self.messages.push((position, standing.with(message)));
            }
        }
        Ok(self)
    }
}

/// Those of these messages that are not in memory.
fn read_paged(shown: &[(u64, Standing)], store: &Store) -> Result<Vec<(Lsn, Message)>, ReadError> {
    let paged = shown.iter().map(|(_, standing)| standing).filter(|it| it.message.is_none());
    let (spilled, stored): (Vec<&Standing>, Vec<&Standing>) =
        paged.partition(|standing| standing.spilled.is_some());
    let stored: Vec<Lsn> = stored.iter().map(|standing| standing.lsn).collect();
    let mut spilled: Vec<Spilled> =
        spilled.iter().filter_map(|standing| standing.spilled.clone()).collect();
    spilled.dedup_by(|one, other| Arc::ptr_eq(one, other));
    read(store, &stored, &spilled)
}

/// A message among those read. One that isn't there was settled meanwhile.
fn found(read: &[(Lsn, Message)], lsn: Lsn) -> Option<Message> {
    let at = read.binary_search_by_key(&lsn, |(lsn, _)| *lsn).ok()?;
    read.get(at).map(|(_, message)| message.clone())
}
