//! Who has logged in, and where it stands what they may do.

use std::sync::Arc;
use std::time::Duration;

use super::authority::Authority;
use super::token::TokenRights;
use super::user::User;

/// What a login came to.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The name and the tags.
    pub user: Arc<User>,
    /// The broker's own user of that name as it was then, if it had a part in the login: also where
    /// another says who they are, or what they may do.
    pub own: Option<Arc<User>>,
    /// Who decides what they may do.
    pub rights: Rights,
}

/// Who decides what somebody may do.
#[derive(Clone, Debug)]
pub enum Rights {
    /// The broker's own permissions for the user's name.
    Internal,
    /// The token they came with.
    Token(Arc<TokenRights>),
    /// Somebody outside.
    Remote(Arc<dyn Authority>),
}

impl Principal {
    /// Whether nobody but the broker had a part in the login.
    pub fn is_own(&self) -> bool {
        self.has_own_tags() && matches!(self.rights, Rights::Internal)
    }

    /// Whether the tags are those of the broker's own user.
    pub fn has_own_tags(&self) -> bool {
        self.own.as_ref().is_some_and(|own| Arc::ptr_eq(own, &self.user))
    }

    /// How long the login lasts yet, if it ends.
    pub fn left(&self) -> Option<Duration> {
        self.token()?.left()
    }

    /// Whether the login has ended.
    pub fn has_expired(&self) -> bool {
        self.token().is_some_and(|token| token.has_expired())
    }

    fn token(&self) -> Option<&TokenRights> {
        match &self.rights {
            Rights::Token(token) => Some(token),
            Rights::Internal | Rights::Remote(_) => None,
        }
    }
}

/// A user of the broker's own.
impl From<Arc<User>> for Principal {
    fn from(user: Arc<User>) -> Self {
        Self { own: Some(Arc::clone(&user)), user, rights: Rights::Internal }
    }
}
