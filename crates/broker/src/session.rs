//! A session: one authenticated client in one vhost, and what it may ask of the broker.
//!
//! A front end owns one per connection and calls it from one task. Calls are synchronous and never
//! wait for the disk: what has to be durable before it is answered comes back as an [`Lsn`].

mod bindings;
mod browse;
mod commit;
mod consume;
mod exchanges;
mod history;
mod import;
mod owned;
mod publish;
mod queues;
mod read;
mod repeat;
mod settle;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_codec::AmqpError;
use leveret_engine::Millis;
use leveret_store::{Batch, Definition, Lsn};
use serde_json::Value;

pub use self::browse::{Moved, Movement};
pub use self::consume::{Consume, Fetched, NewConsumer};
pub use self::exchanges::DeclareExchange;
use self::history::Repeated;
pub use self::import::{Imported, Imports};
use self::owned::Owned;
pub(crate) use self::publish::LOOKS_PER_PLACE;
use self::publish::Staging;
pub use self::publish::{Confirmation, Outcome, Prepared, Publish, Staged, Ticket, published_keys};
pub use self::queues::{DeclareQueue, DeclaredQueue, DeletedQueue};
pub use self::repeat::Repeatable;
pub use self::settle::{SettleGroup, Settlement};
use crate::access::{
    Authority, Decision, PermissionKind, Principal, Question, SessionRights, TopicPermissionKind,
    User, Verdict,
};
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

/// Queues, with their bindings, that go with one [`finish`](Session::finish) because nobody uses them any more, at most.
const ABANDONED_PLACES: usize = 4096;

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
    rights: SessionRights,
    /// Whether the broker's own user of that name has the client's tags.
    has_own_tags: bool,
    routes: RouteCache,
    staging: Staging,
    turn: Turn,
    /// See [`has_more_to_do`](Self::has_more_to_do).
    has_more_to_do: bool,
    /// See [`placed`](Self::placed).
    placed: usize,
    /// See [`repeat_history`](Self::repeat_history).
    history: VecDeque<Repeated>,
    /// Its place in the counts of connections, if it is one.
    presence: Option<Presence>,
    /// Exclusive queues, deleted with the session.
    owned: Owned,
    /// The operator it is a session of, whose changes are recorded.
    actor: Option<Arc<Actor>>,
}

impl Session {
    /// Opens a session in a vhost, as `connection.open` does, for the connection of this name.
    /// `entry` is what was decided about the vhost where that is [asked](Authority) outside.
    ///
    /// # Errors
    /// 530 when the vhost doesn't exist, the user has no permission entry for it, or the node, the
    /// vhost or the user has as many connections as it may.
    pub fn open(
        broker: &Arc<Broker>,
        principal: impl Into<Principal>,
        vhost: &str,
        connection: Arc<str>,
        entry: Option<Decision>,
    ) -> Result<Self, AmqpError> {
        let principal = principal.into();
        let (user, has_own_tags) = (Arc::clone(&principal.user), principal.has_own_tags());
        let find = || broker.vhost(vhost).ok_or_else(|| refusal::vhost_not_found(vhost));
        let limits = broker.access().user_limits(&user.name);
        let (vhost, presence) = broker.occupancy.enter(broker.limits, &user, limits, find)?;
        let id = broker.next_session();
        let rights = SessionRights::new(broker.access(), &principal, vhost.name(), false);
        let client = Client { connection, user };
        let session = Self::new(broker, id, client, vhost, rights, Some(presence), entry)?;
        Ok(Self { has_own_tags, ..session })
    }

