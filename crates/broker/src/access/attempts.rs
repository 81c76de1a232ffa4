//! How often somebody tried to log in.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// AMQP 0-9-1.
    Amqp091,
    /// The HTTP API.
    Http,
}

/// Logins at one entrance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginAttempts {
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those of them that were not looked at, after too many wrong passwords.
    pub throttled: u64,
}

/// Counts logins.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    amqp091: Counters,
    http: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    succeeded: AtomicU64,
    failed: AtomicU64,
    throttled: AtomicU64,
}

impl Entrance {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Amqp091, Self::Http];

    /// RabbitMQ's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amqp091 => "amqp091",
            Self::Http => "http",
        }
    }
}

impl Attempts {
    fn of(&self, entrance: Entrance) -> &Counters {
        match entrance {
            Entrance::Amqp091 => &self.amqp091,
            Entrance::Http => &self.http,
        }
    }

    pub(super) fn count(&self, entrance: Entrance, has_succeeded: bool) {
        let Counters { succeeded, failed, .. } = self.of(entrance);
        let counter = if has_succeeded { succeeded } else { failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_throttled(&self, entrance: Entrance) {
        self.count(entrance, false);
        self.of(entrance).throttled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, entrance: Entrance) -> LoginAttempts {
        let Counters { succeeded, failed, throttled } = self.of(entrance);
        LoginAttempts {
            succeeded: succeeded.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            throttled: throttled.load(Ordering::Relaxed),
        }
    }

    pub(super) fn reset(&self) {
        for counters in Entrance::ALL.map(|entrance| self.of(entrance)) {
            let Counters { succeeded, failed, throttled } = counters;
            for counter in [succeeded, failed, throttled] {
                counter.store(0, Ordering::Relaxed);
            }
        }
    }
}
