//! Deleted queues of which messages are still dying.
//!
//! The record that drops a queue settles all its places, and then the journal needs their messages no
//! more. So it waits until what died there has gone on. Should the process end before, the next one
//! finds how the queue dead-lettered in a table, and what was dying marked in the journal.

use std::sync::{Arc, Weak};

use leveret_engine::{AnyEntry, PagedEntry, QueueId};
use leveret_store::{Backlog, Batch, Definition, Lsn, Table};
use serde::{Deserialize, Serialize};

use super::portion::PORTION;
use super::{DeadLettering, Death, Onward, Reason, Strategy};
use crate::broker::Broker;
use crate::definitions::{self, DefinitionError};
use crate::queue::paged_entry;
use crate::turn::Turn;

/// Held by all deaths of a queue, through how it dead-letters, until their places are settled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dying(Arc<()>);

impl Dying {
    /// Notes in the turn that the queue is gone, and its stored messages with it. It dead-letters no
    /// more: what is left to hold this are deaths.
    pub(crate) fn depart(self, queue: QueueId, turn: &mut Turn) {
        turn.departed.push(self.departed(queue, None));
    }

    fn departed(&self, queue: QueueId, key: Option<Vec<u8>>) -> Departed {
        Departed { queue, dying: Arc::downgrade(&self.0), key }
    }
}

/// A deleted queue whose places may not be dropped yet.
#[derive(Debug)]
pub(crate) struct Departed {
    queue: QueueId,
    dying: Weak<()>,
    /// Its key in the table, if that has it.
    key: Option<Vec<u8>>,
}

impl Departed {
    /// Drops the queue's places, if none of its messages is dying any more. Whether it did.
    pub(crate) fn drop_places(&self, records: &mut Batch) -> bool {
        let is_over = self.dying.strong_count() == 0;
        if is_over {
            records.drop_queue(self.queue.0);
            if let Some(key) = self.key.clone() {
                records.define(&[Definition::Delete { table: Table::DepartedQueues, key }]);
            }
        }
        is_over
    }
}

/// The place in the journal of a message that died, until it is settled.
#[derive(Clone, Debug)]
pub(crate) struct DyingPlace {
    source: Arc<DeadLettering>,
    lsn: Lsn,
    reason: Reason,
}

impl DyingPlace {
    #[cfg(test)]
    pub(super) fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// `None` for one that goes with its queue: a letter that it kept and that is being tried again, or
    /// one that is not in the journal.
    pub(super) fn of(death: &Death<AnyEntry>) -> Option<Self> {
        let Death { source, entry, reason, past } = death;
        (entry.stored() && past.is_none()).then(|| Self {
            source: Arc::clone(source),
            lsn: Lsn(entry.lsn().0),
            reason: *reason,
        })
    }
}

/// How a deleted queue dead-letters, as the table has it.
#[derive(Debug, Serialize, Deserialize)]
struct DepartedValue {
    exchange: String,
    routing_key: Option<String>,
}

/// Turns that closing takes for what no queue has any more: nobody looks at the memory any longer, and whoever
/// waits for the process to end doesn't for ever.
const CLOSING_TURNS: usize = 16;

impl Broker {
    /// Dead-letters what no queue has any more, as far as some turns get. The rest goes on at the next start.
    pub(crate) fn dead_letter_departed(&self, turn: &mut Turn) {
        for _ in 0..CLOSING_TURNS {
            turn.departed.append(&mut self.postponed.lock().departed);
            self.finish(turn);
            if self.postponed.lock().departed.is_empty() || self.dead_letter_next(turn) == 0 {
                return;
            }
        }
        self.finish(turn);
    }

