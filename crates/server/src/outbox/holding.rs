//! Unsettled deliveries whose messages leave memory when it is short.

use std::io;
use std::sync::Arc;

use leveret_broker::{Holder, SharedQueue};
use leveret_engine::Spilled;
use leveret_store::{Lsn, Store};

use super::Outbox;

/// Deliveries that were paged out, by queue: how many, and their body bytes. Queues are told once the
/// outbox has been let go of, for a queue's lock comes first.
#[derive(Default)]
pub(super) struct Gone(Vec<(Arc<SharedQueue>, u64, u64)>);

impl Gone {
    pub(super) fn add(&mut self, queue: &Arc<SharedQueue>, bytes: u64) {
        match self.0.last_mut() {
            Some((last, count, sum)) if last.id() == queue.id() => {
                *count += 1;
                *sum += bytes;
            }
            _ => self.0.push((Arc::clone(queue), 1, bytes)),
        }
    }

    /// Tells the queues. Whether there was anything.
    fn tell(mut self) -> bool {
        self.0.sort_by_key(|(queue, ..)| queue.id());
        for of_queue in self.0.chunk_by(|a, b| a.0.id() == b.0.id()) {
            let Some((queue, ..)) = of_queue.first() else { continue };
            let count = of_queue.iter().map(|(_, count, _)| count).sum();
            let bytes = of_queue.iter().map(|(_, _, bytes)| bytes).sum();
            queue.deliveries_paged_out(count, bytes);
        }
        !self.0.is_empty()
    }
}

impl Outbox {
    /// Queues that need no message of a delivery that comes back, by their identities.
    fn without_need(&self) -> Vec<Arc<SharedQueue>> {
        let state = self.state.lock();
        let queues = state.channels.values().flat_map(|channel| channel.holding_queues());
        let mut queues: Vec<Arc<SharedQueue>> = queues.cloned().collect();
        drop(state);
        queues.sort_unstable_by_key(|queue| queue.id());
        queues.dedup_by_key(|queue| queue.id());
        queues.retain(|queue| queue.needs_no_returns());
        queues
    }
}

impl Holder for Outbox {
    fn page_out(&self, readable: Lsn, most: usize) -> bool {
        let without_need = self.without_need();
        let is_needed = |queue: &SharedQueue| {
            without_need.binary_search_by_key(&queue.id(), |queue| queue.id()).is_err()
        };
        let (mut gone, mut shrank) = (Gone::default(), 0);
        for channel in self.state.lock().channels.values_mut() {
            shrank += channel.page_out(readable, is_needed, most, &mut gone);
        }
        gone.tell();
        shrank > 0
    }

    fn spill(&self, store: &Store, most: u64) -> io::Result<bool> {
        let (mut runs, mut left) = (Vec::new(), most);
        for (number, channel) in &self.state.lock().channels {
            for run in channel.spill(left) {
                left = left.saturating_sub(run.memory());
                runs.push((*number, run));
            }
            if left == 0 {
                break;
            }
        }
        let mut has_gone = false;
        for (number, run) in runs {
            let payloads =
                run.messages().map(|(lsn, message)| (Lsn(lsn.0), message.stored_parts()));
            let spilled: Spilled = Arc::new(store.spill(payloads)?);
            let mut gone = Gone::default();
            if let Some(mut channel) = self.channel(number) {
                channel.spilled(&run, &spilled, &mut gone);
            }
            has_gone |= gone.tell();
        }
        Ok(has_gone)
    }

    fn hold_on(&self) {
        let state = self.state.lock();
        let holds_some = state.channels.values().any(|channel| channel.holds_some());
        self.held.hold_on(holds_some);
    }
}
