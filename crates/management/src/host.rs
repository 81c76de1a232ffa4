//! What a request calls the machine it is for.
//!
//! A page can have the name it came from lead to this machine (DNS rebinding). Its requests then come
//! from the machine of the browser, and to the browser they are those of the broker's own page; but
//! they name that host. So somebody is at this machine only who calls it by an address, by a name without
//! a dot, as `localhost`, which no stranger has in the public DNS, or by one that an operator says is its
//! own.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::uri::Authority;

/// Whether a request names this machine, or none at all, which no browser does.
pub(crate) fn is_own(headers: &HeaderMap, hosts: &[String]) -> bool {
    headers.get_all(HOST).iter().all(|host| {
        let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        host.is_some_and(|host| is_known(host.host(), hosts))
    })
}

fn is_known(host: &str, hosts: &[String]) -> bool {
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    in_brackets.unwrap_or(host).parse::<IpAddr>().is_ok()
        || (!host.is_empty() && !host.contains('.'))
        || hosts.iter().any(|one| one.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn own(hosts: &[&'static str]) -> bool {
        let headers = hosts.iter().map(|host| (HOST, HeaderValue::from_static(host)));
        is_own(&headers.collect(), &["Broker.example".to_owned()])
    }

    #[test]
    fn addresses_and_own_names_are_this_machine() {
        for host in ["127.0.0.1", "127.0.0.1:15672", "[::1]", "[::1]:15672", "10.0.0.1:80"] {
            assert!(own(&[host]), "{host}");
        }
        for host in
            ["localhost", "LocalHost:15672", "rabbit", "broker.example", "broker.example:443"]
        {
            assert!(own(&[host]), "{host}");
        }
        assert!(own(&[]));
    }

    #[test]
    fn other_names_are_not() {
        for host in ["evil.example", "evil.example:15672", "localhost.evil.example", ""] {
            assert!(!own(&[host]), "{host}");
        }
        for host in ["127.0.0.1.evil.example", "localhost@evil.example", "::1", "a b"] {
            assert!(!own(&[host]), "{host}");
        }
        assert!(!own(&["localhost", "evil.example"]));
    }
}
