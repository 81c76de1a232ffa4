//! The web interface: the files of `web/`, which the program carries.
//!
//! They are the same for everybody and say nothing of the broker, so they need no login; what they
//! show comes from the API, with the user's own.

use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::get;

use self::assets::{ASSETS, Asset};

mod assets;

/// The files, added to what a listener serves.
pub(crate) fn with_web(mut router: Router) -> Router {
    for asset in ASSETS {
        let etag = etag(asset.text);
        let serve = move |headers: HeaderMap| {
            let response = response(asset, &etag, &headers);
            async move { response }
        };
        router = router.route(asset.path, get(serve));
    }
    router
}

/// Changes with the content: a browser that has it already need not fetch it again.
fn etag(text: &str) -> String {
    format!("\"{:08x}-{:x}\"", crc32fast::hash(text.as_bytes()), text.len())
}

fn response(asset: &'static Asset, etag: &str, request: &HeaderMap) -> Response<Body> {
    let known = request.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| names(known, etag)) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Body::from(asset.text))
    };
    let headers = response.headers_mut();
    let fixed = [
        (CONTENT_TYPE, asset.content_type),
        // Kept, but asked for each time: after an upgrade no old file meets a new one.
        (CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    response
}

/// Whether an `If-None-Match` (RFC 9110, section 13.1.2) has this tag; proxies may have weakened it.
fn names(if_none_match: &str, etag: &str) -> bool {
    let mut tags = if_none_match.split(',').map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests;
