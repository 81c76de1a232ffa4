//! Who is at the other end of a request: the peer of its connection, or whom a proxy names.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use leveret_broker::access::is_loopback;
use leveret_server::config::{Networks, WebConfig};

use crate::host;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// From an address, with a login.
    Client(Client),
    /// Over the control socket, which only who runs the broker can open: as its administrator.
    Operator,
}

/// A client with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// Whether nobody on the way can read or change what is sent.
    pub(crate) is_secure: bool,
    /// Whether it is at this machine, and calls it by a name of its own ([`host`]).
    pub(crate) is_local: bool,
}

impl Client {
    /// The client of a request that came over a connection of `peer`.
    ///
    /// The right end of `X-Forwarded-For` is what the nearest proxy saw; what is left of the first
    /// address that is no proxy's could be anybody's invention. Where a proxy names somebody by something
    /// else than an address the client's is [`UNKNOWN`]: it is not the proxy, and not at home.
    pub(crate) fn of(peer: IpAddr, is_secure: bool, headers: &HeaderMap, web: &WebConfig) -> Self {
        let peer = peer.to_canonical();
        let is_proxy = web.proxies.contain(peer);
        let address = if is_proxy { forwarded_for(peer, headers, &web.proxies) } else { peer };
        let proto = headers.get(X_FORWARDED_PROTO).and_then(|value| value.to_str().ok());
        let was_secure = proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        Self {
            address,
            is_secure: is_secure || (is_proxy && was_secure),
            is_local: is_loopback(address) && host::is_own(headers, &web.hosts),
        }
    }
}

/// The address of a client that a proxy doesn't know.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Whose request a proxy passes on.
fn forwarded_for(proxy: IpAddr, headers: &HeaderMap, proxies: &Networks) -> IpAddr {
    let mut address = proxy;
    // A stranger may have begun the line with bytes of any kind.
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    let lines: Vec<Cow<'_, str>> =
        lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    let named = lines.iter().flat_map(|line| line.split(',')).map(str::trim);
    let named: Vec<&str> = named.filter(|name| !name.is_empty()).collect();
    for name in named.into_iter().rev() {
        address = parse(name).unwrap_or(UNKNOWN);
        if !proxies.contain(address) {
            break;
        }
    }
    address
}

/// An address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(with_port)?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use leveret_server::config::{Config, Sources};

    use super::*;

    fn web(proxies: &str) -> WebConfig {
        let sources = Sources::new().flag("-", "web.proxies", Some(proxies.to_owned()));
        Config::load(&sources).unwrap().0.web
    }

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> (String, bool) {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers = headers.iter().map(header).collect();
        let client = Client::of(peer.parse().unwrap(), false, &headers, &web("10.0.0.0/8"));
        (client.address.to_string(), client.is_secure)
    }

    #[test]
    fn a_proxy_is_believed_and_nobody_else() {
        let named = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https")];
        assert_eq!(client("10.0.0.1", &named), ("198.51.100.7".to_owned(), true));
        assert_eq!(client("::ffff:10.0.0.1", &named), ("198.51.100.7".to_owned(), true));
        assert_eq!(client("192.0.2.1", &named), ("192.0.2.1".to_owned(), false));
        assert_eq!(client("10.0.0.1", &[]), ("10.0.0.1".to_owned(), false));
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_clients() {
        for (named, expected) in [
            ("127.0.0.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.3,10.0.0.2", "10.0.0.3"),
            ("198.51.100.7:4711", "198.51.100.7"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("127.0.0.1, nonsense", "0.0.0.0"),
            ("127.0.0.1, nonsense, 10.0.0.2", "0.0.0.0"),
            ("unix:", "0.0.0.0"),
            ("", "10.0.0.1"),
            (",", "10.0.0.1"),
        ] {
            let header = [("x-forwarded-for", named)];
            assert_eq!(client("10.0.0.1", &header).0, expected, "{named}");
        }
    }

    /// Proxies write behind what they were given, whatever that is.
    #[test]
    fn bytes_that_are_no_text_hide_nobody() {
        for stranger in [&b"\xe9, 198.51.100.7"[..], b"127.0.0.1, \xff\xfe,198.51.100.7"] {
            let mut headers = HeaderMap::new();
            headers.insert(X_FORWARDED_FOR, HeaderValue::from_bytes(stranger).unwrap());
            let client = Client::of([10, 0, 0, 1].into(), false, &headers, &web("10.0.0.0/8"));
            assert_eq!(client.address.to_string(), "198.51.100.7");
        }
    }
}
