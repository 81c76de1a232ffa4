//! A queue that is a stream: what it does in the place of a queue machine.
//!
//! The offset of a message is its place in the stream, and the stream is in the order of the
//! journal: so offsets need no record of their own but that of the first. For that a stream is
//! given its messages in the order of their records, which its [order](SharedQueue::order) ensures.

use std::sync::{Arc, Weak};

use leveret_engine::{
    Allowance, AnyEntry, ConsumerId, Millis, NameChange, ReaderSpec, Settled, Stream,
    StreamSettings,
};
use leveret_store::{Batch, Definition, Lsn, ReadError, Store, Table};
use parking_lot::MutexGuard;

use super::delivery::Consumer;
use super::gate::DispatchGate;
use super::schedule::NEVER;
use super::{AddConsumerRefused, ConsumerAbout, Incoming, SharedQueue, State, paging};
use crate::definitions::{self, StreamValue};
use crate::queue_type::QueueType;
use crate::stream_work::Due;
use crate::subscriber::Subscriber;
use crate::turn::Turn;

/// How long a changed position of a named reader may wait for its record.
const RECORD_AFTER: Millis = Millis(100);

/// A stream behind its queue's lock.
pub(super) struct StreamState {
    pub(super) machine: Stream,
    /// Messages below it are no longer there, whether the journal still has them or not.
    pub(super) begins: Lsn,
    /// It is going to be told when its first uncommitted message is on disk.
    is_awaiting: bool,
    /// It is going to be asked to go on.
    is_behind: bool,
    /// When changed positions of readers are due to be recorded, or [`NEVER`].
    record_at: Millis,
}

impl StreamState {
    pub(super) fn new(settings: StreamSettings) -> Self {
        let machine = Stream::new(settings);
        Self { machine, begins: Lsn(0), is_awaiting: false, is_behind: false, record_at: NEVER }
    }

    /// When it has to be looked at.
    pub(super) fn next_event(&self) -> Option<Millis> {
        let record_at = (self.record_at != NEVER).then_some(self.record_at);
        [self.machine.next_deadline(), record_at].into_iter().flatten().min()
    }
}

impl SharedQueue {
    /// Whether it is a stream.
    pub(crate) fn is_stream(&self) -> bool {
        self.queue_type == QueueType::Stream
    }

    /// Has messages keep their offsets where one of a stream cannot be read any more.
    pub(crate) fn keep_places(&self, store: &Store) {
        if self.is_stream() {
            store.keep_places(self.id.0, true);
        }
    }

