//! Deliveries that wait too long for their acknowledgement: RabbitMQ's consumer timeout.
//!
//! As in 4.3, a consumer of a quorum queue loses what it has held for too long and is cancelled, if
//! its client understands that. For everybody else it is as up to 4.2: the channel is closed, and
//! with it all goes back. RabbitMQ 4.3 has no timeout at all for classic queues.

use std::time::Duration;

use leveret_broker::{Settlement, refusal};
use leveret_engine::{Millis, Return};

use super::Connection;
use crate::outbox::Overdue;

/// A timeout is noticed late by a quarter of it, or by the longest interval, whichever is less.
const CHECKS_PER_TIMEOUT: u32 = 4;
/// Deliveries taken back at a time.
const TAKEN_BACK_AT_ONCE: usize = 4096;
const INTERVAL_MIN: Duration = Duration::from_millis(20);
/// RabbitMQ's, too.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

impl Connection {
    /// How often [`check_timeouts`](Self::check_timeouts) is to be called, if at all: as the
    /// policies of the queues have it now.
    pub(crate) fn check_interval(&mut self) -> Option<Duration> {
        let generation = self.context.broker.policy_generation();
        if self.policy_generation != generation {
            self.policy_generation = generation;
            let channels = self.channels.keys().filter_map(|number| self.outbox.channel(*number));
            let shortest = channels.filter_map(|out| out.shortest_ack_timeout()).min();
            self.check_interval = shortest.map(interval);
        }
        self.check_interval
    }

    /// Cancels the consumers that have held a delivery for too long, or closes their channels.
    /// `uptime` is the time by a clock that nobody sets, from any fixed moment.
    pub(crate) fn check_timeouts(&mut self, uptime: Duration, now: Millis) {
        if let Some(session) = &mut self.session {
            session.begin(now);
        }
        let overdue = self.channels.keys().filter_map(|number| {
            let overdue = self.outbox.channel(*number)?.overdue(uptime)?;
            Some((*number, overdue))
        });
        let overdue: Vec<(u16, Overdue)> = overdue.collect();
        for (number, overdue) in overdue {
            if overdue.is_quorum && self.client.consumer_cancel_notify {
                self.take_back(number, &overdue);
            } else {
                let error = refusal::delivery_timed_out(number, overdue.timeout);
                self.fail_channel(number, error);
            }
        }
        self.end_turn();
    }

    /// The consumers are cancelled, and what they have held for too long goes back.
    fn take_back(&mut self, number: u16, overdue: &Overdue) {
        let is_late = |source| overdue.sources.contains(&source);
        for tag in self.cancel_where(number, |_, _, one| one.source.is_some_and(is_late)) {
            tracing::warn!(
                "cancelling consumer '{tag}' of channel {number} of connection ({}): a delivery \
                 was not acknowledged within {} ms; the consumer timeout can be configured",
                self.label(),
                overdue.timeout.as_millis()
            );
        }
        for tags in overdue.tags.chunks(TAKEN_BACK_AT_ONCE) {
            let Some(mut out) = self.outbox.channel(number) else { return };
            let mut groups = out.take_back(tags);
            let unblocked = out.unblocked();
            drop(out);
            if let Some(session) = &mut self.session {
                for group in &mut groups {
                    session.settle(Settlement::Requeue(Return::Released), group);
                }
            }
            self.unblock(unblocked);
        }
    }

    /// Deliveries from this source of the channel may wait for so long only.
    pub(super) fn watch_timeout(&mut self, channel: u16, source: Option<u32>) {
        let Some(source) = source else { return };
        let channel = self.outbox.channel(channel);
        let Some(timeout) = channel.and_then(|out| out.ack_timeout(source)) else { return };
        let interval = interval(timeout);
        self.check_interval = Some(self.check_interval.map_or(interval, |old| old.min(interval)));
    }
}

fn interval(timeout: Duration) -> Duration {
    (timeout / CHECKS_PER_TIMEOUT).clamp(INTERVAL_MIN, INTERVAL_MAX)
}
