//! Tokens of OAuth 2: signed (JWS), verified here, with scopes in RabbitMQ's form.
//!
//! Nobody is asked about a login but for the keys of who signs, which are kept. What a token allows
//! is decided from its scopes.

mod claims;
mod keys;
mod signature;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use leveret_broker::UserLimits;
use leveret_broker::access::{Principal, Rights, User};
use thiserror::Error;

pub(crate) use self::claims::SCOPES_MAX;
pub(crate) use self::keys::{ASKED_EVERY, FRESH};
use self::keys::{Keys, NoKey};
pub(crate) use self::signature::TOKEN_MAX;
use self::signature::{Token, Unsound};
use crate::settings::OAuth2Settings;
use crate::trouble::Trouble;

#[derive(Debug)]
pub(crate) struct OAuth2Backend {
    settings: OAuth2Settings,
    keys: Arc<Keys>,
}

/// Why a token lets nobody in. None of it says what is in the token.
#[derive(Debug, Error)]
pub(crate) enum Invalid {
    #[error("it is no token")]
    NoToken,
    #[error(transparent)]
    Unsound(#[from] Unsound),
    #[error(transparent)]
    Key(#[from] NoKey),
    #[error("its audience is not this broker")]
    Audience,
    #[error("it has no time of expiry")]
    NoExpiry,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    Early,
    #[error("it has too many scopes")]
    TooManyScopes,
}

impl Invalid {
    /// Whether the token may be good: its key could not be had.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(self, Self::Key(NoKey::Unreachable(_)))
    }

    /// Whether it is a token at all.
    pub(crate) fn is_token(&self) -> bool {
        !matches!(self, Self::NoToken | Self::Unsound(Unsound::Malformed))
    }
}

impl OAuth2Backend {
    pub(crate) fn new(settings: OAuth2Settings, trouble: Trouble) -> Self {
        let keys = Arc::new(Keys::new(&settings, trouble));
        Self { settings, keys }
    }

    /// Whose token it is, if it is good.
    pub(crate) async fn log_in(&self, token: Option<&[u8]>) -> Result<Principal, Invalid> {
        let token = token.and_then(|token| str::from_utf8(token).ok()).ok_or(Invalid::NoToken)?;
        let token = Token::parse(token)?;
        claims::check_audience(&self.settings, &token.claims)?;
        let key = self.keys.find(token.key.as_deref()).await?;
        token.verify(&key, &self.settings.algorithms)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (rights, tags) = claims::rights(&self.settings, &token.claims, now)?;
        let name = claims::user(&self.settings, &token.claims).to_owned();
        let limits = UserLimits::default();
        let user = Arc::new(User { name, password_hash: None, tags, limits });
        Ok(Principal { user, own: None, rights: Rights::Token(Arc::new(rights)) })
    }
}
