//! Dead letters that a queue keeps until they are taken.
//!
//! With the strategy at-least-once a dead letter that nobody takes is not lost: its place in its
//! queue stays recorded, marked with how it died, and it is tried again from time to time.

use std::collections::BTreeMap;

use leveret_engine::{Entry, Millis, QueueId};
use smallvec::SmallVec;

use super::Reason;

/// The dead letters of one queue that could not go on.
#[derive(Default)]
pub(crate) struct KeptLetters {
    /// By the order in which they died.
    waiting: BTreeMap<u64, KeptLetter>,
    last: u64,
    /// Of all there are, those being tried included.
    count: u64,
    bytes: u64,
    refused: u64,
    tried: u64,
    retry: Retry,
}

/// A dead letter that could not go on.
pub(crate) struct KeptLetter {
    pub(crate) entry: Entry,
    pub(crate) reason: Reason,
    pub(crate) past: Past,
}

/// What became of a dead letter in earlier tries.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// Its place among the kept ones of its queue.
    number: u64,
    /// Queues that have it already.
    pub(crate) taken_by: SmallVec<[QueueId; 2]>,
    obstacle: Obstacle,
}

/// Why a dead letter can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Its exchange isn't there, or has no queue for it but such as it came from.
    NoRoute,
    /// A queue has no room for it, or earlier ones wait for room.
    Refused,
}

/// When to try again.
struct Retry {
    at: Option<Millis>,
    wait: Millis,
}

/// Letters tried at a time. If none of them gets on, those behind them wait as well.
const TRIED_AT_ONCE: usize = 1024;
/// From one try to the next, at first and at last.
const WAIT_MIN: Millis = Millis(50);
const WAIT_MAX: Millis = Millis(1000);

impl Default for Retry {
    fn default() -> Self {
        Self { at: None, wait: WAIT_MIN }
    }
}

impl KeptLetters {
    /// How many there are, and their body bytes.
    pub(crate) const fn load(&self) -> (u64, u64) {
        (self.count, self.bytes)
    }

    /// Whether some of them wait for room: what dies now has to wait behind them.
    pub(crate) const fn has_refused(&self) -> bool {
        self.refused > 0
    }

    /// When some are to be tried again.
    pub(crate) const fn retry_at(&self) -> Option<Millis> {
        self.retry.at
    }

    /// Keeps a letter: a new one behind all others, one that was tried in its place.
    pub(crate) fn keep(
        &mut self,
        entry: Entry,
        reason: Reason,
        past: Option<&Past>,
        taken_by: SmallVec<[QueueId; 2]>,
        obstacle: Obstacle,
    ) {
        let number = match past {
            Some(past) => {
                self.tried = self.tried.saturating_sub(1);
                self.refused -= u64::from(past.obstacle == Obstacle::Refused);
                past.number
            }
            None => {
                self.count += 1;
                self.bytes += entry.bytes();
                self.last += 1;
                self.last
            }
        };
        self.refused += u64::from(obstacle == Obstacle::Refused);
        let past = Past { number, taken_by, obstacle };
        self.waiting.insert(number, KeptLetter { entry, reason, past });
    }

    /// A letter that was tried has gone on.
    pub(crate) fn release(&mut self, entry: &Entry, past: &Past) {
        self.tried = self.tried.saturating_sub(1);
        self.refused -= u64::from(past.obstacle == Obstacle::Refused);
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(entry.bytes());
    }

    /// Sets the next try, after some letters were kept or released: at once if there was progress.
    pub(crate) fn schedule(&mut self, now: Millis, has_progress: bool) {
        if self.tried > 0 {
            return;
        }
        if self.waiting.is_empty() {
            self.retry = Retry::default();
            return;
        }
        if has_progress {
            self.retry = Retry { at: Some(now), wait: WAIT_MIN };
        } else if self.retry.at.is_none() {
            self.retry.at = Some(now.saturating_add(self.retry.wait));
            self.retry.wait = Millis(self.retry.wait.0 * 2).min(WAIT_MAX);
        }
    }

    /// Takes out all that wait; what is being tried goes its way.
    pub(crate) fn purge(&mut self) -> Vec<Entry> {
        let letters = std::mem::take(&mut self.waiting).into_values();
        let entry = |letter: KeptLetter| {
            self.refused -= u64::from(letter.past.obstacle == Obstacle::Refused);
            self.count -= 1;
            self.bytes = self.bytes.saturating_sub(letter.entry.bytes());
            letter.entry
        };
        letters.map(entry).collect()
    }

