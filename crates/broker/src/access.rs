//! Who may log in and what they may touch: users, passwords, permissions.
//!
//! [`AccessControl`] is the node's directory. It answers from memory, without I/O and without a
//! clock; making a change durable first is the caller's task, and every value here has a byte form
//! for that ([`User::to_bytes`], [`PermissionKey`], [`TopicPermissionKey`], ...).
//!
//! A session does not ask the directory for each message: it keeps a [`PermissionCache`], which
//! compares one atomic number, that of its user's last change, and answers from a handful of remembered
//! names.

mod argon2id;
mod attempts;
mod authority;
mod cache;
mod fixed_limits;
mod known_logins;
mod password;
mod pattern;
mod permission;
mod principal;
mod record;
mod rights;
mod secret;
mod throttle;
mod token;
mod topic_permission;
mod user;
mod wildcard;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ahash::{AHashMap, AHashSet};
use parking_lot::RwLock;
use thiserror::Error;

pub use self::attempts::{Entrance, LoginAttempts};
pub use self::authority::{Authority, Decision, Question, ResourceKind};
pub use self::cache::PermissionCache;
pub use self::fixed_limits::FIXED_LIMITS;
use self::known_logins::{KnownLogins, Whose};
pub use self::password::{HashingAlgorithm, PasswordError, PasswordHash};
pub(crate) use self::pattern::PATTERN_MEMORY_MAX;
pub use self::pattern::{Pattern, PatternError};
pub use self::permission::{Permission, PermissionKind};
pub use self::principal::{Principal, Rights};
pub use self::record::{PermissionKey, RecordError, TopicPermissionKey};
pub(crate) use self::rights::{SessionRights, Verdict};
pub use self::secret::Secret;
pub use self::throttle::{Throttle, ThrottleLimits, network};
pub use self::token::{PatternSyntax, TokenRights};
pub use self::topic_permission::{TopicGrant, TopicPermission, TopicPermissionKind};
pub use self::user::{User, tag};
use crate::limits::UserLimits;

/// Every user of the node with its permissions, behind one lock.
///
/// Reads take the lock shared for one map lookup and hand out `Arc`s. Each change bumps
/// [`generation`](Self::generation), and gives its user the number, while the lock is still held, so a
/// reader that sees the new number also sees the new state.
#[derive(Debug)]
pub struct AccessControl {
    accounts: RwLock<AHashMap<Box<str>, Account>>,
    generation: AtomicU64,
    loopback_users: AHashSet<Box<str>>,
    hashing: HashingAlgorithm,
    /// Logins whose hashes were verified at a cost.
    right: Option<KnownLogins>,
    /// And those that were refused at one.
    wrong: Option<KnownLogins>,
    attempts: attempts::Attempts,
    throttle: Throttle,
    listener: Listener,
}

/// Is told who has changed, or whose permissions have, when it holds already.
#[derive(Default)]
struct Listener(OnceLock<Told>);

type Told = Box<dyn Fn(&str) + Send + Sync>;

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.0.get().is_some()).finish()
    }
}

/// A user and what it was granted; deleting the user deletes its permissions with it.
#[derive(Debug)]
struct Account {
    user: Arc<User>,
    vhosts: AHashMap<Box<str>, Grants>,
    /// Which [generation](AccessControl::generation) its last change has made.
    changed: Arc<AtomicU64>,
}

/// What a session of a user goes by.
pub(crate) struct Standing {
    /// Changes with the user and their permissions. Never, where there is no such user: what there isn't
    /// stays so for a session.
    pub(crate) changed: Arc<AtomicU64>,
    /// What it was when this was looked up.
    pub(crate) generation: u64,
    pub(crate) permission: Option<Arc<Permission>>,
}

/// What one user may do in one vhost.
#[derive(Debug, Default)]
struct Grants {
    permission: Option<Arc<Permission>>,
    topics: AHashMap<Box<str>, Arc<TopicGrant>>,
}

impl AccessControl {
    /// An empty directory. The users named in `loopback_users` may log in only from the machine
    /// itself (RabbitMQ's `loopback_users`, there and here `guest` by default).
    pub fn new<N: Into<Box<str>>>(loopback_users: impl IntoIterator<Item = N>) -> Self {
        Self {
            accounts: RwLock::default(),
            generation: AtomicU64::new(0),
            loopback_users: loopback_users.into_iter().map(Into::into).collect(),
            hashing: HashingAlgorithm::default(),
            right: KnownLogins::new(),
            wrong: KnownLogins::new(),
            attempts: attempts::Attempts::default(),
            throttle: Throttle::default(),
            listener: Listener::default(),
        }
    }

