//! `[web]`: what browsers may do with the HTTP API, and who may see what it tells.

use std::time::Duration;

use super::networks::Networks;

/// `[web]`: the HTTP API in the hands of browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebConfig {
    /// How long a session of the web interface lasts without a request.
    pub session_idle: Duration,
    /// How long it lasts at most.
    pub session_lifetime: Duration,
    /// Most sessions at a time; one more ends the one unused for longest.
    pub session_max: u32,
    /// Most of one user.
    pub session_max_per_user: u32,
    /// The header `Content-Security-Policy` of every answer.
    pub content_security_policy: String,
    /// The header `Strict-Transport-Security` of what is answered over TLS.
    pub strict_transport_security: Option<String>,
    /// Origins other than the broker's own whose pages may use the API; `*` stands for all.
    pub allowed_origins: Vec<String>,
    /// Names of this machine besides `localhost`, by which users call it that may come from it only.
    pub hosts: Vec<String>,
    /// How long a browser may remember what such a page may do.
    pub preflight_max_age: Duration,
    /// Proxies that say whose request they pass on, in `X-Forwarded-For` and `X-Forwarded-Proto`.
    pub proxies: Networks,
    /// Which metrics need a login.
    pub metrics_login: MetricsLogin,
    /// Longest head of a request in bytes: what a connection may hold before it is known whose it is.
    pub head_max: u32,
    /// How long a client may take for the head of a request, or between two requests.
    pub head_timeout: Duration,
    /// How long it may take for a body.
    pub body_timeout: Duration,
    /// Longest body of a request in bytes.
    pub body_max: u64,
    /// Bytes that requests and their answers may take together, above which each may an even share;
    /// without it a sixteenth of the memory.
    pub memory_max: Option<u64>,
    /// Requests a second that an address may make, with IPv6 a network of 64 bits.
    pub request_rate: Option<u32>,
    /// Most connections of a listener; without it as many as a part of the descriptors and one of the memory
    /// bear.
    pub connection_max: Option<u32>,
}

/// Which metrics need a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsLogin {
    /// None.
    None,
    /// Those that name queues, virtual hosts, connections and the like.
    Names,
    /// All.
    Always,
}

impl Default for WebConfig {
    fn default() -> Self {
        const HOUR: u64 = 60 * 60;
        Self {
            session_idle: Duration::from_secs(HOUR),
            session_lifetime: Duration::from_secs(8 * HOUR),
            session_max: 1024,
            session_max_per_user: 32,
            content_security_policy: "default-src 'self'; base-uri 'none'; form-action 'none'; \
                                      frame-ancestors 'none'; object-src 'none'"
                .to_owned(),
            strict_transport_security: None,
            allowed_origins: Vec::new(),
            hosts: Vec::new(),
            preflight_max_age: Duration::from_secs(HOUR / 2),
            proxies: Networks::default(),
            metrics_login: MetricsLogin::Names,
            head_max: 64 << 10,
            head_timeout: Duration::from_mins(1),
            body_timeout: Duration::from_mins(1),
            body_max: 20_000_000,
            memory_max: None,
            request_rate: None,
            connection_max: None,
        }
    }
}
