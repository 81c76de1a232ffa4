//! Deliveries that wait too long for their settlement.
//!
//! A delivery bears no time of its own. Now and then it is noted which tag comes next; what was
//! given a lower tag is at least that old. A delivery is found overdue one interval late at most.

use std::collections::VecDeque;
use std::time::Duration;

/// How long a delivery may wait for its settlement, by who says so; no time at all is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AckTimeouts {
    /// The consumer itself (`x-consumer-timeout`).
    pub(crate) consumer: Option<Duration>,
    /// The node, where its queue says nothing.
    pub(crate) node: Option<Duration>,
}

impl AckTimeouts {
    /// What holds for deliveries of a queue that says this at the moment.
    pub(super) fn with(self, queue: Option<Duration>) -> Option<Duration> {
        self.consumer.or(queue).or(self.node).filter(|timeout| !timeout.is_zero())
    }
}

/// Notes kept. With more, every other one goes: deliveries are then found later, never earlier.
const MARKS_MAX: usize = 256;

/// Which tags had been given by when. Times count from any fixed moment.
#[derive(Default)]
pub(super) struct TagAges {
    /// A time and the tag that was next then, both ascending.
    marks: VecDeque<(Duration, u64)>,
}

impl TagAges {
    pub(super) fn note(&mut self, now: Duration, next_tag: u64) {
        if self.marks.back().is_some_and(|(_, tag)| *tag == next_tag) {
            return;
        }
        if self.marks.len() >= MARKS_MAX {
            let mut stays = true;
            self.marks.retain(|_| {
                stays = !stays;
                stays
            });
        }
        self.marks.push_back((now, next_tag));
    }

    /// Tags below this one are older than `age`.
    pub(super) fn older_than(&self, age: Duration, now: Duration) -> u64 {
        let Some(by) = now.checked_sub(age) else { return 0 };
        let later = self.marks.partition_point(|(at, _)| *at <= by);
        later.checked_sub(1).and_then(|last| self.marks.get(last)).map_or(0, |(_, tag)| *tag)
    }

    /// Forgets what only matters to ages over `age`.
    pub(super) fn trim(&mut self, age: Duration, now: Duration) {
        while let Some((at, _)) = self.marks.get(1)
            && *at + age <= now
        {
            self.marks.pop_front();
        }
    }

    /// How old a tag is at least; zero if nothing was noted since it was given.
    pub(super) fn age_of(&self, tag: u64, now: Duration) -> Duration {
        let earlier = self.marks.partition_point(|(_, next)| *next <= tag);
        let noted = self.marks.get(earlier);
        noted.map_or(Duration::ZERO, |(at, _)| now.saturating_sub(*at))
    }

    /// Forgets what only matters to tags before this one.
    pub(super) fn forget_before(&mut self, tag: u64) {
        while self.marks.front().is_some_and(|(_, next)| *next <= tag) {
            self.marks.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.marks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn tags_grow_old() {
        let mut ages = TagAges::default();
        ages.note(at(10), 5);
        ages.note(at(20), 5);
        ages.note(at(30), 9);
        assert_eq!(ages.older_than(at(20), at(29)), 0);
        assert_eq!(ages.older_than(at(20), at(30)), 5);
        assert_eq!(ages.older_than(at(20), at(49)), 5);
        assert_eq!(ages.older_than(at(20), at(50)), 9);
        assert_eq!(ages.older_than(at(100), at(50)), 0);
        ages.trim(at(20), at(50));
        assert_eq!(ages.marks.len(), 1);
        assert_eq!(ages.older_than(at(20), at(50)), 9);
    }

    #[test]
    fn a_tag_is_as_old_as_the_first_note_of_it() {
        let mut ages = TagAges::default();
        assert_eq!(ages.age_of(1, at(5)), at(0));
        ages.note(at(10), 5);
        ages.note(at(20), 5);
        ages.note(at(30), 9);
        assert_eq!(
            [1, 4, 5, 8, 9].map(|tag| ages.age_of(tag, at(40))),
            [30, 30, 10, 10, 0].map(at)
        );
        ages.forget_before(4);
        assert_eq!(ages.age_of(4, at(40)), at(30));
        ages.forget_before(5);
        assert_eq!((ages.marks.len(), ages.age_of(5, at(40))), (1, at(10)));
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut ages = TagAges::default();
        for number in 0..10_000 {
            ages.note(at(number), number + 1);
            // Never early, however much was forgotten.
            let older = ages.older_than(at(100), at(number));
            assert!(older <= (number + 1).saturating_sub(100), "{older} at {number}");
        }
        assert!(ages.marks.len() <= MARKS_MAX);
        assert!(ages.older_than(at(100), at(10_000)) > 9_000);
    }
}
