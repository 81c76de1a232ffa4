//! Dead letters that a queue keeps until they are taken.
//!
//! With the strategy at-least-once a dead letter that nobody takes is not lost: its place in its
//! queue stays recorded, marked with how it died, and it is tried again from time to time. Its message
//! leaves memory as those of the queue do, and is read for each try then.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_engine::{AnyEntry, Folded, Lsn, Millis, PagedEntry, QueueId};

use super::Reason;
use super::taken::TakenBy;

/// The dead letters of one queue that could not go on.
#[derive(Default)]
pub(crate) struct KeptLetters {
    /// By the order in which they died.
    waiting: BTreeMap<u64, KeptLetter>,
    /// Others that are on disk only and that no queue has, as they follow each other; by the first of
    /// each page.
    pages: BTreeMap<u64, Folded<(Reason, Obstacle)>>,
    /// How many of `waiting` could be on pages.
    loose: usize,
    /// Those of them at most for which there was no page when some were made.
    single: usize,
    /// The queues that have some of `waiting`.
    taken_by: TakenBy,
    /// What the entries of `waiting` take in memory, about, in bytes.
    memory: u64,
    /// Those that are on disk only, and their body bytes.
    paged: u64,
    paged_bytes: u64,
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
    pub(crate) entry: AnyEntry,
    pub(crate) reason: Reason,
    pub(crate) past: Past,
}

impl KeptLetter {
    /// Whether it can stand on a page.
    fn is_loose(&self) -> bool {
        self.entry.is_paged() && self.past.taken_by.is_empty()
    }
}

/// What became of a dead letter in earlier tries.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// Its place among the kept ones of its queue.
    number: u64,
    /// Queues that have it already, sorted.
    pub(crate) taken_by: Arc<[QueueId]>,
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

