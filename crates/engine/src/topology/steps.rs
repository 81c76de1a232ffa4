//! What finding the queues of a message takes.

/// Bytes that are compared with a message's headers in about the time that other steps take.
const COMPARED_PER_STEP: usize = 256;

/// Counts steps on the way of a message: looks with one of its keys at an exchange, or at a node of a
/// topic exchange's patterns, more of them for a long one, or comparisons of its headers with bindings, or with
/// the name of one that an exchange looks for.
/// They can be made to be many more than there are bindings, and so have a bound.
#[derive(Debug, Default)]
pub(super) struct Steps {
    taken: usize,
    max: usize,
    /// What is looked at one by one, bindings, exchanges and queues, as many as there are: these have none.
    tried: usize,
    /// Bytes compared that make no step yet.
    compared: usize,
}

/// Finding the queues of a message takes more steps than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("routing takes more than {0} steps")]
pub struct TooManySteps(pub usize);

impl Steps {
    pub(super) const fn up_to(max: usize) -> Self {
        Self { taken: 0, max, tried: 0, compared: 0 }
    }

    /// All that was looked at.
    pub(super) const fn work(&self) -> usize {
        self.taken.saturating_add(self.tried)
    }

    /// How many bytes may be compared yet: with more the bound is met.
    pub(super) const fn comparable(&self) -> usize {
        let left = self.max.saturating_sub(self.taken).saturating_add(1);
        left.saturating_mul(COMPARED_PER_STEP).saturating_sub(1 + self.compared)
    }

    /// Counts bytes that are about to be compared with the message's headers.
    ///
    /// # Errors
    /// [`TooManySteps`] if they are too many together with what was done before.
    pub(super) const fn compare(&mut self, bytes: usize) -> Result<(), TooManySteps> {
        let compared = self.compared.saturating_add(bytes);
        self.compared = compared % COMPARED_PER_STEP;
        self.take(compared / COMPARED_PER_STEP)
    }

    /// Counts steps that are about to be taken.
    ///
    /// # Errors
    /// [`TooManySteps`] if they are too many together with those before.
    pub(super) const fn take(&mut self, steps: usize) -> Result<(), TooManySteps> {
        self.taken = self.taken.saturating_add(steps);
        if self.taken > self.max { Err(TooManySteps(self.max)) } else { Ok(()) }
    }

    /// Counts looks for a key, or a word of one, that are about to be taken: each goes through all of its bytes.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(super) const fn look(&mut self, looks: usize, text: &str) -> Result<(), TooManySteps> {
        self.take(looks.saturating_mul(1 + text.len() / COMPARED_PER_STEP))
    }

    /// Counts bindings, exchanges or queues that are looked at one by one.
    pub(super) const fn try_each(&mut self, number: usize) {
        self.tried = self.tried.saturating_add(number);
    }
}
