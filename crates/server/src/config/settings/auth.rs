//! `[auth]`: who may come in, and how.

use std::time::Duration;

use leveret_broker::access::HashingAlgorithm;

use super::backends::BACKENDS;
use super::{
    ANONYMOUS_PASS, ANONYMOUS_USER, DEFAULT_PASS, MECHANISMS, NAME, Refused, Setting,
    show_password, texts, word,
};
use crate::config::units::show_duration;
use crate::config::value::Value;
use crate::sasl::{CertificateUser, Mechanism};
use crate::tls::NameKind;

pub(super) static AUTH: [Setting; 16] = [
    BACKENDS,
    Setting {
        key: MECHANISMS,
        about: "How clients may log in, the preferred way first",
        live: true,
        allowed: "a list of \"PLAIN\", \"AMQPLAIN\", \"ANONYMOUS\" and \"EXTERNAL\"",
        apply: |config, value| {
            config.auth.mechanisms = mechanisms(value)?;
            Ok(())
        },
        show: |config| texts(config.auth.mechanisms.iter().map(|one| one.name())),
    },
    Setting {
        key: "auth.loopback_users",
        about: "Users that may come from this machine only",
        live: false,
        allowed: "a list of user names, or \"none\"",
        apply: |config, value| {
            config.auth.loopback_users = value.texts()?;
            Ok(())
        },
        show: |config| match config.auth.loopback_users.as_slice() {
            [] => "none".into(),
            users => texts(users),
        },
    },
    Setting {
        key: "auth.password_hashing",
        about: "How new passwords are hashed; RabbitMQ can't read argon2id",
        live: false,
        allowed: "one of \"sha256\", \"sha512\", \"argon2id\"",
        apply: |config, value| {
            config.auth.password_hashing = value.word(&HASHING)?;
            Ok(())
        },
        show: |config| word(&HASHING, config.auth.password_hashing),
    },
    Setting {
        key: "auth.password_upgrade_on_login",
        about: "Whether other hashes are replaced by such when their users log in",
        live: false,
        allowed: "true or false",
        apply: |config, value| {
            config.auth.password_upgrade_on_login = value.boolean()?;
            Ok(())
        },
        show: |config| config.auth.password_upgrade_on_login.into(),
    },
    Setting {
        key: "auth.default_user",
        about: "The administrator made on an empty data directory",
        live: false,
        allowed: NAME,
        apply: |config, value| {
            config.auth.default_user = value.name()?;
            Ok(())
        },
        show: |config| config.auth.default_user.as_str().into(),
    },
    Setting {
        key: DEFAULT_PASS,
        about: "Their password",
        live: false,
        allowed: "a text",
        apply: |config, value| {
            config.auth.default_pass = value.text()?.into();
            Ok(())
        },
        show: |config| show_password(&config.auth.default_pass),
    },
    Setting {
        key: "auth.default_vhost",
        about: "The vhost made on an empty data directory",
        live: false,
        allowed: NAME,
        apply: |config, value| {
            config.auth.default_vhost = value.name()?;
            Ok(())
        },
        show: |config| config.auth.default_vhost.as_str().into(),
    },
    Setting {
        key: ANONYMOUS_USER,
        about: "Who comes in without a login; ANONYMOUS is on where this or the password is set, or `auth.mechanisms` names it",
        live: true,
        allowed: "a user's name, or \"none\"",
        apply: |config, value| {
            let none = value.word(&[("none", ())]).map(|()| None);
            config.auth.anonymous_login_user = none.or_else(|_| value.name().map(Some))?;
            Ok(())
        },
        show: |config| config.auth.anonymous_login_user.as_deref().unwrap_or("none").into(),
    },
    Setting {
        key: ANONYMOUS_PASS,
        about: "Their password",
        live: true,
        allowed: "a text",
        apply: |config, value| {
            config.auth.anonymous_login_pass = value.text()?.into();
            Ok(())
        },
        show: |config| show_password(&config.auth.anonymous_login_pass),
    },
    Setting {
        key: "auth.certificate_user",
        about: "Which name in a certificate is the user's, with EXTERNAL",
        live: true,
        allowed: "one of \"distinguished_name\", \"common_name\", \"subject_alternative_name\"",
        apply: |config, value| {
            config.auth.certificate_user = value.word(&USERS)?;
            Ok(())
        },
        show: |config| word(&USERS, config.auth.certificate_user),
    },
    Setting {
        key: "auth.certificate_name_type",
        about: "The kind of alternative name that is",
        live: true,
        allowed: "one of \"dns\", \"ip\", \"email\", \"uri\", \"other_name\"",
        apply: |config, value| {
            config.auth.certificate_name_type = value.word(&KINDS)?;
            Ok(())
        },
        show: |config| word(&KINDS, config.auth.certificate_name_type),
    },
    Setting {
        key: "auth.certificate_name_index",
        about: "Which one of that kind, from 0",
        live: true,
        allowed: "a number from 0 to 65535",
        apply: |config, value| {
            config.auth.certificate_name_index = value.integer(0..=u16::MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.auth.certificate_name_index).into(),
    },
    Setting {
        key: "auth.wrong_passwords_max",
        about: "The wrong passwords of an address for a user that have it wait before another is looked at; the same one again is none",
        live: true,
        allowed: GUESSES,
        apply: |config, value| {
            config.auth.throttle.of_user = value.integer(1..=GUESSES_MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.auth.throttle.of_user).into(),
    },
    Setting {
        key: "auth.wrong_passwords_max_per_address",
        about: "The same whichever the users, from other machines; with IPv6 from a network of 64 bits",
        live: true,
        allowed: GUESSES,
        apply: |config, value| {
            config.auth.throttle.of_address = value.integer(1..=GUESSES_MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.auth.throttle.of_address).into(),
    },
    Setting {
        key: "auth.wrong_password_wait_max",
        about: "The longest such wait; the first is a second, and each further wrong password doubles it",
        live: true,
        allowed: "a time from 1s to 5m, such as \"1m\"",
        apply: |config, value| {
            let range = Duration::from_secs(1)..=Duration::from_mins(5);
            config.auth.throttle.wait_max = value.duration(range)?;
            Ok(())
        },
        show: |config| show_duration(config.auth.throttle.wait_max).into(),
    },
];

const GUESSES: &str = "a number of passwords from 1 to 1000000";
const GUESSES_MAX: u32 = 1_000_000;

/// The first word of each is the one shown; the others are RabbitMQ's.
const HASHING: [(&str, HashingAlgorithm); 5] = [
    ("sha256", HashingAlgorithm::Sha256),
    ("rabbit_password_hashing_sha256", HashingAlgorithm::Sha256),
    ("sha512", HashingAlgorithm::Sha512),
    ("rabbit_password_hashing_sha512", HashingAlgorithm::Sha512),
    ("argon2id", HashingAlgorithm::Argon2id),
];

const USERS: [(&str, CertificateUser); 3] = [
    ("distinguished_name", CertificateUser::DistinguishedName),
    ("common_name", CertificateUser::CommonName),
    ("subject_alternative_name", CertificateUser::AlternativeName),
];

const KINDS: [(&str, NameKind); 5] = [
    ("dns", NameKind::Dns),
    ("ip", NameKind::Ip),
    ("email", NameKind::Email),
    ("uri", NameKind::Uri),
    ("other_name", NameKind::Other),
];

fn mechanisms(value: &Value) -> Result<Vec<Mechanism>, Refused> {
    let words = Mechanism::ALL.map(|one| (one.name(), one));
    let mut mechanisms = Vec::new();
    for text in value.texts()? {
        let mechanism = Value::Text(text).word(&words)?;
        if !mechanisms.contains(&mechanism) {
            mechanisms.push(mechanism);
        }
    }
    if mechanisms.is_empty() { Err(Refused::NotAllowed) } else { Ok(mechanisms) }
}
