//! Memory that connections may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all connections together may take of memory for one purpose.
///
/// Up to that nobody is asked how much of it is theirs. Beyond it each may take an even share, so that
/// who takes little is not kept from it by who takes much. Together that is at most twice the budget:
/// what was taken before it was exceeded, and everybody's share.
#[derive(Debug)]
pub struct Budget {
    max: AtomicU64,
    taken: AtomicU64,
    /// Those who have taken something.
    takers: AtomicU64,
}

/// What one of them takes; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    budget: Arc<Budget>,
    taken: u64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Self {
        Self { max: max.into(), taken: AtomicU64::new(0), takers: AtomicU64::new(0) }
    }

    /// The bytes taken at the moment.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// From now on there may be taken so many bytes.
    pub(crate) fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// How many bytes one may take, while all take more than they may.
    pub(crate) fn share(&self) -> Option<u64> {
        let max = self.max.load(Ordering::Relaxed);
        (self.taken() > max).then(|| max / self.takers.load(Ordering::Relaxed).max(1))
    }
}

impl Part {
    pub(crate) fn of(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), taken: 0 }
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// It takes so many bytes now.
    pub(crate) fn set(&mut self, bytes: u64) {
        let Budget { taken, takers, .. } = &*self.budget;
        match (self.taken, bytes) {
            (0, 1..) => takers.fetch_add(1, Ordering::Relaxed),
            (1.., 0) => takers.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        if bytes >= self.taken {
            taken.fetch_add(bytes - self.taken, Ordering::Relaxed);
        } else {
            taken.fetch_sub(self.taken - bytes, Ordering::Relaxed);
        }
        self.taken = bytes;
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
        modest.set(101);
        assert_eq!((budget.taken(), budget.share()), (1001, Some(500)));
        assert!(greedy.taken() > 500 && modest.taken() <= 500 && idle.taken() == 0);
        budget.set_max(2000);
        assert_eq!(budget.share(), None);
        budget.set_max(100);
        assert_eq!(budget.share(), Some(50));
        greedy.set(0);
        assert_eq!((budget.taken(), budget.share()), (101, Some(100)));
        drop(modest);
        assert_eq!((budget.taken(), budget.share()), (0, None));
    }
}
