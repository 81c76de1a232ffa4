use std::collections::BTreeSet;

use leveret_codec::Method;

use crate::Answer;

/// The publishes of a channel in confirm mode that the broker has not answered for.
#[derive(Default, Debug)]
pub struct Unconfirmed {
    sent: u64,
    open: BTreeSet<u64>,
}

impl Unconfirmed {
    /// Counts a publish, and gives it the number the broker gives it: from one, per channel.
    pub fn add(&mut self) -> u64 {
        self.sent += 1;
        self.open.insert(self.sent);
        self.sent
    }

    /// Takes an answer of the broker and says which publishes it confirms.
    ///
    /// # Panics
    /// If it is no `basic.ack`, or confirms what is confirmed already or was never published.
    pub fn confirm(&mut self, answer: &Answer) -> BTreeSet<u64> {
        let Method::BasicAck(ack) = answer.method() else { panic!("no confirm: {answer}") };
        assert!(ack.delivery_tag <= self.sent, "{answer} confirms more than was published");
        let confirmed = if ack.multiple {
            let above = self.open.split_off(&(ack.delivery_tag + 1));
            std::mem::replace(&mut self.open, above)
        } else {
            self.open.take(&ack.delivery_tag).into_iter().collect()
        };
        assert!(!confirmed.is_empty(), "{answer} confirms nothing");
        confirmed
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether the broker has answered for all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
