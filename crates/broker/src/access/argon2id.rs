//! Argon2id (RFC 9106): a password hash that costs memory, so that a thief of hashes guesses slowly.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use parking_lot::Mutex;

const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;
/// What OWASP recommends where many log in: 19 MiB, two passes.
const COST: Cost = Cost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
/// What is taken of a hash that was made elsewhere: each login of its user costs that.
const COST_MAX: Cost = Cost { memory_kib: 64 * 1024, passes: 8, lanes: 4 };

/// What an evaluation costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A hash with all it takes to make it again.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Argon2idHash {
    cost: Cost,
    salt: Box<[u8]>,
    digest: Box<[u8]>,
}

impl Argon2idHash {
    /// Hashes a password with a fresh salt; `None` without random bytes.
    pub(super) fn new(password: &[u8]) -> Option<Self> {
        // A script that makes users asks for many at once, and each takes 19 MiB.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).ok()?;
        let _alone = ONE_AT_A_TIME.lock();
        let digest = evaluate(COST, &salt, password, DIGEST_BYTES)?;
        Some(Self { cost: COST, salt: salt.into(), digest })
    }

    /// One that no password has, and that costs as much as any.
    pub(super) fn of_nobody() -> Self {
        Self { cost: COST, salt: Box::new([0; SALT_BYTES]), digest: Box::new([0; DIGEST_BYTES]) }
    }

    /// What `password` hashes to, to be compared with [`digest`](Self::digest).
    pub(super) fn evaluate(&self, password: &[u8]) -> Option<Box<[u8]>> {
        evaluate(self.cost, &self.salt, password, self.digest.len())
    }

    pub(super) fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// Reads the usual form, `$argon2id$v=19$m=19456,t=2,p=1$salt$digest`; `None` if it is another, or
    /// costs too much.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('$');
        let ("", "argon2id", "v=19") = (parts.next()?, parts.next()?, parts.next()?) else {
            return None;
        };
        let mut costs = parts.next()?.split(',');
        let mut number = |name| costs.next()?.strip_prefix(name)?.parse().ok();
        let cost = Cost { memory_kib: number("m=")?, passes: number("t=")?, lanes: number("p=")? };
        let has_more = costs.next().is_some();
        let salt = BASE64.decode(parts.next()?).ok()?.into_boxed_slice();
        let digest = BASE64.decode(parts.next()?).ok()?.into_boxed_slice();
        let is_sound = (8..=64).contains(&salt.len()) && (16..=64).contains(&digest.len());
        let is_whole = is_sound && !has_more && parts.next().is_none() && cost.is_affordable();
        is_whole.then_some(Self { cost, salt, digest })
    }

    pub(super) fn to_text(&self) -> String {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let (salt, digest) = (BASE64.encode(&self.salt), BASE64.encode(&self.digest));
        format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${digest}")
    }
}

impl Cost {
    fn is_affordable(self) -> bool {
        self.memory_kib <= COST_MAX.memory_kib
            && self.passes <= COST_MAX.passes
            && self.lanes <= COST_MAX.lanes
            && self.params().is_some()
    }

    fn params(self) -> Option<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, None).ok()
    }
}

fn evaluate(cost: Cost, salt: &[u8], password: &[u8], length: usize) -> Option<Box<[u8]>> {
    let params = cost.params()?;
    let mut memory = vec![Block::default(); params.block_count()];
    let mut digest = vec![0; length].into_boxed_slice();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(password, salt, &mut digest, &mut memory).ok()?;
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the reference implementation's `argon2` command.
    const OF_PASSWORD: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$\
                               nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    #[test]
    fn others_hashes_are_understood() {
        let hash = Argon2idHash::parse(OF_PASSWORD).unwrap();
        assert_eq!(&*hash.evaluate(b"password").unwrap(), hash.digest());
        assert_ne!(&*hash.evaluate(b"passwort").unwrap(), hash.digest());
        assert_eq!(hash.to_text(), OF_PASSWORD);
    }

    #[test]
    fn what_costs_too_much_or_is_something_else_is_not_taken() {
        for (from, to) in [
            ("m=256", "m=65537"),
            ("m=256", "m=4"),
            ("t=2", "t=9"),
            ("t=2", "t=0"),
            ("p=1", "p=5"),
            ("p=1", "p=1,x=1"),
            ("argon2id", "argon2i"),
            ("v=19", "v=16"),
            ("c29tZXNhbHQ", "c29t"),
            ("i/4", "i/4$"),
        ] {
            let changed = OF_PASSWORD.replace(from, to);
            assert_ne!(changed, OF_PASSWORD);
            assert!(Argon2idHash::parse(&changed).is_none(), "{changed}");
        }
        assert!(Argon2idHash::parse("").is_none());
    }
}
