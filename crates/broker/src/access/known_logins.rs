//! Logins that were found right or wrong at a cost, so that they cost it once.

use std::collections::VecDeque;
use std::fmt;

use ahash::AHashSet;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::password::PasswordHash;

/// Logins remembered at a time; the oldest go.
const LOGINS_MAX: usize = 4096;

/// Remembers which passwords were tried for whom, by a digest that is keyed with a secret of this
/// process: it holds neither. With another password a user has another hash, and what was
/// remembered of the old one is never asked for again.
pub(super) struct KnownLogins {
    key: [u8; 32],
    logins: Mutex<Logins>,
}

/// Says nothing of what it holds.
impl fmt::Debug for KnownLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownLogins").finish_non_exhaustive()
    }
}

/// Whose password it is, or is not.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'a> {
    /// That of the user with this hash.
    Of(&'a PasswordHash),
    /// That of nobody: the name of no user, or of one who has no password.
    Nobody(&'a str),
}

#[derive(Default)]
struct Logins {
    known: AHashSet<[u8; 32]>,
    by_age: VecDeque<[u8; 32]>,
}

impl KnownLogins {
    /// Without a secret nothing is remembered.
    pub(super) fn new() -> Option<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).ok()?;
        Some(Self { key, logins: Mutex::default() })
    }

    pub(super) fn contains(&self, whose: Whose<'_>, password: &[u8]) -> bool {
        let login = self.digest(whose, password);
        self.logins.lock().known.contains(&login)
    }

    pub(super) fn remember(&self, whose: Whose<'_>, password: &[u8]) {
        let login = self.digest(whose, password);
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

    /// A hash's text has no NUL, so that no other hash and password come to the same, and no name.
    fn digest(&self, whose: Whose<'_>, password: &[u8]) -> [u8; 32] {
        let inner = Sha256::new().chain_update(self.key);
        let inner = match whose {
            Whose::Of(hash) => inner.chain_update(hash.to_text()),
            Whose::Nobody(name) => inner.chain_update([0]).chain_update(name),
        };
        let inner = inner.chain_update([0]).chain_update(password).finalize();
        Sha256::new().chain_update(self.key).chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_of_one_hash_and_bounded() {
        let hashes = [(); 2].map(|()| PasswordHash::new(b"secret").unwrap());
        let [one, other] = [Whose::Of(&hashes[0]), Whose::Of(&hashes[1])];
        let known = KnownLogins::new().unwrap();
        known.remember(one, b"secret");
        known.remember(one, b"secret");
        assert!(known.contains(one, b"secret"));
        assert!(!known.contains(one, b"secre"));
        assert!(!known.contains(other, b"secret"));
        assert!(!known.contains(Whose::Nobody(&hashes[0].to_text()), b"secret"));
        known.remember(Whose::Nobody("name"), b"secret");
        assert!(known.contains(Whose::Nobody("name"), b"secret"));
        assert!(!known.contains(Whose::Nobody("nam"), b"secret"));
        for number in 0..LOGINS_MAX {
            known.remember(other, &number.to_be_bytes());
        }
        assert!(!known.contains(one, b"secret"));
        let logins = known.logins.lock();
        assert_eq!((logins.known.len(), logins.by_age.len()), (LOGINS_MAX, LOGINS_MAX));
    }
}
