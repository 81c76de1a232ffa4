//! Whether a consumer's outbox has room.

use ahash::HashMap;
use leveret_engine::{Admission, ConsumerId, Gate};

use super::Consumer;

/// Asks the consumers' outboxes, which don't yet hold what the current dispatch gives them.
pub(super) struct DispatchGate<'a>(pub(super) &'a mut HashMap<ConsumerId, Consumer>);

/// What a delivery takes in an outbox besides its body, about.
const DELIVERY_OVERHEAD: usize = 100;

impl Gate for DispatchGate<'_> {
    fn admit(&mut self, consumer: ConsumerId) -> Admission {
        // The machine only names consumers it has, and they are added and removed together.
        self.0
            .get(&consumer)
            .map_or(Admission::Blocked, |consumer| consumer.subscriber.admit(consumer.pending))
    }

    fn delivered(&mut self, consumer: ConsumerId, bytes: usize) {
        if let Some(consumer) = self.0.get_mut(&consumer) {
            consumer.pending += bytes + DELIVERY_OVERHEAD;
        }
    }
}
