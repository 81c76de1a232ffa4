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
    /// Somebody who was asked about a password has said no.
    is_denied: bool,
    /// The password is a token, and no good one.
    is_bad_token: bool,
    /// Somebody can't be asked.
    is_fault: bool,
}

impl LoginRefused {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        let reasons = vec![reason.into()];
        Self { reasons, is_denied: true, is_bad_token: false, is_fault: false }
    }

    pub(crate) fn fault(reason: impl Into<String>) -> Self {
        Self { is_denied: false, is_fault: true, ..Self::new(reason) }
    }

    /// The password was a token.
    pub(crate) fn of_token(self) -> Self {
        Self { is_denied: false, is_bad_token: self.is_denied, ..self }
    }

    /// Whether what was tried for this user is known to be wrong. Of a password one who says so is enough,
    /// or guessing those that it knows would cost nothing while another is out of reach, or if they look
    /// like tokens. Of a token, and where nobody is named, it is not: another may take it.
    pub fn is_wrong(&self, user: &str) -> bool {
        let is_wrong_password = self.is_denied && !user.is_empty();
        is_wrong_password || (self.is_denied || self.is_bad_token) && !self.is_fault
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
        self.is_bad_token |= next.is_bad_token;
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
    fn one_that_says_no_to_a_password_is_enough_whoever_else_cant_be_asked() {
        let (no, fault) = (LoginRefused::new("no"), LoginRefused::fault("nobody there"));
        let both = [fault.clone().and(no.clone()), no.clone().and(fault.clone())];
        assert!(no.is_wrong("anna"));
        assert!(!fault.is_wrong("anna"));
        assert!(both.iter().all(|refused| refused.is_wrong("anna")));
        assert!(!fault.clone().and(fault).is_wrong("anna"));
        // Nobody knows a password of nobody: it is a token.
        assert!(no.is_wrong(""));
        assert!(!both.iter().any(|refused| refused.is_wrong("")));
    }

    #[test]
    fn what_looks_like_a_token_may_be_a_password() {
        let (no, fault) = (LoginRefused::new("no"), LoginRefused::fault("nobody there"));
        let (bad, unknown) = (no.clone().of_token(), fault.clone().of_token());
        for user in ["anna", ""] {
            assert!(bad.is_wrong(user));
            assert!(!bad.clone().and(fault.clone()).is_wrong(user), "the other may take it");
            assert!(bad.clone().and(no.clone()).is_wrong(user));
            assert!(!unknown.is_wrong(user));
        }
        assert!(unknown.clone().and(no.clone()).is_wrong("anna"));
        assert!(!unknown.and(no).is_wrong(""), "it may be good");
    }
}
