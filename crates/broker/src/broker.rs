//! The broker: what all connections share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::HashMap;
use leveret_engine::{ConsumerId, Millis, QueueId};
use leveret_store::{Batch, Definition, Disk, Lsn, Store, StoreOptions, Table};
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use thiserror::Error;

use crate::access::{
    AccessControl, HashingAlgorithm, PasswordHash, Permission, PermissionKey, Secret, User, tag,
};
use crate::administration::TooManyVhosts;
use crate::alarms::Alarms;
use crate::audit::{Actor, AuditLog};
use crate::churn::ChurnTotals;
use crate::connections::Connections;
use crate::dead_letter::{Counters, DeadLetterCounts, DeathsByReason, Postponed};
use crate::definitions::{self, DefinitionError};
use crate::deprecated::DeprecatedFeatures;
use crate::direct_reply::DirectReplies;
use crate::firehose::Tracing;
use crate::limits::{DefaultVhostLimits, NodeLimits, Occupancy};
use crate::queue::{DeleteIf, DeleteRefused, PastQueues, QueueAgenda, QueueTotals, SharedQueue};
use crate::queue_type::QueueType;
use crate::recovery;
use crate::session::SessionId;
use crate::spans::{SpanOptions, Spans};
use crate::turn::{Abandoned, Turn};
use crate::vhost::{Directory, Vhost};
use crate::vhost_metadata::VhostMetadata;

/// Vhosts, users, permissions and the store behind them. Shared by every front end.
pub struct Broker {
    store: Store,
    access: Arc<AccessControl>,
    vhosts: RwLock<HashMap<Arc<str>, Arc<Vhost>>>,
    /// Held while users, permissions, vhosts or limits change, until the change is in the journal:
    /// the last one written is the one that holds. Taken before all other locks.
    pub(crate) changes: Mutex<()>,
    pub(crate) global_parameters: RwLock<BTreeMap<String, Value>>,
    connections: Arc<Connections>,
    past_queues: BTreeMap<QueueType, PastQueues>,
    last_session: AtomicU64,
    last_queue: AtomicU64,
    last_consumer: AtomicU64,
    /// Its name in RabbitMQ's form.
    pub(crate) node: String,
    pub(crate) limits: NodeLimits,
    pub(crate) default_vhost_limits: Vec<DefaultVhostLimits>,
    pub(crate) occupancy: Arc<Occupancy>,
    /// Requesters that wait for direct replies.
    pub(crate) direct_replies: Arc<DirectReplies>,
    /// Queues by when they have to be looked at.
    pub(crate) agenda: Arc<QueueAgenda>,
    /// Dead letters beyond what their turns could take.
    pub(crate) postponed: Arc<Mutex<Postponed>>,
    pub(crate) dead_letter_counters: Counters,
    pub(crate) policy_generation: AtomicU64,
    alarms: Alarms,
    deprecated: DeprecatedFeatures,
    pub(crate) audit: Option<Arc<dyn AuditLog>>,
    pub(crate) spans: Option<Arc<Spans>>,
}

/// What a broker starts with.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// The journal's settings.
    pub store: StoreOptions,
    /// Users that may log in from loopback addresses only.
    pub loopback_users: Vec<String>,
    /// Created on an empty data directory, with all permissions in the default vhost.
    pub default_user: String,
    /// The default user's password.
    pub default_password: Secret,
    /// How new passwords are hashed.
    pub password_hashing: HashingAlgorithm,
    /// Created on an empty data directory.
    pub default_vhost: String,
    /// Whether an empty data directory gets the default vhost and user: not where definitions say
    /// what there is.
    pub create_defaults: bool,
    /// The node's name in RabbitMQ's form, `rabbit@host`.
    pub node: String,
    /// What it may hold.
    pub limits: NodeLimits,
    /// What new vhosts may hold: the first that fits.
    pub default_vhost_limits: Vec<DefaultVhostLimits>,
    /// Where it is recorded what operators do.
    pub audit: Option<Arc<dyn AuditLog>>,
    /// How messages are followed, if they are.
    pub spans: Option<SpanOptions>,
    /// What ready messages may take in memory, about, in bytes; others are on disk only.
    pub message_memory: u64,
    /// What messages that the journal does not have may take in memory, about, in bytes, before they
    /// are written to files.
    pub transient_memory: u64,
    /// What recent history exchanges may keep together, about, in bytes, before each may keep an even share only.
    pub history_memory: u64,
}