    /// Opens a session for one request of an operator, which is no connection: no limit stands
    /// against it, and nobody counts it. It waits for whoever has to be asked.
    ///
    /// # Errors
    /// 530 when the vhost doesn't exist, or the user has no permission entry for it.
    pub fn of_operator(
        broker: &Arc<Broker>,
        principal: impl Into<Principal>,
        vhost: &str,
        actor: Arc<Actor>,
    ) -> Result<Self, AmqpError> {
        let principal = principal.into();
        let found = broker.vhost(vhost).ok_or_else(|| refusal::vhost_not_found(vhost))?;
        let rights = SessionRights::new(broker.access(), &principal, vhost, true);
        let has_own_tags = principal.has_own_tags();
        let (id, client) = Self::unconnected(broker, principal.user);
        let session = Self::new(broker, id, client, found, rights, None, None)?;
        Ok(Self { actor: Some(actor), has_own_tags, ..session })
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
        let rights = SessionRights::of_system(broker.access());
        let (id, client) = Self::unconnected(broker, user);
        let session = Self::with(broker, id, client, found, rights, None);
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
        mut rights: SessionRights,
        presence: Option<Presence>,
        entry: Option<Decision>,
    ) -> Result<Self, AmqpError> {
        let entry = entry.map_or_else(|| rights.may_enter(), Verdict::Known);
        // Nobody was asked: nobody said yes.
        let Verdict::Known(decision) = entry else {
            return Err(refusal::vhost_refused(vhost.name(), &client.user.name));
        };
        if let Decision::Refused(why) = decision {
            let refused = refusal::vhost_refused(vhost.name(), &client.user.name);
            return Err(explained(refused, why.as_deref()));
        }
        Ok(Self::with(broker, id, client, vhost, rights, presence))
    }

