//! Where a channel's deliveries come from.

use std::sync::Arc;
use std::time::Duration;

use ahash::HashMap;
use leveret_broker::{QueueType, SharedQueue};
use leveret_engine::{ConsumerId, QueueId};

use super::overdue::AckTimeouts;

/// A consumer of the channel, or `basic.get` from a queue.
pub(super) struct Source {
    pub(super) queue: Arc<SharedQueue>,
    /// `None` for `basic.get`.
    pub(super) consumer: Option<ConsumerId>,
    /// Whether deliveries may still come from it.
    is_open: bool,
    /// Unsettled deliveries.
    pub(super) outstanding: usize,
    ack_timeouts: AckTimeouts,
}

/// The sources of a channel, each in its place: deliveries name that.
#[derive(Default)]
pub(super) struct Sources {
    /// A place is free again when nothing names it.
    places: Vec<Option<Source>>,
    free: Vec<u32>,
    /// The places of `basic.get`, by its queue.
    gets: HashMap<QueueId, u32>,
}

impl Source {
    /// How long a delivery may wait for its settlement, as policies have it now.
    pub(super) fn ack_timeout(&self) -> Option<Duration> {
        self.ack_timeouts.with(self.queue.consumer_timeout())
    }

    pub(super) fn is_quorum_consumer(&self) -> bool {
        self.consumer.is_some() && self.queue.queue_type() == QueueType::Quorum
    }
}

impl Sources {
    /// Gives a new consumer a place.
    pub(super) fn open(
        &mut self,
        queue: &Arc<SharedQueue>,
        consumer: ConsumerId,
        ack_timeouts: AckTimeouts,
    ) -> u32 {
        let (queue, consumer) = (Arc::clone(queue), Some(consumer));
        self.place(Source { queue, consumer, is_open: true, outstanding: 0, ack_timeouts })
    }

    /// The place of `basic.get` from a queue, which is kept while it has unsettled deliveries.
    pub(super) fn of_gets(&mut self, queue: &Arc<SharedQueue>, ack_timeouts: AckTimeouts) -> u32 {
        if let Some(&place) = self.gets.get(&queue.id()) {
            return place;
        }
        let (id, queue) = (queue.id(), Arc::clone(queue));
        let source = Source { queue, consumer: None, is_open: false, outstanding: 0, ack_timeouts };
        let place = self.place(source);
        self.gets.insert(id, place);
        place
    }

    fn place(&mut self, source: Source) -> u32 {
        if let Some(free) = self.free.pop()
            && let Some(place) = self.places.get_mut(free as usize)
        {
            *place = Some(source);
            return free;
        }
        self.places.push(Some(source));
        u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
    }

    /// A consumer is gone: its place is free once its deliveries are settled.
    pub(super) fn close(&mut self, place: u32) {
        if let Some(source) = self.get_mut(place) {
            source.is_open = false;
        }
        self.free_if_done(place);
    }

    /// Frees a place that nothing names any more.
    pub(super) fn free_if_done(&mut self, number: u32) {
        let Some(place) = self.places.get_mut(number as usize) else { return };
        let Some(source) = place.take_if(|source| !source.is_open && source.outstanding == 0)
        else {
            return;
        };
        self.free.push(number);
        if source.consumer.is_none() {
            self.gets.remove(&source.queue.id());
        }
    }

    pub(super) fn get(&self, place: u32) -> Option<&Source> {
        self.places.get(place as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Source> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// All places, in order.
    pub(super) fn places(&self) -> impl ExactSizeIterator<Item = Option<&Source>> {
        self.places.iter().map(Option::as_ref)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.places.iter().flatten()
    }
}