/// Letters tried at a time, and about their bytes, but as many as RabbitMQ tries at least. If none of
/// them gets on, those behind them wait as well.
const TRIED_AT_ONCE: usize = 1024;
const TRIED_BYTES: u64 = 1 << 20;
const TRIED_LEAST: usize = 32;
/// Letters on a page: most, and from how many on one is worth while; and how many more have to stand on
/// none before pages are looked for.
const PAGE: u64 = 256;
const PAGE_LEAST: u64 = 16;
const LOOSE: usize = 512;
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

    /// Those that are on disk only, and their body bytes.
    pub(crate) const fn paged(&self) -> (u64, u64) {
        (self.paged, self.paged_bytes)
    }

    /// What those that wait take in memory, about, in bytes.
    pub(crate) const fn memory(&self) -> u64 {
        self.memory + self.taken_by.memory()
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
        entry: impl Into<AnyEntry>,
        reason: Reason,
        past: Option<&Past>,
        taken_by: Arc<[QueueId]>,
        obstacle: Obstacle,
    ) {
        let entry = entry.into();
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
        self.put(number, KeptLetter { entry, reason, past });
        // Looking for pages goes through all that wait.
        if self.loose - self.single >= LOOSE.max(self.waiting.len() / 8) {
            self.fold();
        }
    }

    fn put(&mut self, number: u64, mut letter: KeptLetter) {
        self.taken_by.share(&mut letter.past.taken_by);
        self.memory += letter.entry.memory();
        self.loose += usize::from(letter.is_loose());
        if letter.entry.is_paged() {
            self.paged += 1;
            self.paged_bytes += letter.entry.bytes();
        }
        self.waiting.insert(number, letter);
    }

    /// Takes the first that waits.
    fn pop(&mut self) -> Option<KeptLetter> {
        let first = self.waiting.first_key_value().map(|(number, _)| *number);
        if let Some(page) = self.pages.first_entry()
            && first.is_none_or(|first| *page.key() < first)
        {
            let (first, page) = page.remove_entry();
            for (number, (entry, (reason, obstacle))) in (first..).zip(page.iter()) {
                let Some(entry) = entry else { continue };
                self.paged -= 1;
                self.paged_bytes -= entry.bytes;
                let past = Past { number, taken_by: Arc::default(), obstacle };
                self.put(number, KeptLetter { entry: entry.into(), reason, past });
            }
        }
        let (_, letter) = self.waiting.pop_first()?;
        self.taken_by.leave(&letter.past.taken_by);
        self.memory -= letter.entry.memory();
        self.loose -= usize::from(letter.is_loose());
        self.single = self.single.min(self.loose);
        if letter.entry.is_paged() {
            self.paged -= 1;
            self.paged_bytes -= letter.entry.bytes();
        }
        Some(letter)
    }

    /// Forgets the messages of about `most` that are stored, with an LSN up to `readable`. Returns how
    /// many.
    pub(crate) fn page_out(&mut self, readable: Lsn, most: usize) -> u64 {
        let mut gone = 0;
        for letter in self.waiting.values_mut() {
            let AnyEntry::Hot(entry) = &letter.entry else { continue };
            if gone >= most as u64 || !entry.stored || entry.lsn > readable {
                continue;
            }
            gone += 1;
            self.paged_bytes += entry.bytes();
            self.memory -= entry.memory();
            letter.entry = PagedEntry::of(entry, None).into();
            self.memory += letter.entry.memory();
            self.loose += usize::from(letter.is_loose());
        }
        self.paged += gone;
        self.fold();
        gone
    }

    /// Makes pages of those that follow each other.
    fn fold(&mut self) {
        let mut runs: Vec<std::ops::Range<u64>> = Vec::new();
        let loose = self.waiting.iter().filter(|(_, letter)| letter.is_loose());
        for number in loose.map(|(number, _)| *number) {
            match runs.last_mut() {
                Some(run) if run.end == number && number - run.start < PAGE => run.end += 1,
                _ => runs.push(number..number + 1),
            }
        }
        for run in runs.into_iter().filter(|run| run.end - run.start >= PAGE_LEAST) {
            let first = run.start;
            let mut page = Folded::default();
            for letter in run.filter_map(|number| self.waiting.remove(&number)) {
                self.memory -= letter.entry.memory();
                self.loose -= 1;
                page.push(letter.entry.paged(), (letter.reason, letter.past.obstacle));
            }
            page.seal();
            self.pages.insert(first, page);
        }
        self.single = self.loose;
    }

    /// A letter that was tried, of so many body bytes, has gone on.
    pub(crate) fn release(&mut self, bytes: u64, past: &Past) {
        self.tried = self.tried.saturating_sub(1);
        self.refused -= u64::from(past.obstacle == Obstacle::Refused);
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Sets the next try, after some letters were kept or released: at once if there was progress.
    pub(crate) fn schedule(&mut self, now: Millis, has_progress: bool) {
        if self.tried > 0 {
            return;
        }
        if self.has_none_waiting() {
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

    /// Takes out all that wait, and says which they are and whether they are stored; what is being
    /// tried goes its way.
    pub(crate) fn purge(&mut self, mut removed: impl FnMut(Lsn, bool)) {
        while let Some(letter) = self.pop() {
            self.refused -= u64::from(letter.past.obstacle == Obstacle::Refused);
            self.count -= 1;
            self.bytes = self.bytes.saturating_sub(letter.entry.bytes());
            removed(letter.entry.lsn(), letter.entry.stored());
        }
    }

    fn has_none_waiting(&self) -> bool {
        self.waiting.is_empty() && self.pages.is_empty()
    }

    /// Has the next try come as soon as can be: what stood in the way may be gone.
    pub(crate) fn retry_soon(&mut self) {
        if self.tried == 0 && !self.has_none_waiting() {
            self.retry = Retry { at: Some(Millis(0)), wait: WAIT_MIN };
        }
    }

    /// Takes the first letters out to be tried, if that is due. Each is kept again or released.
    pub(crate) fn take_due(&mut self, now: Millis) -> Vec<KeptLetter> {
        if self.retry.at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.retry.at = None;
        let (mut letters, mut bytes) = (Vec::new(), 0);
        while letters.len() < TRIED_AT_ONCE
            && (bytes < TRIED_BYTES || letters.len() < TRIED_LEAST)
            && let Some(letter) = self.pop()
        {
            bytes += letter.entry.bytes();
            letters.push(letter);
        }
        self.tried += letters.len() as u64;
        letters
    }
}

#[cfg(test)]
mod tests {
    use leveret_codec::Properties;
    use leveret_engine::{Body, Entry, MessageArena};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn entry(number: u64) -> Entry {
        let properties = Properties::default();
        let mut arena = MessageArena::new();
        let message = arena.message(Millis(0), "", "q", &properties, &[0, 0], Body::Copy(b"body"));
        let mut entry = Entry::new(Lsn(number), message);
        entry.stored = !number.is_multiple_of(30);
        entry
    }

    fn obstacle(is_refused: bool) -> Obstacle {
        if is_refused { Obstacle::Refused } else { Obstacle::NoRoute }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// So many messages die.
        Die {
            is_refused: bool,
            count: u64,
        },
        /// Memory is short, and this many died too late for it.
        PageOut {
            most: usize,
            late: u64,
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
            3 => (any::<bool>(), prop_oneof![3 => Just(1_u64), 1 => 1..300_u64])
                .prop_map(|(is_refused, count)| Step::Die { is_refused, count }),
            2 => (1..500_usize, 0..40_u64)
                .prop_map(|(most, late)| Step::PageOut { most, late }),
            2 => Just(Step::Try),
            3 => any::<bool>().prop_map(|is_refused| Step::Stay { is_refused }),
            3 => Just(Step::Go),
            1 => Just(Step::Purge),
        ]
    }

    /// Each time goes through all that wait.
    #[test]
    fn pages_are_not_looked_for_again_and_again() {
        let mut kept = KeptLetters::default();
        let mut keep = |number, taken_by: &[QueueId]| {
            let entry = PagedEntry::of(&entry(number), None);
            kept.keep(entry, Reason::Rejected, None, taken_by.into(), Obstacle::Refused);
            kept.pages.len()
        };
        // There is no page for every other one.
        for number in 0..4 * LOOSE as u64 {
            assert_eq!(keep(2 * number, &[]), 0);
            assert_eq!(keep(2 * number + 1, &[QueueId(1)]), 0);
        }
        let pages: Vec<usize> = (0..4 * PAGE).map(|number| keep(number, &[])).collect();
        assert!(*pages.last().unwrap() >= 2);
        let looked = pages.chunk_by(|one, next| one == next).count() - 1;
        assert!(looked <= 2, "{looked} times");
    }

    #[test]
    fn queues_that_have_a_letter_count_once_for_all_that_wait_with_it() {
        let mut kept = KeptLetters::default();
        let keep = |kept: &mut KeptLetters, number, past: Option<&Past>, queues: u64| {
            let before = kept.memory();
            let taken_by = (0..queues).map(QueueId).collect();
            kept.keep(entry(number), Reason::Rejected, past, taken_by, Obstacle::Refused);
            kept.memory() - before
        };
        let alone = keep(&mut kept, 1, None, 0);
        let list = 10_000 * size_of::<QueueId>() as u64;
        assert_eq!(keep(&mut kept, 2, None, 10_000), alone + list);
        assert_eq!(keep(&mut kept, 3, None, 10_000), alone);
        kept.schedule(Millis(0), false);
        let tried = kept.take_due(WAIT_MAX);
        assert_eq!((tried.len(), kept.memory()), (3, 0));
        // One more has the second by now.
        let added = tried.iter().zip([0, 10_001, 10_000]).map(|(letter, queues)| {
            keep(&mut kept, letter.entry.lsn().0, Some(&letter.past), queues)
        });
        let added: Vec<u64> = added.collect();
        let longer = list + size_of::<QueueId>() as u64;
        assert_eq!(added, [alone, alone + longer, alone + list]);
        kept.purge(|_, _| ());
        assert_eq!(kept.memory(), 0);
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
                    Step::Die { is_refused, count } => {
                        for _ in 0..count {
                            died += 1;
                            let none = Arc::default();
                            let entry = entry(died);
                            kept.keep(entry, Reason::Rejected, None, none, obstacle(is_refused));
                            kept.schedule(now, false);
                            model.push((died, is_refused));
                        }
                    }
                    Step::PageOut { most, late } => {
                        let (before, readable) = (kept.memory(), Lsn(died - died.min(late)));
                        let (paged, _) = kept.paged();
                        let gone = kept.page_out(readable, most);
                        prop_assert!(gone <= most as u64);
                        prop_assert!(kept.memory() + gone * 4 <= before);
                        prop_assert_eq!(kept.paged(), (paged + gone, 4 * (paged + gone)));
                    }
                    Step::Try => {
                        now = now.saturating_add(WAIT_MAX);
                        let due = kept.take_due(now);
                        if trying.is_empty() {
                            let taken: Vec<_> = due.iter().map(|one| one.entry.lsn().0).collect();
                            let all = model.iter().map(|(number, _)| *number).take(TRIED_AT_ONCE);
                            let all: Vec<_> = all.collect();
                            prop_assert_eq!(taken, all);
                        } else {
                            prop_assert!(due.is_empty(), "one try at a time");
                        }
                        trying.extend(due);
                    }
                    Step::Stay { is_refused } => {
                        let Some(one) = trying.pop_front() else { continue };
                        let KeptLetter { entry, reason, past } = one;
                        let line = model.iter_mut().find(|(number, _)| *number == entry.lsn().0);
                        line.unwrap().1 = is_refused;
                        let taken_by = Arc::clone(&past.taken_by);
                        kept.keep(entry, reason, Some(&past), taken_by, obstacle(is_refused));
                        kept.schedule(now, false);
                    }
                    Step::Go => {
                        let Some(KeptLetter { entry, past, .. }) = trying.pop_front() else {
                            continue;
                        };
                        kept.release(entry.bytes(), &past);
                        kept.schedule(now, true);
                        model.retain(|(number, _)| *number != entry.lsn().0);
                    }
                    Step::Purge => {
                        let is_tried = |number: u64| {
                            trying.iter().any(|one| one.entry.lsn().0 == number)
                        };
                        let mut purged = Vec::new();
                        kept.purge(|lsn, stored| {
                            assert_eq!(stored, !lsn.0.is_multiple_of(30));
                            purged.push(lsn.0);
                        });
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
