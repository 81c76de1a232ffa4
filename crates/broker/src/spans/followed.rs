//! What is known of deliveries until they are settled, and of settlements until their message goes
//! on. The messages themselves may be on disk meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::HashMap;
use leveret_engine::{ConsumerId, QueueId};

use super::SpanMessage;

/// What is remembered at a time. Of more the oldest is forgotten: its settlement has no span.
const FOLLOWED_MAX: usize = 8192;

/// A delivery; also what was settled and is nobody's, its consumer `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) queue: QueueId,
    /// `None` for `basic.get`.
    pub(super) consumer: Option<ConsumerId>,
    pub(super) lsn: u64,
}

/// A delivery that is not settled.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) trace: u128,
    pub(super) span: u64,
    pub(super) message: Arc<SpanMessage>,
}

/// A settlement whose message goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) span: u64,
    pub(super) at: u64,
}

#[derive(Debug)]
enum State {
    Delivered(Delivered),
    Settled(Settled),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// With the number they were added under.
    all: HashMap<Key, (u64, State)>,
    /// In the order in which they were added, those included that are gone.
    order: VecDeque<(u64, Key)>,
    added: u64,
}

impl Followed {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn delivered(&mut self, key: Key, delivered: Delivered) {
        self.add(key, State::Delivered(delivered));
    }

    pub(super) fn settled(&mut self, key: Key, settled: Settled) {
        self.add(key, State::Settled(settled));
    }

    pub(super) fn take_delivered(&mut self, key: Key) -> Option<Delivered> {
        if !matches!(self.all.get(&key)?.1, State::Delivered(_)) {
            return None;
        }
        match self.all.remove(&key)?.1 {
            State::Delivered(delivered) => Some(delivered),
            State::Settled(_) => None,
        }
    }

    pub(super) fn take_settled(&mut self, key: Key) -> Option<Settled> {
        let State::Settled(settled) = self.all.get(&key)?.1 else { return None };
        self.all.remove(&key);
        Some(settled)
    }

    fn add(&mut self, key: Key, state: State) {
        self.added += 1;
        self.all.insert(key, (self.added, state));
        self.order.push_back((self.added, key));
        while self.all.len() > FOLLOWED_MAX
            && let Some((number, key)) = self.order.pop_front()
        {
            if self.all.get(&key).is_some_and(|(of, _)| *of == number) {
                self.all.remove(&key);
            }
        }
        if self.order.len() > 2 * FOLLOWED_MAX {
            let all = &self.all;
            self.order.retain(|(number, key)| all.get(key).is_some_and(|(of, _)| of == number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(lsn: u64) -> Key {
        Key { queue: QueueId(1), consumer: None, lsn }
    }

    fn settled(span: u64) -> Settled {
        Settled { span, at: 0 }
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let mut followed = Followed::default();
        let last = FOLLOWED_MAX as u64 + 10;
        (1..=last).for_each(|lsn| followed.settled(key(lsn), settled(lsn)));
        assert_eq!(followed.all.len(), FOLLOWED_MAX);
        assert_eq!(followed.take_settled(key(10)), None);
        assert_eq!(followed.take_settled(key(11)), Some(settled(11)));
        assert_eq!(followed.take_settled(key(last)), Some(settled(last)));
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing() {
        let mut followed = Followed::default();
        for lsn in 1..=10 * FOLLOWED_MAX as u64 {
            followed.settled(key(lsn), settled(lsn));
            assert_eq!(followed.take_settled(key(lsn)), Some(settled(lsn)));
        }
        assert!(followed.is_empty());
        assert!(followed.order.len() <= 2 * FOLLOWED_MAX);
    }
}
