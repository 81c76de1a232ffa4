//! A session: one authenticated client in one vhost, and what it may ask of the broker.
//!
//! A front end owns one per connection and calls it from one task. Calls are synchronous and never
//! wait for the disk: what has to be durable before it is answered comes back as an [`Lsn`].

mod bindings;
mod browse;
mod consume;
mod exchanges;
mod import;
mod publish;
mod queues;
mod read;
mod repeat;
mod settle;
mod tail;

use std::sync::Arc;

use leveret_codec::AmqpError;
use leveret_engine::Millis;
use leveret_store::{Batch, Definition, Lsn};
use serde_json::Value;

pub use self::browse::{Moved, Movement};
pub use self::consume::{Consume, Fetched, NewConsumer};
pub use self::exchanges::DeclareExchange;
pub use self::import::{Imported, Imports};
use self::publish::Staging;
pub use self::publish::{Confirmation, Outcome, Prepared, Publish, Staged, Ticket};
pub use self::queues::{DeclareQueue, DeclaredQueue, DeletedQueue};
pub use self::repeat::Repeatable;
pub use self::settle::{SettleGroup, Settlement};
use crate::access::{PermissionCache, PermissionKind, TopicPermissionKind, User};
use crate::audit::{Action, Actor};
use crate::broker::Broker;
use crate::limits::{Presence, UserLimits};
use crate::queue::SharedQueue;
use crate::refusal::{self, Resource};
use crate::routes::RouteCache;
use crate::turn::Turn;
use crate::vhost::Vhost;

/// A session's identity, unique while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Whom a session serves.
#[derive(Debug)]
pub struct Client {
    /// Its connection's name, such as `127.0.0.1:50298 -> 127.0.0.1:5672`.
    pub connection: Arc<str>,
    /// Who logged in.
    pub user: Arc<User>,
}

/// An authenticated client in a vhost.
pub struct Session {
    id: SessionId,
    broker: Arc<Broker>,
    client: Arc<Client>,
    vhost: Arc<Vhost>,
    permissions: PermissionCache,
    routes: RouteCache,
    staging: Staging,
    turn: Turn,
    /// See [`placed`](Self::placed).
    placed: usize,
    /// Its place in the counts of connections, if it is one.
    presence: Option<Presence>,
    /// Exclusive queues, deleted with the session.
    owned: Vec<Arc<SharedQueue>>,
    /// The operator it is a session of, whose changes are recorded.
    actor: Option<Arc<Actor>>,
}

impl Session {
    /// Opens a session in a vhost, as `connection.open` does, for the connection of this name.
    ///
    /// # Errors
    /// 530 when the vhost doesn't exist, the user has no permission entry for it, or the node, the
    /// vhost or the user has as many connections as it may.
    pub fn open(
        broker: &Arc<Broker>,
        user: Arc<User>,
        vhost: &str,
        connection: Arc<str>,
    ) -> Result<Self, AmqpError> {
        let find = || broker.vhost(vhost).ok_or_else(|| refusal::vhost_not_found(vhost));
        let limits = broker.access().user_limits(&user.name);
        let (vhost, presence) = broker.occupancy.enter(broker.limits, &user, limits, find)?;
        let id = broker.next_session();
        Self::new(broker, id, Client { connection, user }, vhost, Some(presence))
    }

    /// Opens a session for one request of an operator, which is no connection: no limit stands
    /// against it, and nobody counts it.
    ///
    /// # Errors
    /// 530 when the vhost doesn't exist, or the user has no permission entry for it.
    pub fn of_operator(
        broker: &Arc<Broker>,
        user: Arc<User>,
        vhost: &str,
        actor: Arc<Actor>,
    ) -> Result<Self, AmqpError> {
        let found = broker.vhost(vhost).ok_or_else(|| refusal::vhost_not_found(vhost))?;
        let (id, client) = Self::unconnected(broker, user);
        let session = Self::new(broker, id, client, found, None)?;
        Ok(Self { actor: Some(actor), ..session })
    }

