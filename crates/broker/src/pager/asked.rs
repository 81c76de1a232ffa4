//! Who can be asked to page messages out.

use std::collections::VecDeque;
use std::sync::Weak;

use crate::held_memory::Holder;
use crate::queue::SharedQueue;

/// One who holds messages, or did.
pub(super) enum Holding {
    /// The ready ones of a queue.
    Queue(Weak<SharedQueue>),
    /// Deliveries.
    Client(Weak<dyn Holder>),
}

/// Those who hold messages, in the order in which they are asked; each once.
///
/// Nobody leaves before being asked, which may be never. So those that are gone are taken out when there have
/// come as many as there were.
#[derive(Default)]
pub(super) struct Asked {
    line: VecDeque<Holding>,
    /// How many there were when those that are gone were taken out last.
    were: usize,
}

/// So many are never looked through.
const FEW: usize = 1024;

impl Holding {
    fn is_there(&self) -> bool {
        match self {
            Self::Queue(queue) => queue.strong_count() > 0,
            Self::Client(client) => client.strong_count() > 0,
        }
    }
}

impl Asked {
    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    /// Behind all others.
    pub(super) fn push(&mut self, holding: Holding) {
        if self.line.len() >= (2 * self.were).max(FEW) {
            self.line.retain(Holding::is_there);
            self.were = self.line.len();
            self.line.shrink_to(2 * self.were);
        }
        self.line.push_back(holding);
    }

    pub(super) fn pop(&mut self) -> Option<Holding> {
        self.line.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use leveret_store::{Lsn, Store};

    use super::*;

    struct Client;

    impl Holder for Client {
        fn page_out(&self, _: Lsn, _: usize) -> bool {
            false
        }

        fn spill(&self, _: &Store, _: u64) -> io::Result<bool> {
            Ok(false)
        }

        fn hold_on(&self) {}
    }

    fn asked(client: &Arc<Client>) -> Holding {
        let client: Arc<dyn Holder> = Arc::<Client>::clone(client);
        Holding::Client(Arc::downgrade(&client))
    }

    #[test]
    fn those_that_are_gone_do_not_pile_up() {
        let mut line = Asked::default();
        let there: Vec<_> = (0..3000).map(|_| Arc::new(Client)).collect();
        for client in &there {
            line.push(asked(client));
            for _ in 0..100 {
                line.push(asked(&Arc::new(Client)));
                line.push(Holding::Queue(Weak::new()));
            }
        }
        assert!(line.len() <= 2 * there.len(), "{}", line.len());
        drop(there);
        for _ in 0..10_000 {
            line.push(asked(&Arc::new(Client)));
        }
        assert!(line.len() <= FEW && line.line.capacity() <= 4 * FEW, "{}", line.len());
    }

    #[test]
    fn those_that_are_there_are_asked_in_their_order() {
        let mut line = Asked::default();
        let there: Vec<_> = (0..3000).map(|_| Arc::new(Client)).collect();
        for client in &there {
            line.push(asked(client));
            line.push(Holding::Queue(Weak::new()));
        }
        let mut order = there.iter();
        while let Some(holding) = line.pop() {
            let Holding::Client(client) = holding else { continue };
            let client = client.upgrade().unwrap();
            let expected: Arc<dyn Holder> = Arc::<Client>::clone(order.next().unwrap());
            assert!(Arc::ptr_eq(&client, &expected));
        }
        assert!(order.next().is_none());
    }
}
