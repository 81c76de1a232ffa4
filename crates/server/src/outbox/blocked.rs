//! Consumers that were passed over.

use std::sync::Arc;

use ahash::HashSet;
use leveret_broker::SharedQueue;
use leveret_engine::ConsumerId;

/// A consumer that was passed over, to be told when it can take deliveries again.
pub(crate) type Blocked = (Arc<SharedQueue>, ConsumerId);

/// Those that wait for the same, the one first that was passed over first.
#[derive(Default)]
pub(super) struct BlockedConsumers {
    waiting: Vec<Blocked>,
    /// Consumers that are gone, and are taken out together: one by one each would cost a look at all.
    gone: HashSet<ConsumerId>,
}

impl BlockedConsumers {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, consumer: Blocked) {
        self.waiting.push(consumer);
    }

    /// A consumer is gone, whether it waits or not.
    pub(super) fn remove(&mut self, consumer: ConsumerId) {
        if self.waiting.is_empty() {
            return;
        }
        self.gone.insert(consumer);
        if self.gone.len() >= self.waiting.len() / 2 {
            self.sweep();
        }
    }

    /// All that wait.
    pub(super) fn take(&mut self) -> Vec<Blocked> {
        self.sweep();
        std::mem::take(&mut self.waiting)
    }

    fn sweep(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        let gone = std::mem::take(&mut self.gone);
        self.waiting.retain(|(_, consumer)| !gone.contains(consumer));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::LazyLock;

    use leveret_broker::{Broker, BrokerOptions, DeclareQueue, Session};
    use leveret_codec::Table;
    use leveret_engine::Millis;
    use leveret_store::MemDisk;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    static QUEUE: LazyLock<Arc<SharedQueue>> = LazyLock::new(queue);

    fn queue() -> Arc<SharedQueue> {
        let disk = Arc::new(MemDisk::new());
        let broker = Broker::open(disk, Path::new("/"), &BrokerOptions::default()).unwrap();
        let user = broker.access().user("guest").unwrap();
        let mut session = Session::open(&broker, user, "/", "test".into(), None).unwrap();
        session.begin(Millis(0));
        let queue = DeclareQueue {
            name: "q",
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: Table::EMPTY,
        };
        session.declare_queue(queue).unwrap();
        broker.vhost("/").unwrap().queue("q").unwrap()
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// One is passed over.
        Push,
        /// The one goes that came so many ago, if it has not gone before.
        Remove(u64),
        Take,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            9 => Just(Step::Push),
            9 => (1..50_u64).prop_map(Step::Remove),
            1 => Just(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn who_is_gone_waits_no_longer(steps in vec(step(), 1..300)) {
            let mut blocked = BlockedConsumers::default();
            let (mut model, mut next) = (Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Push => {
                        blocked.push((Arc::clone(&QUEUE), ConsumerId(next)));
                        model.push(next);
                        next += 1;
                    }
                    Step::Remove(before) => {
                        let Some(gone) = next.checked_sub(before) else { continue };
                        blocked.remove(ConsumerId(gone));
                        model.retain(|id| *id != gone);
                    }
                    Step::Take => {
                        let taken = blocked.take();
                        let taken: Vec<u64> = taken.iter().map(|(_, consumer)| consumer.0).collect();
                        prop_assert_eq!(taken, std::mem::take(&mut model));
                    }
                }
                let most = 2 * model.len() + 1;
                prop_assert!(blocked.waiting.len() <= most, "{} of {}", blocked.waiting.len(), most);
                prop_assert!(blocked.gone.len() <= blocked.waiting.len());
            }
        }
    }
}
