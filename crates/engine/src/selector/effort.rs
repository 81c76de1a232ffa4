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

    /// Counts so many more. Answers false if there were more than may be: by how many is not counted.
    pub(super) fn compare(&self, bytes: usize) -> bool {
        let all = self.compared.get().saturating_add(bytes);
        self.compared.set(all.min(self.max.saturating_add(1)));
        !self.is_over()
    }

    /// Whether more were compared than may be.
    pub(crate) const fn is_over(&self) -> bool {
        self.compared.get() > self.max
    }
}
