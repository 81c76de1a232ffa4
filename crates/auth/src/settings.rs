//! What the chain is made of, as the configuration says it.

use std::path::PathBuf;
use std::time::Duration;

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who is asked, in this order (RabbitMQ's `auth_backends`).
    pub chain: Vec<Step>,
    /// `auth_http`
    pub http: HttpSettings,
    /// `auth_cache`
    pub cache: CacheSettings,
}

/// One place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who says whether somebody is who they claim to be.
    pub authn: Backend,
    /// Who says what they may do.
    pub authz: Backend,
}

/// Somebody who can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// The broker's own users and permissions.
    Internal,
    /// The same, for clients on this machine only.
    InternalLoopback,
    /// An HTTP service.
    Http,
    /// Whoever [`CacheSettings`] names, with a memory for answers.
    Cache,
}

impl Backend {
    /// All of them, by RabbitMQ's names; further names of the same stand behind the first.
    pub const NAMES: [(&str, Self); 8] = [
        ("internal", Self::Internal),
        ("internal_loopback", Self::InternalLoopback),
        ("http", Self::Http),
        ("cache", Self::Cache),
        ("rabbit_auth_backend_internal", Self::Internal),
        ("rabbit_auth_backend_internal_loopback", Self::InternalLoopback),
        ("rabbit_auth_backend_http", Self::Http),
        ("rabbit_auth_backend_cache", Self::Cache),
    ];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, own)| *own == self).map_or("", |(name, _)| name)
    }

    /// Its name in texts that clients see.
    pub(crate) fn module(self) -> &'static str {
        Self::NAMES.iter().rfind(|(_, own)| *own == self).map_or("", |(name, _)| name)
    }
}

/// An HTTP service that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// How.
    pub method: HttpMethod,
    /// The URL that is asked about logins.
    pub user_path: String,
    /// About vhosts.
    pub vhost_path: String,
    /// About exchanges and queues.
    pub resource_path: String,
    /// About routing keys.
    pub topic_path: String,
    /// How long it may take.
    pub request_timeout: Duration,
    /// Whether clients are told why the service refuses something.
    pub discloses: bool,
    /// For `https`.
    pub tls: TlsFiles,
}

/// The method of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// Everything is in the URL, passwords as well.
    Get,
    /// Everything is in a form in the body.
    Post,
}

/// PEM files for TLS to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities the server is checked by, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate the server is shown.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}

/// What is remembered of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Whose.
    pub cached: Step,
    /// For how long.
    pub ttl: Duration,
    /// Refusals, too.
    pub refusals: bool,
}

impl Default for Settings {
    /// The broker's own users.
    fn default() -> Self {
        let internal = Step { authn: Backend::Internal, authz: Backend::Internal };
        let path = |path| format!("http://localhost:8000/auth/{path}");
        Self {
            chain: vec![internal],
            http: HttpSettings {
                method: HttpMethod::Get,
                user_path: path("user"),
                vhost_path: path("vhost"),
                resource_path: path("resource"),
                topic_path: path("topic"),
                request_timeout: Duration::from_secs(15),
                discloses: false,
                tls: TlsFiles::default(),
            },
            cache: CacheSettings {
                cached: internal,
                ttl: Duration::from_secs(15),
                refusals: false,
            },
        }
    }
}
