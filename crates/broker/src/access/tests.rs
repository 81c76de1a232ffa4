use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn directory() -> AccessControl {
    let access = AccessControl::new(["guest"]);
    for name in ["guest", "anna"] {
        let user = User::with_password(name, name.as_bytes(), ["administrator"]).unwrap();
        assert_eq!(access.put_user(user), Change::Created);
    }
    access.put_permission(key("guest"), Permission::new(".*", ".*", ".*").unwrap()).unwrap();
    access
}

fn key(user: &str) -> PermissionKey {
    PermissionKey::new(user, "/")
}

#[test]
fn logs_in_by_password() {
    let access = directory();
    let user = access.authenticate("anna", b"anna", false).unwrap();
    assert!(user.has_tag(tag::ADMINISTRATOR));
    assert_eq!(access.authenticate("bert", b"bert", false), Err(AuthFailure::UnknownUser));
    let limits = UserLimits::default();
    access.put_user(User { name: "cert".into(), password_hash: None, tags: vec![], limits });
    assert_eq!(access.authenticate("cert", b"cert", false), Err(AuthFailure::NoPassword));
}

/// It costs nothing and says nothing, whoever's it is said to be.
#[test]
fn a_blank_password_lets_nobody_in() {
    let access = directory().hashing_with(HashingAlgorithm::Argon2id);
    access.put_user(User::with_password("blank", b"", ["administrator"]).unwrap());
    for name in ["blank", "anna", "nobody"] {
        assert!(!access.takes_time(name, b"", true), "{name}");
        let refused = access.authenticate(name, b"", true);
        assert_eq!(refused, Err(AuthFailure::BlankPassword), "{name}");
    }
}

#[test]
fn guest_comes_from_loopback_only() {
    let access = directory();
    assert!(access.authenticate("guest", b"guest", true).is_ok());
    assert_eq!(access.authenticate("guest", b"guest", false), Err(AuthFailure::NotLoopback));
    assert_eq!(access.authenticate("guest", b"x", true), Err(AuthFailure::WrongPassword));
}

/// Whoever guesses it from elsewhere learns nothing by the time that the answer takes, nor by that of the next.
#[test]
fn the_right_password_of_who_may_come_from_loopback_only_is_as_any_elsewhere() {
    for hashing in [HashingAlgorithm::Argon2id, HashingAlgorithm::Sha256] {
        let access = directory().hashing_with(hashing);
        assert!(access.authenticate("guest", b"guest", true).is_ok());
        for password in [&b"guest"[..], b"guess"] {
            for is_first in [true, false] {
                let takes_time = access.takes_time("guest", password, false);
                assert_eq!(takes_time, is_first && hashing == HashingAlgorithm::Argon2id);
                let refused = access.authenticate("guest", password, false);
                assert_eq!(refused, Err(AuthFailure::NotLoopback));
            }
        }
        // What is known of it there means nothing here.
        assert!(access.authenticate("guest", b"guest", true).is_ok());
    }
}

#[test]
fn loopback_has_three_forms() {
    let mapped = |octets: [u8; 4]| IpAddr::V6(Ipv4Addr::from(octets).to_ipv6_mapped());
    assert!(is_loopback(Ipv4Addr::new(127, 9, 9, 9).into()));
    assert!(is_loopback(Ipv6Addr::LOCALHOST.into()));
    assert!(is_loopback(mapped([127, 0, 0, 1])));
    assert!(!is_loopback(mapped([10, 0, 0, 1])));
    assert!(!is_loopback(Ipv4Addr::new(10, 0, 0, 1).into()));
    assert!(!is_loopback(Ipv6Addr::UNSPECIFIED.into()));
}

#[test]
fn permissions_belong_to_a_user_and_a_vhost() {
    let access = directory();
    assert!(access.permission("guest", "/").is_some());
    assert!(access.permission("guest", "other").is_none());
    assert!(access.permission("anna", "/").is_none());
    let refused = access.put_permission(key("bert"), Permission::new("", "", "").unwrap());
    assert_eq!(refused.unwrap_err().to_string(), "no such user 'bert'");
}

#[test]
fn a_deleted_user_or_vhost_takes_its_permissions_along() {
    let access = directory();
    let topic = TopicPermission::new("amq.topic", ".*", "^a").unwrap();
    assert_eq!(access.put_topic_permission(key("guest"), topic), Ok(Change::Created));
    let removed = access.delete_vhost("/");
    assert_eq!(removed.permissions, [key("guest")]);
    assert_eq!(removed.topic_permissions, [TopicPermissionKey::new("guest", "/", "amq.topic")]);
    assert!(access.permission("guest", "/").is_none());

    let access = directory();
    assert_eq!(access.delete_user("guest").unwrap().permissions, [key("guest")]);
    assert!(access.delete_user("guest").is_none());
    assert!(access.user("guest").is_none());
    assert!(access.permission("guest", "/").is_none());
}

#[test]
fn a_new_password_keeps_the_permissions() {
    let access = directory();
    let changed = User::with_password("guest", b"new", [] as [&str; 0]).unwrap();
    assert_eq!(access.put_user(changed), Change::Updated);
    assert!(access.authenticate("guest", b"new", true).is_ok());
    assert!(access.permission("guest", "/").is_some());
}

#[test]
fn lists_are_sorted() {
    let access = directory();
    access.put_permission(key("anna"), Permission::new("", "", "").unwrap()).unwrap();
    let users: Vec<_> = access.users().iter().map(|user| user.name.clone()).collect();
    assert_eq!(users, ["anna", "guest"]);
    let keys: Vec<_> = access.permissions().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [key("anna"), key("guest")]);
}

