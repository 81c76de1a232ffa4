//! A virtual host: its exchanges, bindings and queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::HashMap;
use leveret_codec::{AmqpError, TableBuf};
use leveret_engine::{
    Deduplication, Exchange, ExchangeKind, ExchangeSpec, Millis, QueueId, Removed, Routable,
    RouteSet, TooManySteps, Topology,
};
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use crate::connections::{ChannelTotals, PastChannels};
use crate::firehose::{TRACE_EXCHANGE, Tracing};
use crate::limits::VhostLimits;
use crate::policy::{ALTERNATE_EXCHANGE, AppliedPolicies, PolicySet};
use crate::queue::SharedQueue;
use crate::refusal;
use crate::remembered::{RememberedMemory, Rememberer};
use crate::spans::Spans;
use crate::tail::ExchangeTails;
use crate::vhost_metadata::VhostMetadata;

/// Exchanges every vhost has from the start, besides the default exchange.
/// (name, kind, internal)
const PREDECLARED: [(&str, ExchangeKind, bool); 6] = [
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.topic", ExchangeKind::Topic, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    (TRACE_EXCHANGE, ExchangeKind::Topic, true),
];

/// A virtual host, shared by its connections.
pub struct Vhost {
    name: Arc<str>,
    generation: AtomicU64,
    pub(crate) metadata: RwLock<VhostMetadata>,
    pub(crate) limits: RwLock<VhostLimits>,
    /// Held by whoever changes policies, until all queues know of it. Taken before the directory.
    pub(crate) policy_changes: Mutex<()>,
    pub(crate) past_channels: PastChannels,
    pub(crate) tracing: Tracing,
    pub(crate) exchange_tails: ExchangeTails,
    pub(crate) directory: RwLock<Directory>,
}

/// Everything in a vhost that has a name.
pub(crate) struct Directory {
    pub(crate) topology: Topology,
    pub(crate) policies: Arc<PolicySet>,
    /// The vhost is gone: nothing may be added.
    is_deleted: bool,
    queues: HashMap<QueueId, Arc<SharedQueue>>,
    /// Queues that keep messages for exchanges, named for them. No client sees them.
    keepers: HashMap<QueueId, Arc<SharedQueue>>,
    /// Their identities, by the names of their exchanges.
    keeper_ids: HashMap<Arc<str>, QueueId>,
    /// What exchanges have seen, by their names. A leaf among the locks.
    seen: Mutex<HashMap<Arc<str>, Rememberer>>,
    /// What that takes.
    pub(crate) remembered: Arc<RememberedMemory>,
}

/// What was in a vhost that is deleted.
pub(crate) struct Emptied {
    pub(crate) topology: Topology,
    pub(crate) policies: Arc<PolicySet>,
    pub(crate) queues: HashMap<QueueId, Arc<SharedQueue>>,
    pub(crate) keepers: HashMap<QueueId, Arc<SharedQueue>>,
}

impl Vhost {
    pub(crate) fn new(name: Arc<str>) -> Self {
        let mut topology = Topology::new();
        for (name, kind, internal) in PREDECLARED {
            topology.add_exchange(ExchangeSpec {
                name: name.into(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: TableBuf::default(),
            });
        }
        Self {
            name,
            generation: AtomicU64::new(0),
            metadata: RwLock::default(),
            limits: RwLock::default(),
            policy_changes: Mutex::default(),
            past_channels: PastChannels::default(),
            tracing: Tracing::default(),
            exchange_tails: ExchangeTails::default(),
            directory: RwLock::new(Directory {
                topology,
                policies: Arc::default(),
                is_deleted: false,
                queues: HashMap::default(),
                keepers: HashMap::default(),
                keeper_ids: HashMap::default(),
                seen: Mutex::default(),
                remembered: Arc::default(),
            }),
        }
    }

    /// Whether every vhost has an exchange of this name from the start.
    pub fn has_from_the_start(exchange: &str) -> bool {
        PREDECLARED.iter().any(|(name, ..)| *name == exchange)
    }

    /// The vhost's name, e.g. `/`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it may hold.
    pub fn limits(&self) -> VhostLimits {
        *self.limits.read()
    }

    /// What is said about it.
    pub fn metadata(&self) -> VhostMetadata {
        self.metadata.read().clone()
    }

    /// What channels that are closed by now have counted in it.
    pub fn past_channels(&self) -> ChannelTotals {
        self.past_channels.read()
    }

    /// Whether what goes through it is published once more, to `amq.rabbitmq.trace`.
    pub fn is_traced(&self) -> bool {
        self.tracing.is_on()
    }

    /// What follows single messages of it, if something does.
    pub(crate) fn spans(&self) -> Option<&Arc<Spans>> {
        self.tracing.spans()
    }

    /// See [`is_traced`](Self::is_traced). Until the broker stops.
    pub(crate) fn trace(&self, is_traced: bool) {
        let doing = if is_traced { "enabling" } else { "disabling" };
        tracing::info!("{doing} tracing for vhost '{}'", self.name);
        self.tracing.set(is_traced);
        // Routes are found anew, and nothing is published without a look at it.
        self.changed();
    }

    /// Reads its exchanges and bindings, which don't change meanwhile: nothing else of the broker
    /// may be called from within.
    pub fn topology<R>(&self, read: impl FnOnce(&Topology) -> R) -> R {
        read(&self.directory.read().topology)
    }

    /// All queues, in no order.
    pub fn queues(&self) -> Vec<Arc<SharedQueue>> {
        self.directory.read().all_queues()
    }

    /// The directory, to add something to it.
    ///
    /// # Errors
    /// 530 when the vhost has been deleted under its connections.
    pub(crate) fn directory_mut(&self) -> Result<RwLockWriteGuard<'_, Directory>, AmqpError> {
        let directory = self.directory.write();
        if directory.is_deleted {
            return Err(refusal::vhost_not_found(&self.name));
        }
        Ok(directory)
    }

