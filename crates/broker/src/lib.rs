//! (to be written)

mod access;

pub use access::{
    AccessControl, AuthFailure, Change, HashingAlgorithm, NoSuchUser, PasswordError, PasswordHash,
    Pattern, PatternError, Permission, PermissionCache, PermissionKey, PermissionKind, RecordError,
    RemovedPermissions, TopicGrant, TopicPermission, TopicPermissionKey, TopicPermissionKind,
    TopicPermissionRefused, User, is_loopback, tag,
};
