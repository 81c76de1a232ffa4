//! What finding the queues of a message takes.

/// Counts steps on the way of a message: looks with one of its keys at an exchange, or at a node of a
/// topic exchange's patterns, or at a stretch of a text that a selector's pattern is compared with. They can be made to be many more than there are bindings, and so
/// have a bound.
#[derive(Debug, Default)]
pub(super) struct Steps {
    taken: usize,
    max: usize,
    /// Bindings tried one by one, as many as there are for each exchange: these have none.
    tried: usize,
}

/// Finding the queues of a message takes more steps than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("routing takes more than {0} steps")]
pub struct TooManySteps(pub usize);

impl Steps {
    pub(super) const fn up_to(max: usize) -> Self {
        Self { taken: 0, max, tried: 0 }
    }

    /// All that was looked at.
    pub(super) const fn work(&self) -> usize {
        self.taken.saturating_add(self.tried)
    }

    /// How many may be taken yet.
    pub(super) const fn left(&self) -> usize {
        self.max.saturating_sub(self.taken)
    }

    /// Counts steps that are about to be taken.
    ///
    /// # Errors
    /// [`TooManySteps`] if they are too many together with those before.
    pub(super) const fn take(&mut self, steps: usize) -> Result<(), TooManySteps> {
        self.taken = self.taken.saturating_add(steps);
        if self.taken > self.max { Err(TooManySteps(self.max)) } else { Ok(()) }
    }

    /// Counts bindings that are about to be tried.
    pub(super) const fn try_each(&mut self, bindings: usize) {
        self.tried = self.tried.saturating_add(bindings);
    }
}
