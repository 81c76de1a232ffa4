//! Messages that have begun to come and are not whole: what they may take of memory.
//!
//! A client may begin one on each of its channels, send nearly all of it and leave it at that.
//! RabbitMQ has no bound for this but the size of a message.

use std::sync::Arc;

use leveret_broker::refusal;
use leveret_codec::AmqpError;

use crate::budget::{Budget, Part};

/// Those of a connection: headers and bodies, as far as they have come.
#[derive(Debug)]
pub(crate) struct Unfinished {
    part: Part,
    max: u64,
}

impl Unfinished {
    /// Up to `max` bytes, as long as the budget is not exceeded.
    pub(crate) fn new(budget: &Arc<Budget>, max: u64) -> Self {
        Self { part: Part::of(budget), max }
    }

    /// More of a message has come: it took `before`, and takes `now`.
    ///
    /// # Errors
    /// 506 when that is more than the connection may have unfinished. By its own limit one message is
    /// never too much: it has a limit of its own.
    pub(crate) fn grow(&mut self, before: u64, now: u64) -> Result<(), AmqpError> {
        self.change(before, now);
        let bytes = self.part.taken();
        if bytes > self.max && bytes > now {
            return Err(refusal::unfinished_messages(self.max));
        }
        self.check_share()
    }

    /// Whether it may keep what it has, while all have more than they may.
    ///
    /// # Errors
    /// 506 when that is more than its share.
    pub(crate) fn check_share(&self) -> Result<(), AmqpError> {
        if self.part.is_within_share() { Ok(()) } else { Err(refusal::unfinished_share()) }
    }

    /// A message that took so much is whole, or will never be.
    pub(crate) fn end(&mut self, before: u64) {
        self.change(before, 0);
    }

    fn change(&mut self, before: u64, now: u64) {
        if before != now {
            self.part.set(self.part.taken().saturating_sub(before) + now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result<(), AmqpError>) -> String {
        result.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn several_messages_have_a_limit_together_and_one_has_none() {
        let mut one = Unfinished::new(&Arc::new(Budget::new(u64::MAX)), 100);
        assert_eq!(text(one.grow(0, 5000)), "fine");
        one.end(5000);
        assert_eq!(text(one.grow(0, 60)), "fine");
        assert_eq!(text(one.grow(0, 40)), "fine");
        assert_eq!(
            text(one.grow(40, 41)),
            "RESOURCE_ERROR - messages that are not complete take more than 100 bytes of this \
             connection (amqp.unfinished_messages_max)"
        );
        one.end(60);
        assert_eq!(text(one.grow(41, 100)), "fine");
    }

    #[test]
    fn beyond_what_all_may_have_who_has_more_than_a_share_is_refused() {
        let refused = "RESOURCE_ERROR - messages that are not complete take more of this connection than \
                       its share of amqp.unfinished_messages_max_per_node";
        let budget = Arc::new(Budget::new(100));
        let [mut greedy, mut modest] = [(); 2].map(|()| Unfinished::new(&budget, 1000));
        assert_eq!(text(greedy.grow(0, 90)), "fine");
        assert_eq!(text(modest.grow(0, 30)), "fine");
        assert_eq!(text(greedy.check_share()), refused);
        assert_eq!(text(greedy.grow(90, 91)), refused);
        assert_eq!(text(modest.check_share()), "fine");
        assert_eq!(text(modest.grow(30, 50)), refused);
        drop(greedy);
        assert_eq!(text(modest.grow(50, 100)), "fine");
        assert_eq!(budget.taken(), 100);
    }
}
