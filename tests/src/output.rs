//! What a child process prints, as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::PATIENCE;

/// The lines of one or more pipes of a process, read by a thread each.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    open: usize,
}

impl Output {
    pub(crate) fn follow(&self, pipe: impl Read + Send + 'static) {
        self.0.state.lock().open += 1;
        let shared = Arc::clone(&self.0);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                shared.state.lock().lines.push(text);
                shared.changed.notify_all();
                line.clear();
            }
            shared.state.lock().open -= 1;
            shared.changed.notify_all();
        });
    }

    /// The first line that `wanted` accepts; `None` if the process closes its output or takes too
    /// long before.
    pub(crate) fn await_line<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        let mut state = self.0.state.lock();
        loop {
            if let Some(found) = state.lines.iter().skip(seen).find_map(|line| wanted(line)) {
                return Some(found);
            }
            seen = state.lines.len();
            if state.open == 0 || self.0.changed.wait_until(&mut state, deadline).timed_out() {
                return None;
            }
        }
    }

    /// Waits until the process has closed its output.
    pub(crate) fn await_end(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.0.state.lock();
        while state.open > 0 {
            assert!(
                !self.0.changed.wait_until(&mut state, deadline).timed_out(),
                "the process keeps its output open"
            );
        }
    }

    pub(crate) fn text(&self) -> String {
        self.0.state.lock().lines.join("\n")
    }
}
