//! What a connection remembers of where its messages go.

use std::sync::Arc;

use ahash::HashMap;

use crate::queue::SharedQueue;

/// The queues a message goes to.
pub(crate) type Routes = Arc<[Arc<SharedQueue>]>;

/// Entries kept before the cache starts over: a publisher uses few keys, or no two alike.
const CAPACITY: usize = 1024;

/// Remembers, per exchange and routing key, which queues a message goes to and that its sender may
/// publish there. Holds for one generation of the vhost's topology and of the permissions.
#[derive(Default)]
pub(crate) struct RouteCache {
    generations: (u64, u64),
    entries: HashMap<Box<[u8]>, Routes>,
    /// The key looked for: the exchange behind its length, then the routing key.
    key: Vec<u8>,
    /// The key and routes of the last hit: publishers mostly repeat themselves.
    last_key: Vec<u8>,
    last: Option<Routes>,
}

impl RouteCache {
    pub(crate) fn find(
        &mut self,
        generations: (u64, u64),
        exchange: &str,
        routing_key: &str,
    ) -> Option<Routes> {
        if self.generations != generations {
            self.generations = generations;
            self.entries.clear();
            self.last = None;
            return None;
        }
        self.set_key(exchange, routing_key);
        if let Some(last) = &self.last
            && self.last_key == self.key
        {
            return Some(Arc::clone(last));
        }
        let found = self.entries.get(self.key.as_slice())?;
        self.last = Some(Arc::clone(found));
        self.last_key.clone_from(&self.key);
        Some(Arc::clone(found))
    }

    pub(crate) fn keep(
        &mut self,
        generations: (u64, u64),
        exchange: &str,
        routing_key: &str,
        routes: &Routes,
    ) {
        if self.generations != generations {
            return;
        }
        if self.entries.len() >= CAPACITY {
            self.entries.clear();
        }
        self.set_key(exchange, routing_key);
        self.entries.insert(self.key.as_slice().into(), Arc::clone(routes));
    }

    fn set_key(&mut self, exchange: &str, routing_key: &str) {
        self.key.clear();
        // Names have at most 255 bytes.
        self.key.push(u8::try_from(exchange.len()).unwrap_or(u8::MAX));
        self.key.extend_from_slice(exchange.as_bytes());
        self.key.extend_from_slice(routing_key.as_bytes());
    }
}
