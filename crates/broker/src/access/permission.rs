//! What a user may do in a vhost.

use serde::{Deserialize, Serialize};

use super::pattern::{Pattern, PatternError};

/// Three patterns over the names of exchanges and queues, granted to one user in one vhost.
///
/// The default exchange has no name; callers check it as `amq.default`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// Names that may be declared and deleted.
    pub configure: Pattern,
    /// Names that may be published to, or bound as a destination.
    pub write: Pattern,
    /// Names that may be consumed, purged, or bound as a source.
    pub read: Pattern,
}

impl Permission {
    /// Compiles the three patterns.
    ///
    /// # Errors
    /// [`PatternError`] of the first one that is not valid.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, PatternError> {
        Ok(Self {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        })
    }

    /// The pattern that decides about one kind of access.
    pub fn pattern(&self, kind: PermissionKind) -> &Pattern {
        match kind {
            PermissionKind::Configure => &self.configure,
            PermissionKind::Write => &self.write,
            PermissionKind::Read => &self.read,
        }
    }

    /// Whether `name` may be accessed in that way.
    pub fn allows(&self, kind: PermissionKind, name: &str) -> bool {
        self.pattern(kind).matches(name)
    }
}

/// The kinds of access to a queue or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermissionKind {
    /// Declare, delete.
    Configure,
    /// Publish to, bind as a destination.
    Write,
    /// Consume, get, purge, bind as a source.
    Read,
}

impl PermissionKind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Configure, Self::Write, Self::Read];

    /// The word RabbitMQ 4 puts into its refusal: `<word> access to queue ... refused`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}
