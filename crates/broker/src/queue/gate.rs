//! Whether a consumer's outbox has room.

use ahash::HashMap;
use leveret_engine::{Admission, ConsumerId, Gate};
use smallvec::SmallVec;

use super::Consumer;

/// Asks the consumers' outboxes, which don't yet hold what the current dispatch gives them.
pub(super) struct DispatchGate<'a> {
    consumers: &'a HashMap<ConsumerId, Consumer>,
    pending: SmallVec<[(ConsumerId, usize); 4]>,
}

/// What a delivery takes in an outbox besides its body, about.
const DELIVERY_OVERHEAD: usize = 100;

impl<'a> DispatchGate<'a> {
    pub(super) fn new(consumers: &'a HashMap<ConsumerId, Consumer>) -> Self {
        Self { consumers, pending: SmallVec::new() }
    }
}

impl Gate for DispatchGate<'_> {
    fn admit(&mut self, consumer: ConsumerId) -> Admission {
        let pending = self.pending.iter().find(|(id, _)| *id == consumer);
        let pending = pending.map_or(0, |(_, bytes)| *bytes);
        // The machine only names consumers it has, and they are added and removed together.
        self.consumers
            .get(&consumer)
            .map_or(Admission::Blocked, |consumer| consumer.subscriber.admit(pending))
    }

    fn delivered(&mut self, consumer: ConsumerId, bytes: usize) {
        let bytes = bytes + DELIVERY_OVERHEAD;
        match self.pending.iter_mut().find(|(id, _)| *id == consumer) {
            Some((_, pending)) => *pending += bytes,
            None => self.pending.push((consumer, bytes)),
        }
    }
}
