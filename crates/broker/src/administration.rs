//! What operators change: vhosts, users, permissions, limits.
//!
//! Each change is in memory and in the journal when its function returns, and durable once the LSN
//! that comes back is. Open connections notice: permissions at their next request, the deletion of
//! their vhost or user by being closed.

use std::sync::Arc;

use leveret_store::{Definition, Lsn, Table};
use serde_json::{Value, json};
use thiserror::Error;

use crate::access::{
    Change, PasswordHash, Permission, PermissionKey, RecordError, RemovedPermissions,
    TopicPermission, TopicPermissionKey, User,
};
use crate::audit::{self, Action, Actor};
use crate::broker::{Broker, LIMITS, VHOST_LIMITS};
use crate::definitions::{self, DefinitionError};
use crate::limits::{UserLimits, VhostLimits, reached};
use crate::policy;
use crate::queue::DeleteIf;
use crate::session::define;
use crate::turn::Turn;
use crate::vhost::{Emptied, Vhost};
use crate::vhost_metadata::VhostMetadata;

/// A change that has been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Whether there was something of that name before.
    pub change: Change,
    /// What has to be durable before the change is.
    pub commit: Option<Lsn>,
}

/// Why a vhost was not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VhostNotDeleted {
    /// There is none of that name.
    #[error("no such vhost")]
    NotFound,
    /// It is protected.
    #[error("the vhost is protected from deletion")]
    Protected,
}

/// Why a vhost is not created. RabbitMQ's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot create vhost '{name}': vhost limit of {limit} is reached")]
pub struct TooManyVhosts {
    name: String,
    limit: u64,
}

/// The changes an operator may make, and by whom: each is told to the audit log.
#[derive(Clone, Copy)]
pub struct Administration<'a> {
    pub(crate) broker: &'a Broker,
    actor: &'a Actor,
}

impl Broker {
    /// What this actor may change.
    pub fn administration<'a>(&'a self, actor: &'a Actor) -> Administration<'a> {
        Administration { broker: self, actor }
    }

    /// Records what somebody has done otherwise.
    pub fn record(&self, actor: &Actor, action: &Action) {
        actor.acts(self.audit.as_deref(), action);
    }
}