    /// Opens a session of the broker itself, which may do everything, also what `amq.` in front of a
    /// name keeps clients from: for definitions.
    ///
    /// # Errors
    /// 530 when the vhost doesn't exist.
    pub fn of_system(
        broker: &Arc<Broker>,
        vhost: &str,
        actor: Arc<Actor>,
    ) -> Result<Self, AmqpError> {
        let found = broker.vhost(vhost).ok_or_else(|| refusal::vhost_not_found(vhost))?;
        let user = Arc::new(User {
            name: "rmq-internal".to_owned(),
            password_hash: None,
            tags: Vec::new(),
            limits: UserLimits::default(),
        });
        let permissions = PermissionCache::of_system(Arc::clone(broker.access()));
        let (id, client) = Self::unconnected(broker, user);
        let session = Self::with(broker, id, client, found, permissions, None);
        Ok(Self { actor: Some(actor), ..session })
    }

    /// The next session's identity, and what stands for its connection, as RabbitMQ has it.
    fn unconnected(broker: &Broker, user: Arc<User>) -> (SessionId, Client) {
        let id = broker.next_session();
        let connection = format!("<{}.{}.0>", broker.node, id.0).into();
        (id, Client { connection, user })
    }

    fn new(
        broker: &Arc<Broker>,
        id: SessionId,
        client: Client,
        vhost: Arc<Vhost>,
        presence: Option<Presence>,
    ) -> Result<Self, AmqpError> {
        let access = Arc::clone(broker.access());
        let mut permissions = PermissionCache::new(access, &client.user.name, vhost.name());
        if !permissions.may_enter() {
            return Err(refusal::vhost_refused(vhost.name(), &client.user.name));
        }
        Ok(Self::with(broker, id, client, vhost, permissions, presence))
    }

    fn with(
        broker: &Arc<Broker>,
        id: SessionId,
        client: Client,
        vhost: Arc<Vhost>,
        permissions: PermissionCache,
        presence: Option<Presence>,
    ) -> Self {
        Self {
            id,
            permissions,
            broker: Arc::clone(broker),
            client: Arc::new(client),
            vhost,
            routes: RouteCache::default(),
            staging: Staging::default(),
            turn: Turn::new(),
            placed: 0,
            presence,
            owned: Vec::new(),
            actor: None,
        }
    }

    /// Records a change of an operator; those of clients are their own.
    fn record(&self, name: &str, about: impl FnOnce(&str) -> (Value, Value, Value)) {
        if let Some(actor) = &self.actor {
            let (object, before, after) = about(self.vhost.name());
            let action = Action { name: name.to_owned(), object, before, after };
            self.broker.record(actor, &action);
        }
    }

    /// Who this is.
    pub fn user(&self) -> &Arc<User> {
        &self.client.user
    }

    /// Where it is.
    pub fn vhost(&self) -> &Arc<Vhost> {
        &self.vhost
    }

    /// The session's identity.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The broker behind it.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Counts a channel that is about to open.
    ///
    /// # Errors
    /// 530 when the node or the user has as many as it may.
    pub fn open_channel(&mut self) -> Result<(), AmqpError> {
        let Some(presence) = &mut self.presence else { return Ok(()) };
        let Broker { node, limits, .. } = &*self.broker;
        presence.open_channel(
            node,
            *limits,
            self.broker.access().user_limits(&self.client.user.name),
        )
    }

    /// A channel that was counted is gone.
    pub fn close_channel(&mut self) {
        if let Some(presence) = &mut self.presence {
            presence.close_channel();
        }
    }

    /// Sets the time of the calls that follow: once per read batch.
    pub fn begin(&mut self, now: Millis) {
        self.turn.begin(now);
        self.placed = 0;
    }

    /// How many places in queues the messages take that were staged since [`begin`](Self::begin):
    /// what a turn costs, which its bytes don't say, as one message may go to thousands of queues.
    pub fn placed(&self) -> usize {
        self.placed
    }

    /// Acts on what the calls so far left to do: journal records, waking writers, queues abandoned
    /// by their last consumer. Called at the end of a read batch, with no lock held.
    pub fn finish(&mut self) {
        self.routes.settle_counts();
        self.broker.finish(&mut self.turn);
    }

    /// Whether clients whose consumers lost their queue hear of it at a later [`finish`](Self::finish):
    /// the answer to the deletion is not written yet, and RabbitMQ's comes first.
    pub fn hold_cancels(&mut self, hold: bool) {
        self.turn.holds_cancels = hold;
    }