    /// Has this called after each change with the name of the user who has changed, or whose permissions have.
    /// Only the first that asks is told.
    pub(crate) fn listen(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.listener.0.set(Box::new(listener));
    }

    /// Has new passwords hashed like that.
    #[must_use]
    pub fn hashing_with(self, hashing: HashingAlgorithm) -> Self {
        Self { hashing, ..self }
    }

    /// How new passwords are hashed.
    pub fn hashing(&self) -> HashingAlgorithm {
        self.hashing
    }

    /// Whether [`authenticate`](Self::authenticate) will take its time, and much memory: that is not
    /// for a thread that serves others.
    pub fn takes_time(&self, user: &str, password: &[u8], peer_is_loopback: bool) -> bool {
        if user.is_empty() || password.is_empty() {
            return false;
        }
        let (name, are_costly) = (user, self.hashing == HashingAlgorithm::Argon2id);
        let may_come = self.check_origin(name, peer_is_loopback).is_ok();
        let user = self.user(name).filter(|_| may_come);
        let Some(hash) = user.as_ref().and_then(|user| user.password_hash.as_ref()) else {
            return are_costly && !self.is_wrong(Whose::Nobody(name), password);
        };
        let is_costly = match hash.algorithm() {
            HashingAlgorithm::Argon2id => !self.is_right(hash, password),
            _ => are_costly && !hash.verify(password),
        };
        is_costly && !self.is_wrong(Whose::Of(hash), password)
    }

    /// Whether the user's password is hashed otherwise than new ones are.
    pub fn is_hashed_otherwise(&self, user: &str) -> bool {
        let user = self.user(user);
        user.is_some_and(|it| it.password_hash.is_some() && it.hashing_algorithm() != self.hashing)
    }

    /// Whether it is known to be the hash's password.
    fn is_right(&self, hash: &PasswordHash, password: &[u8]) -> bool {
        self.right.as_ref().is_some_and(|right| right.contains(Whose::Of(hash), password))
    }

    /// Whether it is known not to be.
    fn is_wrong(&self, whose: Whose<'_>, password: &[u8]) -> bool {
        self.wrong.as_ref().is_some_and(|wrong| wrong.contains(whose, password))
    }

    /// Whether it is the hash's password. What cost much is remembered.
    fn verify(&self, hash: &PasswordHash, password: &[u8]) -> bool {
        if hash.algorithm() != HashingAlgorithm::Argon2id {
            return hash.verify(password);
        }
        if self.is_right(hash, password) {
            return true;
        }
        let is_right = hash.verify(password);
        if let Some(right) = self.right.as_ref().filter(|_| is_right) {
            right.remember(Whose::Of(hash), password);
        }
        is_right
    }

    /// Does the work of a verification with the algorithm of new passwords, unless it `was_done`, for a login that
    /// fails: once. Whoever comes back with the same costs nothing more.
    fn refuse(&self, whose: Whose<'_>, password: &[u8], was_done: bool) {
        if self.is_wrong(whose, password) {
            return;
        }
        if !was_done {
            password::verify_nothing(self.hashing, password);
        }
        if let Some(wrong) = &self.wrong {
            wrong.remember(whose, password);
        }
    }

    /// A number that changes with every change of users or permissions.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Checks a login.
    ///
    /// An unknown user and a user without a password cost one hash like a wrong password does, and
    /// that as much as one of a new password, so the time of the answer does not tell which names
    /// exist. The same wrong password again costs nothing, whoever's it is said to be. An empty name is
    /// nobody's and costs nothing: tokens come with it. Nor does an empty password, which lets nobody in
    /// whatever their hash is, as in RabbitMQ. One who may come from the machine itself only costs as much as an
    /// unknown user elsewhere, with the right password as with any. `peer_is_loopback` is [`is_loopback`] of the peer's address.
    ///
    /// # Errors
    /// The reason, for the log only: a client is told nothing but that the login was refused.
    pub fn authenticate(
        &self,
        user: &str,
        password: &[u8],
        peer_is_loopback: bool,
    ) -> Result<Arc<User>, AuthFailure> {
        if user.is_empty() {
            return Err(AuthFailure::UnknownUser);
        }
        if password.is_empty() {
            return Err(AuthFailure::BlankPassword);
        }
        let name = user;
        if let Err(failure) = self.check_origin(name, peer_is_loopback) {
            // Nobody looks at the password: neither the time of the answer nor the next one's tells whether
            // it is right.
            self.refuse(Whose::Nobody(name), password, false);
            return Err(failure);
        }
        let Some(user) = self.user(name) else {
            self.refuse(Whose::Nobody(name), password, false);
            return Err(AuthFailure::UnknownUser);
        };
        let Some(hash) = &user.password_hash else {
            self.refuse(Whose::Nobody(name), password, false);
            return Err(AuthFailure::NoPassword);
        };
        if self.is_wrong(Whose::Of(hash), password) || !self.verify(hash, password) {
            self.refuse(Whose::Of(hash), password, hash.algorithm() == self.hashing);
            return Err(AuthFailure::WrongPassword);
        }
        Ok(user)
    }