impl<'a> Administration<'a> {
    /// The broker that is changed.
    pub fn broker(&self) -> &'a Broker {
        self.broker
    }

    /// Creates a vhost, or replaces what is said about it by what `metadata` makes of that; of nothing if it
    /// is new.
    ///
    /// # Errors
    /// When there are as many vhosts as there may be, and it is not one of them.
    pub fn put_vhost(
        &self,
        name: &str,
        metadata: impl FnOnce(VhostMetadata) -> VhostMetadata,
    ) -> Result<Changed, TooManyVhosts> {
        let _changes = self.broker.changes.lock();
        let vhost = self.broker.vhost(name);
        let metadata = metadata(vhost.as_ref().map(|vhost| vhost.metadata()).unwrap_or_default());
        let key = definitions::key(&[name.as_bytes()]);
        let value = definitions::encode(&metadata);
        let after = json!(metadata);
        if vhost.is_none()
            && let Some(limit) =
                reached(self.broker.limits.vhosts, self.broker.vhosts().len() as u64)
        {
            return Err(TooManyVhosts { name: name.to_owned(), limit });
        }
        // Before anybody finds it, and defines what is in it.
        let commit = define(self.broker, &[Definition::Put { table: Table::Vhosts, key, value }]);
        let (change, before) = match vhost {
            Some(vhost) => {
                let before = std::mem::replace(&mut *vhost.metadata.write(), metadata);
                (Change::Updated, json!(before))
            }
            None => {
                self.broker.insert_vhost(name, metadata);
                (Change::Created, Value::Null)
            }
        };
        self.record_change("vhost", json!({ "vhost": name }), before, after);
        let mut defaults = self.broker.default_vhost_limits.iter();
        let fitting = defaults.find(|one| one.pattern.matches(name));
        let commit = match (change, fitting, self.broker.vhost(name)) {
            (Change::Created, Some(one), Some(vhost)) => {
                commit.max(self.limit_vhost(&vhost, one.limits))
            }
            _ => commit,
        };
        Ok(Changed { change, commit })
    }

    /// Deletes a vhost with everything in it, and closes its connections.
    ///
    /// # Errors
    /// [`VhostNotDeleted`] when it is missing or protected.
    pub fn delete_vhost(
        &self,
        name: &str,
        turn: &mut Turn,
    ) -> Result<Option<Lsn>, VhostNotDeleted> {
        let changes = self.broker.changes.lock();
        let vhost = self.broker.vhost(name).ok_or(VhostNotDeleted::NotFound)?;
        if vhost.metadata.read().protected_from_deletion {
            return Err(VhostNotDeleted::Protected);
        }
        self.broker.remove_vhost(name);
        let mut deletions = Vec::new();
        let mut delete = |table, key| deletions.push(Definition::Delete { table, key });
        delete(Table::Vhosts, definitions::key(&[name.as_bytes()]));
        let parameter = definitions::parameter_key(name, VHOST_LIMITS, LIMITS);
        delete(Table::Parameters, parameter);
        deletions.extend(deletions_of(&self.broker.access().delete_vhost(name)));

        // Nothing is added from now on, and nobody else has to wait while it is gone through.
        let Emptied { topology, policies, queues, keepers } = vhost.directory.write().empty();
        vhost.changed();
        deletions.extend(definitions::everything(name, &topology));
        deletions.extend(policy::deletions(&vhost, &policies));
        for queue in queues.values() {
            self.broker.count_out(queue);
            let key = definitions::key(&[name.as_bytes(), queue.name.as_bytes()]);
            if queue.durable {
                deletions.push(Definition::Delete { table: Table::Queues, key });
            }
            // Without a condition nothing refuses.
            let _ = queue.delete(DeleteIf::default(), turn);
            deletions.extend(queue.forget_offsets());
        }
        for keeper in keepers.values() {
            keeper.abolish();
        }
        let keepers: Vec<u64> = keepers.keys().map(|id| id.0).collect();
        let commit = self.broker.forget(&keepers, &deletions);
        let before = json!(*vhost.metadata.read());
        self.record_change("vhost", json!({ "vhost": name }), before, Value::Null);
        drop(changes);
        let reason = format!("vhost '{name}' is deleted");
        self.broker.connections().close_where(&reason, |one| Arc::ptr_eq(one.vhost(), &vhost));
        self.broker.finish(turn);
        Ok(commit)
    }

    /// Sets what a vhost may hold.
    ///
    /// # Errors
    /// When there is no such vhost.
    pub fn set_vhost_limits(
        &self,
        name: &str,
        limits: VhostLimits,
    ) -> Result<Option<Lsn>, DefinitionError> {
        let _changes = self.broker.changes.lock();
        let vhost = self.broker.vhost(name).ok_or(DefinitionError::Orphan)?;
        Ok(self.limit_vhost(&vhost, limits))
    }

    fn limit_vhost(&self, vhost: &Vhost, limits: VhostLimits) -> Option<Lsn> {
        let name = vhost.name().as_ref();
        let key = definitions::parameter_key(name, VHOST_LIMITS, LIMITS);
        let table = Table::Parameters;
        let before = std::mem::replace(&mut *vhost.limits.write(), limits);
        self.record("vhost.limits.set", json!({ "vhost": name }), json!(before), json!(limits));
        let definition = if limits == VhostLimits::default() {
            Definition::Delete { table, key }
        } else {
            Definition::Put { table, key, value: definitions::encode(&limits) }
        };
        define(self.broker, &[definition])
    }

    /// Creates or replaces a user; its permissions stay.
    ///
    /// # Errors
    /// When the user can't be encoded.
    pub fn put_user(&self, user: User) -> Result<Changed, DefinitionError> {
        let _changes = self.broker.changes.lock();
        let key = definitions::key(&[user.name.as_bytes()]);
        let value = user.to_bytes()?;
        let before = self.broker.access().user(&user.name);
        let (object, mut after) = (json!({ "user": user.name }), audit::of_user(&user));
        let has_new = before.as_ref().is_some_and(|it| it.password_hash != user.password_hash);
        if has_new && user.password_hash.is_some() {
            after.insert("password".to_owned(), "changed".into());
        }
        let change = self.broker.access().put_user(user);
        let before = before.map_or(Value::Null, |it| audit::of_user(&it).into());
        self.record_change("user", object, before, after.into());
        let commit = define(self.broker, &[Definition::Put { table: Table::Users, key, value }]);
        Ok(Changed { change, commit })
    }

    /// Hashes a user's password as new ones are, after a login with it. Nothing if the password has
    /// been changed meanwhile, or is hashed like that already.
    ///
    /// # Errors
    /// When it can't be hashed or stored.
    pub fn rehash_password(&self, user: &User, password: &[u8]) -> Result<(), DefinitionError> {
        let access = self.broker.access();
        if user.password_hash.is_none() || user.hashing_algorithm() == access.hashing() {
            return Ok(());
        }
        let hash = PasswordHash::with(access.hashing(), password).map_err(RecordError::from)?;
        let _changes = self.broker.changes.lock();
        let Some(current) = access.user(&user.name) else { return Ok(()) };
        if current.password_hash != user.password_hash {
            return Ok(());
        }
        let upgraded = User { password_hash: Some(hash), ..(*current).clone() };
        let key = definitions::key(&[user.name.as_bytes()]);
        let value = upgraded.to_bytes()?;
        self.record(
            "user.password_rehashed",
            json!({ "user": user.name }),
            json!({ "hashing_algorithm": user.hashing_algorithm().name() }),
            json!({ "hashing_algorithm": access.hashing().name() }),
        );
        access.put_user(upgraded);
        define(self.broker, &[Definition::Put { table: Table::Users, key, value }]);
        Ok(())
    }

    /// Deletes a user with its permissions, and closes its connections; `None` when there was none.
    pub fn delete_user(&self, name: &str) -> Option<Changed> {
        let changes = self.broker.changes.lock();
        let before = audit::of_user(&*self.broker.access().user(name)?);
        let removed = self.broker.access().delete_user(name)?;
        self.record_change("user", json!({ "user": name }), before.into(), Value::Null);
        let key = definitions::key(&[name.as_bytes()]);
        let mut deletions = vec![Definition::Delete { table: Table::Users, key }];
        deletions.extend(deletions_of(&removed));
        let commit = define(self.broker, &deletions);
        drop(changes);
        let reason = format!("user '{name}' is deleted");
        self.broker.connections().close_where(&reason, |one| *one.about().user == *name);
        Some(Changed { change: Change::Updated, commit })
    }

    /// Sets what a user may hold at a time.
    ///
    /// # Errors
    /// When there is no such user, or it can't be encoded.
    pub fn set_user_limits(
        &self,
        name: &str,
        limits: UserLimits,
    ) -> Result<Option<Lsn>, DefinitionError> {
        let _changes = self.broker.changes.lock();
        let before = json!(self.broker.access().user_limits(name));
        let value = self.broker.access().set_user_limits(name, limits)?.to_bytes()?;
        self.record("user.limits.set", json!({ "user": name }), before, json!(limits));
        let key = definitions::key(&[name.as_bytes()]);
        Ok(define(self.broker, &[Definition::Put { table: Table::Users, key, value }]))
    }

    /// Sets a user's permission in a vhost.
    ///
    /// # Errors
    /// When there is no such user, or the permission can't be encoded.
    pub fn put_permission(
        &self,
        key: PermissionKey,
        permission: Permission,
    ) -> Result<Changed, DefinitionError> {
        let _changes = self.broker.changes.lock();
        let (stored_key, value) = (key.to_bytes()?, permission.to_bytes()?);
        let before = self.broker.access().permission(&key.user, &key.vhost);
        let (object, after) = (json!(key), json!(permission));
        let change = self.broker.access().put_permission(key, permission)?;
        self.record_change("permission", object, json!(before.as_deref()), after);
        let table = Table::Permissions;
        let commit = define(self.broker, &[Definition::Put { table, key: stored_key, value }]);
        Ok(Changed { change, commit })
    }

    /// Takes a user's permission in a vhost away; `None` when there was none.
    ///
    /// # Errors
    /// When the key can't be encoded.
    pub fn delete_permission(
        &self,
        key: &PermissionKey,
    ) -> Result<Option<Changed>, DefinitionError> {
        let _changes = self.broker.changes.lock();
        let stored_key = key.to_bytes()?;
        let before = self.broker.access().permission(&key.user, &key.vhost);
        if !self.broker.access().delete_permission(&key.user, &key.vhost) {
            return Ok(None);
        }
        self.record_change("permission", json!(key), json!(before.as_deref()), Value::Null);
        let table = Table::Permissions;
        let commit = define(self.broker, &[Definition::Delete { table, key: stored_key }]);
        Ok(Some(Changed { change: Change::Updated, commit }))
    }

    /// Sets a user's topic permission on one exchange of a vhost.
    ///
    /// # Errors
    /// When there is no such user, a pattern doesn't hold for it, or it can't be encoded.
    pub fn put_topic_permission(
        &self,
        key: PermissionKey,
        permission: TopicPermission,
    ) -> Result<Changed, DefinitionError> {
        let _changes = self.broker.changes.lock();
        let stored_key = TopicPermissionKey::new(&*key.user, &*key.vhost, &*permission.exchange);
        let (stored_key, value) = (stored_key.to_bytes()?, permission.to_bytes()?);
        let before = self.topic_permissions(&key, Some(&permission.exchange));
        let (object, after) = (json!(key), json!([permission]));
        let change = self.broker.access().put_topic_permission(key, permission)?;
        self.record_change("topic.permission", object, before, after);
        let table = Table::TopicPermissions;
        let commit = define(self.broker, &[Definition::Put { table, key: stored_key, value }]);
        Ok(Changed { change, commit })
    }

    /// Takes a user's topic permissions in a vhost away, all of them or one exchange's; `None` when
    /// there was none.
    ///
    /// # Errors
    /// When a key can't be encoded.
    pub fn delete_topic_permissions(
        &self,
        key: &PermissionKey,
        exchange: Option<&str>,
    ) -> Result<Option<Changed>, DefinitionError> {
        let _changes = self.broker.changes.lock();
        let before = self.topic_permissions(key, exchange);
        let removed =
            self.broker.access().delete_topic_permissions(&key.user, &key.vhost, exchange);
        if removed.is_empty() {
            return Ok(None);
        }
        self.record_change("topic.permission", json!(key), before, Value::Null);
        let permissions = RemovedPermissions { topic_permissions: removed, permissions: vec![] };
        let deletions: Vec<Definition> = deletions_of(&permissions).collect();
        Ok(Some(Changed { change: Change::Updated, commit: define(self.broker, &deletions) }))
    }

    /// Has what goes through a vhost published once more, or no longer. Until the broker stops.
    pub fn trace(&self, vhost: &Vhost, is_traced: bool) {
        let before = vhost.is_traced();
        vhost.trace(is_traced);
        let object = json!({ "vhost": vhost.name().as_ref() });
        self.record("vhost.tracing.set", object, before.into(), is_traced.into());
    }

    /// The topic permissions of a user in a vhost, on one exchange or all; null for none.
    fn topic_permissions(&self, key: &PermissionKey, exchange: Option<&str>) -> Value {
        let mut all = self.broker.access().topic_permissions();
        all.retain(|(own, _)| {
            let is_exchange = exchange.is_none_or(|exchange| own.exchange == exchange);
            own.user == key.user && own.vhost == key.vhost && is_exchange
        });
        if all.is_empty() {
            return Value::Null;
        }
        all.iter().map(|(_, permission)| json!(permission)).collect()
    }

    /// Records what has become of something that comes and goes. What stays as it was is no change.
    pub(crate) fn record_change(&self, kind: &str, object: Value, before: Value, after: Value) {
        let verb = match (before.is_null(), after.is_null()) {
            (true, _) => "created",
            (false, false) => "updated",
            (false, true) => "deleted",
        };
        self.record(&format!("{kind}.{verb}"), object, before, after);
    }

    pub(crate) fn record(&self, name: &str, object: Value, before: Value, after: Value) {
        if before == after {
            self.actor.changes_nothing();
            return;
        }
        let action = Action { name: name.to_owned(), object, before, after };
        self.broker.record(self.actor, &action);
    }
}

/// The deletions that follow from the end of a user or a vhost.
fn deletions_of(removed: &RemovedPermissions) -> impl Iterator<Item = Definition> + '_ {
    // Keys that were stored before can be encoded again.
    let permissions = removed.permissions.iter().filter_map(|key| key.to_bytes().ok());
    let topics = removed.topic_permissions.iter().filter_map(|key| key.to_bytes().ok());
    let permissions = permissions.map(|key| Definition::Delete { table: Table::Permissions, key });
    permissions.chain(topics.map(|key| Definition::Delete { table: Table::TopicPermissions, key }))
}
