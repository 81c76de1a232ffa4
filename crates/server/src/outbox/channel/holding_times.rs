//! For how long a channel has held what its client hasn't settled.
//!
//! Deliveries bear no time ([`TagAges`]); they are as old as the time at which they were first noted.

use std::time::Duration;

use leveret_broker::SharedQueue;

use super::ChannelOut;
use crate::outbox::overdue::TagAges;

/// Deliveries that are looked through for the oldest of each queue.
const LOOKED_AT: usize = 10_000;

impl ChannelOut {
    /// Notes what has been delivered by now. Times count from any fixed moment.
    pub(in crate::outbox) fn note_deliveries(&mut self, now: Duration) {
        let Some((oldest, _)) = self.unacked.sources().next() else {
            self.noted = TagAges::default();
            return;
        };
        self.noted.note(now, self.unacked.next_tag());
        self.noted.forget_before(oldest);
    }

    /// Says of each queue how long its oldest delivery has been held, at least.
    pub(in crate::outbox) fn held_for(
        &self,
        now: Duration,
        each: &mut dyn FnMut(&SharedQueue, Duration),
    ) {
        let holding = self.sources.iter().filter(|source| source.outstanding > 0);
        let mut unseen = holding.count();
        let mut seen = vec![false; self.sources.places().len()];
        for (tag, index) in self.unacked.sources().take(LOOKED_AT) {
            if unseen == 0 {
                break;
            }
            let seen = seen.get_mut(index as usize);
            let Some(seen) = seen.filter(|seen| !**seen) else { continue };
            *seen = true;
            unseen -= 1;
            if let Some(source) = self.sources.get(index) {
                each(&source.queue, self.noted.age_of(tag, now));
            }
        }
    }
}