    /// The same, and what `find` makes of its policies. That is found before anybody has to wait for the
    /// directory, as expressions may take their time, and again if the policies have changed meanwhile.
    ///
    /// # Errors
    /// As [`directory_mut`](Self::directory_mut).
    pub(crate) fn directory_and<R>(
        &self,
        find: impl Fn(&PolicySet) -> R,
    ) -> Result<(RwLockWriteGuard<'_, Directory>, R), AmqpError> {
        let policies = Arc::clone(&self.directory.read().policies);
        let found = find(&policies);
        let directory = self.directory_mut()?;
        let found = match Arc::ptr_eq(&policies, &directory.policies) {
            true => found,
            false => find(&directory.policies),
        };
        Ok((directory, found))
    }

    /// Counts changes of exchanges, bindings and queues: a route found at one generation holds
    /// until the next.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Called after each change and before its `-ok`.
    pub(crate) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The queue of this name.
    pub fn queue(&self, name: &str) -> Option<Arc<SharedQueue>> {
        self.directory.read().queue(name).cloned()
    }

    /// Names of all queues, in no order.
    pub fn queue_names(&self) -> Vec<Arc<str>> {
        self.directory.read().queues.values().map(|queue| Arc::clone(&queue.name)).collect()
    }
}

impl Directory {
    pub(crate) fn queue(&self, name: &str) -> Option<&Arc<SharedQueue>> {
        self.topology.queue(name).and_then(|id| self.queues.get(&id))
    }

    pub(crate) fn queue_by_id(&self, id: QueueId) -> Option<&Arc<SharedQueue>> {
        self.queues.get(&id).or_else(|| self.keepers.get(&id))
    }

    /// Adds an exchange, which has these policies, with the queue that keeps messages for it if it is of a kind
    /// that does.
    pub(crate) fn insert_exchange(
        &mut self,
        spec: ExchangeSpec,
        keeper: Option<Arc<SharedQueue>>,
        policies: &AppliedPolicies,
    ) {
        let name = Arc::clone(&spec.name);
        self.topology.add_exchange(spec);
        self.apply_to_exchange(&name, policies);
        if let Some(keeper) = keeper {
            self.topology.set_keeper(&name, keeper.id);
            self.keeper_ids.insert(name, keeper.id);
            self.keepers.insert(keeper.id, keeper);
        }
    }

    /// Names of all exchanges, in no order.
    pub(crate) fn exchange_names(&self) -> Vec<Arc<str>> {
        self.topology.exchanges().map(|exchange| Arc::clone(&exchange.spec().name)).collect()
    }

    /// Brings all exchanges in line with the policies, which are `known` of some of them. Whether anything has
    /// changed.
    pub(crate) fn apply_policies_to_exchanges(
        &mut self,
        known: &HashMap<Arc<str>, AppliedPolicies>,
    ) -> bool {
        let mut changed = false;
        for name in self.exchange_names() {
            changed |= match known.get(&name) {
                Some(policies) => self.apply_to_exchange(&name, policies),
                None => self.apply_to_exchange(&name, &self.policies.of_exchange(&name)),
            };
        }
        changed
    }

