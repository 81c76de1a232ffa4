//! A user of the broker.

use super::password::{HashingAlgorithm, PasswordError, PasswordHash};
use crate::limits::UserLimits;

/// Tags with a meaning to the broker; a user may carry others as well.
pub mod tag {
    /// May do everything in the management interface.
    pub const ADMINISTRATOR: &str = "administrator";
    /// May see nodes and everybody's connections.
    pub const MONITORING: &str = "monitoring";
    /// May manage policies in its vhosts.
    pub const POLICYMAKER: &str = "policymaker";
    /// May see its own vhosts in the management interface.
    pub const MANAGEMENT: &str = "management";
    /// May publish with another user's name in the `user-id` property.
    pub const IMPERSONATOR: &str = "impersonator";
}

/// A user: its name, its password if it has one, its tags, its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name it logs in with.
    pub name: String,
    /// Its password; without one it cannot log in by password.
    pub password_hash: Option<PasswordHash>,
    /// Its tags, in the order they were given.
    pub tags: Vec<String>,
    /// What it may hold at a time.
    pub limits: UserLimits,
}

impl User {
    /// A user with a password, hashed with SHA-256 as in RabbitMQ, without limits.
    ///
    /// # Errors
    /// [`PasswordError::NoRandomness`] when no salt can be drawn.
    pub fn with_password<T: Into<String>>(
        name: impl Into<String>,
        password: &[u8],
        tags: impl IntoIterator<Item = T>,
    ) -> Result<Self, PasswordError> {
        Ok(Self {
            name: name.into(),
            password_hash: Some(PasswordHash::new(password)?),
            tags: tags.into_iter().map(Into::into).collect(),
            limits: UserLimits::default(),
        })
    }

    /// Whether it carries the tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }

    /// How its password is hashed; the default for a user without one, as RabbitMQ reports it.
    pub fn hashing_algorithm(&self) -> HashingAlgorithm {
        self.password_hash.as_ref().map(PasswordHash::algorithm).unwrap_or_default()
    }
}
