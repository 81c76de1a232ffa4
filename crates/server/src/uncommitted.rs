//! What transactions hold until they are committed: what it may take of memory.
//!
//! A client may publish without end and never commit, and what it has acknowledged can't leave memory
//! as other deliveries do. RabbitMQ has no bound for this but the memory alarm.

use std::sync::Arc;

use leveret_broker::refusal;
use leveret_codec::AmqpError;

use crate::budget::{Budget, Part};

/// What a connection's transactions hold: messages, and deliveries with their settlements.
#[derive(Debug)]
pub(crate) struct Uncommitted {
    part: Part,
    max: u64,
}

impl Uncommitted {
    /// Up to `max` bytes, as long as the budget is not exceeded.
    pub(crate) fn new(budget: &Arc<Budget>, max: u64) -> Self {
        Self { part: Part::of(budget), max }
    }

    /// A transaction has taken one thing more, of so many bytes.
    ///
    /// # Errors
    /// 506 when that is more than the connection may have uncommitted. By its own limit one thing is
    /// never too much: a message has a limit of its own.
    pub(crate) fn grow(&mut self, more: u64) -> Result<(), AmqpError> {
        let bytes = self.part.taken() + more;
        self.part.set(bytes);
        if bytes > self.max && bytes > more {
            return Err(refusal::uncommitted(self.max));
        }
        self.check_share()
    }

    /// Whether it may keep what it has, while all have more than they may.
    ///
    /// # Errors
    /// 506 when that is more than its share.
    pub(crate) fn check_share(&self) -> Result<(), AmqpError> {
        match self.part.budget().share() {
            Some(share) if self.part.taken() > share => Err(refusal::uncommitted_share()),
            _ => Ok(()),
        }
    }

    /// A transaction that held so much is committed, or will never be.
    pub(crate) fn end(&mut self, held: u64) {
        self.part.set(self.part.taken().saturating_sub(held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result<(), AmqpError>) -> String {
        result.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn several_things_have_a_limit_together_and_one_has_none() {
        let budget = Arc::new(Budget::new(u64::MAX));
        let mut one = Uncommitted::new(&budget, 100);
        assert_eq!(text(one.grow(5000)), "fine");
        one.end(5000);
        assert_eq!(text(one.grow(60)), "fine");
        assert_eq!(text(one.grow(40)), "fine");
        let refused = "RESOURCE_ERROR - transactions that are not committed take more than 100 bytes of \
                       this connection (amqp.uncommitted_max)";
        assert_eq!(text(one.grow(1)), refused);
        one.end(60);
        assert_eq!(text(one.grow(59)), "fine");
        drop(one);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn beyond_what_all_may_have_who_has_more_than_a_share_is_refused() {
        let refused = "RESOURCE_ERROR - transactions that are not committed take more of this connection \
                       than its share of amqp.uncommitted_max_per_node";
        let budget = Arc::new(Budget::new(100));
        let [mut greedy, mut modest] = [(); 2].map(|()| Uncommitted::new(&budget, 1000));
        assert_eq!(text(greedy.grow(90)), "fine");
        assert_eq!(text(modest.grow(30)), "fine");
        assert_eq!(text(greedy.check_share()), refused);
        assert_eq!(text(greedy.grow(1)), refused);
        assert_eq!(text(modest.check_share()), "fine");
        drop(greedy);
        assert_eq!(text(modest.grow(70)), "fine");
        assert_eq!(budget.taken(), 100);
    }
}
