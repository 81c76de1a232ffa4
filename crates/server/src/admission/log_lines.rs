//! Lines of the log that clients cause, and those who have not logged in.
//!
//! They are not to fill the disk: of each kind there are so many a minute, and then one that says how many more
//! there would have been.

use leveret_engine::Millis;
use parking_lot::Mutex;

/// Lines in a minute of a kind that whoever can connect causes.
pub(crate) const LINES_MAX: usize = 20;
/// Lines in a minute about errors of clients that have logged in.
pub(crate) const ERRORS_MAX: usize = 1000;
const PERIOD: Millis = Millis(60_000);

/// The kinds, each with lines of its own: one is not to hide the others.
#[derive(Debug)]
pub(crate) struct LogLines {
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
    /// Errors of channels and connections, of clients that have logged in.
    pub(crate) errors: Lines,
}

impl Default for LogLines {
    fn default() -> Self {
        let few = || Lines::up_to(LINES_MAX);
        Self {
            refused: few(),
            throttled: few(),
            handshakes: few(),
            tls: few(),
            http: few(),
            errors: Lines::up_to(ERRORS_MAX),
        }
    }
}

/// The lines of one kind.
#[derive(Debug)]
pub(crate) struct Lines {
    max: usize,
    minute: Mutex<Minute>,
}

#[derive(Debug, Default)]
struct Minute {
    /// When the first came, if there are any.
    began: Option<Millis>,
    written: usize,
    left_out: usize,
}

impl Lines {
    fn up_to(max: usize) -> Self {
        Self { max, minute: Mutex::default() }
    }

    /// Whether there is room for a line. One that has none is counted.
    pub(crate) fn have_room(&self, now: Millis) -> bool {
        let mut minute = self.minute.lock();
        minute.began.get_or_insert(now);
        let has_room = minute.written < self.max;
        let count = if has_room { &mut minute.written } else { &mut minute.left_out };
        *count += 1;
        has_room
    }

    /// How many were left out, if the minute is over.
    fn tick(&self, now: Millis) -> usize {
        let mut minute = self.minute.lock();
        let is_over = minute.began.is_some_and(|began| now >= began.saturating_add(PERIOD));
        if is_over { std::mem::take(&mut *minute).left_out } else { 0 }
    }
}

impl LogLines {
    /// Time has passed: says how many lines were left out, when it is time to.
    pub(super) fn tick(&self, now: Millis) {
        self.tell(|lines| lines.tick(now));
    }

    /// Says it at once: there is no later.
    pub(super) fn stop(&self) {
        self.tell(|lines| lines.tick(Millis(u64::MAX)));
    }

    fn tell(&self, left_out: impl Fn(&Lines) -> usize) {
        let Self { refused, throttled, handshakes, tls, http, errors } = self;
        for (lines, protocol, what) in [
            (refused, "AMQP", "logins refused"),
            (throttled, "AMQP", "logins refused after too many wrong passwords"),
            (handshakes, "AMQP", "connections that did not come to a login"),
            (tls, "AMQP", "TLS handshakes that failed"),
            (http, "HTTP", "logins refused"),
            (errors, "AMQP", "errors of channels and connections"),
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
        let lines = Lines::up_to(LINES_MAX);
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