    /// Held from before records of the stream are appended until it has what they say. Streams are
    /// locked in the order of their identities, before any queue.
    pub(crate) fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock()
    }

    /// Appends messages. Their stream's order is held.
    pub(super) fn append(&self, state: &mut State, incoming: &mut Vec<Incoming>) {
        state.count().publish += incoming.len() as u64;
        state.tails.show(incoming.iter().map(|one| &one.message));
        let Some(stream) = &mut state.stream else { return };
        stream.machine.begin_chunk();
        for Incoming { message, lsn, stored, .. } in incoming.drain(..) {
            debug_assert!(stored, "a stream keeps everything");
            stream.machine.append(leveret_engine::Lsn(lsn.0), message);
        }
        self.await_commit(stream);
        self.reschedule(state);
        self.tell_pager(state);
    }

    /// What is on disk may be read now, by those who have time in this turn.
    pub(crate) fn commit(&self, durable: Lsn, due: Due, turn: &mut Turn) {
        let mut state = self.state.lock();
        let Some(stream) = &mut state.stream else { return };
        match due {
            Due::Committed => stream.is_awaiting = false,
            Due::Behind => stream.is_behind = false,
        }
        stream.machine.commit(leveret_engine::Lsn(durable.0));
        self.await_commit(stream);
        self.serve(&mut state, turn);
    }

    fn await_commit(&self, stream: &mut StreamState) {
        if stream.is_awaiting {
            return;
        }
        if let Some(lsn) = stream.machine.uncommitted() {
            stream.is_awaiting = true;
            self.agenda.streams.await_commit(Lsn(lsn.0), self.id, Weak::clone(&self.this));
        }
    }

    /// Delivers to readers, as much as one turn should.
    pub(super) fn serve(&self, state: &mut MutexGuard<'_, State>, turn: &mut Turn) {
        let mut allowance = Allowance::default();
        loop {
            let State { stream: Some(stream), consumers, .. } = &mut **state else { return };
            let mut gate = DispatchGate(consumers);
            let reader = stream.machine.serve(&mut gate, &mut allowance, &mut turn.run);
            if reader.is_none() {
                break;
            }
            self.deliver(state, reader, turn);
        }
        if let Some(stream) = &mut state.stream
            && stream.machine.is_behind()
            && !std::mem::replace(&mut stream.is_behind, true)
        {
            self.agenda.streams.go_on(Weak::clone(&self.this));
        }
        self.reschedule(state);
        self.tell_pager(state);
    }

    /// Reads what readers want, and has them go on.
    ///
    /// # Errors
    /// When it cannot be read; [`retry_pages`](Self::retry_pages) then.
    pub(super) fn read_for_readers(&self, store: &Store, turn: &mut Turn) -> Result<(), ReadError> {
        let window = self.agenda.pager.window();
        let mut state = self.state.lock();
        let Some(stream) = &mut state.stream else { return Ok(()) };
        if let Some(request) = stream.machine.next_pages(window) {
            drop(state);
            let read = paging::read_with_places(store, request.lsns(), &[]);
            state = self.state.lock();
            let Some(stream) = &mut state.stream else { return Ok(()) };
            match read {
                Ok((messages, places)) => {
                    let lost = stream.machine.page_in(&request, &messages);
                    state.paged.is_unreadable = false;
                    // Of the others that was said when they were lost.
                    self.say_lost(lost.len().saturating_sub(places));
                }
                Err(error) => {
                    stream.machine.abandon();
                    state.paged.is_wanting = true;
                    self.say_unreadable(&mut state, &error);
                    return Err(error);
                }
            }
        }
        self.serve(&mut state, turn);
        Ok(())
    }

    /// Deliveries of a reader were settled: it gets its credit back.
    pub(super) fn settle_reads(
        &self,
        state: &mut MutexGuard<'_, State>,
        reader: ConsumerId,
        how: Settled,
        entries: &[AnyEntry],
        turn: &mut Turn,
    ) {
        if how == Settled::Done {
            state.count().ack += entries.len() as u64;
        }
        let Some(stream) = &mut state.stream else { return };
        let offsets = entries.iter().map(|entry| entry.lsn().0);
        stream.machine.settle(reader, how, offsets);
        stream.note_changes(turn.now);
        self.serve(state, turn);
    }

    /// Adds a reader without delivering to it yet: its consume-ok has to leave first.
    pub(crate) fn add_reader(
        &self,
        spec: ReaderSpec,
        about: ConsumerAbout,
        subscriber: Arc<dyn Subscriber>,
        now: Millis,
    ) -> Result<(), AddConsumerRefused> {
        let mut state = self.state.lock();
        let State { stream: Some(stream), consumers, deleted: false, .. } = &mut *state else {
            return Err(AddConsumerRefused::Deleted);
        };
        let id = spec.id;
        stream.machine.add_reader(spec);
        stream.note_changes(now);
        let about = Arc::new(about);
        consumers.insert(id, Consumer { subscriber, no_ack: false, about, pending: 0 });
        self.reschedule(&mut state);
        Ok(())
    }

    pub(super) fn remove_reader(
        &self,
        state: &mut MutexGuard<'_, State>,
        reader: ConsumerId,
        turn: &mut Turn,
    ) {
        let Some(stream) = &mut state.stream else { return };
        stream.machine.remove_reader(reader);
        stream.note_changes(turn.now);
        self.serve(state, turn);
    }

    /// Takes away what has become too much or too old, as far as one turn should, and records where
    /// the stream begins now. Its order is held.
    pub(crate) fn retain(&self, now: Millis, store: &Store) {
        let mut state = self.state.lock();
        let Some(stream) = &mut state.stream else { return };
        if stream.machine.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        let mut dropped = Vec::new();
        stream.machine.retain(now, &mut dropped);
        if let Some(last) = dropped.last() {
            stream.begins = Lsn(last.0 + 1);
        }
        let beginning = stream.beginning();
        self.reschedule(&mut state);
        self.tell_pager(&mut state);
        drop(state);
        let dropped: Vec<Lsn> = dropped.into_iter().map(|lsn| Lsn(lsn.0)).collect();
        let mut records = Batch::new();
        records.ack(self.id.0, &dropped);
        records.define(&[self.offset_record("", Some(beginning))]);
        store.append(&mut records);
    }

    /// Records positions of named readers that have changed, if it is time to. The stream's order
    /// is held.
    pub(crate) fn record_positions(&self, now: Millis, store: &Store) {
        let mut state = self.state.lock();
        let Some(stream) = &mut state.stream else { return };
        if stream.record_at > now {
            return;
        }
        if store.is_full() {
            // Behind what frees space.
            stream.record_at = now.saturating_add(RECORD_AFTER);
            return;
        }
        stream.record_at = NEVER;
        let mut changes = Vec::new();
        stream.machine.take_changed_names(&mut changes);
        drop(state);
        let changes = changes.iter();
        let changes = changes.map(|NameChange { name, offset }| {
            let value = offset.map(|offset| StreamValue { offset, lsn: None });
            self.offset_record(name, value)
        });
        let mut records = Batch::new();
        records.define(&changes.collect::<Vec<_>>());
        store.append(&mut records);
    }

    /// What has to be done though nobody asked for it.
    pub(super) fn look_at_stream(&self, turn: &mut Turn, store: &Store) {
        let order = self.order();
        self.retain(turn.now, store);
        self.record_positions(turn.now, store);
        drop(order);
        self.serve(&mut self.state.lock(), turn);
    }

    /// The offset the next message of a stream gets.
    pub fn next_offset(&self) -> Option<u64> {
        self.state.lock().stream.as_ref().map(|stream| stream.machine.next_offset())
    }

    /// Has a stream begin with an offset, if it never had a message and nobody waits for its first.
    ///
    /// # Errors
    /// The offset its next message gets, if that is another one.
    pub(crate) fn begin_or_go_on_at(&self, offset: u64, store: &Store) -> Result<(), u64> {
        let _order = self.order();
        let mut state = self.state.lock();
        let Some(stream) = &mut state.stream else { return Ok(()) };
        let next = stream.machine.next_offset();
        if next == offset {
            return Ok(());
        }
        if next > 0 || stream.machine.reader_count() > 0 {
            return Err(next);
        }
        stream.machine.begin_at(offset);
        let beginning = stream.beginning();
        drop(state);
        let mut records = Batch::new();
        records.define(&[self.offset_record("", Some(beginning))]);
        store.append(&mut records);
        Ok(())
    }

    /// Where it begins, as recorded; before any message is restored.
    pub(crate) fn restore_beginning(&self, offset: u64, lsn: Lsn) {
        if let Some(stream) = &mut self.state.lock().stream {
            stream.machine.begin_at(offset);
            stream.begins = lsn;
        }
    }

    /// Where a named reader goes on, as recorded.
    pub(crate) fn restore_position(&self, name: &str, offset: u64) {
        if let Some(stream) = &mut self.state.lock().stream {
            stream.machine.restore_name(name, offset);
        }
    }

    /// Lets the messages of a deleted stream go, and names the records there are of its offsets.
    pub(crate) fn forget_offsets(&self) -> Vec<Definition> {
        let mut state = self.state.lock();
        let Some(stream) = state.stream.take() else { return Vec::new() };
        self.tell_pager(&mut state);
        drop(state);
        let names = stream.machine.names().map(|(name, _)| name).chain([""]);
        names.map(|name| self.offset_record(name, None)).collect()
    }

    /// The record of an offset: of the reader of this name, or of the stream's beginning.
    fn offset_record(&self, name: &str, value: Option<StreamValue>) -> Definition {
        let (table, key) = (Table::Streams, definitions::stream_key(self.id, name));
        match value {
            Some(value) => Definition::Put { table, key, value: definitions::encode(&value) },
            None => Definition::Delete { table, key },
        }
    }
}

impl StreamState {
    fn beginning(&self) -> StreamValue {
        StreamValue { offset: self.machine.first_offset(), lsn: Some(self.begins.0) }
    }

    fn note_changes(&mut self, now: Millis) {
        if self.record_at == NEVER && self.machine.has_changed_names() {
            self.record_at = now.saturating_add(RECORD_AFTER);
        }
    }
}
