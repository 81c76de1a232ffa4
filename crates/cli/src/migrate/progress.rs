//! How far it is, on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::mover::Moved;
use super::source::Queue;

/// How often a terminal's line changes, and how often a log gets one.
const ON_TERMINAL: Duration = Duration::from_millis(200);
const IN_LOG: Duration = Duration::from_secs(5);

/// What has been moved since the queue was begun.
pub(super) struct Progress {
    is_terminal: bool,
    begun: Instant,
    shown: Instant,
    messages: u64,
    bytes: u64,
    /// It has been said that the broker here waits.
    has_waited: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let is_terminal = io::stderr().is_terminal();
        Self { is_terminal, begun: now, shown: now, messages: 0, bytes: 0, has_waited: false }
    }

    /// A batch is here.
    pub(super) fn advanced(&mut self, moved: &Moved, messages: u64, bytes: u64) {
        self.messages += messages;
        self.bytes += bytes;
        let every = if self.is_terminal { ON_TERMINAL } else { IN_LOG };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let line = format!(
            "{}: {} of {}, {}",
            shown(&moved.queue),
            moved.moved,
            moved.waiting,
            self.rate()
        );
        self.write(&line, false);
    }

    /// A queue is done with.
    pub(super) fn ended(&mut self, moved: &Moved) {
        if self.messages > 0 {
            let seconds = self.begun.elapsed().as_secs_f64();
            let rate = self.rate();
            let queue = shown(&moved.queue);
            let line = format!("{queue}: {} moved in {seconds:.1} s, {rate}", moved.moved);
            self.write(&line, true);
        }
        if let Some(failure) = &moved.failure {
            self.write(&format!("{}: {failure}", shown(&moved.queue)), true);
        }
        *self = Self::new();
    }

    /// The broker here takes nothing for now.
    pub(super) fn waits(&mut self, why: &str) {
        if !std::mem::replace(&mut self.has_waited, true) {
            self.write(&format!("publishers wait here, so this does, too: {why}"), true);
        }
    }

    fn rate(&self) -> String {
        let seconds = self.begun.elapsed().as_secs_f64().max(0.001);
        let megabytes = self.bytes as f64 / 1e6;
        format!("{:.0} messages/s, {:.1} MB/s", self.messages as f64 / seconds, megabytes / seconds)
    }

    /// On a terminal a line that isn't the last one is written over.
    fn write(&self, line: &str, is_last: bool) {
        // With a closed stderr nobody wants to know.
        let _ = match (self.is_terminal, is_last) {
            (true, false) => write!(io::stderr(), "\r\x1b[K{line}"),
            (true, true) => writeln!(io::stderr(), "\r\x1b[K{line}"),
            (false, _) => writeln!(io::stderr(), "{line}"),
        };
    }
}

/// A queue's name, with its vhost unless that is the usual one.
pub(super) fn shown(queue: &Queue) -> String {
    match queue.vhost.as_str() {
        "/" => queue.name.clone(),
        vhost => format!("{} in {vhost}", queue.name),
    }
}
