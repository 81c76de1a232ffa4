//! A session's memory of what it may do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::permission::{Permission, PermissionKind};
use super::topic_permission::{TopicGrant, TopicPermissionKind};
use super::{AccessControl, Standing};

/// Names remembered at a time, for each of the two kinds of entries. RabbitMQ keeps 12 a channel.
const ENTRIES_MAX: usize = 16;

/// Answers one session's permission checks.
///
/// It remembers the answers it gave until its user changes, so a change of permissions holds from the
/// next check on. A hit compares a number and looks through a few names: no lock, no allocation, no regular
/// expression.
#[derive(Debug)]
pub struct PermissionCache {
    access: Arc<AccessControl>,
    user: Box<str>,
    vhost: Box<str>,
    /// Changes with the user and their permissions.
    changed: Arc<AtomicU64>,
    generation: u64,
    permission: Option<Arc<Permission>>,
    answers: Recent<Answer>,
    topics: Recent<Topic>,
}

#[derive(Debug)]
struct Answer {
    kind: PermissionKind,
    name: Box<str>,
    allowed: bool,
}

#[derive(Debug)]
struct Topic {
    exchange: Box<str>,
    grant: Option<Arc<TopicGrant>>,
}

impl PermissionCache {
    /// A cache for the sessions of `user` in `vhost`.
    pub fn new(access: Arc<AccessControl>, user: &str, vhost: &str) -> Self {
        let Standing { changed, generation, permission } = access.standing(user, vhost);
        Self {
            access,
            user: user.into(),
            vhost: vhost.into(),
            changed,
            generation,
            permission,
            answers: Recent::new(),
            topics: Recent::new(),
        }
    }

    /// Whether the user has any permission in the vhost, which is what lets it in.
    pub fn may_enter(&mut self) -> bool {
        self.refresh();
        self.permission.is_some()
    }

    /// Whether the exchange or queue may be accessed in that way.
    ///
    /// The default exchange is asked for as `amq.default`.
    pub fn allows(&mut self, kind: PermissionKind, name: &str) -> bool {
        self.refresh();
        let Some(permission) = &self.permission else { return false };
        let pattern = permission.pattern(kind);
        if pattern.matches_anything() {
            return true;
        }
        if let Some(answer) =
            self.answers.find(|answer| answer.kind == kind && *answer.name == *name)
        {
            return answer.allowed;
        }
        let allowed = pattern.matches(name);
        self.answers.remember(Answer { kind, name: name.into(), allowed });
        allowed
    }

    /// Whether the key may be used on the topic exchange. Asked in addition to
    /// [`allows`](Self::allows), and about exchanges of type topic only.
    pub fn allows_topic(&mut self, kind: TopicPermissionKind, exchange: &str, key: &str) -> bool {
        self.refresh();
        if let Some(topic) = self.topics.find(|topic| *topic.exchange == *exchange) {
            return topic.allows(kind, key);
        }
        let grant = self.access.topic_grant(&self.user, &self.vhost, exchange);
        let topic = Topic { exchange: exchange.into(), grant };
        let allowed = topic.allows(kind, key);
        self.topics.remember(topic);
        allowed
    }

    /// A number that changes with the user and their permissions.
    pub fn generation(&self) -> u64 {
        self.changed.load(Ordering::Acquire)
    }

    /// Forgets everything if anything changed. A user who is another by that name has another number.
    fn refresh(&mut self) {
        if self.generation() != self.generation {
            let Standing { changed, generation, permission } =
                self.access.standing(&self.user, &self.vhost);
            (self.changed, self.generation) = (changed, generation);
            self.permission = permission;
            self.answers.forget();
            self.topics.forget();
        }
    }
}

impl Topic {
    fn allows(&self, kind: TopicPermissionKind, key: &str) -> bool {
        self.grant.as_ref().is_none_or(|grant| grant.allows(kind, key))
    }
}

/// The last few entries; a new one takes the place of the oldest.
#[derive(Debug)]
pub(super) struct Recent<T> {
    entries: Vec<T>,
    oldest: usize,
}

impl<T> Recent<T> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), oldest: 0 }
    }

    pub(super) fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<&T> {
        self.entries.iter().find(|entry| is_it(entry))
    }

    pub(super) fn remember(&mut self, entry: T) {
        if self.entries.len() < ENTRIES_MAX {
            self.entries.push(entry);
        } else if let Some(oldest) = self.entries.get_mut(self.oldest) {
            *oldest = entry;
            self.oldest = (self.oldest + 1) % ENTRIES_MAX;
        }
    }

    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.oldest = 0;
    }
}