    /// Lets memory go that an idle session doesn't need: nothing may be staged.
    pub fn release(&mut self) {
        debug_assert!(!self.has_staged(), "an idle session has nothing staged");
        self.staging = Staging::default();
        self.routes = RouteCache::default();
        let now = self.turn.now();
        self.turn = Turn::new();
        self.turn.begin(now);
    }

    /// Ends the session: its exclusive queues go, before the client learns that it is closed.
    /// The front end has cancelled its consumers and requeued its deliveries before.
    pub fn close(&mut self) {
        for queue in std::mem::take(&mut self.owned) {
            self.broker.delete_queue(&self.vhost, &queue, &mut self.turn);
        }
        self.hold_cancels(false);
        self.finish();
    }

    fn check(&mut self, kind: PermissionKind, resource: Resource<'_>) -> Result<(), AmqpError> {
        if self.permissions.allows(kind, permission_name(resource)) {
            return Ok(());
        }
        Err(self.access_refused(kind, resource))
    }

    /// Passive declarations: any permission on the name will do.
    fn check_any(&mut self, resource: Resource<'_>) -> Result<(), AmqpError> {
        if self.permissions.allows_any(permission_name(resource)) {
            return Ok(());
        }
        Err(self.access_refused(PermissionKind::Configure, resource))
    }

    fn access_refused(&self, kind: PermissionKind, resource: Resource<'_>) -> AmqpError {
        refusal::access_refused(kind.name(), resource, self.vhost.name(), &self.client.user.name)
    }

    /// Topic permissions, which only topic exchanges have.
    fn check_topic(
        &mut self,
        kind: TopicPermissionKind,
        exchange: &str,
        key: &str,
    ) -> Result<(), AmqpError> {
        if self.permissions.allows_topic(kind, exchange, key) {
            return Ok(());
        }
        let (vhost, user) = (self.vhost.name(), &self.client.user.name);
        Err(refusal::topic_access_refused(kind.name(), key, exchange, vhost, user))
    }

    /// The queue of this name, if this session may touch it.
    fn accessible_queue(&self, name: &str) -> Result<Arc<SharedQueue>, AmqpError> {
        let vhost = self.vhost.name();
        let queue = self.vhost.queue(name);
        let queue = queue.ok_or_else(|| refusal::not_found(Resource::Queue(name), vhost))?;
        self.check_owner(&queue)?;
        Ok(queue)
    }

    fn check_owner(&self, queue: &SharedQueue) -> Result<(), AmqpError> {
        match queue.owner {
            Some(owner) if owner != self.id => Err(refusal::locked(&queue.name, self.vhost.name())),
            _ => Ok(()),
        }
    }

    /// Appends definition changes; the answer to the client waits for the returned LSN.
    fn define(&self, definitions: &[Definition]) -> Option<Lsn> {
        define(&self.broker, definitions)
    }
}

/// The name permissions know a resource by.
fn permission_name(resource: Resource<'_>) -> &str {
    match resource {
        Resource::Exchange("") => "amq.default",
        Resource::Exchange(name) | Resource::Queue(name) => name,
    }
}

/// Appends definition changes to the journal.
pub(crate) fn define(broker: &Broker, definitions: &[Definition]) -> Option<Lsn> {
    if definitions.is_empty() {
        return None;
    }
    let mut batch = Batch::new();
    batch.define(definitions);
    Some(broker.store().append(&mut batch).last)
}

/// Names lose carriage returns and line feeds, as RabbitMQ does it.
fn clean_name(name: &str) -> std::borrow::Cow<'_, str> {
    if name.contains(['\r', '\n']) { name.replace(['\r', '\n'], "").into() } else { name.into() }
}

/// A fresh name for what the client left unnamed: `prefix` and 22 characters of randomness.
pub fn generated_name(prefix: &str) -> String {
    use base64::Engine;
    let mut random = [0; 16];
    // Without randomness there is still the address of a local and the time to tell names apart;
    // in practice getrandom doesn't fail on a system that has booted.
    if getrandom::fill(&mut random).is_err() {
        let fallback = std::process::id().to_le_bytes();
        for (byte, fill) in random.iter_mut().zip(fallback.iter().cycle()) {
            *byte = *fill;
        }
    }
    format!("{prefix}-{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random))
}
