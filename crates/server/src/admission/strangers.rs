//! Lines of the log about those who have not logged in.
//!
//! Whoever can connect causes them, and is not to fill the disk: of each kind there are so many a
//! minute, and then one that says how many more there would have been.

use leveret_engine::Millis;
use parking_lot::Mutex;

/// Lines of a kind in a minute.
pub(crate) const LINES_MAX: usize = 20;
const PERIOD: Millis = Millis(60_000);

/// The kinds, each with lines of its own: one is not to hide the others.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// Logins that were refused.
    pub(crate) refused: Lines,
    /// Logins that were not looked at.
    pub(crate) throttled: Lines,
    /// Connections that no login came of.
    pub(crate) handshakes: Lines,
    /// TLS that no connection came of.
    pub(crate) tls: Lines,
    /// Logins over HTTP that were refused.
    pub(crate) http: Lines,
}

/// The lines of one kind.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    /// When the first came, if there are any.
    began: Option<Millis>,
    written: usize,
    left_out: usize,
}

impl Lines {
    /// Whether there is room for a line. One that has none is counted.
    pub(crate) fn have_room(&self, now: Millis) -> bool {
        let mut minute = self.0.lock();
        minute.began.get_or_insert(now);
        let has_room = minute.written < LINES_MAX;
        let count = if has_room { &mut minute.written } else { &mut minute.left_out };
        *count += 1;
        has_room
    }

    /// How many were left out, if the minute is over.
    fn tick(&self, now: Millis) -> usize {
        let mut minute = self.0.lock();
        let is_over = minute.began.is_some_and(|began| now >= began.saturating_add(PERIOD));
        if is_over { std::mem::take(&mut *minute).left_out } else { 0 }
    }
}

impl Strangers {
    /// Time has passed: says how many lines were left out, when it is time to.
    pub(super) fn tick(&self, now: Millis) {
        self.tell(|lines| lines.tick(now));
    }

    /// Says it at once: there is no later.
    pub(super) fn stop(&self) {
        self.tell(|lines| lines.tick(Millis(u64::MAX)));
    }

    fn tell(&self, left_out: impl Fn(&Lines) -> usize) {
        let Self { refused, throttled, handshakes, tls, http } = self;
        for (lines, protocol, what) in [
            (refused, "AMQP", "logins refused"),
            (throttled, "AMQP", "logins refused after too many wrong passwords"),
            (handshakes, "AMQP", "connections that did not come to a login"),
            (tls, "AMQP", "TLS handshakes that failed"),
            (http, "HTTP", "logins refused"),
        ] {
            let more = left_out(lines);
            if more > 0 {
                tracing::warn!("{protocol}: {more} more {what} within a minute");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_lines_and_the_number_of_the_others() {
        let lines = Lines::default();
        assert_eq!(lines.tick(Millis(0)), 0);
        let written = (1..=500).filter(|now| lines.have_room(Millis(*now))).count();
        assert_eq!(written, LINES_MAX);
        assert_eq!(lines.tick(Millis(60_000)), 0, "it began with the first");
        assert_eq!(lines.tick(Millis(60_001)), 480);
        assert_eq!(lines.tick(Millis(200_000)), 0, "that was said");
        assert!(lines.have_room(Millis(200_000)));
        assert_eq!(lines.tick(Millis(260_000)), 0, "none was left out");
    }
}
