//! What operators change: vhosts, users, permissions, limits.
//!
//! Each change is in memory and in the journal when its function returns, and durable once the LSN
//! that comes back is. Open connections notice: permissions at their next request, the deletion of
//! their vhost or user by being closed.

use std::sync::Arc;

use leveret_store::{Definition, Lsn, Table};
use thiserror::Error;

use crate::access::{
    Change, Permission, PermissionKey, RemovedPermissions, TopicPermission, TopicPermissionKey,
    User,
};
use crate::broker::{Broker, LIMITS, VHOST_LIMITS};
use crate::definitions::{self, DefinitionError};
use crate::limits::{UserLimits, VhostLimits};
use crate::policy;
use crate::queue::DeleteIf;
use crate::session::define;
use crate::turn::Turn;
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

impl Broker {
    /// Creates a vhost, or replaces what is said about it.
    pub fn put_vhost(&self, name: &str, metadata: VhostMetadata) -> Changed {
        let _changes = self.changes.lock();
        let key = definitions::key(&[name.as_bytes()]);
        let value = definitions::encode(&metadata);
        let change = match self.vhost(name) {
            Some(vhost) => {
                *vhost.metadata.write() = metadata;
                Change::Updated
            }
            None => {
                self.insert_vhost(name, metadata);
                Change::Created
            }
        };
        let commit = define(self, &[Definition::Put { table: Table::Vhosts, key, value }]);
        Changed { change, commit }
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
        let changes = self.changes.lock();
        let vhost = self.vhost(name).ok_or(VhostNotDeleted::NotFound)?;
        if vhost.metadata.read().protected_from_deletion {
            return Err(VhostNotDeleted::Protected);
        }
        self.remove_vhost(name);
        let mut deletions = Vec::new();
        let mut delete = |table, key| deletions.push(Definition::Delete { table, key });
        delete(Table::Vhosts, definitions::key(&[name.as_bytes()]));
        let parameter = definitions::parameter_key(name, VHOST_LIMITS, LIMITS);
        delete(Table::Parameters, parameter);
        deletions.extend(deletions_of(&self.access().delete_vhost(name)));

        let mut directory = vhost.directory.write();
        deletions.extend(definitions::everything(name, &directory.topology));
        deletions.extend(policy::deletions(&vhost, &directory.policies));
        let (queues, keepers) = directory.clear();
        for queue in &queues {
            self.count_out(queue);
            let key = definitions::key(&[name.as_bytes(), queue.name.as_bytes()]);
            if queue.durable {
                deletions.push(Definition::Delete { table: Table::Queues, key });
            }
            // Without a condition nothing refuses.
            let _ = queue.delete(DeleteIf::default(), turn);
            deletions.extend(queue.forget_offsets());
        }
        if !keepers.is_empty() {
            self.store().forget_queues(&keepers);
        }
        let commit = define(self, &deletions);
        vhost.changed();
        drop(directory);
        drop(changes);
        let reason = format!("vhost '{name}' is deleted");
        self.connections().close_where(&reason, |one| Arc::ptr_eq(one.vhost(), &vhost));
        self.finish(turn);
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
        let _changes = self.changes.lock();
        let vhost = self.vhost(name).ok_or(DefinitionError::Orphan)?;
        let key = definitions::parameter_key(name, VHOST_LIMITS, LIMITS);
        let table = Table::Parameters;
        *vhost.limits.write() = limits;
        let definition = if limits == VhostLimits::default() {
            Definition::Delete { table, key }
        } else {
            Definition::Put { table, key, value: definitions::encode(&limits) }
        };
        Ok(define(self, &[definition]))
    }

    /// Creates or replaces a user; its permissions stay.
    ///
    /// # Errors
    /// When the user can't be encoded.
    pub fn put_user(&self, user: User) -> Result<Changed, DefinitionError> {
        let _changes = self.changes.lock();
        let key = definitions::key(&[user.name.as_bytes()]);
        let value = user.to_bytes()?;
        let change = self.access().put_user(user);
        let commit = define(self, &[Definition::Put { table: Table::Users, key, value }]);
        Ok(Changed { change, commit })
    }

    /// Deletes a user with its permissions, and closes its connections; `None` when there was none.
    pub fn delete_user(&self, name: &str) -> Option<Changed> {
        let changes = self.changes.lock();
        let removed = self.access().delete_user(name)?;
        let key = definitions::key(&[name.as_bytes()]);
        let mut deletions = vec![Definition::Delete { table: Table::Users, key }];
        deletions.extend(deletions_of(&removed));
        let commit = define(self, &deletions);
        drop(changes);
        let reason = format!("user '{name}' is deleted");
        self.connections().close_where(&reason, |one| *one.about().user == *name);
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
        let _changes = self.changes.lock();
        let value = self.access().set_user_limits(name, limits)?.to_bytes()?;
        let key = definitions::key(&[name.as_bytes()]);
        Ok(define(self, &[Definition::Put { table: Table::Users, key, value }]))
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
        let _changes = self.changes.lock();
        let (stored_key, value) = (key.to_bytes()?, permission.to_bytes()?);
        let change = self.access().put_permission(key, permission)?;
        let table = Table::Permissions;
        let commit = define(self, &[Definition::Put { table, key: stored_key, value }]);
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
        let _changes = self.changes.lock();
        let stored_key = key.to_bytes()?;
        if !self.access().delete_permission(&key.user, &key.vhost) {
            return Ok(None);
        }
        let table = Table::Permissions;
        let commit = define(self, &[Definition::Delete { table, key: stored_key }]);
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
        let _changes = self.changes.lock();
        let stored_key = TopicPermissionKey::new(&*key.user, &*key.vhost, &*permission.exchange);
        let (stored_key, value) = (stored_key.to_bytes()?, permission.to_bytes()?);
        let change = self.access().put_topic_permission(key, permission)?;
        let table = Table::TopicPermissions;
        let commit = define(self, &[Definition::Put { table, key: stored_key, value }]);
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
        let _changes = self.changes.lock();
        let removed = self.access().delete_topic_permissions(&key.user, &key.vhost, exchange);
        if removed.is_empty() {
            return Ok(None);
        }
        let permissions = RemovedPermissions { topic_permissions: removed, permissions: vec![] };
        let deletions: Vec<Definition> = deletions_of(&permissions).collect();
        Ok(Some(Changed { change: Change::Updated, commit: define(self, &deletions) }))
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