    fn with(
        broker: &Arc<Broker>,
        id: SessionId,
        client: Client,
        vhost: Arc<Vhost>,
        rights: SessionRights,
        presence: Option<Presence>,
    ) -> Self {
        Self {
            id,
            rights,
            has_own_tags: false,
            broker: Arc::clone(broker),
            client: Arc::new(client),
            vhost,
            routes: RouteCache::default(),
            staging: Staging::default(),
            turn: Turn::new(),
            has_more_to_do: false,
            placed: 0,
            history: VecDeque::new(),
            presence,
            owned: Owned::default(),
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
        self.turn.begin(now, self.broker.store());
        self.rights.begin(now);
        self.placed = 0;
    }

    /// How many places in queues the messages take that were staged since [`begin`](Self::begin), and
    /// what it took to find them, and the policies of what was declared: what a turn costs, which its bytes don't
    /// say, as one message may go to thousands of queues.
    pub fn placed(&self) -> usize {
        self.placed
    }

    /// Whether messages stay in queues, or with clients, that were put there since
    /// [`begin`](Self::begin), and the disk is [behind](Broker::is_paging_behind) with what it is to take
    /// over: whoever published them has to wait. One whose messages are consumed as they come has not.
    pub fn piles_up(&self) -> bool {
        self.turn.piles_up
    }

    /// Whether what died since [`begin`](Self::begin) waits as a dead letter, for more than one turn has room for:
    /// whoever published what pushed it out of its queue, or rejected it, has to wait as well, or ever more would
    /// wait, in memory.
    pub fn outruns_dead_letters(&self) -> bool {
        self.broker.are_to_go(&self.turn.behind)
    }

    /// Acts on what the calls so far left to do: journal records, waking writers, queues abandoned
    /// by their last consumer. Called at the end of a read batch, with no lock held.
    ///
    /// Of very many such queues some are [left](Self::has_more_to_do) for the next.
    pub fn finish(&mut self) {
        self.finish_with(ABANDONED_PLACES);
    }

    fn finish_with(&mut self, places: usize) {
        self.routes.settle_counts();
        self.broker.finish_with(&mut self.turn, places);
        self.has_more_to_do = self.turn.has_abandoned();
    }

    /// Whether something is left to do at another [`finish`](Self::finish), after others had their turn: nothing
    /// else is to be done before.
    pub fn has_more_to_do(&self) -> bool {
        self.has_more_to_do
    }

    /// Whether clients whose consumers lost their queue hear of it at a later [`finish`](Self::finish):
    /// the answer to the deletion is not written yet, and RabbitMQ's comes first.
    pub fn hold_cancels(&mut self, hold: bool) {
        self.turn.holds_cancels = hold;
    }

    /// Lets memory go that an idle session doesn't need: nothing may be staged.
    pub fn release(&mut self) {
        debug_assert!(!self.has_staged(), "an idle session has nothing staged");
        if self.has_more_to_do() {
            return;
        }
        self.staging = Staging::default();
        self.routes = RouteCache::default();
        let now = self.turn.now();
        self.turn = Turn::new();
        self.turn.begin(now, self.broker.store());
    }

    /// Ends the session, or goes on with that: its exclusive queues go, until they and their bindings are so
    /// many, and before the client learns that it is closed. Whether there are more. The front end has cancelled
    /// its consumers and requeued its deliveries before.
    pub fn close(&mut self, places: usize) -> bool {
        let mut taken = 0;
        while taken < places {
            let Some(queue) = self.owned.pop() else { break };
            taken += 1 + self.broker.delete_queue(&self.vhost, &queue, &mut self.turn);
        }
        self.hold_cancels(false);
        self.finish_with(places - taken.min(places));
        !self.owned.is_empty() || self.has_more_to_do()
    }

    /// What has to be asked outside before the session can do what it was asked for. What refers to
    /// it is to be done again after [`answer`](Self::answer).
    pub fn open_question(&self) -> Option<(&Arc<dyn Authority>, &Question)> {
        self.rights.open_question()
    }

    /// The answer to the open question.
    pub fn answer(&mut self, decision: Decision) {
        self.rights.answer(decision);
    }

    /// Forgets what was answered from outside: it is asked again.
    pub fn forget_answers(&mut self) {
        self.rights.forget();
    }

    /// What needed answers is done: what was refused is asked about again from now on.
    pub fn settle_answers(&mut self) {
        self.rights.settle();
    }

    /// Takes the rights of another login of the same user, by a token.
    ///
    /// # Errors
    /// 530 when they don't allow the vhost.
    pub fn renew(&mut self, principal: &Principal) -> Result<(), AmqpError> {
        self.rights.replace(principal);
        if !matches!(self.rights.may_enter(), Verdict::Known(Decision::Allowed)) {
            return Err(refusal::vhost_refused(self.vhost.name(), &principal.user.name));
        }
        let Client { connection, .. } = &*self.client;
        let connection = Arc::clone(connection);
        self.client = Arc::new(Client { connection, user: Arc::clone(&principal.user) });
        Ok(())
    }

    fn check(&mut self, kind: PermissionKind, resource: Resource<'_>) -> Result<(), AmqpError> {
        match self.rights.decide(kind, resource) {
            Verdict::Known(Decision::Allowed) => Ok(()),
            Verdict::Known(Decision::Refused(why)) => {
                Err(explained(self.access_refused(kind, resource), why.as_deref()))
            }
            Verdict::Open => Err(undecided()),
        }
    }

    /// Passive declarations: any permission on the name will do.
    fn check_any(&mut self, resource: Resource<'_>) -> Result<(), AmqpError> {
        // RabbitMQ's order: what is refused last is what the client is told.
        let [configure, write, read] = PermissionKind::ALL;
        for kind in [read, write] {
            match self.rights.decide(kind, resource) {
                Verdict::Known(Decision::Allowed) => return Ok(()),
                Verdict::Known(Decision::Refused(_)) => {}
                Verdict::Open => return Err(undecided()),
            }
        }
        self.check(configure, resource)
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
        match self.rights.decide_topic(kind, exchange, key) {
            Verdict::Known(Decision::Allowed) => Ok(()),
            Verdict::Known(Decision::Refused(why)) => {
                let (vhost, user) = (self.vhost.name(), &self.client.user.name);
                let refused =
                    refusal::topic_access_refused(kind.name(), key, exchange, vhost, user);
                Err(explained(refused, why.as_deref()))
            }
            Verdict::Open => Err(undecided()),
        }
    }

    /// The same for all of these keys. What has to be asked about them is left behind at once, or as
    /// many keys would have what refers to them looked at as often.
    fn check_topics<'k>(
        &mut self,
        kind: TopicPermissionKind,
        exchange: &str,
        keys: impl Iterator<Item = &'k str>,
    ) -> Result<(), AmqpError> {
        for key in keys {
            let checked = self.check_topic(kind, exchange, key);
            if self.open_question().is_none() {
                checked?;
            }
        }
        if self.open_question().is_some() { Err(undecided()) } else { Ok(()) }
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

/// A refusal with what whoever refused it says about it, as RabbitMQ puts it behind its own text.
fn explained(refused: AmqpError, why: Option<&str>) -> AmqpError {
    match why {
        None => refused,
        Some(why) => {
            let text = format!("{}{why}", refused.text());
            refused.with_text(text)
        }
    }
}

/// Whether something is allowed is not known yet. No client sees this: what it asked for is done
/// again once somebody has answered.
fn undecided() -> AmqpError {
    AmqpError::access_refused("undecided")
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