    /// An exchange that was declared with an alternate keeps it; another one has its policy's.
    fn apply_to_exchange(&mut self, name: &str, policies: &AppliedPolicies) -> bool {
        let Some(exchange) = self.topology.exchange(name) else { return false };
        if exchange.spec().arguments.as_table().get(ALTERNATE_EXCHANGE).is_some() {
            return false;
        }
        let alternate = policies.text(ALTERNATE_EXCHANGE);
        if exchange.alternate() == alternate {
            return false;
        }
        self.topology.set_alternate(name, alternate.map(Arc::from));
        true
    }

    /// Finds the queues of a message; see [`Topology::route_new`].
    pub(crate) fn route(
        &self,
        exchange: &str,
        message: Routable<'_>,
        now: Millis,
        routes: &mut RouteSet,
    ) -> Result<(), TooManySteps> {
        self.route_onward(exchange, None, message, now, routes)
    }

    /// As [`route`](Self::route), for a message that has been at the exchange `known` before.
    pub(crate) fn route_onward(
        &self,
        exchange: &str,
        known: Option<&str>,
        message: Routable<'_>,
        now: Millis,
        routes: &mut RouteSet,
    ) -> Result<(), TooManySteps> {
        let is_new = |exchange: &Exchange, settings: &Deduplication| {
            if known == Some(exchange.name()) {
                return true;
            }
            let mut seen = self.seen.lock();
            let seen = seen
                .entry(Arc::clone(&exchange.spec().name))
                .or_insert_with(|| Rememberer::new(settings.clone(), &self.remembered));
            seen.admits(message.properties, now)
        };
        self.topology.route_new(exchange, message, is_new, routes)
    }

    /// Takes away what kept messages for removed exchanges; what that was.
    pub(crate) fn remove_keepers(&mut self, removed: &[Removed]) -> Vec<u64> {
        let mut gone = Vec::new();
        for removed in removed {
            let Removed::Exchange(exchange) = removed else { continue };
            self.seen.get_mut().remove(&exchange.name);
            let id = self.keeper_ids.remove(&exchange.name);
            if let Some(keeper) = id.and_then(|id| self.keepers.remove(&id)) {
                keeper.abolish();
                gone.push(keeper.id.0);
            }
        }
        gone
    }

    /// All queues, in no order.
    pub(crate) fn all_queues(&self) -> Vec<Arc<SharedQueue>> {
        self.queues.values().cloned().collect()
    }

    /// Takes everything out, for good.
    pub(crate) fn empty(&mut self) -> Emptied {
        self.is_deleted = true;
        self.seen.get_mut().clear();
        self.keeper_ids.clear();
        Emptied {
            topology: std::mem::take(&mut self.topology),
            policies: std::mem::take(&mut self.policies),
            queues: std::mem::take(&mut self.queues),
            keepers: std::mem::take(&mut self.keepers),
        }
    }

    pub(crate) fn queue_count(&self) -> u64 {
        self.queues.len() as u64
    }

    pub(crate) fn insert_queue(&mut self, queue: Arc<SharedQueue>) {
        self.topology.add_queue(Arc::clone(&queue.name), queue.id);
        self.queues.insert(queue.id, queue);
    }

    /// Takes a queue out, with its bindings and the exchanges that lived only for them.
    pub(crate) fn remove_queue(&mut self, queue: &SharedQueue, removed: &mut Vec<Removed>) {
        self.topology.remove_queue(&queue.name, removed);
        self.queues.remove(&queue.id);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::{NamedPolicy, Policy, PolicyKind};

    #[test]
    fn policies_are_looked_for_before_the_directory_is_held() {
        let vhost = Vhost::new("v".into());
        let is_free = || vhost.directory.try_write().is_some();
        let (directory, was_free) = vhost.directory_and(|_| is_free()).unwrap();
        assert!(was_free && !is_free());
        drop(directory);
        // Those that change meanwhile count.
        let policy = Policy::parse("", &json!({ "max-length": 1 }).to_string()).unwrap();
        let policy = Arc::new(NamedPolicy::new(PolicyKind::User, "p", policy).unwrap());
        let find = |policies: &PolicySet| {
            if let Some(mut directory) = vhost.directory.try_write() {
                let policies = Arc::make_mut(&mut directory.policies);
                policies.insert(PolicyKind::User, Arc::clone(&policy));
            }
            policies.of(PolicyKind::User).len()
        };
        assert_eq!(vhost.directory_and(find).unwrap().1, 1);
    }
}
