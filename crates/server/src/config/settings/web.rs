//! `[web]`: browsers, and who sees what over HTTP.

use std::time::Duration;

use super::memory::{budget, show_budget};
use super::{Refused, Setting, limit, show_limit, texts, word};
use crate::config::units::{show_bytes, show_duration};
use crate::config::value::Value;
use crate::config::{MetricsLogin, Networks};

pub(super) static WEB: [Setting; 18] = [
    Setting {
        key: "web.session_idle",
        about: "How long a session of the web interface lasts without a request",
        live: true,
        allowed: SESSION,
        apply: |config, value| {
            config.web.session_idle = value.duration(SESSION_MIN..=SESSION_MAX)?;
            Ok(())
        },
        show: |config| show_duration(config.web.session_idle).into(),
    },
    Setting {
        key: "web.session_lifetime",
        about: "How long it lasts at most",
        live: true,
        allowed: SESSION,
        apply: |config, value| {
            config.web.session_lifetime = value.duration(SESSION_MIN..=SESSION_MAX)?;
            Ok(())
        },
        show: |config| show_duration(config.web.session_lifetime).into(),
    },
    Setting {
        key: "web.session_max",
        about: "Most sessions at a time; one more ends the one that was not used for longest",
        live: true,
        allowed: SESSIONS,
        apply: |config, value| {
            config.web.session_max = value.integer(1..=SESSIONS_MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.web.session_max).into(),
    },
    Setting {
        key: "web.session_max_per_user",
        about: "Most of a user, likewise",
        live: true,
        allowed: SESSIONS,
        apply: |config, value| {
            config.web.session_max_per_user = value.integer(1..=SESSIONS_MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.web.session_max_per_user).into(),
    },
    Setting {
        key: "web.content_security_policy",
        about: "The header Content-Security-Policy of every answer over HTTP",
        live: true,
        allowed: "a text that fits a header",
        apply: |config, value| {
            config.web.content_security_policy = header(value)?;
            Ok(())
        },
        show: |config| config.web.content_security_policy.as_str().into(),
    },
    Setting {
        key: "web.strict_transport_security",
        about: "The header Strict-Transport-Security of answers over TLS",
        live: true,
        allowed: "a text such as \"max-age=31536000\", or \"none\"",
        apply: |config, value| {
            let none = value.word(&[("none", ())]).map(|()| None);
            config.web.strict_transport_security = none.or_else(|_| header(value).map(Some))?;
            Ok(())
        },
        show: |config| config.web.strict_transport_security.as_deref().unwrap_or("none").into(),
    },
    Setting {
        key: "web.allowed_origins",
        about: "Other origins whose pages may use the HTTP API",
        live: true,
        allowed: "origins such as \"https://console.example:8443\", or \"*\" for any, or \"none\"",
        apply: |config, value| {
            let origins = value.texts()?;
            if !origins.iter().all(|origin| is_origin(origin)) {
                return Err(Refused::NotAllowed);
            }
            config.web.allowed_origins = origins;
            Ok(())
        },
        show: |config| match config.web.allowed_origins.as_slice() {
            [] => "none".into(),
            origins => texts(origins),
        },
    },
    Setting {
        key: "web.hosts",
        about: "Names of this machine with a dot in them, by which users that may come from it only can call it over HTTP",
        live: true,
        allowed: "names such as \"broker.example\", without a port, or \"none\"",
        apply: |config, value| {
            let hosts = value.texts()?;
            if !hosts.iter().all(|host| is_host(host)) {
                return Err(Refused::NotAllowed);
            }
            config.web.hosts = hosts;
            Ok(())
        },
        show: |config| match config.web.hosts.as_slice() {
            [] => "none".into(),
            hosts => texts(hosts),
        },
    },
    Setting {
        key: "web.preflight_max_age",
        about: "How long a browser may remember what such pages may do",
        live: true,
        allowed: "a time from 0s to 24h, such as \"30m\"",
        apply: |config, value| {
            let seconds: u32 = value.seconds(0..=24 * 60 * 60)?;
            config.web.preflight_max_age = Duration::from_secs(seconds.into());
            Ok(())
        },
        show: |config| show_duration(config.web.preflight_max_age).into(),
    },
    Setting {
        key: "web.proxies",
        about: "Proxies that say in X-Forwarded-For and X-Forwarded-Proto whose request they pass on",
        live: true,
        allowed: "networks and addresses such as \"10.0.0.0/8\", \"private\", \"any\", or \"none\"",
        apply: |config, value| {
            config.web.proxies = Networks::parse(&value.texts()?).ok_or(Refused::NotAllowed)?;
            Ok(())
        },
        show: |config| match &config.web.proxies {
            proxies if proxies.is_empty() => "none".into(),
            proxies => texts(proxies.iter()),
        },
    },
    Setting {
        key: "web.metrics_login",
        about: "Which metrics need a login: those that name queues, users and the like, or all",
        live: true,
        allowed: "one of \"none\", \"names\", \"always\"",
        apply: |config, value| {
            config.web.metrics_login = value.word(&LOGINS)?;
            Ok(())
        },
        show: |config| word(&LOGINS, config.web.metrics_login),
    },
    Setting {
        key: "web.head_max",
        about: "Longest head of a request over HTTP: its first line and its headers",
        live: true,
        allowed: "a size from 8KiB to 1MiB, such as \"64KiB\"",
        apply: |config, value| {
            config.web.head_max = value.bytes(8 << 10..=1 << 20)?;
            Ok(())
        },
        show: |config| show_bytes(config.web.head_max.into()).into(),
    },
    Setting {
        key: "web.head_timeout",
        about: "How long a client may take for it, or between two requests",
        live: true,
        allowed: WAIT,
        apply: |config, value| {
            config.web.head_timeout = value.duration(WAIT_MIN..=WAIT_MAX)?;
            Ok(())
        },
        show: |config| show_duration(config.web.head_timeout).into(),
    },
    Setting {
        key: "web.body_timeout",
        about: "How long it may take for a body, and until a client takes something more of an answer",
        live: true,
        allowed: WAIT,
        apply: |config, value| {
            config.web.body_timeout = value.duration(WAIT_MIN..=WAIT_MAX)?;
            Ok(())
        },
        show: |config| show_duration(config.web.body_timeout).into(),
    },
    Setting {
        key: "web.body_max",
        about: "Longest body of a request over HTTP",
        live: true,
        allowed: "a size from 1KiB to 1GiB, such as \"20MB\"",
        apply: |config, value| {
            config.web.body_max = value.bytes(1 << 10..=1 << 30)?;
            Ok(())
        },
        show: |config| show_bytes(config.web.body_max).into(),
    },
    Setting {
        key: "web.memory_max",
        about: "What requests over HTTP and their answers may take before each may an even share only; twice that is the most",
        live: true,
        allowed: "a size from 1MiB to 1TiB, such as \"1GiB\", or \"auto\" for a sixteenth of the memory, and eight times web.body_max if that is no more than a twelfth",
        apply: |config, value| {
            config.web.memory_max = budget(value)?;
            Ok(())
        },
        show: |config| show_budget(config.web.memory_max),
    },
    Setting {
        key: "web.request_rate",
        about: "Requests a second that an address may make over HTTP; with IPv6 a network of 64 bits",
        live: true,
        allowed: "a number of requests from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.web.request_rate = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.web.request_rate),
    },
    Setting {
        key: "web.connection_max",
        about: "Most connections of each listener for HTTP; beyond that those of the address with the most make room",
        live: true,
        allowed: "a number of connections from 1, or \"auto\" for what a thirty-second of the descriptors and a sixty-fourth of the memory bear, less where more than four listeners share a sixteenth, 1024 at most",
        apply: |config, value| {
            let auto = value.word(&[("auto", None)]);
            let number = |_| value.integer(1..=u32::MAX).map(Some);
            config.web.connection_max = auto.or_else(number)?;
            Ok(())
        },
        show: |config| match config.web.connection_max {
            None => "auto".into(),
            Some(number) => i64::from(number).into(),
        },
    },
];

const SESSION: &str = "a time from 1s to 720h, such as \"1h\"";
const SESSION_MIN: Duration = Duration::from_secs(1);
const SESSION_MAX: Duration = Duration::from_hours(720);

const SESSIONS: &str = "a number of sessions from 1 to 1000000";
const SESSIONS_MAX: u32 = 1_000_000;

const WAIT: &str = "a time from 100ms to 1h, such as \"1m\"";
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_hours(1);

const LOGINS: [(&str, MetricsLogin); 3] = [
    ("none", MetricsLogin::None),
    ("names", MetricsLogin::Names),
    ("always", MetricsLogin::Always),
];

/// What fits the value of a header (RFC 9110, section 5.5), as far as anybody needs it.
fn header(value: &Value) -> Result<String, Refused> {
    let text = value.text()?;
    let fits = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err(Refused::NotAllowed) }
}

/// Whether it is what browsers send as `Origin` (RFC 6454, section 6.1), or the star.
fn is_origin(text: &str) -> bool {
    let host = text.split_once("://").map_or("", |(_, host)| host);
    text == "*" || (!host.is_empty() && !host.contains(['/', ' ', '@']))
}

/// Whether it is a name that a host may have.
fn is_host(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !text.is_empty() && text.bytes().all(fits)
}
