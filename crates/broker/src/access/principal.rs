//! Who has logged in, and where it stands what they may do.

use std::sync::Arc;

use super::authority::Authority;
use super::token::TokenRights;
use super::user::User;

/// What a login came to.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The name and the tags.
    pub user: Arc<User>,
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
    /// When the login ends, in seconds since 1970, if it does.
    pub fn expires_at(&self) -> Option<u64> {
        match &self.rights {
            Rights::Token(token) => token.expires_at,
            Rights::Internal | Rights::Remote(_) => None,
        }
    }
}

/// A user of the broker's own.
impl From<Arc<User>> for Principal {
    fn from(user: Arc<User>) -> Self {
        Self { user, rights: Rights::Internal }
    }
}