#[test]
fn topic_permissions_come_and_go() {
    let access = directory();
    for exchange in ["a", "b"] {
        let topic = TopicPermission::new(exchange, "^k$", "").unwrap();
        access.put_topic_permission(key("anna"), topic).unwrap();
    }
    assert_eq!(access.topic_permissions().len(), 2);
    let removed = access.delete_topic_permissions("anna", "/", Some("a"));
    assert_eq!(removed, [TopicPermissionKey::new("anna", "/", "a")]);
    assert!(access.topic_grant("anna", "/", "a").is_none());
    assert!(access.topic_grant("anna", "/", "b").is_some());
    assert_eq!(access.delete_topic_permissions("anna", "/", None).len(), 1);
    assert!(access.topic_permissions().is_empty());
    let topic = TopicPermission::new("a", "", "").unwrap();
    assert!(access.put_topic_permission(key("bert"), topic).is_err());
}

#[test]
fn a_cache_follows_the_directory() {
    let access = Arc::new(directory());
    let mut cache = PermissionCache::new(Arc::clone(&access), "anna", "/");
    assert!(!cache.may_enter());
    assert!(!cache.allows(PermissionKind::Write, "q"));

    access.put_permission(key("anna"), Permission::new("", "^q", "").unwrap()).unwrap();
    assert!(cache.may_enter());
    for _ in 0..2 {
        assert!(cache.allows(PermissionKind::Write, "q"));
        assert!(!cache.allows(PermissionKind::Read, "q"));
        assert!(!cache.allows(PermissionKind::Write, "p"));
        assert!(PermissionKind::ALL.into_iter().any(|kind| cache.allows(kind, "q")));
        assert!(!PermissionKind::ALL.into_iter().any(|kind| cache.allows(kind, "p")));
    }

    access.put_permission(key("anna"), Permission::new("", "^p", "").unwrap()).unwrap();
    assert!(!cache.allows(PermissionKind::Write, "q"));
    assert!(cache.allows(PermissionKind::Write, "p"));

    access.delete_user("anna");
    assert!(!cache.allows(PermissionKind::Write, "p"));
}

#[test]
fn a_cache_forgets_the_oldest_name_and_stays_right() {
    let access = Arc::new(directory());
    access.put_permission(key("anna"), Permission::new("", "[02468]$", "").unwrap()).unwrap();
    let mut cache = PermissionCache::new(access, "anna", "/");
    for round in 0..3 {
        for number in 0..100 {
            let allowed = cache.allows(PermissionKind::Write, &format!("q{number}"));
            assert_eq!(allowed, number % 2 == 0, "round {round}, q{number}");
        }
    }
}

#[test]
fn topics_are_free_until_restricted() {
    let access = Arc::new(directory());
    let mut cache = PermissionCache::new(Arc::clone(&access), "anna", "/");
    assert!(cache.allows_topic(TopicPermissionKind::Write, "amq.topic", "any.key"));
    let topic = TopicPermission::new("amq.topic", "^{username}\\.", "").unwrap();
    access.put_topic_permission(key("anna"), topic).unwrap();
    assert!(!cache.allows_topic(TopicPermissionKind::Write, "amq.topic", "any.key"));
    assert!(cache.allows_topic(TopicPermissionKind::Write, "amq.topic", "anna.key"));
    assert!(!cache.allows_topic(TopicPermissionKind::Read, "amq.topic", "anna.key"));
    assert!(cache.allows_topic(TopicPermissionKind::Write, "other", "any.key"));
}

/// Else the time would tell whose password is hashed otherwise, and so that they exist.
#[test]
fn a_wrong_password_takes_as_long_for_everybody() {
    let access = directory().hashing_with(HashingAlgorithm::Argon2id);
    let limits = UserLimits::default();
    access.put_user(User { name: "cert".into(), password_hash: None, tags: vec![], limits });
    for name in ["guest", "anna", "cert", "nobody"] {
        assert!(access.takes_time(name, b"wrong", true), "{name}");
    }
    assert!(!access.takes_time("anna", b"anna", true));
    assert!(access.authenticate("anna", b"anna", true).is_ok());
    assert_eq!(access.authenticate("anna", b"wrong", true), Err(AuthFailure::WrongPassword));
}

/// It is no guess, so it must not be worth a hash either.
#[test]
fn the_same_wrong_password_again_takes_no_time() {
    let access = directory().hashing_with(HashingAlgorithm::Argon2id);
    let limits = UserLimits::default();
    let password_hash = Some(PasswordHash::with(HashingAlgorithm::Argon2id, b"right").unwrap());
    access.put_user(User { name: "new".into(), password_hash, tags: vec![], limits });
    for name in ["anna", "new", "nobody"] {
        for wrong in [&b"wrong"[..], b"old"] {
            assert!(access.takes_time(name, wrong, true), "{name}");
            assert!(access.authenticate(name, wrong, true).is_err());
            assert!(!access.takes_time(name, wrong, true), "{name}");
            assert!(access.authenticate(name, wrong, true).is_err());
        }
        assert!(access.takes_time(name, b"another", true), "{name}");
    }
    // It may be right one day.
    for name in ["new", "nobody"] {
        let password_hash = Some(PasswordHash::with(HashingAlgorithm::Argon2id, b"old").unwrap());
        access.put_user(User { name: name.into(), password_hash, tags: vec![], limits });
        assert!(access.authenticate(name, b"old", true).is_ok(), "{name}");
        assert_eq!(access.authenticate(name, b"wrong", true), Err(AuthFailure::WrongPassword));
    }
}
