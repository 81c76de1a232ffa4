//! Memory that connections may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What all connections together may take of memory for one purpose.
///
/// Up to that nobody is asked how much of it is theirs. Beyond it each may take an even share of what
/// is left up to twice the budget, which is all that is ever taken: so who takes little is not kept
/// from it by who takes much. Those who all want more than they may have share the budget evenly.
#[derive(Debug)]
pub struct Budget {
    max: AtomicU64,
    taken: AtomicU64,
    /// Those who have taken something.
    takers: AtomicU64,
    is_exceeded: Apart,
}

/// Asked for each message, while what is beside it changes all the time: in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(AtomicBool);

/// What one of them takes; given back when it is dropped.
#[derive(Debug)]
pub struct Part {
    budget: Arc<Budget>,
    taken: u64,
}

impl Budget {
    /// So many bytes may be taken before each may take an even share only.
    pub fn new(max: u64) -> Self {
        Self {
            max: max.into(),
            taken: AtomicU64::new(0),
            takers: AtomicU64::new(0),
            is_exceeded: Apart::default(),
        }
    }

    /// The bytes taken at the moment.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many may be taken before each may take an even share only: all that one alone may take.
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// From now on there may be taken so many bytes.
    pub(crate) fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
        self.look(self.taken());
    }

    /// So many bytes are taken: notes whether that is too much.
    fn look(&self, mut taken: u64) {
        let Apart(is_exceeded) = &self.is_exceeded;
        let max = self.max.load(Ordering::Relaxed);
        // Of two at once the later one may know less; whoever has changed it looks again.
        while is_exceeded.load(Ordering::SeqCst) != (taken > max) {
            is_exceeded.store(taken > max, Ordering::SeqCst);
            taken = self.taken.load(Ordering::SeqCst);
        }
    }

    /// How many bytes one may take, while all take more than they may.
    pub(crate) fn share(&self) -> Option<u64> {
        let Apart(is_exceeded) = &self.is_exceeded;
        if !is_exceeded.load(Ordering::Relaxed) {
            return None;
        }
        let most = self.max.load(Ordering::Relaxed).saturating_mul(2);
        Some(most.saturating_sub(self.taken()) / self.takers.load(Ordering::Relaxed).max(1))
    }
}

impl Part {
    /// Nothing yet.
    pub fn of(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), taken: 0 }
    }

    /// What it is a part of.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Whether it may keep what it takes, while all take more than they may.
    pub fn is_within_share(&self) -> bool {
        self.budget.share().is_none_or(|share| self.taken <= share)
    }

    /// Whether nobody else takes anything.
    pub fn is_alone(&self) -> bool {
        self.budget.taken() <= self.taken
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// It takes so many bytes now.
    pub fn set(&mut self, bytes: u64) {
        let Budget { taken, takers, .. } = &*self.budget;
        match (self.taken, bytes) {
            (0, 1..) => takers.fetch_add(1, Ordering::Relaxed),
            (1.., 0) => takers.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        let all = if bytes >= self.taken {
            let more = bytes - self.taken;
            taken.fetch_add(more, Ordering::SeqCst) + more
        } else {
            let less = self.taken - bytes;
            taken.fetch_sub(less, Ordering::SeqCst) - less
        };
        self.taken = bytes;
        self.budget.look(all);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_budget_each_has_an_even_share() {
        let budget = Arc::new(Budget::new(1000));
        let [mut greedy, mut modest, idle] = [(); 3].map(|()| Part::of(&budget));
        greedy.set(900);
        modest.set(100);
        assert_eq!((budget.taken(), budget.share()), (1000, None));
        modest.set(200);
        assert_eq!((budget.taken(), budget.share()), (1100, Some(450)));
        assert!(greedy.taken() > 450 && modest.taken() <= 450 && idle.taken() == 0);
        budget.set_max(2000);
        assert_eq!(budget.share(), None);
        budget.set_max(600);
        assert_eq!(budget.share(), Some(50));
        greedy.set(0);
        assert_eq!((budget.taken(), budget.share()), (200, None));
        drop(modest);
        assert_eq!((budget.taken(), budget.share()), (0, None));
    }

    /// Also when they come one after the other, and each takes what it may then and keeps it.
    #[test]
    fn no_more_than_twice_the_budget_is_taken() {
        let budget = Arc::new(Budget::new(1000));
        let mut parts: Vec<Part> = Vec::new();
        for _ in 0..1000 {
            let mut part = Part::of(&budget);
            while budget.share().is_none_or(|share| part.taken() < share) {
                part.set(part.taken() + 1);
            }
            parts.push(part);
        }
        assert!((1900..=2000).contains(&budget.taken()), "{}", budget.taken());
        drop(parts);
        assert_eq!((budget.taken(), budget.share()), (0, None));
    }

    #[test]
    fn those_who_all_want_more_share_it_evenly() {
        let budget = Arc::new(Budget::new(1000));
        let mut parts = [(); 10].map(|()| Part::of(&budget));
        for _ in 0..1000 {
            for part in &mut parts {
                let may = budget.share().is_none_or(|share| part.taken() < share);
                part.set(if may { part.taken() + 1 } else { part.taken() - 1 });
            }
        }
        assert!(parts.iter().all(|part| part.taken().abs_diff(100) <= 2), "{parts:?}");
    }

    /// Whoever goes over the line last, it is known on which side of it they are.
    #[test]
    fn many_at_once_agree_whether_it_is_exceeded() {
        let budget = Arc::new(Budget::new(1000));
        for _ in 0..50 {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut part = Part::of(&budget);
                        for round in 0..1000 {
                            part.set(if round % 2 == 0 { 300 } else { 200 });
                        }
                    });
                }
            });
            assert_eq!((budget.taken(), budget.share()), (0, None));
        }
        let _part = {
            let mut part = Part::of(&budget);
            part.set(1001);
            part
        };
        assert_eq!(budget.share(), Some(999));
    }
}
