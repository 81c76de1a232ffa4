//! Which routing keys a user may use on a topic exchange.

use serde::{Deserialize, Serialize};

use super::pattern::{Pattern, PatternError};
use super::record::PermissionKey;

/// Patterns over the routing keys of one topic exchange, as the user wrote them.
///
/// `{username}` and `{vhost}` stand for the names of the user and the vhost it was granted in,
/// taken literally whatever characters they hold. `{client_id}` has a meaning for MQTT clients
/// only; for all others it stands for itself, as in RabbitMQ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPermission {
    /// The topic exchange.
    pub exchange: String,
    /// Routing keys that may be published.
    pub write: String,
    /// Binding keys that may be bound.
    pub read: String,
}

impl TopicPermission {
    /// A topic permission whose patterns are valid.
    ///
    /// # Errors
    /// [`PatternError`] of the first pattern that is not.
    pub fn new(
        exchange: impl Into<String>,
        write: impl Into<String>,
        read: impl Into<String>,
    ) -> Result<Self, PatternError> {
        let permission = Self { exchange: exchange.into(), write: write.into(), read: read.into() };
        let anyone = PermissionKey::new("user", "vhost");
        expand(&permission.write, &anyone)?;
        expand(&permission.read, &anyone)?;
        Ok(permission)
    }
}

/// A [`TopicPermission`] with the names filled in, ready to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicGrant {
    permission: TopicPermission,
    write: Pattern,
    read: Pattern,
}

impl TopicGrant {
    pub(super) fn new(
        permission: TopicPermission,
        key: &PermissionKey,
    ) -> Result<Self, PatternError> {
        let write = expand(&permission.write, key)?;
        let read = expand(&permission.read, key)?;
        Ok(Self { permission, write, read })
    }

    /// Whether the key may be used in that way.
    pub fn allows(&self, kind: TopicPermissionKind, key: &str) -> bool {
        match kind {
            TopicPermissionKind::Write => self.write.matches(key),
            TopicPermissionKind::Read => self.read.matches(key),
        }
    }

    /// What it was made of.
    pub fn permission(&self) -> &TopicPermission {
        &self.permission
    }
}

/// The kinds of access to a routing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicPermissionKind {
    /// Publish with the key.
    Write,
    /// Bind with the key.
    Read,
}

impl TopicPermissionKind {
    /// The word RabbitMQ 4 puts into its refusal: `<word> access to topic ... refused`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// Fills in the names in one pass, so that braces inside a name are never taken for a variable.
fn expand(template: &str, key: &PermissionKey) -> Result<Pattern, PatternError> {
    let variables = [
        ("{username}", regex::escape(&key.user)),
        ("{vhost}", regex::escape(&key.vhost)),
        ("{client_id}", regex::escape("{client_id}")),
    ];
    let mut expanded = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((literal, tail)) = rest.find('{').and_then(|at| rest.split_at_checked(at)) {
        expanded.push_str(literal);
        rest = match variables
            .iter()
            .find_map(|(name, value)| tail.strip_prefix(name).map(|after| (value.as_str(), after)))
        {
            Some((value, after)) => {
                expanded.push_str(value);
                after
            }
            None => {
                expanded.push('{');
                tail.strip_prefix('{').unwrap_or(tail)
            }
        };
    }
    expanded.push_str(rest);
    Pattern::new(&expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_allows(template: &str, user: &str, key: &str) -> bool {
        let permission = TopicPermission::new("amq.topic", template, ".*").unwrap();
        let grant = TopicGrant::new(permission, &PermissionKey::new(user, "/")).unwrap();
        grant.allows(TopicPermissionKind::Write, key)
    }

    #[test]
    fn names_are_filled_in_literally() {
        assert!(write_allows("^{username}\\.", "anna", "anna.in"));
        assert!(!write_allows("^{username}\\.", "anna", "bert.in"));
        assert!(!write_allows("^{username}$", ".*", "anything"));
        assert!(write_allows("^{username}$", ".*", ".*"));
        assert!(write_allows("^{vhost}{username}$", "{vhost}", "/{vhost}"));
        assert!(write_allows("^{vhost}-{vhost}$", "u", "/-/"));
    }

    #[test]
    fn other_braces_keep_their_meaning() {
        assert!(write_allows("^[a-c]{3}$", "u", "abc"));
        assert!(write_allows("^{client_id}$", "u", "{client_id}"));
        assert!(!write_allows("^{client_id}$", "u", "client"));
        assert!(TopicPermission::new("x", "{nothing}", "").is_err());
    }

    #[test]
    fn write_and_read_are_apart_and_empty_denies() {
        let permission = TopicPermission::new("amq.topic", "", "^a").unwrap();
        let grant = TopicGrant::new(permission, &PermissionKey::new("u", "/")).unwrap();
        assert!(!grant.allows(TopicPermissionKind::Write, "a"));
        assert!(grant.allows(TopicPermissionKind::Read, "a.b"));
    }
}