/// The default user's password unless another is set. Everybody knows it.
const WELL_KNOWN_PASSWORD: &str = "guest";

/// See [`BrokerOptions::message_memory`].
pub const MESSAGE_MEMORY: u64 = 12 << 20;

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            store: StoreOptions::default(),
            loopback_users: vec!["guest".to_owned()],
            default_user: "guest".to_owned(),
            default_password: WELL_KNOWN_PASSWORD.into(),
            password_hashing: HashingAlgorithm::Argon2id,
            default_vhost: "/".to_owned(),
            create_defaults: true,
            node: "rabbit@localhost".to_owned(),
            limits: NodeLimits::default(),
            default_vhost_limits: Vec::new(),
            audit: None,
            spans: None,
            message_memory: MESSAGE_MEMORY,
            transient_memory: 4 * MESSAGE_MEMORY,
            history_memory: 16 * MESSAGE_MEMORY,
        }
    }
}

/// A vhost's limits are a runtime parameter of this component and name, as in RabbitMQ.
pub(crate) const VHOST_LIMITS: &str = "vhost-limits";
pub(crate) const LIMITS: &str = "limits";

/// Why a broker did not start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is no room for the default vhost.
    #[error(transparent)]
    Vhost(#[from] TooManyVhosts),
    /// The data directory can't be used.
    #[error(transparent)]
    Store(#[from] leveret_store::OpenError),
    /// A stored definition can't be read.
    #[error("cannot read the stored definition of a {kind}: {source}")]
    Definition {
        /// What it defines.
        kind: &'static str,
        /// What is wrong with it.
        source: DefinitionError,
    },
    /// The default user's password can't be hashed.
    #[error("cannot create the default user: {0}")]
    DefaultUser(#[from] crate::access::PasswordError),
    /// The default user's permissions can't be compiled.
    #[error("cannot create the default user's permissions: {0}")]
    DefaultPermission(#[from] crate::access::PatternError),
}

impl Broker {
    /// Opens a broker on a directory, with everything that was durable in it.
    ///
    /// # Errors
    /// When the directory can't be used, is locked by another process, or holds what can't be read.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: &BrokerOptions,
    ) -> Result<Arc<Self>, OpenError> {
        let store_options = StoreOptions {
            outline: recovery::outline,
            always_defines: true,
            ..options.store.clone()
        };
        let (store, recovered) = Store::open(disk, directory, store_options)?;
        let agenda = Arc::new(QueueAgenda::new(options));
        let broker = Self {
            store,
            access: Arc::new(
                AccessControl::new(options.loopback_users.iter().map(String::as_str))
                    .hashing_with(options.password_hashing),
            ),
            vhosts: RwLock::default(),
            changes: Mutex::default(),
            global_parameters: RwLock::default(),
            connections: Arc::default(),
            past_queues: QueueType::ALL.map(|one| (one, PastQueues::default())).into(),
            last_session: AtomicU64::new(0),
            last_queue: AtomicU64::new(0),
            last_consumer: AtomicU64::new(0),
            node: options.node.clone(),
            limits: options.limits,
            default_vhost_limits: options.default_vhost_limits.clone(),
            occupancy: Arc::default(),
            direct_replies: Arc::default(),
            postponed: Postponed::shared(&agenda),
            agenda,
            dead_letter_counters: Counters::default(),
            policy_generation: AtomicU64::new(0),
            alarms: Alarms::default(),
            deprecated: DeprecatedFeatures::default(),
            audit: options.audit.clone(),
            spans: options.spans.clone().map(|options| Arc::new(Spans::new(options))),
        };
        let connections = Arc::clone(&broker.connections);
        broker.access.listen(move |user| connections.permissions_changed(user));
        recovery::restore(&broker, recovered)?;
        if options.create_defaults && broker.vhosts.read().is_empty() {
            broker.create_defaults(options)?;
        }
        broker.make_cluster_id();
        Ok(Arc::new(broker))
    }

    /// Flushes and closes the store. No session may be open.
    pub fn close(&self, now: Millis) {
        let mut turn = Turn::new();
        turn.begin(now, &self.store);
        self.dead_letter_departed(&mut turn);
        self.mark_postponed();
        for vhost in self.vhosts.read().values() {
            for stream in vhost.queues().iter().filter(|queue| queue.is_stream()) {
                let _order = stream.order();
                stream.record_positions(Millis(u64::MAX), &self.store);
            }
        }
        self.store.close();
    }

    /// The journal.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Users and permissions.
    pub fn access(&self) -> &Arc<AccessControl> {
        &self.access
    }

    /// All vhosts, sorted by name.
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        let mut all: Vec<_> = self.vhosts.read().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// Who is connected.
    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// The node's alarms.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Who still uses what RabbitMQ takes back.
    pub fn deprecated(&self) -> &DeprecatedFeatures {
        &self.deprecated
    }

    /// What has come and gone since the broker started.
    pub fn churn(&self) -> ChurnTotals {
        self.connections.churn.read()
    }

    /// The vhost of this name.
    pub fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.read().get(name).cloned()
    }

    /// Messages that died, and what became of them.
    pub fn dead_letter_counts(&self) -> DeadLetterCounts {
        self.dead_letter_counters.read()
    }

    /// Acts on what a turn left to do once no lock is held.
    pub fn finish(&self, turn: &mut Turn) {
        self.finish_with(turn, usize::MAX);
    }

    /// As [`finish`](Self::finish). What is left of queues that nobody uses any more, once they and their bindings
    /// are so many, goes with the next.
    pub(crate) fn finish_with(&self, turn: &mut Turn, places: usize) {
        let mut taken = 0;
        loop {
            turn.flush(&self.store);
            if taken < places
                && let Some((queue, abandoned)) = turn.next_abandoned()
            {
                taken += 1 + self.delete_abandoned(&queue, abandoned, turn);
            } else if !turn.dead.is_empty() {
                self.dead_letter(turn);
            } else if !turn.traced.is_empty() {
                self.trace_deliveries(turn);
            } else {
                break;
            }
        }
        if !turn.departed.is_empty() {
            let Turn { departed, records, .. } = turn;
            departed.retain(|queue| !queue.drop_places(records));
            self.postponed.lock().departed.append(departed);
            turn.flush(&self.store);
        }
        let discarded = turn.take_discarded();
        if discarded != DeathsByReason::default() {
            self.dead_letter_counters
                .add(&DeadLetterCounts { discarded, ..DeadLetterCounts::default() });
        }
    }

    pub(crate) fn insert_vhost(&self, name: &str, metadata: VhostMetadata) {
        let tracing = Tracing::new(self.spans.clone());
        let mut vhost = Vhost::new(name.into());
        vhost.tracing = tracing;
        if let Some(steps) = self.limits.routing_steps {
            let steps_max = usize::try_from(steps).unwrap_or(usize::MAX);
            vhost.directory.get_mut().topology.set_steps_max(steps_max);
        }
        vhost.directory.get_mut().remembered = Arc::clone(self.agenda.pager.remembered());
        *vhost.metadata.write() = metadata;
        self.vhosts.write().insert(Arc::clone(vhost.name()), Arc::new(vhost));
    }

    pub(crate) fn remove_vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.write().remove(name)
    }

    /// Deletes a queue if it is still there. How many bindings went with it.
    pub(crate) fn delete_queue(
        &self,
        vhost: &Vhost,
        queue: &SharedQueue,
        turn: &mut Turn,
    ) -> usize {
        self.delete_queue_by(vhost, queue, turn, |queue, turn| {
            queue.delete(DeleteIf::default(), turn)
        })
    }

    /// A queue that found a user in the meantime stays. How many bindings went with it.
    fn delete_abandoned(
        &self,
        queue: &SharedQueue,
        abandoned: Abandoned,
        turn: &mut Turn,
    ) -> usize {
        let Some(vhost) = self.vhost(&queue.vhost) else { return 0 };
        self.delete_queue_by(&vhost, queue, turn, |queue, turn| match abandoned {
            Abandoned::ByConsumers => queue.delete(DeleteIf { unused: true, empty: false }, turn),
            Abandoned::ByEveryone => queue.delete_expired(turn),
        })
    }

    fn delete_queue_by(
        &self,
        vhost: &Vhost,
        queue: &SharedQueue,
        turn: &mut Turn,
        delete: impl FnOnce(&SharedQueue, &mut Turn) -> Result<u64, DeleteRefused>,
    ) -> usize {
        let mut directory = vhost.directory.write();
        let bindings = directory.topology.binding_count();
        let current = directory.queue(&queue.name).is_some_and(|other| other.id == queue.id);
        if current && delete(queue, turn).is_ok() {
            self.forget_queue(vhost, &mut directory, queue, turn);
        }
        bindings - directory.topology.binding_count()
    }

    /// What went through queues of this type that are gone.
    pub fn past_queues(&self, queue_type: QueueType) -> QueueTotals {
        self.past_queues.get(&queue_type).map(PastQueues::read).unwrap_or_default()
    }

    /// Keeps what a queue has counted that goes. A stream's offsets are nobody's then.
    pub(crate) fn count_out(&self, queue: &SharedQueue) {
        self.store.keep_places(queue.id.0, false);
        self.connections.churn.queues_deleted.add(1);
        if let (Some(totals), Some(past)) =
            (queue.totals(), self.past_queues.get(&queue.queue_type))
        {
            past.add(&totals);
        }
    }

    /// Takes a deleted queue's name, bindings and stored definition away, in one unit with the turn's
    /// records and the marks of what is dying in it.
    pub(crate) fn forget_queue(
        &self,
        vhost: &Vhost,
        directory: &mut Directory,
        queue: &SharedQueue,
        turn: &mut Turn,
    ) -> Option<Lsn> {
        let mut removed = Vec::new();
        self.count_out(queue);
        directory.remove_queue(queue, &mut removed);
        for keeper in directory.remove_keepers(&removed) {
            turn.records.drop_queue(keeper);
        }
        let mut changes = definitions::deletions(vhost.name(), &removed);
        if queue.durable {
            let key = definitions::key(&[vhost.name().as_bytes(), queue.name.as_bytes()]);
            changes.push(Definition::Delete { table: Table::Queues, key });
        }
        changes.extend(queue.forget_offsets());
        changes.extend(self.mark_dying(queue.id, turn));
        vhost.changed();
        if changes.is_empty() {
            return None;
        }
        turn.records.define(&changes);
        Some(self.store.append(&mut turn.records).last)
    }

    /// Takes stored definitions away, and with them what exchanges kept: after a crash both are gone or
    /// neither. Answers what has to be waited for.
    pub(crate) fn forget(&self, keepers: &[u64], deletions: &[Definition]) -> Option<Lsn> {
        let mut records = Batch::new();
        keepers.iter().for_each(|keeper| records.drop_queue(*keeper));
        records.define(deletions);
        if records.is_empty() {
            return None;
        }
        let last = self.store.append(&mut records).last;
        (!deletions.is_empty()).then_some(last)
    }

    pub(crate) fn next_session(&self) -> SessionId {
        SessionId(self.last_session.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn next_queue(&self) -> QueueId {
        QueueId(self.last_queue.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Queue identities below were given out before the restart, even those no longer defined.
    pub(crate) fn reserve_queues(&self, last: u64) {
        self.last_queue.fetch_max(last, Ordering::Relaxed);
    }

    pub(crate) fn next_consumer(&self) -> ConsumerId {
        ConsumerId(self.last_consumer.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn create_defaults(&self, options: &BrokerOptions) -> Result<(), OpenError> {
        let failed = |source| OpenError::Definition { kind: "default user", source };
        let password = options.default_password.as_bytes();
        let hashing = match options.password_hashing {
            // What everybody knows no hash protects, and each first start would take its time for it.
            HashingAlgorithm::Argon2id if password == WELL_KNOWN_PASSWORD.as_bytes() => {
                HashingAlgorithm::Sha256
            }
            hashing => hashing,
        };
        let user = User {
            password_hash: Some(PasswordHash::with(hashing, password)?),
            ..User::with_password(&options.default_user, password, [tag::ADMINISTRATOR])?
        };
        let actor = Actor::program();
        let administration = self.administration(&actor);
        administration.put_user(user).map_err(failed)?;
        let key = PermissionKey::new(&options.default_user, &options.default_vhost);
        let everything = Permission::new(".*", ".*", ".*")?;
        administration.put_permission(key, everything).map_err(failed)?;
        // Last: as long as it isn't there a start that was cut short is made up for.
        let metadata =
            |of_none| VhostMetadata { description: "Default virtual host".to_owned(), ..of_none };
        administration.put_vhost(&options.default_vhost, metadata)?;
        Ok(())
    }
}
