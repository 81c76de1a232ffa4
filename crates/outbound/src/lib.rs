//! HTTP requests that the broker makes itself: to webhooks, and to whoever decides about logins.
//!
//! HTTP/1.1, with and without TLS. No redirects, no proxies, no cookies: whom the broker talks to is
//! what its configuration says.

mod client;
mod depth;
mod trust;

pub use client::{Answer, HttpClient, HttpError};
pub use depth::{DEPTH, is_near};
pub use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
pub use hyper::http::request::Builder as RequestBuilder;
pub use hyper::{Method, StatusCode};
pub use trust::{Trust, TrustError, certificates};
