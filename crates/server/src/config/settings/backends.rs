//! Who decides about logins: `[auth_http]` and `[auth_cache]`, and the chain they are named in. The
//! sections and names are RabbitMQ's.

use std::path::{self, PathBuf};
use std::time::Duration;

use leveret_auth::{Backend, HttpMethod, Step};

use super::{Refused, Setting, Shown, texts, word};
use crate::config::units::show_duration;
use crate::config::value::Value;

/// `auth.backends`, which stands among the settings of its section.
pub(super) const BACKENDS: Setting = Setting {
    key: "auth.backends",
    about: "Who is asked about logins and permissions, one after the other until one lets the client in; with a colon, who is asked about logins and who about permissions",
    live: false,
    allowed: "a list of \"internal\", \"internal_loopback\", \"http\", \"oauth2\", \"ldap\" and \"cache\", or two of them as in \"http:internal\"",
    apply: |config, value| {
        config.auth.backends.chain = chain(value)?;
        Ok(())
    },
    show: |config| texts(config.auth.backends.chain.iter().map(show_step)),
};

pub(super) static HTTP: [Setting; 12] = [
    Setting {
        key: "auth_http.http_method",
        about: "How the HTTP service is asked: `get` has passwords in URLs, which services log",
        live: false,
        allowed: "\"get\" or \"post\"",
        apply: |config, value| {
            config.auth.backends.http.method = value.word(&METHODS)?;
            Ok(())
        },
        show: |config| word(&METHODS, config.auth.backends.http.method),
    },
    Setting {
        key: "auth_http.user_path",
        about: "What is asked about logins",
        live: false,
        allowed: URL,
        apply: |config, value| {
            config.auth.backends.http.user_path = url(value)?;
            Ok(())
        },
        show: |config| config.auth.backends.http.user_path.as_str().into(),
    },
    Setting {
        key: "auth_http.vhost_path",
        about: "What is asked about vhosts",
        live: false,
        allowed: URL,
        apply: |config, value| {
            config.auth.backends.http.vhost_path = url(value)?;
            Ok(())
        },
        show: |config| config.auth.backends.http.vhost_path.as_str().into(),
    },
    Setting {
        key: "auth_http.resource_path",
        about: "What is asked about exchanges and queues",
        live: false,
        allowed: URL,
        apply: |config, value| {
            config.auth.backends.http.resource_path = url(value)?;
            Ok(())
        },
        show: |config| config.auth.backends.http.resource_path.as_str().into(),
    },
    Setting {
        key: "auth_http.topic_path",
        about: "What is asked about routing keys",
        live: false,
        allowed: URL,
        apply: |config, value| {
            config.auth.backends.http.topic_path = url(value)?;
            Ok(())
        },
        show: |config| config.auth.backends.http.topic_path.as_str().into(),
    },
    Setting {
        key: "auth_http.request_timeout",
        about: "How long an answer of the HTTP service may take",
        live: false,
        allowed: "a time from 10ms to 5m, such as \"15s\"",
        apply: |config, value| {
            let range = Duration::from_millis(10)..=Duration::from_mins(5);
            config.auth.backends.http.request_timeout = value.duration(range)?;
            Ok(())
        },
        show: |config| show_duration(config.auth.backends.http.request_timeout).into(),
    },
    Setting {
        key: "auth_http.requests_max",
        about: "Most requests to the HTTP service at a time; others wait for theirs within `request_timeout`",
        live: false,
        allowed: "a number of requests from 1 to 65535",
        apply: |config, value| {
            config.auth.backends.http.requests_max = value.integer(1..=u16::MAX)?.into();
            Ok(())
        },
        show: |config| {
            i64::try_from(config.auth.backends.http.requests_max).unwrap_or(i64::MAX).into()
        },
    },
    Setting {
        key: "auth_http.authorization_failure_disclosure",
        about: "Whether clients are told the reason the HTTP service gives when it refuses something",
        live: false,
        allowed: "true or false",
        apply: |config, value| {
            config.auth.backends.http.discloses = value.boolean()?;
            Ok(())
        },
        show: |config| config.auth.backends.http.discloses.into(),
    },
    Setting {
        key: "auth_http.ca_file",
        about: "Authorities (PEM) the HTTP service is checked by with https, in place of the system's",
        live: false,
        allowed: FILE,
        apply: |config, value| {
            config.auth.backends.http.tls.ca_file = file(value)?;
            Ok(())
        },
        show: |config| show_file(config.auth.backends.http.tls.ca_file.as_ref()),
    },
    Setting {
        key: "auth_http.cert_file",
        about: "The certificate (PEM) the HTTP service is shown",
        live: false,
        allowed: FILE,
        apply: |config, value| {
            config.auth.backends.http.tls.cert_file = file(value)?;
            Ok(())
        },
        show: |config| show_file(config.auth.backends.http.tls.cert_file.as_ref()),
    },
    Setting {
        key: "auth_http.key_file",
        about: "Its key (PEM)",
        live: false,
        allowed: FILE,
        apply: |config, value| {
            config.auth.backends.http.tls.key_file = file(value)?;
            Ok(())
        },
        show: |config| show_file(config.auth.backends.http.tls.key_file.as_ref()),
    },
    Setting {
        key: "auth_http.depth",
        about: "Most certificates between its own and one of an authority",
        live: false,
        allowed: DEPTH,
        apply: |config, value| {
            config.auth.backends.http.tls.depth = value.integer(0..=u8::MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.auth.backends.http.tls.depth).into(),
    },
];

pub(super) static CACHE: [Setting; 3] = [
    Setting {
        key: "auth_cache.cached_backend",
        about: "Whose answers the backend `cache` remembers",
        live: false,
        allowed: "a backend such as \"http\", or two as in \"http:internal\"",
        apply: |config, value| {
            let step = step(value.text()?)?;
            if step.authn == Backend::Cache || step.authz == Backend::Cache {
                return Err(Refused::NotAllowed);
            }
            config.auth.backends.cache.cached = step;
            Ok(())
        },
        show: |config| show_step(&config.auth.backends.cache.cached).into(),
    },
    Setting {
        key: "auth_cache.cache_ttl",
        about: "For how long",
        live: false,
        allowed: "a time from 1ms to 24h, such as \"15s\"",
        apply: |config, value| {
            let range = Duration::from_millis(1)..=Duration::from_hours(24);
            config.auth.backends.cache.ttl = value.duration(range)?;
            Ok(())
        },
        show: |config| show_duration(config.auth.backends.cache.ttl).into(),
    },
    Setting {
        key: "auth_cache.cache_refusals",
        about: "Whether refusals are remembered as well",
        live: false,
        allowed: "true or false",
        apply: |config, value| {
            config.auth.backends.cache.refusals = value.boolean()?;
            Ok(())
        },
        show: |config| config.auth.backends.cache.refusals.into(),
    },
];

const URL: &str = "a URL such as \"http://localhost:8000/auth/user\"";
pub(super) const DEPTH: &str = "a number of certificates from 0 to 255";
pub(super) const FILE: &str = "the path of a file, or \"none\"";

const METHODS: [(&str, HttpMethod); 2] = [("get", HttpMethod::Get), ("post", HttpMethod::Post)];

fn chain(value: &Value) -> Result<Vec<Step>, Refused> {
    let chain: Vec<Step> =
        value.texts()?.iter().map(|text| step(text)).collect::<Result<_, _>>()?;
    if chain.is_empty() { Err(Refused::NotAllowed) } else { Ok(chain) }
}

fn step(text: &str) -> Result<Step, Refused> {
    let (authn, authz) = text.split_once(':').unwrap_or((text, text));
    let backend = |name: &str| Value::Text(name.to_owned()).word(&Backend::NAMES);
    Ok(Step { authn: backend(authn)?, authz: backend(authz)? })
}

fn show_step(step: &Step) -> String {
    match step {
        Step { authn, authz } if authn == authz => authn.name().to_owned(),
        Step { authn, authz } => format!("{}:{}", authn.name(), authz.name()),
    }
}

pub(super) fn url(value: &Value) -> Result<String, Refused> {
    let text = value.text()?;
    let is_url = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    if is_url { Ok(text.to_owned()) } else { Err(Refused::NotAllowed) }
}

pub(super) fn file(value: &Value) -> Result<Option<PathBuf>, Refused> {
    if value.word(&[("none", ())]).is_ok() {
        return Ok(None);
    }
    path::absolute(value.text()?).map(Some).map_err(|_| Refused::NotAllowed)
}

pub(super) fn show_file(file: Option<&PathBuf>) -> Shown {
    file.map_or_else(|| "none".into(), |path| path.to_string_lossy().as_ref().into())
}
