//! What comparing texts with patterns takes.

use std::cell::Cell;

/// Counts the bytes that the patterns of selectors are compared with for one message. A pattern with `%` can be made
/// to be tried at each byte of a text, so there is a bound.
#[derive(Debug)]
pub(crate) struct Effort {
    compared: Cell<usize>,
    max: usize,
}

impl Effort {
    pub(crate) const fn up_to(max: usize) -> Self {
        Self { compared: Cell::new(0), max }
    }

    /// How many bytes were compared. More than there may be say that what was found is not all.
    pub(crate) const fn compared(&self) -> usize {
        self.compared.get()
    }

    /// Counts one more. Answers false if there may be none.
    pub(super) fn compare(&self) -> bool {
        self.compared.set(self.compared.get().saturating_add(1));
        !self.is_over()
    }

    /// Whether more were compared than may be.
    pub(crate) const fn is_over(&self) -> bool {
        self.compared.get() > self.max
    }
}