    /// Checks a login of somebody who has proved otherwise who they are, as with a certificate:
    /// the user need not have a password.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate).
    pub fn admit(&self, user: &str, peer_is_loopback: bool) -> Result<Arc<User>, AuthFailure> {
        let user = self.user(user).ok_or(AuthFailure::UnknownUser)?;
        self.check_origin(&user.name, peer_is_loopback)?;
        Ok(user)
    }

    /// Checks whether a user of this name, of whoever's users, may come from where they do.
    ///
    /// # Errors
    /// [`AuthFailure::NotLoopback`] for a loopback user from elsewhere.
    pub fn check_origin(&self, user: &str, peer_is_loopback: bool) -> Result<(), AuthFailure> {
        match !peer_is_loopback && self.loopback_users.contains(user) {
            true => Err(AuthFailure::NotLoopback),
            false => Ok(()),
        }
    }

    /// Who has to wait after wrong passwords.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Counts a login.
    pub fn count_attempt(&self, entrance: Entrance, has_succeeded: bool) {
        self.attempts.count(entrance, has_succeeded);
    }

    /// Counts a login that was not looked at, because its address has to wait.
    pub fn count_throttled(&self, entrance: Entrance) {
        self.attempts.count_throttled(entrance);
    }

    /// How many logins there were.
    pub fn attempts(&self, entrance: Entrance) -> LoginAttempts {
        self.attempts.read(entrance)
    }

    /// Begins to count logins anew.
    pub fn reset_attempts(&self) {
        self.attempts.reset();
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.accounts.read().get(name).map(|account| Arc::clone(&account.user))
    }

