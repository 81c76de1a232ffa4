use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use thiserror::Error;

/// Where a broker listens and how to log in: `amqp://user:password@host:port/vhost`.
///
/// User and password default to `guest`, the port to 5672, the vhost to `/`; all but the port may
/// be percent-encoded, as in RabbitMQ's URI specification.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
}

/// Why a target cannot be used.
#[derive(Debug, Error)]
pub enum TargetError {
    /// It does not begin as it must.
    #[error("a target begins with amqp:// (TLS is not supported)")]
    Scheme,
    /// The port is no number.
    #[error("'{0}' is not a port")]
    Port(String),
    /// A percent sign without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("'{0}' is not percent-encoded text")]
    Encoding(String),
    /// The host has no address.
    #[error("cannot find {host}")]
    Unknown {
        /// As given.
        host: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The host is another machine.
    #[error("{0} is not on this machine: a load test there needs --allow-remote")]
    Remote(SocketAddr),
}

/// Whether load may leave the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Only loopback addresses are taken.
    Loopback,
    /// Any address is taken.
    Anywhere,
}

impl Target {
    /// The address to connect to.
    ///
    /// # Errors
    /// The host is unknown, or is not within `reach`.
    pub fn resolve(&self, reach: Reach) -> Result<SocketAddr, TargetError> {
        let unknown = |source| TargetError::Unknown { host: self.host.clone(), source };
        let addresses: Vec<_> =
            (self.host.as_str(), self.port).to_socket_addrs().map_err(unknown)?.collect();
        if reach == Reach::Loopback
            && let Some(remote) = addresses.iter().find(|address| !address.ip().is_loopback())
        {
            return Err(TargetError::Remote(*remote));
        }
        let address =
            addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first());
        address.copied().ok_or_else(|| unknown(std::io::ErrorKind::NotFound.into()))
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let rest = text.strip_prefix("amqp://").ok_or(TargetError::Scheme)?;
        let (authority, vhost) = match rest.split_once('/') {
            Some((authority, vhost)) => (authority, decoded(vhost)?),
            None => (rest, "/".to_owned()),
        };
        let (login, place) = authority.rsplit_once('@').unwrap_or(("guest:guest", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| TargetError::Port(port.to_owned()))?)
            }
            _ => (place, 5672),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            host: decoded(if host.is_empty() { "127.0.0.1" } else { host })?,
            port,
            user: decoded(user)?,
            password: decoded(password)?,
            vhost: if vhost.is_empty() { "/".to_owned() } else { vhost },
        })
    }
}

/// Without the password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

fn decoded(text: &str) -> Result<String, TargetError> {
    let wrong = || TargetError::Encoding(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_first_chunk::<2>().ok_or_else(wrong)?;
        let digits = str::from_utf8(digits).map_err(|_| wrong())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn everything_but_the_scheme_has_a_default() {
        let short = target("amqp://127.0.0.1");
        assert_eq!(short, target("amqp://guest:guest@127.0.0.1:5672/%2f"));
        assert_eq!(short, target("amqp://127.0.0.1:5672/"));
    }

    #[test]
    fn parts_are_decoded() {
        let full = target("amqp://us%40er:p%3Aw@[::1]:5677/a%2fb");
        assert_eq!((full.user.as_str(), full.password.as_str()), ("us@er", "p:w"));
        assert_eq!((full.host.as_str(), full.port, full.vhost.as_str()), ("::1", 5677, "a/b"));
        assert_eq!(full.to_string(), "::1:5677");
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for wrong in ["127.0.0.1", "amqps://h", "amqp://h:x", "amqp://h/%2", "amqp://h/%ff"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_machines_are_refused_unless_allowed() {
        let other = target("amqp://192.0.2.1");
        assert!(matches!(other.resolve(Reach::Loopback), Err(TargetError::Remote(_))));
        assert!(other.resolve(Reach::Anywhere).is_ok());
        assert!(target("amqp://127.0.0.2").resolve(Reach::Loopback).is_ok());
    }
}
