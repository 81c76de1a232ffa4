//! What takes its time to read off the counters, and may be asked for as often as somebody likes.

use std::hash::Hash;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

use ahash::AHashMap;
use parking_lot::Mutex;

/// Makes one reading at a time, and half of the time none. Whoever asks meanwhile gets the next one of
/// what they ask for, with all others who ask for the same: nothing in it is older than their request.
pub(crate) struct SharedReadings<K, T> {
    /// What is asked for at the moment. Nobody holds a reading for those who may come.
    asked: Mutex<AHashMap<K, Weak<Shared<T>>>>,
    last: Mutex<Option<Span>>,
}

/// Where those meet who ask for the same.
type Shared<T> = Mutex<Option<Made<T>>>;

struct Made<T> {
    begun: Instant,
    reading: T,
}

/// How long the last one took, of whatever it was.
struct Span {
    begun: Instant,
    ended: Instant,
}

impl<K: Clone + Eq + Hash, T: Clone> SharedReadings<K, T> {
    /// What `read` reads, or has just read for somebody else who asks for the same. For a thread that
    /// serves nobody else.
    ///
    /// All that `read` tells has to follow from the key: it is told to everybody who has that.
    pub(crate) fn get(&self, key: &K, read: impl FnOnce() -> T) -> T {
        self.since(Instant::now(), key, read)
    }

    fn since(&self, asked: Instant, key: &K, read: impl FnOnce() -> T) -> T {
        let shared = self.of(key);
        let mut made = shared.lock();
        if let Some(made) = made.as_ref().filter(|made| made.begun >= asked) {
            return made.reading.clone();
        }
        let mut last = self.last.lock();
        if let Some(Span { begun, ended }) = *last {
            thread::sleep((ended - begun).saturating_sub(ended.elapsed()));
        }
        let begun = Instant::now();
        let reading = read();
        *last = Some(Span { begun, ended: Instant::now() });
        *made = Some(Made { begun, reading: reading.clone() });
        reading
    }

    /// What is shared of that.
    fn of(&self, key: &K) -> Arc<Shared<T>> {
        let mut asked = self.asked.lock();
        asked.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = asked.get(key).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Arc::default();
        asked.insert(key.clone(), Arc::downgrade(&shared));
        shared
    }
}

impl<K, T> Default for SharedReadings<K, T> {
    fn default() -> Self {
        Self { asked: Mutex::default(), last: Mutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn who_asks_while_one_is_made_shares_the_next_one() {
        let (shared, count) = (SharedReadings::default(), Cell::new(0));
        let since = |asked| {
            shared.since(asked, &(), || {
                count.set(count.get() + 1);
                count.get()
            })
        };
        // Somebody has one that was made, and waits for the next.
        let _waiting = shared.of(&());
        let first = Instant::now();
        assert_eq!(since(first), 1);
        let while_it_is_made = Instant::now();
        assert_eq!(since(first), 1);
        for _ in 0..16 {
            assert_eq!(since(while_it_is_made), 2);
        }
        assert_eq!(since(Instant::now()), 3);
    }

    #[test]
    fn who_asks_for_something_else_gets_that() {
        let shared = SharedReadings::default();
        let asked = Instant::now();
        let _waiting = (shared.of(&"a"), shared.of(&"b"));
        assert_eq!(shared.since(asked, &"a", || "of a"), "of a");
        assert_eq!(shared.since(asked, &"b", || "of b"), "of b");
        assert_eq!(shared.since(asked, &"a", || "of a again"), "of a");
    }

    #[test]
    fn one_is_made_at_a_time_whatever_it_is_of() {
        let (shared, at_work) = (SharedReadings::default(), Mutex::new(()));
        let together = Barrier::new(8);
        thread::scope(|scope| {
            for key in 0..8 {
                let (shared, at_work, together) = (&shared, &at_work, &together);
                scope.spawn(move || {
                    together.wait();
                    shared.get(&key, || {
                        let alone = at_work.try_lock();
                        thread::yield_now();
                        assert!(alone.is_some(), "another is being made");
                    });
                });
            }
        });
    }

    #[test]
    fn nothing_is_held_that_nobody_waits_for() {
        let shared = SharedReadings::default();
        let mut page = None;
        for key in 0..1000 {
            page = Some(shared.get(&key, || Arc::new(String::new())));
        }
        assert_eq!(page.map(|page| Arc::strong_count(&page)), Some(1));
        assert_eq!(shared.asked.lock().len(), 1);
    }
}