    /// All users, sorted by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        let mut users: Vec<_> =
            self.accounts.read().values().map(|account| Arc::clone(&account.user)).collect();
        users.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        users
    }

    /// Adds a user, or replaces its password, tags and limits; permissions stay.
    pub(crate) fn put_user(&self, user: User) -> Change {
        let user = Arc::new(user);
        let name = user.name.clone();
        self.change(&name, |accounts| match accounts.get_mut(&*user.name) {
            Some(account) => {
                account.user = user;
                Change::Updated
            }
            None => {
                let name = user.name.as_str().into();
                let (vhosts, changed) = Default::default();
                accounts.insert(name, Account { user, vhosts, changed });
                Change::Created
            }
        })
    }

    /// Sets what the user may hold at a time, and hands out the user as it is now.
    ///
    /// # Errors
    /// [`NoSuchUser`] when there is none of that name.
    pub(crate) fn set_user_limits(
        &self,
        name: &str,
        limits: UserLimits,
    ) -> Result<Arc<User>, NoSuchUser> {
        self.change(name, |accounts| {
            let account = accounts.get_mut(name).ok_or_else(|| NoSuchUser(name.to_owned()))?;
            account.user = Arc::new(User { limits, ..(*account.user).clone() });
            Ok(Arc::clone(&account.user))
        })
    }

    /// What the user may hold at a time; one that has been deleted has no limits.
    pub fn user_limits(&self, name: &str) -> UserLimits {
        self.accounts.read().get(name).map(|account| account.user.limits).unwrap_or_default()
    }

    /// Removes a user with all its permissions; `None` when there was none.
    ///
    /// The keys of the removed permissions come back, for whoever keeps them on disk.
    pub(crate) fn delete_user(&self, name: &str) -> Option<RemovedPermissions> {
        self.change(name, |accounts| {
            let account = accounts.remove(name)?;
            let mut removed = RemovedPermissions::default();
            for (vhost, grants) in account.vhosts {
                removed.add(name, &vhost, grants);
            }
            Some(removed)
        })
    }

    /// What the user may do in the vhost; `None` also means that it may not enter the vhost.
    pub fn permission(&self, user: &str, vhost: &str) -> Option<Arc<Permission>> {
        let accounts = self.accounts.read();
        accounts.get(user)?.vhosts.get(vhost)?.permission.clone()
    }

    /// All permissions, sorted by user, then vhost.
    pub fn permissions(&self) -> Vec<(PermissionKey, Arc<Permission>)> {
        let mut all = Vec::new();
        for (user, account) in &*self.accounts.read() {
            for (vhost, grants) in &account.vhosts {
                if let Some(permission) = &grants.permission {
                    all.push((PermissionKey::new(&**user, &**vhost), Arc::clone(permission)));
                }
            }
        }
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Grants (or changes) what the user may do in the vhost. Whether the vhost exists is the
    /// caller's question.
    ///
    /// # Errors
    /// [`NoSuchUser`] when there is no user of that name.
    pub(crate) fn put_permission(
        &self,
        key: PermissionKey,
        permission: Permission,
    ) -> Result<Change, NoSuchUser> {
        let user = key.user.clone();
        self.change(&user, |accounts| {
            let Some(account) = accounts.get_mut(&*key.user) else {
                return Err(NoSuchUser(key.user));
            };
            let grants = account.vhosts.entry(key.vhost.into()).or_default();
            Ok(Change::of(grants.permission.replace(Arc::new(permission)).is_some()))
        })
    }

    /// Takes the user's permission in the vhost away; `false` when there was none. Topic
    /// permissions stay, as in RabbitMQ.
    pub(crate) fn delete_permission(&self, user: &str, vhost: &str) -> bool {
        self.change(user, |accounts| {
            let Some(account) = accounts.get_mut(user) else { return false };
            let Some(grants) = account.vhosts.get_mut(vhost) else { return false };
            let existed = grants.permission.take().is_some();
            if grants.topics.is_empty() {
                account.vhosts.remove(vhost);
            }
            existed
        })
    }

    /// What restricts the user's routing keys on one topic exchange; `None` allows every key.
    pub fn topic_grant(&self, user: &str, vhost: &str, exchange: &str) -> Option<Arc<TopicGrant>> {
        let accounts = self.accounts.read();
        accounts.get(user)?.vhosts.get(vhost)?.topics.get(exchange).cloned()
    }

    /// All topic permissions, sorted by user, vhost, exchange.
    pub fn topic_permissions(&self) -> Vec<(TopicPermissionKey, TopicPermission)> {
        let mut all = Vec::new();
        for (user, account) in &*self.accounts.read() {
            for (vhost, grants) in &account.vhosts {
                for (exchange, grant) in &grants.topics {
                    let key = TopicPermissionKey::new(&**user, &**vhost, &**exchange);
                    all.push((key, grant.permission().clone()));
                }
            }
        }
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Restricts the user's routing keys on the permission's exchange.
    ///
    /// # Errors
    /// [`TopicPermissionRefused`] when there is no such user, or a pattern is not valid once the
    /// names are filled in.
    pub(crate) fn put_topic_permission(
        &self,
        key: PermissionKey,
        permission: TopicPermission,
    ) -> Result<Change, TopicPermissionRefused> {
        let grant = TopicGrant::new(permission, &key)?;
        let user = key.user.clone();
        self.change(&user, |accounts| {
            let Some(account) = accounts.get_mut(&*key.user) else {
                return Err(NoSuchUser(key.user).into());
            };
            let grants = account.vhosts.entry(key.vhost.into()).or_default();
            let exchange = grant.permission().exchange.as_str().into();
            Ok(Change::of(grants.topics.insert(exchange, Arc::new(grant)).is_some()))
        })
    }

    /// Takes the user's topic permissions in the vhost away, all of them or one exchange's, and
    /// returns the keys of those that existed.
    pub(crate) fn delete_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Vec<TopicPermissionKey> {
        self.change(user, |accounts| {
            let Some(account) = accounts.get_mut(user) else { return Vec::new() };
            let Some(grants) = account.vhosts.get_mut(vhost) else { return Vec::new() };
            let removed: Vec<_> = match exchange {
                Some(exchange) => grants.topics.remove_entry(exchange).into_iter().collect(),
                None => grants.topics.drain().collect(),
            };
            if grants.topics.is_empty() && grants.permission.is_none() {
                account.vhosts.remove(vhost);
            }
            removed
                .into_iter()
                .map(|(exchange, _)| TopicPermissionKey::new(user, vhost, &*exchange))
                .collect()
        })
    }

    /// Removes every permission in a vhost that is being deleted and returns their keys.
    pub(crate) fn delete_vhost(&self, vhost: &str) -> RemovedPermissions {
        let (mut removed, mut changed) = (RemovedPermissions::default(), Vec::new());
        let mut accounts = self.accounts.write();
        let generation = self.next_generation();
        for (user, account) in &mut *accounts {
            if let Some(grants) = account.vhosts.remove(vhost) {
                removed.add(user, vhost, grants);
                account.changed.store(generation, Ordering::Release);
                changed.push(user.clone());
            }
        }
        drop(accounts);
        changed.iter().for_each(|user| self.tell(user));
        removed
    }

    /// What a session of the user in the vhost goes by.
    pub(crate) fn standing(&self, user: &str, vhost: &str) -> Standing {
        let accounts = self.accounts.read();
        let Some(account) = accounts.get(user) else {
            let (changed, generation, permission) = Default::default();
            return Standing { changed, generation, permission };
        };
        let grants = account.vhosts.get(vhost);
        Standing {
            changed: Arc::clone(&account.changed),
            generation: account.changed.load(Ordering::Acquire),
            permission: grants.and_then(|grants| grants.permission.clone()),
        }
    }

    /// Changes something of a user. Sessions of others don't notice.
    fn change<R>(
        &self,
        user: &str,
        change: impl FnOnce(&mut AHashMap<Box<str>, Account>) -> R,
    ) -> R {
        let mut accounts = self.accounts.write();
        let changed =
            |accounts: &AHashMap<Box<str>, Account>| Some(Arc::clone(&accounts.get(user)?.changed));
        // Also of one who goes by it.
        let before = changed(&accounts);
        let result = change(&mut accounts);
        let generation = self.next_generation();
        for changed in before.into_iter().chain(changed(&accounts)) {
            changed.store(generation, Ordering::Release);
        }
        drop(accounts);
        self.tell(user);
        result
    }

    /// That of a change, while nobody can look at what it changes.
    fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::Release) + 1
    }

    fn tell(&self, user: &str) {
        if let Some(listener) = self.listener.0.get() {
            listener(user);
        }
    }
}

