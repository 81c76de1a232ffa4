//! The time: the one place that asks the system for it.
//!
//! What expires, is retried or kept for so long is measured by a clock that neither jumps nor runs
//! backwards, or an hour that an operator sets would throw away what should live for an hour. It is
//! set by the system's clock when the process starts, and follows it a hundredth faster or slower
//! than time passes, as Erlang's does for RabbitMQ.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use leveret_engine::Millis;
use rustix::time::{ClockId, clock_gettime};

/// The clock gains or loses one part of so many of the time that passes, at most.
const SLEWED: i64 = 100;
/// Microseconds that the clocks may differ before it is told.
const TOLD: i64 = 60_000_000;

static CLOCK: LazyLock<Clock> = LazyLock::new(|| Clock::new(uptime(), system()));

/// Milliseconds since 1970, which a broker's calls take for the time.
pub fn now() -> Millis {
    let micros = CLOCK.at(uptime());
    Millis(micros / 1000)
}

/// Comes nearer to the system's clock; to be called again and again.
pub(crate) fn follow() {
    CLOCK.follow(uptime(), system());
}

/// Microseconds since 1970, by the system's clock.
fn system() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds since some time, also those in which the machine slept.
fn uptime() -> u64 {
    let time = clock_gettime(UPTIME);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1_000_000 + nanos / 1000
}

#[cfg(target_os = "linux")]
const UPTIME: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const UPTIME: ClockId = ClockId::Monotonic;

/// A clock in microseconds.
struct Clock {
    /// When it was set, by its own time and the system's.
    begun: u64,
    set_to: u64,
    /// What it has gained since, or lost.
    gained: AtomicI64,
    /// When it last came nearer, by its own time.
    followed: AtomicU64,
    is_told: AtomicBool,
}

impl Clock {
    fn new(uptime: u64, system: u64) -> Self {
        Self {
            begun: uptime,
            set_to: system,
            gained: AtomicI64::new(0),
            followed: AtomicU64::new(uptime),
            is_told: AtomicBool::new(false),
        }
    }

    fn at(&self, uptime: u64) -> u64 {
        let passed = uptime.saturating_sub(self.begun);
        self.set_to
            .saturating_add(passed)
            .saturating_add_signed(self.gained.load(Ordering::Relaxed))
    }

    fn follow(&self, uptime: u64, system: u64) {
        let passed = uptime.saturating_sub(self.followed.swap(uptime, Ordering::Relaxed));
        let step_max = i64::try_from(passed).unwrap_or(i64::MAX) / SLEWED;
        let behind = system.checked_signed_diff(self.at(uptime)).unwrap_or_default();
        self.gained.fetch_add(behind.clamp(-step_max, step_max), Ordering::Relaxed);
        self.tell(behind);
    }

    fn tell(&self, behind: i64) {
        let is_far = behind.abs() > TOLD;
        if self.is_told.swap(is_far, Ordering::Relaxed) || !is_far {
            return;
        }
        let seconds = behind.abs() / 1_000_000;
        let way = if behind > 0 { "ahead of" } else { "behind" };
        tracing::warn!(
            "the system's clock was set: it is {seconds} s {way} the broker's, which follows it by a \
             hundredth of the time that passes, so that nothing expires early or late"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// Ticks once a hundredth of a second, and gives the time after each.
    fn ticks(clock: &Clock, from: u64, seconds: u64, jump: i64) -> Vec<u64> {
        let tick = |at: u64| {
            clock.follow(at, (at + 1000 * SECOND).saturating_add_signed(jump));
            clock.at(at)
        };
        (1..=seconds * 100).map(|count| tick(from + count * SECOND / 100)).collect()
    }

    #[test]
    fn a_jump_moves_it_by_a_hundredth_of_what_passes() {
        for jump in [3600, -3600] {
            let clock = Clock::new(0, 1000 * SECOND);
            let times = ticks(&clock, 0, 100, jump * 1_000_000);
            assert!(times.is_sorted(), "it never runs backwards");
            let last = times.last().unwrap();
            assert_eq!(*last, (1100 * SECOND).saturating_add_signed(jump.signum() * 1_000_000));
        }
    }

    #[test]
    fn it_arrives_at_the_systems_time() {
        let clock = Clock::new(0, 1000 * SECOND);
        ticks(&clock, 0, 100, -500_000);
        assert_eq!(clock.at(100 * SECOND), 1100 * SECOND - 500_000);
        ticks(&clock, 100 * SECOND, 100, 0);
        assert_eq!(clock.at(200 * SECOND), 1200 * SECOND);
    }
}
