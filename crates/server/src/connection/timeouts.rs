//! Deliveries that wait too long for their acknowledgement: RabbitMQ's consumer timeout, as up to 4.2.

use std::time::Duration;

use leveret_broker::refusal;
use leveret_engine::Millis;

use super::Connection;

/// A timeout is noticed late by a quarter of it, or by the longest interval, whichever is less.
const CHECKS_PER_TIMEOUT: u32 = 4;
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

    /// Closes the channels on which a delivery has waited too long. `uptime` is the time by a clock
    /// that nobody sets, from any fixed moment.
    pub(crate) fn check_timeouts(&mut self, uptime: Duration, now: Millis) {
        if let Some(session) = &mut self.session {
            session.begin(now);
        }
        let overdue = self.channels.keys().filter_map(|number| {
            let timeout = self.outbox.channel(*number)?.overdue(uptime)?;
            Some((*number, timeout))
        });
        let overdue: Vec<(u16, Duration)> = overdue.collect();
        for (number, timeout) in overdue {
            self.fail_channel(number, refusal::delivery_timed_out(number, timeout));
        }
        self.end_turn();
    }

    /// Some deliveries of the channel may wait for so long only.
    pub(super) fn watch_timeouts(&mut self, channel: u16) {
        let channel = self.outbox.channel(channel);
        let Some(timeout) = channel.and_then(|out| out.shortest_ack_timeout()) else { return };
        let interval = interval(timeout);
        self.check_interval = Some(self.check_interval.map_or(interval, |old| old.min(interval)));
    }
}

fn interval(timeout: Duration) -> Duration {
    (timeout / CHECKS_PER_TIMEOUT).clamp(INTERVAL_MIN, INTERVAL_MAX)
}