/// Whether a put made something new (HTTP 201) or replaced what was there (HTTP 204).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was nothing of that key.
    Created,
    /// An earlier value was replaced.
    Updated,
}

impl Change {
    fn of(existed: bool) -> Self {
        if existed { Self::Updated } else { Self::Created }
    }
}

/// The keys of the permissions that went away together with a user or a vhost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedPermissions {
    /// Keys of permissions.
    pub permissions: Vec<PermissionKey>,
    /// Keys of topic permissions.
    pub topic_permissions: Vec<TopicPermissionKey>,
}

impl RemovedPermissions {
    fn add(&mut self, user: &str, vhost: &str, grants: Grants) {
        if grants.permission.is_some() {
            self.permissions.push(PermissionKey::new(user, vhost));
        }
        for exchange in grants.topics.keys() {
            self.topic_permissions.push(TopicPermissionKey::new(user, vhost, &**exchange));
        }
    }
}

/// Why a login was refused. For the log: the client only learns that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuthFailure {
    /// There is no user of that name.
    #[error("invalid credentials: no such user")]
    UnknownUser,
    /// The password does not belong to the user.
    #[error("invalid credentials: wrong password")]
    WrongPassword,
    /// The password is empty, which lets in nobody.
    #[error("invalid credentials: a blank password")]
    BlankPassword,
    /// The user has no password and cannot log in with one.
    #[error("invalid credentials: the user has no password")]
    NoPassword,
    /// The user may log in from the broker's own machine only, and this peer is elsewhere.
    #[error("the user can only connect via localhost")]
    NotLoopback,
}

/// A permission was to be given to a user that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no such user '{0}'")]
pub struct NoSuchUser(pub String);

/// A topic permission could not be set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopicPermissionRefused {
    /// There is no such user.
    #[error(transparent)]
    NoSuchUser(#[from] NoSuchUser),
    /// A pattern is not valid for this user and vhost.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Whether a peer's address is the machine itself: 127.0.0.0/8, `::1`, and 127.0.0.0/8 in its
/// IPv4-mapped form, which is how an IPv4 peer shows on a dual-stack listener.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests;
