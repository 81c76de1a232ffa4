//! Messages on their way into queues: recorded together, then each queue locked once for all.

use std::sync::Arc;

use ahash::HashMap;
use leveret_engine::{Message, QueueId};
use leveret_store::{Appended, Batch, Lsn, Store};
use parking_lot::MutexGuard;
use smallvec::SmallVec;

use crate::queue::{Incoming, SharedQueue};
use crate::turn::Turn;

/// Messages sorted by the queue they go to. Reused, it allocates nothing in steady state.
#[derive(Default)]
pub(crate) struct Buckets {
    buckets: Vec<Bucket>,
    used: usize,
    /// The one that was given something last.
    last: usize,
    /// Where those of queues are, once there are too many for a search.
    index: HashMap<QueueId, usize>,
    /// Messages the journal gets no record of, ahead of those that it does.
    transient: u64,
    /// The first of their LSNs, once they have any.
    first_transient: Option<Lsn>,
    /// Whether there is a message the journal gets a record of.
    has_recorded: bool,
    /// Whether some are for streams.
    has_streams: bool,
}

/// Messages for one queue.
struct Bucket {
    queue: Option<Arc<SharedQueue>>,
    incoming: Vec<Incoming>,
}

/// What else there is to a message on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// Index of the publish's confirm ticket, if it has one.
    pub(crate) ticket: Option<u32>,
    /// A consumer may have seen it before, in the queue it died in.
    pub(crate) redelivered: bool,
    /// Its queues were asked for room before, and have to take it.
    pub(crate) is_expected: bool,
}

/// The record of a message on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    /// Its index in the batch.
    pub(crate) index: usize,
    /// How many queues keep it there.
    pub(crate) places: usize,
}

impl Buckets {
    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Adds a message for its queues, and its record to `records` if one of them keeps it.
    ///
    /// LSNs ascend in the order of the messages, recorded or not, as what comes back to a queue goes
    /// where its LSN belongs.
    pub(crate) fn add(
        &mut self,
        message: Message,
        queues: &[Arc<SharedQueue>],
        origin: Origin,
        records: &mut Batch,
    ) -> Option<Recorded> {
        let (last, others) = queues.split_last()?;
        let mut record = None;
        let mut keepers = queues.iter().filter(|queue| queue.keeps(&message)).peekable();
        if keepers.peek().is_some() {
            let stored: SmallVec<[u64; 8]> = keepers.map(|queue| queue.id.0).collect();
            let index = records.message(&stored, &message.stored_parts());
            record = Some(Recorded { index, places: stored.len() });
            self.has_recorded = true;
        }
        // The LSN is an index until the batch has been appended.
        let (index, is_in_batch) = match record {
            Some(record) => (record.index as u64, true),
            None if self.has_recorded => (records.nothing() as u64, true),
            None => {
                self.transient += 1;
                (self.transient - 1, false)
            }
        };
        let lsn = Lsn(index);
        let mut put = |queue: &Arc<SharedQueue>, message: Message| {
            let stored = record.is_some() && queue.keeps(&message);
            let incoming = Incoming { message, lsn, stored, is_in_batch, origin };
            self.bucket(queue).push(incoming);
        };
        for queue in others {
            put(queue, message.clone());
        }
        put(last, message);
        record
    }

    /// Puts everything into its queue that is not there, once the records have been
    /// [appended](append) and the first of them has `first_record` for its number. Tickets of refused
    /// messages are added to `refused`.
    pub(crate) fn enqueue(
        &mut self,
        store: &Store,
        first_record: Lsn,
        turn: &mut Turn,
        refused: &mut Vec<u32>,
    ) {
        self.reserve(store);
        let first_transient = self.first_transient.take().unwrap_or_default();
        self.has_recorded = false;
        self.has_streams = false;
        self.index.clear();
        let used = std::mem::take(&mut self.used);
        let kept = (ROOM / used.max(1)).max(FEW);
        for bucket in self.buckets.iter_mut().take(used) {
            if let Some(queue) = bucket.queue.take() {
                for incoming in &mut bucket.incoming {
                    let first = if incoming.is_in_batch { first_record } else { first_transient };
                    incoming.lsn = Lsn(first.0 + incoming.lsn.0);
                }
                queue.publish(&mut bucket.incoming, turn, refused);
            }
            bucket.incoming.shrink_to(kept);
        }
        self.buckets.truncate(BUCKETS.max(used));
        self.buckets.shrink_to(2 * BUCKETS.max(used));
    }

