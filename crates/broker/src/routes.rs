//! What a connection remembers of where its messages go.

use std::sync::Arc;

use ahash::HashMap;
use leveret_engine::ExchangeTraffic;

use crate::queue::SharedQueue;

/// The queues a message goes to.
pub(crate) type Routes = Arc<[Arc<SharedQueue>]>;

/// Entries kept before the cache starts over: a publisher uses few keys, or no two alike.
const CAPACITY: usize = 1024;
/// Queues that the entries have together before it does, unless a single one has more: each has its own list.
const QUEUES: usize = 16_384;

/// Remembers, per exchange and routing key, which queues a message goes to and that its sender may
/// publish there. Holds for one generation of the vhost's topology and of the permissions.
#[derive(Default)]
pub(crate) struct RouteCache {
    generations: (u64, u64),
    entries: HashMap<Box<[u8]>, Route>,
    /// The queues of all entries.
    queues: usize,
    /// Of exchanges, whether keys alone decide where messages go.
    by_keys: HashMap<Box<str>, bool>,
    /// The key looked for: the exchange behind its length, then the routing key.
    key: Vec<u8>,
    /// The key and routes of the last hit: publishers mostly repeat themselves.
    last_key: Vec<u8>,
    last: Option<Route>,
    /// The exchange of the message at hand, if it was not found here.
    uncached: Option<Arc<ExchangeTraffic>>,
    tally: Tally,
}

/// What is remembered of an exchange and a key.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) queues: Routes,
    traffic: Option<Arc<ExchangeTraffic>>,
}

/// What went through an exchange and is not yet added to its counters: those are everybody's.
#[derive(Default)]
struct Tally {
    traffic: Option<Arc<ExchangeTraffic>>,
    published_in: u64,
    published_out: u64,
}

impl Tally {
    fn count(&mut self, traffic: &Arc<ExchangeTraffic>, published_out: u64) {
        if !self.traffic.as_ref().is_some_and(|own| Arc::ptr_eq(own, traffic)) {
            self.settle();
            self.traffic = Some(Arc::clone(traffic));
        }
        self.published_in += 1;
        self.published_out += published_out;
    }

    fn settle(&mut self) {
        if let Some(traffic) = &self.traffic
            && self.published_in > 0
        {
            traffic.add(self.published_in, self.published_out);
            (self.published_in, self.published_out) = (0, 0);
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.settle();
    }
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
            self.start_over();
            self.by_keys.clear();
            self.last = None;
            return None;
        }
        self.set_key(exchange, routing_key);
        if let Some(last) = &self.last
            && self.last_key == self.key
        {
            self.uncached = None;
            return Some(Arc::clone(&last.queues));
        }
        let found = self.entries.get(self.key.as_slice())?;
        self.uncached = None;
        let queues = Arc::clone(&found.queues);
        self.last = Some(found.clone());
        self.last_key.clone_from(&self.key);
        Some(queues)
    }

    /// Whether routes from an exchange may be kept by their keys, which `look` finds out: it goes through all
    /// exchanges on the way, and keys may be new ones each time.
    pub(crate) fn may_keep(
        &mut self,
        generations: (u64, u64),
        exchange: &str,
        look: impl FnOnce() -> bool,
    ) -> bool {
        if self.generations != generations {
            return look();
        }
        if let Some(known) = self.by_keys.get(exchange) {
            return *known;
        }
        if self.by_keys.len() >= CAPACITY {
            self.by_keys.clear();
        }
        let found = look();
        self.by_keys.insert(exchange.into(), found);
        found
    }

    /// The message at hand is not found here; its exchange is this one.
    pub(crate) fn set_exchange(&mut self, traffic: Option<&Arc<ExchangeTraffic>>) {
        self.uncached = traffic.cloned();
    }

    /// Counts the message at hand, which goes to so many queues.
    pub(crate) fn count(&mut self, queues: usize) {
        let cached = || self.last.as_ref().and_then(|last| last.traffic.as_ref());
        if let Some(traffic) = self.uncached.as_ref().or_else(cached) {
            self.tally.count(traffic, queues as u64);
        }
    }

    /// The route of the message at hand, if it was found here, and what it holds for.
    pub(crate) fn last(&self) -> Option<((u64, u64), &Route)> {
        self.last.as_ref().map(|last| (self.generations, last))
    }

    /// Counts a message that takes a remembered route.
    pub(crate) fn count_in(&mut self, route: &Route) {
        if let Some(traffic) = &route.traffic {
            self.tally.count(traffic, route.queues.len() as u64);
        }
    }

    /// Adds what was counted to the exchanges' counters: once for many messages.
    pub(crate) fn settle_counts(&mut self) {
        self.tally.settle();
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
        if self.entries.len() >= CAPACITY || self.queues + routes.len() > QUEUES {
            self.start_over();
        }
        self.set_key(exchange, routing_key);
        let route = Route { queues: Arc::clone(routes), traffic: self.uncached.clone() };
        self.queues += routes.len();
        if let Some(before) = self.entries.insert(self.key.as_slice().into(), route) {
            self.queues -= before.queues.len();
        }
    }

    /// How many queues are remembered, one as often as it is.
    #[cfg(test)]
    pub(crate) const fn queues(&self) -> usize {
        self.queues
    }

    fn start_over(&mut self) {
        self.entries.clear();
        self.queues = 0;
    }

    fn set_key(&mut self, exchange: &str, routing_key: &str) {
        self.key.clear();
        // Names have at most 255 bytes.
        self.key.push(u8::try_from(exchange.len()).unwrap_or(u8::MAX));
        self.key.extend_from_slice(exchange.as_bytes());
        self.key.extend_from_slice(routing_key.as_bytes());
    }
}
