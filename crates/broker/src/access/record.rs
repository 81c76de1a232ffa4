//! The byte forms in which users and permissions are stored: MessagePack maps with named fields,
//! so that a later version may add some.

use rmp_serde::{decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::password::{HashingAlgorithm, PasswordError, PasswordHash};
use super::permission::Permission;
use super::topic_permission::TopicPermission;
use super::user::User;
use crate::limits::UserLimits;

/// Whose permission it is, and where: the key of a [`Permission`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PermissionKey {
    /// The user's name.
    pub user: String,
    /// The vhost's name.
    pub vhost: String,
}

impl PermissionKey {
    /// The key of `user`'s permission in `vhost`.
    pub fn new(user: impl Into<String>, vhost: impl Into<String>) -> Self {
        Self { user: user.into(), vhost: vhost.into() }
    }
}

/// The key of a [`TopicPermission`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPermissionKey {
    /// The user's name.
    pub user: String,
    /// The vhost's name.
    pub vhost: String,
    /// The topic exchange's name.
    pub exchange: String,
}

impl TopicPermissionKey {
    /// The key of `user`'s permission on `exchange` of `vhost`.
    pub fn new(
        user: impl Into<String>,
        vhost: impl Into<String>,
        exchange: impl Into<String>,
    ) -> Self {
        Self { user: user.into(), vhost: vhost.into(), exchange: exchange.into() }
    }
}

/// A [`User`] as it is stored: the hash in RabbitMQ's text form, beside the algorithm's name.
#[derive(Serialize, Deserialize)]
struct UserRecord {
    name: String,
    password_hash: Option<String>,
    hashing_algorithm: String,
    tags: Vec<String>,
    #[serde(default)]
    limits: UserLimits,
}

impl User {
    /// The stored form; its key is the name.
    ///
    /// # Errors
    /// [`RecordError::Encode`], which no value of this type causes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        to_bytes(&UserRecord {
            name: self.name.clone(),
            password_hash: self.password_hash.as_ref().map(PasswordHash::to_text),
            hashing_algorithm: self.hashing_algorithm().name().to_owned(),
            tags: self.tags.clone(),
            limits: self.limits,
        })
    }

    /// Reads the stored form back.
    ///
    /// # Errors
    /// [`RecordError`] when the bytes are no user.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: UserRecord = from_bytes(bytes)?;
        let algorithm = HashingAlgorithm::parse(&record.hashing_algorithm)?;
        let password_hash =
            record.password_hash.map(|text| PasswordHash::parse(algorithm, &text)).transpose()?;
        Ok(Self { name: record.name, password_hash, tags: record.tags, limits: record.limits })
    }
}

macro_rules! stored_as_it_is {
    ($($type:ty),+) => {$(
        impl $type {
            /// The stored form.
            ///
            /// # Errors
            /// [`RecordError::Encode`], which no value of this type causes.
            pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
                to_bytes(self)
            }

            /// Reads the stored form back.
            ///
            /// # Errors
            /// [`RecordError::Decode`] when the bytes hold something else.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
                from_bytes(bytes)
            }
        }
    )+};
}

stored_as_it_is!(Permission, PermissionKey, TopicPermission, TopicPermissionKey);

fn to_bytes(value: &impl Serialize) -> Result<Vec<u8>, RecordError> {
    Ok(rmp_serde::to_vec_named(value)?)
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    Ok(rmp_serde::from_slice(bytes)?)
}

/// A stored user or permission could not be written or read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Serialisation failed.
    #[error("cannot encode a user or permission: {0}")]
    Encode(#[from] encode::Error),
    /// The bytes are something else, or a pattern in them is no longer accepted.
    #[error("cannot decode a stored user or permission: {0}")]
    Decode(#[from] decode::Error),
    /// The stored password hash is not usable.
    #[error("cannot decode a stored user: {0}")]
    Password(#[from] PasswordError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_survives_a_round_trip() {
        let user = User::with_password("anna", b"secret", ["administrator", "own"]).unwrap();
        let read = User::from_bytes(&user.to_bytes().unwrap()).unwrap();
        assert_eq!(read, user);
        assert!(read.password_hash.unwrap().verify(b"secret"));

        let limits = UserLimits { max_connections: Some(3), max_channels: Some(-1) };
        let nobody = User { name: "nobody".into(), password_hash: None, tags: vec![], limits };
        assert_eq!(User::from_bytes(&nobody.to_bytes().unwrap()).unwrap(), nobody);

        let permission = Permission::new("^a", ".*", "").unwrap();
        let bytes = permission.to_bytes().unwrap();
        assert_eq!(Permission::from_bytes(&bytes).unwrap(), permission);

        let topic = TopicPermission::new("amq.topic", "^{username}", ".*").unwrap();
        let bytes = topic.to_bytes().unwrap();
        assert_eq!(TopicPermission::from_bytes(&bytes).unwrap(), topic);

        let key = TopicPermissionKey::new("anna", "/", "amq.topic");
        assert_eq!(TopicPermissionKey::from_bytes(&key.to_bytes().unwrap()).unwrap(), key);
    }

    #[test]
    fn other_bytes_are_an_error() {
        assert!(User::from_bytes(b"").is_err());
        assert!(User::from_bytes(&[0xc1; 40]).is_err());
        let key = PermissionKey::new("anna", "/").to_bytes().unwrap();
        assert!(Permission::from_bytes(&key).is_err());
    }
}
