//! A queue under policies: they change what it is while it is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leveret_engine::{Overflow, QueueId};

use super::schedule::Lease;
use super::{Purpose, Settings, SharedQueue};
use crate::dead_letter::{DeadLettering, Dying, Onward, Strategy};
use crate::policy::{self, AppliedPolicies};
use crate::turn::Turn;

impl SharedQueue {
    /// The policies it has.
    pub fn policies(&self) -> AppliedPolicies {
        self.state.lock().policies.clone()
    }

    /// How long deliveries to its consumers may wait for their settlement, if its arguments or its
    /// policies say so; no time at all stands for as long as they like.
    pub fn consumer_timeout(&self) -> Option<Duration> {
        self.consumer_timeout.get()
    }

    /// Takes new policies; nothing happens if they say the same as those it has.
    pub(crate) fn apply_policies(&self, policies: AppliedPolicies, turn: &mut Turn) {
        let mut state = self.state.lock();
        if state.deleted || state.policies == policies {
            return;
        }
        let arguments = self.arguments.as_table();
        let settings =
            policy::settings(arguments, self.queue_type, &policies, &self.name, &self.vhost);
        let settings = match settings {
            Ok(settings) => settings,
            Err(error) => {
                debug_assert!(false, "sound policies and arguments go together");
                tracing::error!("a policy can't be applied: {}", error.text());
                return;
            }
        };
        state.policies = policies;
        self.consumer_timeout.set(settings.consumer_timeout);
        let (name, vhost) = (&self.name, &self.vhost);
        let dead_lettering = DeadLettering::of(&settings, self.id, name, vhost, &mut state.dying);
        state.dead_lettering = dead_lettering.map(Arc::new);
        state.kept.retry_soon();
        if state.lease.as_ref().map(Lease::span) != settings.expires {
            state.lease = settings.expires.map(Lease::new);
            state.touch(turn.now);
        }
        state.machine.set_settings(settings.machine);
        if let Some(stream) = &mut state.stream {
            stream.machine.set_settings(settings.stream);
        }
        self.dispatch(&mut state, turn);
    }
}

impl DeadLettering {
    /// How a queue with these settings dead-letters, if it does. `dying` is the queue's as long as it
    /// is there, whatever its settings.
    pub(super) fn of(
        settings: &Settings,
        queue: QueueId,
        name: &Arc<str>,
        vhost: &Arc<str>,
        dying: &mut Option<Dying>,
    ) -> Option<Self> {
        let exchange = settings.dead_letter_exchange.clone()?;
        Some(Self {
            queue,
            queue_name: Arc::clone(name),
            vhost: Arc::clone(vhost),
            exchange,
            routing_key: settings.dead_letter_routing_key.clone(),
            onward: match settings.purpose {
                Purpose::Delay => Onward::Delayed,
                Purpose::Clients | Purpose::History => Onward::Dead,
            },
            strategy: strategy(settings, name, vhost),
            _dying: dying.get_or_insert_default().clone(),
        })
    }
}

/// At-least-once is for quorum queues that refuse what is too much: where the oldest give way,
/// RabbitMQ falls back as well.
fn strategy(settings: &Settings, name: &str, vhost: &str) -> Strategy {
    if settings.dead_letter_strategy == Strategy::AtLeastOnce
        && settings.machine.overflow == Overflow::DropHead
    {
        tracing::warn!(
            "falling back to dead-letter-strategy at-most-once for queue '{name}' in vhost \
             '{vhost}': at-least-once is incompatible with its overflow strategy drop-head; set \
             overflow to reject-publish"
        );
        return Strategy::AtMostOnce;
    }
    settings.dead_letter_strategy
}

/// A time that consumers look at without the queue's lock.
pub(super) struct ConsumerTimeout(AtomicU64);

impl ConsumerTimeout {
    const NONE: u64 = u64::MAX;

    pub(super) fn new(timeout: Option<Duration>) -> Self {
        let this = Self(AtomicU64::new(Self::NONE));
        this.set(timeout);
        this
    }

    fn get(&self) -> Option<Duration> {
        let millis = self.0.load(Ordering::Relaxed);
        (millis != Self::NONE).then(|| Duration::from_millis(millis))
    }

    fn set(&self, timeout: Option<Duration>) {
        let millis = timeout.map(|timeout| u64::try_from(timeout.as_millis()));
        self.0.store(
            millis.map_or(Self::NONE, |millis| millis.unwrap_or(Self::NONE - 1)),
            Ordering::Relaxed,
        );
    }
}
