//! Whose page made a request, if a browser sent it.
//!
//! Another site's page can have a browser send requests here, with what the browser remembers of a
//! login. It can't hide that: browsers name the origin of what changes something (Fetch, 3.2), and
//! those of today say how it relates to the host (Fetch Metadata, 2.3).

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// In the list of allowed origins, any.
const ANY: &str = "*";

/// Whose page made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// One of the broker's own, or no page at all: a program, or somebody at the address bar.
    Own,
    /// One of an origin that is allowed.
    Allowed,
    /// One of another site.
    Foreign,
}

impl Maker {
    pub(crate) fn of(headers: &HeaderMap, allowed: &[String]) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let site = text(SEC_FETCH_SITE);
        if matches!(site, Some("same-origin" | "none")) {
            return Self::Own;
        }
        let is_named = headers.contains_key(ORIGIN);
        let origin = text(ORIGIN).unwrap_or_default();
        if is_named && is_allowed(origin, allowed) {
            return Self::Allowed;
        }
        let of_host = origin.split_once("://").map(|(_, host)| host);
        let is_own = !is_named || (site.is_none() && of_host.is_some() && of_host == text(HOST));
        // Without an origin, and made by another site: a link or a form that is followed.
        if is_own && site.is_none() { Self::Own } else { Self::Foreign }
    }
}

/// Whether this origin's pages may use the API.
pub(crate) fn is_allowed(origin: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|one| one == ANY || one.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn maker(headers: &[(&'static str, &'static str)], allowed: &[&str]) -> Maker {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let allowed: Vec<String> = allowed.iter().map(|one| (*one).to_owned()).collect();
        Maker::of(&headers.iter().map(header).collect(), &allowed)
    }

    #[test]
    fn programs_and_own_pages_are_welcome() {
        assert_eq!(maker(&[("host", "b:15672")], &[]), Maker::Own);
        let own = [("host", "b:15672"), ("origin", "http://b:15672")];
        assert_eq!(maker(&own, &[]), Maker::Own);
        // A proxy has changed the host.
        let own =
            [("host", "10.0.0.1"), ("origin", "https://b"), ("sec-fetch-site", "same-origin")];
        assert_eq!(maker(&own, &[]), Maker::Own);
        assert_eq!(maker(&[("sec-fetch-site", "none")], &[]), Maker::Own);
    }

    #[test]
    fn pages_of_others_are_not() {
        for headers in [
            &[("host", "b:15672"), ("origin", "http://b:8080")][..],
            &[("host", "b:15672"), ("origin", "null")],
            &[("host", "b"), ("origin", "https://evil.example")],
            &[("host", "b"), ("origin", "http://b"), ("sec-fetch-site", "same-site")],
            &[("host", "b"), ("sec-fetch-site", "cross-site")],
        ] {
            assert_eq!(maker(headers, &[]), Maker::Foreign, "{headers:?}");
        }
    }

    #[test]
    fn some_may_be_allowed() {
        let console = [("host", "b"), ("origin", "https://console.example")];
        assert_eq!(maker(&console, &["https://Console.example"]), Maker::Allowed);
        assert_eq!(maker(&console, &["*"]), Maker::Allowed);
        assert_eq!(maker(&console, &["https://other.example"]), Maker::Foreign);
    }
}
