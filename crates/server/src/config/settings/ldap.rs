//! `[auth_ldap]`: the LDAP servers that are asked, and what. The names are RabbitMQ's.

use std::time::Duration;

use leveret_auth::{LdapQuery, LdapTagQueries};

use super::backends::{DEPTH, FILE, file, show_file};
use super::{Refused, Setting, Shown, texts};
use crate::config::units::show_duration;
use crate::config::value::Value;

pub(super) const LOOKUP_PASSWORD: &str = "auth_ldap.dn_lookup_bind_password";
pub(super) const OTHER_PASSWORD: &str = "auth_ldap.other_bind_password";

pub(super) static LDAP: [Setting; 26] = [
    Setting {
        key: "auth_ldap.servers",
        about: "LDAP servers; the first that can be reached is asked",
        live: false,
        allowed: "a list of host names and addresses, or \"none\"",
        apply: |config, value| {
            config.auth.backends.ldap.servers = value.texts()?;
            Ok(())
        },
        show: |config| match config.auth.backends.ldap.servers.as_slice() {
            [] => "none".into(),
            servers => texts(servers),
        },
    },
    Setting {
        key: "auth_ldap.port",
        about: "Their port",
        live: false,
        allowed: "a port",
        apply: |config, value| {
            config.auth.backends.ldap.port = value.integer(1..=u16::MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.auth.backends.ldap.port).into(),
    },
    Setting {
        key: "auth_ldap.use_ssl",
        about: "Whether they speak TLS from the beginning",
        live: false,
        allowed: "true or false",
        apply: |config, value| {
            config.auth.backends.ldap.use_ssl = value.boolean()?;
            Ok(())
        },
        show: |config| config.auth.backends.ldap.use_ssl.into(),
    },
    Setting {
        key: "auth_ldap.use_starttls",
        about: "Whether they are asked for TLS first",
        live: false,
        allowed: "true or false",
        apply: |config, value| {
            config.auth.backends.ldap.use_starttls = value.boolean()?;
            Ok(())
        },
        show: |config| config.auth.backends.ldap.use_starttls.into(),
    },
    Setting {
        key: "auth_ldap.ca_file",
        about: "Authorities (PEM) they are checked by, in place of the system's",
        live: false,
        allowed: FILE,
        apply: |config, value| {
            config.auth.backends.ldap.tls.ca_file = file(value)?;
            Ok(())
        },
        show: |config| show_file(config.auth.backends.ldap.tls.ca_file.as_ref()),
    },
    Setting {
        key: "auth_ldap.cert_file",
        about: "The certificate (PEM) they are shown",
        live: false,
        allowed: FILE,
        apply: |config, value| {
            config.auth.backends.ldap.tls.cert_file = file(value)?;
            Ok(())
        },
        show: |config| show_file(config.auth.backends.ldap.tls.cert_file.as_ref()),
    },
    Setting {
        key: "auth_ldap.key_file",
        about: "Its key (PEM)",
        live: false,
        allowed: FILE,
        apply: |config, value| {
            config.auth.backends.ldap.tls.key_file = file(value)?;
            Ok(())
        },
        show: |config| show_file(config.auth.backends.ldap.tls.key_file.as_ref()),
    },
    Setting {
        key: "auth_ldap.depth",
        about: "Most certificates between theirs and one of an authority",
        live: false,
        allowed: DEPTH,
        apply: |config, value| {
            config.auth.backends.ldap.tls.depth = value.integer(0..=u8::MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.auth.backends.ldap.tls.depth).into(),
    },
    Setting {
        key: "auth_ldap.timeout",
        about: "How long an answer may take",
        live: false,
        allowed: "a time from 10ms to 5m, such as \"15s\"",
        apply: |config, value| {
            let range = Duration::from_millis(10)..=Duration::from_mins(5);
            config.auth.backends.ldap.timeout = value.duration(range)?;
            Ok(())
        },
        show: |config| show_duration(config.auth.backends.ldap.timeout).into(),
    },
    Setting {
        key: "auth_ldap.idle_timeout",
        about: "How long a connection is kept that nobody uses; none are with 0s",
        live: false,
        allowed: "a time up to 24h, such as \"5m\"",
        apply: |config, value| {
            let range = Duration::ZERO..=Duration::from_hours(24);
            config.auth.backends.ldap.idle_timeout = value.duration(range)?;
            Ok(())
        },
        show: |config| show_duration(config.auth.backends.ldap.idle_timeout).into(),
    },
    Setting {
        key: "auth_ldap.connection_pool_size",
        about: "Most connections at a time",
        live: false,
        allowed: "a number of connections from 1 to 65535",
        apply: |config, value| {
            config.auth.backends.ldap.pool_size = value.integer(1..=u16::MAX)?.into();
            Ok(())
        },
        show: |config| {
            i64::try_from(config.auth.backends.ldap.pool_size).unwrap_or(i64::MAX).into()
        },
    },
    Setting {
        key: "auth_ldap.user_dn_pattern",
        about: "The distinguished name of a user, or what is looked up",
        live: false,
        allowed: PATTERN,
        apply: |config, value| {
            value.text()?.clone_into(&mut config.auth.backends.ldap.user_dn_pattern);
            Ok(())
        },
        show: |config| config.auth.backends.ldap.user_dn_pattern.as_str().into(),
    },
    Setting {
        key: "auth_ldap.user_bind_pattern",
        about: "What a user is bound as, if not as that",
        live: false,
        allowed: "a text such as \"${ad_user}@${ad_domain}.example.com\", or \"none\"",
        apply: |config, value| {
            config.auth.backends.ldap.user_bind_pattern = or_none(value)?;
            Ok(())
        },
        show: |config| show_or_none(config.auth.backends.ldap.user_bind_pattern.as_ref()),
    },
    Setting {
        key: "auth_ldap.dn_lookup_attribute",
        about: "The attribute by which users are looked up",
        live: false,
        allowed: "an attribute such as \"userPrincipalName\", or \"none\"",
        apply: |config, value| {
            config.auth.backends.ldap.dn_lookup_attribute = or_none(value)?;
            Ok(())
        },
        show: |config| show_or_none(config.auth.backends.ldap.dn_lookup_attribute.as_ref()),
    },
    Setting {
        key: "auth_ldap.dn_lookup_base",
        about: "Where they are looked for",
        live: false,
        allowed: DN,
        apply: |config, value| {
            config.auth.backends.ldap.dn_lookup_base = or_none(value)?;
            Ok(())
        },
        show: |config| show_or_none(config.auth.backends.ldap.dn_lookup_base.as_ref()),
    },
    Setting {
        key: "auth_ldap.dn_lookup_bind",
        about: "As whom they are looked up, unless there is a name and a password for it",
        live: false,
        allowed: "\"as_user\" or \"anon\"",
        apply: |config, value| {
            config.auth.backends.ldap.dn_lookup_bind.is_anonymous = value.word(&BINDS)?;
            Ok(())
        },
        show: |config| show_bind(config.auth.backends.ldap.dn_lookup_bind.is_anonymous),
    },
    Setting {
        key: "auth_ldap.dn_lookup_bind_user_dn",
        about: "The distinguished name for that",
        live: false,
        allowed: DN,
        apply: |config, value| {
            config.auth.backends.ldap.dn_lookup_bind.user_dn = or_none(value)?;
            Ok(())
        },
        show: |config| show_or_none(config.auth.backends.ldap.dn_lookup_bind.user_dn.as_ref()),
    },
    Setting {
        key: LOOKUP_PASSWORD,
        about: "Its password",
        live: false,
        allowed: "a text",
        apply: |config, value| {
            let password = value.text()?.to_owned();
            config.auth.backends.ldap.dn_lookup_bind.password = Some(password);
            Ok(())
        },
        show: |config| show_secret(config.auth.backends.ldap.dn_lookup_bind.password.as_ref()),
    },
    Setting {
        key: "auth_ldap.other_bind",
        about: "As whom queries are asked, unless there is a name and a password for it",
        live: false,
        allowed: "\"as_user\" or \"anon\"",
        apply: |config, value| {
            config.auth.backends.ldap.other_bind.is_anonymous = value.word(&BINDS)?;
            Ok(())
        },
        show: |config| show_bind(config.auth.backends.ldap.other_bind.is_anonymous),
    },
    Setting {
        key: "auth_ldap.other_bind_user_dn",
        about: "The distinguished name for that",
        live: false,
        allowed: DN,
        apply: |config, value| {
            config.auth.backends.ldap.other_bind.user_dn = or_none(value)?;
            Ok(())
        },
        show: |config| show_or_none(config.auth.backends.ldap.other_bind.user_dn.as_ref()),
    },
    Setting {
        key: OTHER_PASSWORD,
        about: "Its password",
        live: false,
        allowed: "a text",
        apply: |config, value| {
            let password = value.text()?.to_owned();
            config.auth.backends.ldap.other_bind.password = Some(password);
            Ok(())
        },
        show: |config| show_secret(config.auth.backends.ldap.other_bind.password.as_ref()),
    },
    Setting {
        key: "auth_ldap.group_lookup_base",
        about: "Where groups of groups are looked for, if not where users are",
        live: false,
        allowed: DN,
        apply: |config, value| {
            config.auth.backends.ldap.group_lookup_base = or_none(value)?;
            Ok(())
        },
        show: |config| show_or_none(config.auth.backends.ldap.group_lookup_base.as_ref()),
    },
    Setting {
        key: "auth_ldap.vhost_access_query",
        about: "Who may enter a vhost",
        live: false,
        allowed: QUERY,
        apply: |config, value| {
            config.auth.backends.ldap.vhost_access_query = query(value)?;
            Ok(())
        },
        show: |config| config.auth.backends.ldap.vhost_access_query.as_str().into(),
    },
    Setting {
        key: "auth_ldap.resource_access_query",
        about: "Who may do what with an exchange or a queue",
        live: false,
        allowed: QUERY,
        apply: |config, value| {
            config.auth.backends.ldap.resource_access_query = query(value)?;
            Ok(())
        },
        show: |config| config.auth.backends.ldap.resource_access_query.as_str().into(),
    },
    Setting {
        key: "auth_ldap.topic_access_query",
        about: "Who may use which routing key of a topic exchange",
        live: false,
        allowed: QUERY,
        apply: |config, value| {
            config.auth.backends.ldap.topic_access_query = query(value)?;
            Ok(())
        },
        show: |config| config.auth.backends.ldap.topic_access_query.as_str().into(),
    },
    Setting {
        key: "auth_ldap.tag_queries",
        about: "Who has which tags",
        live: false,
        allowed: "a list of queries as RabbitMQ has them, such as \"[{administrator, {in_group, \\\"cn=admins,dc=example\\\"}}]\"",
        apply: |config, value| {
            let queries = LdapTagQueries::parse(value.text()?);
            config.auth.backends.ldap.tag_queries = queries.map_err(|_| Refused::NotAllowed)?;
            Ok(())
        },
        show: |config| config.auth.backends.ldap.tag_queries.as_str().into(),
    },
];

const PATTERN: &str = "a text such as \"cn=${username},ou=people,dc=example,dc=com\"";
const DN: &str = "a distinguished name such as \"ou=people,dc=example,dc=com\", or \"none\"";
const QUERY: &str =
    "a query as RabbitMQ has them, such as \"{in_group, \\\"cn=users,dc=example\\\"}\"";

/// Whether nobody is bound.
const BINDS: [(&str, bool); 2] = [("as_user", false), ("anon", true)];

fn query(value: &Value) -> Result<LdapQuery, Refused> {
    LdapQuery::parse(value.text()?).map_err(|_| Refused::NotAllowed)
}

fn or_none(value: &Value) -> Result<Option<String>, Refused> {
    let text = value.text()?;
    Ok((!text.eq_ignore_ascii_case("none")).then(|| text.to_owned()))
}

fn show_or_none(text: Option<&String>) -> Shown {
    text.map_or("none", String::as_str).into()
}

fn show_bind(is_anonymous: bool) -> Shown {
    if is_anonymous { "anon".into() } else { "as_user".into() }
}

fn show_secret(secret: Option<&String>) -> Shown {
    secret.map_or(Shown::Withheld("is not set"), |secret| Shown::Secret(secret.clone()))
}