    /// Has the next try come as soon as can be: what stood in the way may be gone.
    pub(crate) fn retry_soon(&mut self) {
        if self.tried == 0 && !self.waiting.is_empty() {
            self.retry = Retry { at: Some(Millis(0)), wait: WAIT_MIN };
        }
    }

    /// Takes the first letters out to be tried, if that is due. Each is kept again or released.
    pub(crate) fn take_due(&mut self, now: Millis) -> Vec<KeptLetter> {
        if self.retry.at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.retry.at = None;
        let first = std::iter::from_fn(|| self.waiting.pop_first().map(|(_, letter)| letter));
        let letters: Vec<_> = first.take(TRIED_AT_ONCE).collect();
        self.tried += letters.len() as u64;
        letters
    }
}

#[cfg(test)]
mod tests {
    use leveret_codec::Properties;
    use leveret_engine::{Body, Lsn, MessageArena};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn entry(number: u64) -> Entry {
        let properties = Properties::default();
        let mut arena = MessageArena::new();
        let message = arena.message(Millis(0), "", "q", &properties, &[0, 0], Body::Copy(b"body"));
        Entry::new(Lsn(number), message)
    }

    fn obstacle(is_refused: bool) -> Obstacle {
        if is_refused { Obstacle::Refused } else { Obstacle::NoRoute }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A message dies.
        Die {
            is_refused: bool,
        },
        /// Time for a try passes.
        Try,
        /// The next of those being tried stays.
        Stay {
            is_refused: bool,
        },
        /// The next of those being tried goes on.
        Go,
        Purge,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any::<bool>().prop_map(|is_refused| Step::Die { is_refused }),
            2 => Just(Step::Try),
            3 => any::<bool>().prop_map(|is_refused| Step::Stay { is_refused }),
            3 => Just(Step::Go),
            1 => Just(Step::Purge),
        ]
    }

    proptest! {
        /// Against a list of all letters and whether each waits, is being tried, and was refused.
        #[test]
        fn letters_are_counted_and_tried_in_order(steps in vec(step(), 0..60)) {
            let mut kept = KeptLetters::default();
            let mut model: Vec<(u64, bool)> = Vec::new();
            let mut trying: std::collections::VecDeque<KeptLetter> = [].into();
            let (mut now, mut died) = (Millis(0), 0);
            for step in steps {
                match step {
                    Step::Die { is_refused } => {
                        died += 1;
                        let none = SmallVec::new();
                        let entry = entry(died);
                        kept.keep(entry, Reason::Rejected, None, none, obstacle(is_refused));
                        kept.schedule(now, false);
                        model.push((died, is_refused));
                    }
                    Step::Try => {
                        now = now.saturating_add(WAIT_MAX);
                        let due = kept.take_due(now);
                        if trying.is_empty() {
                            let taken: Vec<_> = due.iter().map(|one| one.entry.lsn.0).collect();
                            let all: Vec<_> = model.iter().map(|(number, _)| *number).collect();
                            prop_assert_eq!(taken, all);
                        } else {
                            prop_assert!(due.is_empty(), "one try at a time");
                        }
                        trying.extend(due);
                    }
                    Step::Stay { is_refused } => {
                        let Some(one) = trying.pop_front() else { continue };
                        let KeptLetter { entry, reason, past } = one;
                        let line = model.iter_mut().find(|(number, _)| *number == entry.lsn.0);
                        line.unwrap().1 = is_refused;
                        let taken_by = past.taken_by.clone();
                        kept.keep(entry, reason, Some(&past), taken_by, obstacle(is_refused));
                        kept.schedule(now, false);
                    }
                    Step::Go => {
                        let Some(KeptLetter { entry, past, .. }) = trying.pop_front() else {
                            continue;
                        };
                        kept.release(&entry, &past);
                        kept.schedule(now, true);
                        model.retain(|(number, _)| *number != entry.lsn.0);
                    }
                    Step::Purge => {
                        let is_tried = |number: u64| {
                            trying.iter().any(|one| one.entry.lsn.0 == number)
                        };
                        let purged: Vec<_> = kept.purge().iter().map(|one| one.lsn.0).collect();
                        let waiting = model.extract_if(.., |(number, _)| !is_tried(*number));
                        let waiting: Vec<_> = waiting.map(|(number, _)| number).collect();
                        prop_assert_eq!(purged, waiting);
                        kept.schedule(now, true);
                    }
                }
                prop_assert_eq!(kept.load(), (model.len() as u64, 4 * model.len() as u64));
                prop_assert_eq!(kept.has_refused(), model.iter().any(|(_, refused)| *refused));
                let waits = !model.is_empty() && trying.is_empty();
                prop_assert_eq!(kept.retry_at().is_some(), waits);
            }
        }
    }
}
