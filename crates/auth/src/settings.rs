//! What the chain is made of, as the configuration says it.

use std::path::PathBuf;
use std::time::Duration;

use leveret_broker::access::PatternSyntax;

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who is asked, in this order (RabbitMQ's `auth_backends`).
    pub chain: Vec<Step>,
    /// `auth_http`
    pub http: HttpSettings,
    /// `auth_oauth2`
    pub oauth2: OAuth2Settings,
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
    /// Tokens of OAuth 2.
    OAuth2,
    /// Whoever [`CacheSettings`] names, with a memory for answers.
    Cache,
}

impl Backend {
    /// All of them, by RabbitMQ's names; further names of the same stand behind the first.
    pub const NAMES: [(&str, Self); 11] = [
        ("internal", Self::Internal),
        ("internal_loopback", Self::InternalLoopback),
        ("http", Self::Http),
        ("oauth2", Self::OAuth2),
        ("oauth", Self::OAuth2),
        ("cache", Self::Cache),
        ("rabbit_auth_backend_internal", Self::Internal),
        ("rabbit_auth_backend_internal_loopback", Self::InternalLoopback),
        ("rabbit_auth_backend_http", Self::Http),
        ("rabbit_auth_backend_oauth2", Self::OAuth2),
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

/// Tokens that are taken, and what is read in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2Settings {
    /// The broker's name among those that tokens are for.
    pub resource_server_id: Option<String>,
    /// What scopes begin with that are meant for the broker; by default its name and a dot.
    pub scope_prefix: Option<String>,
    /// Paths of claims with more scopes.
    pub additional_scopes_key: Vec<String>,
    /// Words that stand for scopes.
    pub scope_aliases: Vec<(String, String)>,
    /// How the patterns in scopes are written.
    pub syntax: PatternSyntax,
    /// Claims that tell the user's name, the most telling first.
    pub preferred_username_claims: Vec<String>,
    /// Whether a token has to be for the broker.
    pub verify_aud: bool,
    /// Whether it has to expire.
    pub require_exp: bool,
    /// The algorithms of signatures that are taken; none for all.
    pub algorithms: Vec<String>,
    /// Keys by name, in PEM files.
    pub signing_keys: Vec<(String, PathBuf)>,
    /// The name of the key of tokens that name none.
    pub default_key: Option<String>,
    /// The URL of a set of keys.
    pub jwks_uri: Option<String>,
    /// Who says where that is, if it isn't known.
    pub issuer: Option<String>,
    /// Authorities that the servers of both are checked by, in place of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for OAuth2Settings {
    fn default() -> Self {
        Self {
            resource_server_id: None,
            scope_prefix: None,
            additional_scopes_key: Vec::new(),
            scope_aliases: Vec::new(),
            syntax: PatternSyntax::Wildcard,
            preferred_username_claims: Vec::new(),
            verify_aud: true,
            require_exp: true,
            algorithms: Vec::new(),
            signing_keys: Vec::new(),
            default_key: None,
            jwks_uri: None,
            issuer: None,
            ca_file: None,
        }
    }
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
            oauth2: OAuth2Settings::default(),
            cache: CacheSettings {
                cached: internal,
                ttl: Duration::from_secs(15),
                refusals: false,
            },
        }
    }
}
