//! RabbitMQ's salted password hashes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;

const SALT_BYTES: usize = 4;

/// A stored password: salt and digest, as RabbitMQ's definitions carry them.
///
/// The text form is base64(salt \[4 bytes\] ‖ digest(salt ‖ password)).
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    algorithm: HashingAlgorithm,
    salt: [u8; SALT_BYTES],
    digest: Box<[u8]>,
}

impl PasswordHash {
    /// Hashes a password with SHA-256 and a fresh salt.
    ///
    /// # Errors
    /// [`PasswordError::NoRandomness`] when the operating system gives no random bytes.
    pub fn new(password: &[u8]) -> Result<Self, PasswordError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| PasswordError::NoRandomness)?;
        Ok(Self::with_salt(HashingAlgorithm::Sha256, salt, password))
    }

    /// Hashes a password with a given salt.
    pub fn with_salt(algorithm: HashingAlgorithm, salt: [u8; SALT_BYTES], password: &[u8]) -> Self {
        Self { algorithm, salt, digest: algorithm.digest(&salt, password) }
    }

    /// Reads the base64 text of a definitions file.
    ///
    /// # Errors
    /// [`PasswordError::NotBase64`], or [`PasswordError::WrongLength`] when salt and digest are
    /// not as long as the algorithm makes them. RabbitMQ stores such a hash and refuses every
    /// login of the user; here the mistake shows when it is made.
    pub fn parse(algorithm: HashingAlgorithm, text: &str) -> Result<Self, PasswordError> {
        let bytes = BASE64.decode(text).map_err(|_| PasswordError::NotBase64)?;
        let wrong_length = PasswordError::WrongLength {
            algorithm,
            expected: SALT_BYTES + algorithm.digest_bytes(),
            found: bytes.len(),
        };
        match bytes.split_first_chunk() {
            Some((salt, digest)) if digest.len() == algorithm.digest_bytes() => {
                Ok(Self { algorithm, salt: *salt, digest: digest.into() })
            }
            _ => Err(wrong_length),
        }
    }

    /// Whether this is the hash of `password`, in time that does not depend on where they differ.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        self.algorithm.digest(&self.salt, password).ct_eq(&self.digest).into()
    }

    /// How the digest was made.
    pub fn algorithm(&self) -> HashingAlgorithm {
        self.algorithm
    }

    /// The base64 text, as in a definitions file.
    pub fn to_text(&self) -> String {
        BASE64.encode([&self.salt, &*self.digest].concat())
    }
}

/// Says only how it was hashed: a hash in a log is an invitation.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Does the work of a verification, for a login that fails anyway.
pub(super) fn verify_nothing(password: &[u8]) {
    let decoy: Box<[u8]> = Box::new([0; 32]);
    let digest = HashingAlgorithm::Sha256.digest(&[0; SALT_BYTES], password);
    std::hint::black_box(digest.ct_eq(&decoy));
}

/// The digests that RabbitMQ's `hashing_algorithm` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashingAlgorithm {
    /// `rabbit_password_hashing_sha256`, which new passwords get.
    #[default]
    Sha256,
    /// `rabbit_password_hashing_sha512`.
    Sha512,
}

impl HashingAlgorithm {
    /// The name RabbitMQ gives it in definitions and in the HTTP API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
        }
    }

    /// The algorithm of that name.
    ///
    /// # Errors
    /// [`PasswordError::UnknownAlgorithm`] for any other, MD5 of RabbitMQ before 3.6 included.
    pub fn parse(name: &str) -> Result<Self, PasswordError> {
        [Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| PasswordError::UnknownAlgorithm(name.to_owned()))
    }

    fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn digest(self, salt: &[u8], password: &[u8]) -> Box<[u8]> {
        match self {
            Self::Sha256 => salted::<Sha256>(salt, password),
            Self::Sha512 => salted::<Sha512>(salt, password),
        }
    }
}

fn salted<D: Digest>(salt: &[u8], password: &[u8]) -> Box<[u8]> {
    D::new().chain_update(salt).chain_update(password).finalize().as_slice().into()
}

/// Why a password or a stored hash cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// The hash is not base64.
    #[error("password_hash is not valid base64")]
    NotBase64,
    /// The hash does not have the length its algorithm gives.
    #[error(
        "password_hash has {found} bytes where {} has {expected} (4 of salt, then the digest)",
        .algorithm.name()
    )]
    WrongLength {
        /// The algorithm named beside the hash.
        algorithm: HashingAlgorithm,
        /// Bytes it should have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
    /// The algorithm is none of ours.
    #[error(
        "hashing_algorithm '{0}' is not supported; it is one of \
         rabbit_password_hashing_sha256, rabbit_password_hashing_sha512"
    )]
    UnknownAlgorithm(String),
    /// No salt could be drawn.
    #[error("the operating system gave no random bytes for a password salt")]
    NoRandomness,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: &str = "uJe+3Gd/w2c9/W8HHNmfRUWk0ctjF6Up+gIOIrkNAPZ+USOG";
    const GUEST_OF_3_10: &str = "9IaULI6Y0T7A5VS/pr+B/8/742BJ88ivjmT7WxI947zpdPhq";

    #[test]
    fn verifies_what_rabbitmq_wrote() {
        for text in [GUEST, GUEST_OF_3_10] {
            let hash = PasswordHash::parse(HashingAlgorithm::Sha256, text).unwrap();
            assert!(hash.verify(b"guest"));
            assert!(!hash.verify(b"Guest"));
            assert!(!hash.verify(b""));
            assert_eq!(hash.to_text(), text);
        }
    }

    #[test]
    fn a_fresh_hash_verifies_and_is_salted() {
        let first = PasswordHash::new("pässword".as_bytes()).unwrap();
        let second = PasswordHash::new("pässword".as_bytes()).unwrap();
        assert!(first.verify("pässword".as_bytes()));
        assert_ne!(first.to_text(), second.to_text());
        assert_eq!(first.to_text().len(), 48);
        assert_eq!(first.algorithm().name(), "rabbit_password_hashing_sha256");
    }

    #[test]
    fn sha512_round_trips() {
        let hash = PasswordHash::with_salt(HashingAlgorithm::Sha512, [1, 2, 3, 4], b"secret");
        let parsed = PasswordHash::parse(HashingAlgorithm::Sha512, &hash.to_text()).unwrap();
        assert_eq!(parsed, hash);
        assert!(parsed.verify(b"secret"));
        assert!(!parsed.verify(b"secre"));
    }

    #[test]
    fn refuses_what_can_never_match() {
        let parse = |text| PasswordHash::parse(HashingAlgorithm::Sha256, text).unwrap_err();
        assert_eq!(parse("not base64!"), PasswordError::NotBase64);
        assert_eq!(
            parse("AAAA").to_string(),
            "password_hash has 3 bytes where rabbit_password_hashing_sha256 has 36 \
             (4 of salt, then the digest)"
        );
        assert!(matches!(
            PasswordHash::parse(HashingAlgorithm::Sha512, GUEST),
            Err(PasswordError::WrongLength { expected: 68, found: 36, .. })
        ));
        assert!(HashingAlgorithm::parse("rabbit_password_hashing_md5").is_err());
    }

    #[test]
    fn debug_does_not_show_the_hash() {
        let hash = PasswordHash::parse(HashingAlgorithm::Sha256, GUEST).unwrap();
        assert_eq!(format!("{hash:?}"), "PasswordHash { algorithm: Sha256, .. }");
    }
}