    /// For how many messages there is room.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.incoming.capacity()).sum()
    }

    /// Gives the messages ahead of those that are recorded their LSNs.
    fn reserve(&mut self, store: &Store) {
        let count = std::mem::take(&mut self.transient);
        if count > 0 {
            self.first_transient = Some(store.reserve(count));
        }
    }

    /// Gives streams what is for them.
    fn enqueue_in_streams(&mut self, first_record: Lsn, turn: &mut Turn) {
        for bucket in self.buckets.iter_mut().take(self.used) {
            let Some(stream) = bucket.queue.take_if(|queue| queue.is_stream()) else { continue };
            for incoming in &mut bucket.incoming {
                incoming.lsn = Lsn(first_record.0 + incoming.lsn.0);
            }
            // Streams refuse nothing.
            stream.publish(&mut bucket.incoming, turn, &mut Vec::new());
        }
    }

    /// The bucket of a queue.
    fn bucket(&mut self, queue: &Arc<SharedQueue>) -> &mut Vec<Incoming> {
        let index = self.find(queue.id).unwrap_or_else(|| {
            if self.used == self.buckets.len() {
                self.buckets.push(Bucket { queue: None, incoming: Vec::new() });
            }
            self.used += 1;
            if self.used > SEARCHED {
                self.index.insert(queue.id, self.used - 1);
            }
            self.used - 1
        });
        self.last = index;
        #[expect(clippy::indexing_slicing, reason = "found, or just made sure to exist")]
        let bucket = &mut self.buckets[index];
        if bucket.queue.is_none() {
            bucket.queue = Some(Arc::clone(queue));
            self.has_streams |= queue.is_stream();
        }
        &mut bucket.incoming
    }

    /// Where the bucket of a queue is, if it has one.
    ///
    /// Messages of a batch tend to go the same way, so it is looked for behind the last one first.
    fn find(&self, queue: QueueId) -> Option<usize> {
        let guess = if self.last + 1 < self.used { self.last + 1 } else { 0 };
        let is_of = |bucket: &Bucket| bucket.queue.as_ref().is_some_and(|other| other.id == queue);
        let used = self.buckets.get(..self.used)?;
        if used.get(guess).is_some_and(is_of) {
            return Some(guess);
        }
        let searched = used.get(..SEARCHED).unwrap_or(used);
        searched.iter().position(is_of).or_else(|| self.index.get(&queue).copied())
    }
}

/// Messages for which there stays room, in the buckets that were used: for a long turn to one queue, or a short
/// one to many.
const ROOM: usize = 8192;
/// Room that any of them keeps.
const FEW: usize = 4;
/// Buckets that stay.
const BUCKETS: usize = 1024;
/// Buckets among which a search finds one fast.
const SEARCHED: usize = 16;

/// Appends `records`, among them those of the messages in `buckets`, to the journal as one unit.
///
/// Messages are then put into their queues by [`Buckets::enqueue`]. Those for streams are already
/// there: a stream has its messages in the order of the journal, so nobody else appends any before
/// it has them.
pub(crate) fn append(
    store: &Store,
    records: &mut Batch,
    buckets: &mut [&mut Buckets],
    turn: &mut Turn,
) -> Appended {
    for buckets in buckets.iter_mut() {
        buckets.reserve(store);
    }
    if buckets.iter().all(|buckets| !buckets.has_streams) {
        return store.append(records);
    }
    let queues = buckets.iter().flat_map(|buckets| buckets.buckets.iter().take(buckets.used));
    let streams =
        queues.filter_map(|bucket| bucket.queue.clone()).filter(|queue| queue.is_stream());
    let mut streams: SmallVec<[Arc<SharedQueue>; 2]> = streams.collect();
    streams.sort_unstable_by_key(|stream| stream.id);
    streams.dedup_by_key(|stream| stream.id);
    let _order: SmallVec<[MutexGuard<'_, ()>; 2]> =
        streams.iter().map(|stream| stream.order()).collect();
    let appended = store.append(records);
    for buckets in buckets {
        buckets.enqueue_in_streams(appended.first, turn);
    }
    for stream in &streams {
        stream.retain(turn.now, store);
    }
    appended
}