    /// Marks what is dying of a queue that goes: in the turn's records, and where many died in turns before that, in
    /// units of their own. Answers what has to be recorded in the unit that deletes the queue.
    ///
    /// Nobody knows how many they are, and one unit for all would have to find its space at once, on a disk
    /// that may be full. Should the queue be there after a crash, what is marked goes on all the same.
    pub(crate) fn mark_dying(&self, queue: QueueId, turn: &mut Turn) -> Option<Definition> {
        let departed = turn.departed.iter_mut().find(|departed| departed.queue == queue)?;
        let (mut marks, mut records, mut last) = (Vec::new(), Batch::new(), None);
        for place in self.postponed.lock().places(queue) {
            if marks.len() == PORTION {
                records.returned(queue.0, &marks);
                self.store().append(&mut records);
                marks.clear();
            }
            marks.push((place.lsn, place.reason.departed_mark()));
            last = Some(place.source);
        }
        // Behind what the turn's records say of them: they may have been returned, and died of that.
        let now = turn.dead.iter().filter(|death| death.source.queue == queue);
        for place in now.filter_map(DyingPlace::of) {
            marks.push((place.lsn, place.reason.departed_mark()));
            last = Some(place.source);
        }
        turn.records.returned(queue.0, &marks);
        // A policy may have changed while they waited. After a crash the last word counts, as it
        // does for messages that die again in a queue that is still there.
        let source = last?;
        let value = DepartedValue {
            exchange: source.exchange.to_string(),
            routing_key: source.routing_key.as_deref().map(str::to_owned),
        };
        let key = definitions::departed_key(&source.vhost, &source.queue_name, queue);
        departed.key = Some(key.clone());
        let value = definitions::encode(&value);
        Some(Definition::Put { table: Table::DepartedQueues, key, value })
    }

    /// Marks all that waits, in units of their own, so that the next start goes on with it: after an orderly stop
    /// it would be ready in its queue again, as what nobody has had. A full disk has no space for that.
    pub(crate) fn mark_postponed(&self) {
        if self.store().is_full() {
            return;
        }
        let mut records = Batch::new();
        let postponed = self.postponed.lock();
        for queue in postponed.waiting() {
            let mut places = postponed.places(queue).peekable();
            while places.peek().is_some() {
                let marked = |place: DyingPlace| (place.lsn, place.reason.departed_mark());
                let marks: Vec<_> = places.by_ref().take(PORTION).map(marked).collect();
                records.returned(queue.0, &marks);
                self.store().append(&mut records);
            }
        }
    }

    /// Has go on what was dying in a deleted queue when the process ended before, in the order in which
    /// it was published.
    pub(crate) fn restore_dying(&self, backlog: &Backlog, source: &Arc<DeadLettering>) {
        let dying = backlog.messages().filter_map(|message| {
            let reason = Reason::departed_marked(message.deliveries)?;
            let entry = PagedEntry { deliveries: 0, ..paged_entry(&message) };
            let source = Arc::clone(source);
            Some(Death { source, entry: entry.into(), reason, past: None })
        });
        self.restore_deaths(dying);
    }

    /// Has go on what was dying in its queue when the process ended before.
    pub(crate) fn restore_deaths(&self, dying: impl IntoIterator<Item = Death<AnyEntry>>) {
        let readable = self.readable_lsn();
        let mut postponed = self.postponed.lock();
        dying.into_iter().for_each(|death| postponed.push(death, readable));
    }
}

/// A deleted queue that the table has. What was dying in it has to be [put back](Broker::restore_dying)
/// as long as the answer is kept.
pub(crate) fn restore_departed(
    broker: &Broker,
    key: &[u8],
    value: &[u8],
) -> Result<Arc<DeadLettering>, DefinitionError> {
    let (vhost, queue, id) = definitions::departed_from_key(key)?;
    let DepartedValue { exchange, routing_key } = definitions::decode(value)?;
    let dying = Dying::default();
    broker.postponed.lock().departed.push(dying.departed(id, Some(key.to_owned())));
    Ok(Arc::new(DeadLettering {
        queue: id,
        queue_name: queue.into(),
        vhost: vhost.into(),
        exchange: exchange.into(),
        routing_key: routing_key.map(Into::into),
        onward: Onward::Dead,
        // Nobody is left to keep them.
        strategy: Strategy::AtMostOnce,
        _dying: dying,
    }))
}
