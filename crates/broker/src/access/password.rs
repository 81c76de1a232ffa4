//! Password hashes: RabbitMQ's salted ones, and Argon2id.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::argon2id::Argon2idHash;

const SALT_BYTES: usize = 4;

/// A stored password: salt and digest, as RabbitMQ's definitions carry them, or Argon2id's.
///
/// The text form is base64(salt \[4 bytes\] ‖ digest(salt ‖ password)), or of Argon2id the usual one,
/// which begins with `$argon2id$`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Salted { algorithm: HashingAlgorithm, salt: [u8; SALT_BYTES], digest: Box<[u8]> },
    Argon2id(Box<Argon2idHash>),
}

impl PasswordHash {
    /// Hashes a password with SHA-256 and a fresh salt, as RabbitMQ does.
    ///
    /// # Errors
    /// [`PasswordError::NoRandomness`] when the operating system gives no random bytes.
    pub fn new(password: &[u8]) -> Result<Self, PasswordError> {
        Self::with(HashingAlgorithm::Sha256, password)
    }

    /// Hashes a password with a fresh salt.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(algorithm: HashingAlgorithm, password: &[u8]) -> Result<Self, PasswordError> {
        if algorithm == HashingAlgorithm::Argon2id {
            let hash = Argon2idHash::new(password).ok_or(PasswordError::NoRandomness)?;
            return Ok(Self(Kind::Argon2id(Box::new(hash))));
        }
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| PasswordError::NoRandomness)?;
        let digest = algorithm.digest(&salt, password);
        Ok(Self(Kind::Salted { algorithm, salt, digest }))
    }

    /// Reads the text of a definitions file.
    ///
    /// # Errors
    /// [`PasswordError::NotBase64`], or [`PasswordError::WrongLength`] when salt and digest are
    /// not as long as the algorithm makes them. RabbitMQ stores such a hash and refuses every
    /// login of the user; here the mistake shows when it is made. [`PasswordError::NotArgon2id`] for
    /// what is none, or costs too much to be verified.
    pub fn parse(algorithm: HashingAlgorithm, text: &str) -> Result<Self, PasswordError> {
        if algorithm == HashingAlgorithm::Argon2id {
            let hash = Argon2idHash::parse(text).ok_or(PasswordError::NotArgon2id)?;
            return Ok(Self(Kind::Argon2id(Box::new(hash))));
        }
        let bytes = BASE64.decode(text).map_err(|_| PasswordError::NotBase64)?;
        let wrong_length = PasswordError::WrongLength {
            algorithm,
            expected: SALT_BYTES + algorithm.digest_bytes(),
            found: bytes.len(),
        };
        match bytes.split_first_chunk() {
            Some((salt, digest)) if digest.len() == algorithm.digest_bytes() => {
                Ok(Self(Kind::Salted { algorithm, salt: *salt, digest: digest.into() }))
            }
            _ => Err(wrong_length),
        }
    }

    /// Whether this is the hash of `password`, in time that does not depend on where they differ.
    /// With Argon2id that takes milliseconds and 19 MiB: it is not for a thread that serves others.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        match &self.0 {
            Kind::Salted { algorithm, salt, digest } => {
                algorithm.digest(salt, password).ct_eq(digest).into()
            }
            Kind::Argon2id(hash) => hash
                .evaluate(password)
                .is_some_and(|digest| bool::from(digest.ct_eq(hash.digest()))),
        }
    }

    /// How the digest was made.
    pub fn algorithm(&self) -> HashingAlgorithm {
        match &self.0 {
            Kind::Salted { algorithm, .. } => *algorithm,
            Kind::Argon2id(_) => HashingAlgorithm::Argon2id,
        }
    }

    /// The text, as in a definitions file.
    pub fn to_text(&self) -> String {
        match &self.0 {
            Kind::Salted { salt, digest, .. } => BASE64.encode([salt, &**digest].concat()),
            Kind::Argon2id(hash) => hash.to_text(),
        }
    }
}

