//! Logins that were verified at a cost, so that they cost it once.

use std::collections::VecDeque;
use std::fmt;

use ahash::AHashSet;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::password::PasswordHash;

/// Logins remembered at a time; the oldest go.
const LOGINS_MAX: usize = 4096;

/// Remembers which passwords belong to which hashes, by a digest that is keyed with a secret of this
/// process: it holds neither. With another password a user has another hash, and what was
/// remembered of the old one is never asked for again.
pub(super) struct VerifiedLogins {
    key: [u8; 32],
    logins: Mutex<Logins>,
}

/// Says nothing of what it holds.
impl fmt::Debug for VerifiedLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedLogins").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Logins {
    known: AHashSet<[u8; 32]>,
    by_age: VecDeque<[u8; 32]>,
}

impl VerifiedLogins {
    /// Without a secret nothing is remembered.
    pub(super) fn new() -> Option<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).ok()?;
        Some(Self { key, logins: Mutex::default() })
    }

    pub(super) fn contains(&self, hash: &PasswordHash, password: &[u8]) -> bool {
        let login = self.digest(hash, password);
        self.logins.lock().known.contains(&login)
    }

    pub(super) fn remember(&self, hash: &PasswordHash, password: &[u8]) {
        let login = self.digest(hash, password);
        let mut logins = self.logins.lock();
        if !logins.known.insert(login) {
            return;
        }
        logins.by_age.push_back(login);
        if logins.by_age.len() > LOGINS_MAX
            && let Some(oldest) = logins.by_age.pop_front()
        {
            logins.known.remove(&oldest);
        }
    }

    /// The hash's text has no NUL, so that no other hash and password come to the same.
    fn digest(&self, hash: &PasswordHash, password: &[u8]) -> [u8; 32] {
        let inner = Sha256::new()
            .chain_update(self.key)
            .chain_update(hash.to_text())
            .chain_update([0])
            .chain_update(password)
            .finalize();
        Sha256::new().chain_update(self.key).chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_of_one_hash_and_bounded() {
        let (one, other) =
            (PasswordHash::new(b"secret").unwrap(), PasswordHash::new(b"secret").unwrap());
        let verified = VerifiedLogins::new().unwrap();
        verified.remember(&one, b"secret");
        verified.remember(&one, b"secret");
        assert!(verified.contains(&one, b"secret"));
        assert!(!verified.contains(&one, b"secre"));
        assert!(!verified.contains(&other, b"secret"));
        for number in 0..LOGINS_MAX {
            verified.remember(&other, &number.to_be_bytes());
        }
        assert!(!verified.contains(&one, b"secret"));
        let logins = verified.logins.lock();
        assert_eq!((logins.known.len(), logins.by_age.len()), (LOGINS_MAX, LOGINS_MAX));
    }
}
