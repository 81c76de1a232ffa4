//! What somebody logs in with, and why that failed.

use std::fmt;
use std::net::IpAddr;

/// What somebody logs in with.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password, or the token; nothing if they have proved otherwise who they are.
    pub password: Option<Vec<u8>>,
    /// Where they come from.
    pub address: IpAddr,
    /// Whether they are at the broker's own machine.
    pub is_local: bool,
    /// The vhost it is about, if that is known.
    pub vhost: Option<String>,
}

/// Passwords are nobody's business.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, address, vhost, .. } = self;
        f.debug_struct("Credentials")
            .field("user", user)
            .field("address", address)
            .field("vhost", vhost)
            .finish_non_exhaustive()
    }
}

/// Why a login was refused. For the log: the client only learns that it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRefused {
    reasons: Vec<String>,
    /// Somebody who was asked has said no.
    is_denied: bool,
    /// Somebody can't be asked.
    is_fault: bool,
    is_token: bool,
}

impl LoginRefused {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], is_denied: true, is_fault: false, is_token: false }
    }

    pub(crate) fn fault(reason: impl Into<String>) -> Self {
        Self { is_denied: false, is_fault: true, ..Self::new(reason) }
    }

    /// The password was a token.
    pub(crate) fn of_token(self) -> Self {
        Self { is_token: true, ..self }
    }

    /// Whether a wrong password was tried. Nobody guesses tokens, and where nobody can be asked
    /// nobody has said that it is wrong. One that has said so is enough, or guessing the passwords
    /// that it knows would cost nothing while another is out of reach.
    pub fn is_guess(&self) -> bool {
        self.is_denied && !self.is_token
    }

    /// Whether a token is known to be wrong that came without a name: everybody could be asked.
    pub fn is_wrong_token(&self) -> bool {
        self.is_denied && !self.is_fault
    }

    /// Whether somebody can't be asked.
    pub(crate) fn is_fault(&self) -> bool {
        self.is_fault
    }

    /// That of the next one in the chain, too.
    pub(crate) fn and(mut self, next: Self) -> Self {
        self.reasons.extend(next.reasons);
        self.is_denied |= next.is_denied;
        self.is_fault |= next.is_fault;
        self.is_token |= next.is_token;
        self
    }
}

impl fmt::Display for LoginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_says_no_makes_a_guess_whoever_else_cant_be_asked() {
        let (no, fault) = (LoginRefused::new("no"), LoginRefused::fault("nobody there"));
        assert!(no.is_guess());
        assert!(!fault.is_guess());
        assert!(fault.clone().and(no.clone()).is_guess());
        assert!(no.clone().and(fault.clone()).is_guess());
        assert!(!fault.clone().and(fault.clone()).is_guess());
        assert!(!fault.of_token().and(no).is_guess(), "nobody guesses tokens");
    }
}
