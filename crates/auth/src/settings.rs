//! What the chain is made of, as the configuration says it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use leveret_broker::access::PatternSyntax;
use leveret_outbound::DEPTH;

use crate::ldap::{LdapQuery, LdapTagQueries};

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who is asked, in this order (RabbitMQ's `auth_backends`).
    pub chain: Vec<Step>,
    /// `auth_http`
    pub http: HttpSettings,
    /// `auth_oauth2`
    pub oauth2: OAuth2Settings,
    /// `auth_ldap`
    pub ldap: LdapSettings,
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
    /// An LDAP server.
    Ldap,
    /// Whoever [`CacheSettings`] names, with a memory for answers.
    Cache,
}

impl Backend {
    /// All of them, by RabbitMQ's names; further names of the same stand behind the first.
    pub const NAMES: [(&str, Self); 13] = [
        ("internal", Self::Internal),
        ("internal_loopback", Self::InternalLoopback),
        ("http", Self::Http),
        ("oauth2", Self::OAuth2),
        ("oauth", Self::OAuth2),
        ("ldap", Self::Ldap),
        ("cache", Self::Cache),
        ("rabbit_auth_backend_internal", Self::Internal),
        ("rabbit_auth_backend_internal_loopback", Self::InternalLoopback),
        ("rabbit_auth_backend_http", Self::Http),
        ("rabbit_auth_backend_oauth2", Self::OAuth2),
        ("rabbit_auth_backend_ldap", Self::Ldap),
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
    /// Most requests at a time.
    pub requests_max: usize,
    /// Whether clients are told why the service refuses something.
    pub discloses: bool,
    /// For `https`.
    pub tls: ServerTrust,
}

/// The method of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// Everything is in the URL, passwords as well.
    Get,
    /// Everything is in a form in the body.
    Post,
}

/// By what a server is checked with TLS, and what it is shown: PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTrust {
    /// Authorities the server is checked by, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate the server is shown.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Most certificates between the server's and one of an authority.
    pub depth: u8,
}

impl Default for ServerTrust {
    fn default() -> Self {
        Self { ca_file: None, cert_file: None, key_file: None, depth: DEPTH }
    }
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
    /// How long the servers of both may take.
    pub request_timeout: Duration,
    /// Authorities that they are checked by, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Most certificates between such a server's and one of an authority.
    pub depth: u8,
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
            request_timeout: Duration::from_secs(10),
            ca_file: None,
            depth: DEPTH,
        }
    }
}

/// LDAP servers that are asked.
#[derive(Clone, PartialEq, Eq)]
pub struct LdapSettings {
    /// Host names or addresses, the first of which that can be reached is asked.
    pub servers: Vec<String>,
    /// Their port.
    pub port: u16,
    /// TLS from the beginning.
    pub use_ssl: bool,
    /// TLS after a beginning without.
    pub use_starttls: bool,
    /// For either.
    pub tls: ServerTrust,
    /// How long an answer may take.
    pub timeout: Duration,
    /// For how long a connection is kept that nobody uses.
    pub idle_timeout: Duration,
    /// Most connections.
    pub pool_size: usize,
    /// Under which name a user is bound, if not by `user_dn_pattern`.
    pub user_bind_pattern: Option<String>,
    /// The distinguished name of a user, or what is looked up.
    pub user_dn_pattern: String,
    /// The attribute by which names are looked up.
    pub dn_lookup_attribute: Option<String>,
    /// Where.
    pub dn_lookup_base: Option<String>,
    /// As whom.
    pub dn_lookup_bind: LdapBind,
    /// As whom queries are asked.
    pub other_bind: LdapBind,
    /// Where groups of groups are looked for, if not at `dn_lookup_base`.
    pub group_lookup_base: Option<String>,
    /// Who may enter a vhost.
    pub vhost_access_query: LdapQuery,
    /// Who may do what with exchanges and queues.
    pub resource_access_query: LdapQuery,
    /// And with routing keys.
    pub topic_access_query: LdapQuery,
    /// Who has which tags.
    pub tag_queries: LdapTagQueries,
}

/// As whom a connection to an LDAP server is bound: as the user it is about, unless this says
/// otherwise.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LdapBind {
    /// As nobody.
    pub is_anonymous: bool,
    /// As this user of the directory, if there is a password too.
    pub user_dn: Option<String>,
    /// That.
    pub password: Option<String>,
}

/// Passwords are nobody's business.
impl fmt::Debug for LdapBind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdapBind").field("user_dn", &self.user_dn).finish_non_exhaustive()
    }
}

/// As [`LdapBind`].
impl fmt::Debug for LdapSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdapSettings").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Default for LdapSettings {
    /// RabbitMQ's; but an answer may not take forever.
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            port: 389,
            use_ssl: false,
            use_starttls: false,
            tls: ServerTrust::default(),
            timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_mins(5),
            pool_size: 64,
            user_bind_pattern: None,
            user_dn_pattern: "${username}".to_owned(),
            dn_lookup_attribute: None,
            dn_lookup_base: None,
            dn_lookup_bind: LdapBind::default(),
            other_bind: LdapBind::default(),
            group_lookup_base: None,
            vhost_access_query: LdapQuery::constant(true),
            resource_access_query: LdapQuery::constant(true),
            topic_access_query: LdapQuery::constant(true),
            tag_queries: LdapTagQueries::nobody(),
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
                requests_max: 64,
                discloses: false,
                tls: ServerTrust::default(),
            },
            oauth2: OAuth2Settings::default(),
            ldap: LdapSettings::default(),
            cache: CacheSettings {
                cached: internal,
                ttl: Duration::from_secs(15),
                refusals: false,
            },
        }
    }
}
