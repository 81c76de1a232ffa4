//! The headers by which browsers protect the pages and answers of the broker.

use std::sync::Arc;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
    CONTENT_SECURITY_POLICY, ORIGIN, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use leveret_server::config::Config;

use crate::origin::is_allowed;

const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// What every answer has, whatever the settings: no guessing of types, no frames, no address handed
/// on, nothing for other sites to embed or hold on to.
const FIXED: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];
/// What pages of allowed origins may send: their own login, and what requests are made of. A
/// session's header is not among it, nor are cookies ever allowed.
const SENT: &str = "authorization, content-type, accept, x-reason";
const EXPOSED: &str = "location";

/// The headers for the answer to one request.
pub(crate) struct Protection {
    config: Arc<Config>,
    is_secure: bool,
    /// The origin of the page that made the request, if it may use the API.
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl Protection {
    pub(crate) fn of(
        config: Arc<Config>,
        method: &Method,
        headers: &HeaderMap,
        is_secure: bool,
    ) -> Self {
        let is_preflight =
            *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let may = |origin: &&HeaderValue| {
            origin.to_str().is_ok_and(|origin| is_allowed(origin, &config.web.allowed_origins))
        };
        let origin = headers.get(ORIGIN).filter(may).cloned();
        Self { config, is_secure, origin, is_preflight }
    }

    /// Adds them.
    pub(crate) fn protect(self, headers: &mut HeaderMap) {
        let web = &self.config.web;
        for (name, value) in FIXED {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut insert = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        insert(CONTENT_SECURITY_POLICY, &web.content_security_policy);
        if let Some(policy) = web.strict_transport_security.as_ref().filter(|_| self.is_secure) {
            insert(STRICT_TRANSPORT_SECURITY, policy);
        }
        let Some(origin) = self.origin else { return };
        if self.is_preflight {
            insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
            insert(ACCESS_CONTROL_MAX_AGE, &web.preflight_max_age.as_secs().to_string());
            if let Some(methods) = headers.get(ALLOW).cloned() {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            }
        } else {
            insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}