/// Says only how it was hashed: a hash in a log is an invitation.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

/// Does the work of a verification, for a login that fails anyway.
pub(super) fn verify_nothing(algorithm: HashingAlgorithm, password: &[u8]) {
    let decoy = match algorithm {
        HashingAlgorithm::Argon2id => Kind::Argon2id(Box::new(Argon2idHash::of_nobody())),
        algorithm => {
            let digest = vec![0; algorithm.digest_bytes()].into_boxed_slice();
            Kind::Salted { algorithm, salt: [0; SALT_BYTES], digest }
        }
    };
    std::hint::black_box(PasswordHash(decoy).verify(password));
}

/// How passwords are hashed: what RabbitMQ's `hashing_algorithm` names, and Argon2id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashingAlgorithm {
    /// `rabbit_password_hashing_md5`, of users that RabbitMQ before 3.6 made.
    Md5,
    /// `rabbit_password_hashing_sha256`, which new passwords get in RabbitMQ.
    #[default]
    Sha256,
    /// `rabbit_password_hashing_sha512`.
    Sha512,
    /// `leveret_password_hashing_argon2id`, which RabbitMQ does not know.
    Argon2id,
}

impl HashingAlgorithm {
    const ALL: [Self; 4] = [Self::Md5, Self::Sha256, Self::Sha512, Self::Argon2id];

    /// The name RabbitMQ gives it in definitions and in the HTTP API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "rabbit_password_hashing_md5",
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Argon2id => "leveret_password_hashing_argon2id",
        }
    }

    /// The algorithm of that name.
    ///
    /// # Errors
    /// [`PasswordError::UnknownAlgorithm`] for any other.
    pub fn parse(name: &str) -> Result<Self, PasswordError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| PasswordError::UnknownAlgorithm(name.to_owned()))
    }

    /// Of those that are a salt and a digest.
    fn digest_bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha256 | Self::Argon2id => 32,
            Self::Sha512 => 64,
        }
    }

    fn digest(self, salt: &[u8], password: &[u8]) -> Box<[u8]> {
        match self {
            Self::Md5 => salted::<Md5>(salt, password),
            Self::Sha256 | Self::Argon2id => salted::<Sha256>(salt, password),
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
         rabbit_password_hashing_sha256, rabbit_password_hashing_sha512, \
         rabbit_password_hashing_md5, leveret_password_hashing_argon2id"
    )]
    UnknownAlgorithm(String),
    /// It is no hash of Argon2id, or one that costs too much to be verified with each login.
    #[error(
        "password_hash is not of the form $argon2id$v=19$m=19456,t=2,p=1$salt$digest, or too costly"
    )]
    NotArgon2id,
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
    fn all_algorithms_round_trip() {
        for algorithm in HashingAlgorithm::ALL {
            let hash = PasswordHash::with(algorithm, b"secret").unwrap();
            let parsed = PasswordHash::parse(algorithm, &hash.to_text()).unwrap();
            assert_eq!((&parsed, parsed.algorithm()), (&hash, algorithm));
            assert_eq!(HashingAlgorithm::parse(algorithm.name()), Ok(algorithm));
            assert!(parsed.verify(b"secret"));
            assert!(!parsed.verify(b"secre"));
            verify_nothing(algorithm, b"secret");
        }
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
        assert_eq!(
            PasswordHash::parse(HashingAlgorithm::Argon2id, GUEST),
            Err(PasswordError::NotArgon2id)
        );
        assert!(HashingAlgorithm::parse("rabbit_password_hashing_sha1").is_err());
    }

    #[test]
    fn debug_does_not_show_the_hash() {
        let hash = PasswordHash::parse(HashingAlgorithm::Sha256, GUEST).unwrap();
        assert_eq!(format!("{hash:?}"), "PasswordHash { algorithm: Sha256, .. }");
    }
}
