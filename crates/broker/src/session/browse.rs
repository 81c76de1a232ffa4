//! Looking at messages without taking them, and moving some elsewhere.

use std::sync::Arc;

use leveret_codec::AmqpError;
use leveret_engine::{AnyEntry, Lsn as MessageId};
use leveret_store::Lsn;

use super::Session;
use super::publish::Prepared;
use super::settle::{SettleGroup, Settlement};
use crate::access::PermissionKind;
use crate::buckets::Origin;
use crate::dead_letter::WayOn;
use crate::queue::{Browsed, Purpose};
use crate::refusal;

/// What became of a message that was to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It is where it was to go, and no longer where it was.
    There,
    /// It stays: it is not ready any more, or has gone.
    Gone,
    /// It stays: no queue would get it.
    Unroutable,
    /// It stays: a queue it would go to is full and refuses more.
    NoRoom,
}

/// What came of moving messages.
#[derive(Debug, Default)]
pub struct Movement {
    /// One for each message, in their order.
    pub moved: Vec<Moved>,
    /// What has to be on disk for the movement to be.
    pub commit: Option<Lsn>,
}

impl Session {
    /// Shows messages of a queue from a position on, at most `most`, and no more once they have
    /// `bytes` bytes, headers included, about. Nothing changes by it, also not what `redelivered` will say.
    ///
    /// # Errors
    /// 403 without read permission, 404 when the queue is missing, 405 when it is another
    /// connection's, 541 when the disk cannot be read.
    pub fn browse(
        &mut self,
        queue: &str,
        from: u64,
        most: usize,
        bytes: u64,
    ) -> Result<Browsed, AmqpError> {
        self.check(PermissionKind::Read, refusal::Resource::Queue(queue))?;
        let queue = self.accessible_queue(queue)?;
        let browsed = queue.browse(from, most, bytes, self.broker.store());
        browsed.map_err(|_| unreadable())
    }

    /// Takes messages out of a queue and puts those they were [prepared](Self::prepare) as into
    /// the queues these are routed to: with one unit of the journal, so that a crash neither loses
    /// nor doubles one. What can't go stays where it is. Each is
    /// named once, and nothing may be staged.
    ///
    /// # Errors
    /// As [`browse`](Self::browse), and 540 of a stream, from which nothing is taken. Nothing has
    /// been moved then.
    pub fn relocate(
        &mut self,
        queue: &str,
        messages: Vec<(MessageId, Prepared)>,
    ) -> Result<Movement, AmqpError> {
        debug_assert!(!self.has_staged(), "its append is its own");
        self.check(PermissionKind::Read, refusal::Resource::Queue(queue))?;
        let queue = self.accessible_queue(queue)?;
        if queue.is_stream() {
            let vhost = self.vhost.name();
            return Err(refusal::not_for_streams("basic.get", &queue.name, vhost));
        }
        let mut way = WayOn::default();
        let moved = messages.iter().map(|(_, prepared)| prepared.can_go(&mut way));
        let mut moved: Vec<Moved> = moved.collect();
        let wanted = messages.iter().zip(&moved).filter(|(_, moved)| **moved == Moved::There);
        let mut wanted: Vec<MessageId> = wanted.map(|((id, _), _)| *id).collect();
        wanted.sort_unstable();
        let taken = queue.take(&wanted, self.broker.store(), &mut self.turn);
        let mut entries = taken.map_err(|_| unreadable())?;
        entries.sort_unstable_by_key(|entry| entry.lsn);
        let is_taken = |id| entries.binary_search_by_key(&id, |entry| entry.lsn).is_ok();
        let staging = &mut self.staging;
        for ((id, prepared), moved) in messages.into_iter().zip(&mut moved) {
            if *moved != Moved::There {
                continue;
            }
            if !is_taken(id) {
                *moved = Moved::Gone;
                continue;
            }
            let Prepared { message, routes, .. } = prepared;
            let origin = Origin { is_expected: true, ..Origin::default() };
            staging.buckets.add(message, &routes, origin, &mut staging.records);
        }
        let mut settled: Vec<Lsn> = Vec::new();
        for entry in entries.iter_mut().filter(|entry| entry.stored) {
            settled.push(Lsn(entry.lsn.0));
            entry.stored = false;
        }
        if !settled.is_empty() {
            staging.records.ack(queue.id.0, &settled);
            staging.records.set_durable();
        }
        let (first_record, commit) = self.append(None);
        self.enqueue(first_record, &mut Vec::new());
        let entries = entries.into_iter().map(AnyEntry::from).collect();
        let mut group = SettleGroup { queue: Arc::clone(&queue), consumer: None, entries };
        self.settle(Settlement::Acknowledge, &mut group);
        Ok(Movement { moved, commit })
    }
}

impl Prepared {
    /// Whether all queues it is routed to will take it, if there are any.
    fn can_go(&self, way: &mut WayOn) -> Moved {
        // What an exchange keeps for those who come later nobody may ever get.
        if self.routes.iter().all(|queue| queue.purpose == Purpose::History) {
            return Moved::Unroutable;
        }
        let bytes = self.message.size() as u64;
        let is_room = self.routes.iter().all(|queue| way.takes(queue, bytes));
        if is_room { Moved::There } else { Moved::NoRoom }
    }
}

pub(super) fn unreadable() -> AmqpError {
    AmqpError::internal_error("cannot read messages")
}
