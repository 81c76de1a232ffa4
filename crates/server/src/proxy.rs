//! The PROXY protocol, versions 1 and 2: a proxy in front of the broker says at the start of a
//! connection whose it is.
//!
//! Only those proxies are believed that the settings name. They have to say it, as with RabbitMQ's
//! `proxy_protocol`; all others are clients themselves.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// The two ends of a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proxied {
    pub(crate) client: SocketAddr,
    /// What the client connected to.
    pub(crate) destination: SocketAddr,
}

/// Why a proxy's connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("it does not begin with a header of the PROXY protocol")]
    Missing,
    #[error("malformed header of the PROXY protocol: {0}")]
    Malformed(String),
    #[error("its header of the PROXY protocol does not come")]
    Late,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads the header, and nothing behind it. `None` if the proxy speaks for itself, as for a health
/// check, or of something else than TCP.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    limit: Duration,
) -> Result<Option<Proxied>, ProxyError> {
    timeout(limit, read_any(stream)).await.unwrap_or(Err(ProxyError::Late))
}

async fn read_any(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Proxied>, ProxyError> {
    let mut header = [0; V2_MAX];
    // What no header begins with is known as soon as it comes.
    for at in 0..v2::PROTOCOL_PREFIX.len() {
        let Some(place) = header.get_mut(at) else { break };
        *place = stream.read_u8().await?;
        let begun = header.get(..=at).unwrap_or_default();
        if begun == V1_PREFIX {
            return read_v1(stream, &mut header).await;
        }
        if !V1_PREFIX.starts_with(begun) && !v2::PROTOCOL_PREFIX.starts_with(begun) {
            return Err(ProxyError::Missing);
        }
    }
    read_v2(stream, &mut header).await
}

/// A line, whose end may come with no more bytes than the line has.
async fn read_v1(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut [u8],
) -> Result<Option<Proxied>, ProxyError> {
    let too_long = || ProxyError::Malformed(format!("more than {V1_MAX} bytes"));
    let mut length = V1_PREFIX.len();
    while header.get(..length).and_then(<[u8]>::last) != Some(&b'\n') {
        let place = header.get_mut(length).filter(|_| length < V1_MAX).ok_or_else(too_long)?;
        *place = stream.read_u8().await?;
        length += 1;
    }
    let header = header.get(..length).unwrap_or_default();
    let header = v1::Header::try_from(header).map_err(malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(ends) => Some(Proxied {
            client: (ends.source_address, ends.source_port).into(),
            destination: (ends.destination_address, ends.destination_port).into(),
        }),
        v1::Addresses::Tcp6(ends) => Some(Proxied {
            client: (ends.source_address, ends.source_port).into(),
            destination: (ends.destination_address, ends.destination_port).into(),
        }),
        v1::Addresses::Unknown => None,
    })
}

/// Behind the prefix, a fixed part ends with the length of the rest.
async fn read_v2(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut [u8],
) -> Result<Option<Proxied>, ProxyError> {
    let fixed = header.get_mut(v2::PROTOCOL_PREFIX.len()..V2_FIXED).unwrap_or_default();
    stream.read_exact(fixed).await?;
    let rest = fixed.last_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
    let too_long = || ProxyError::Malformed(format!("more than {V2_MAX} bytes"));
    let length = V2_FIXED + rest;
    let rest = header.get_mut(V2_FIXED..length).ok_or_else(too_long)?;
    stream.read_exact(rest).await?;
    let header = header.get(..length).unwrap_or_default();
    let header = v2::Header::try_from(header).map_err(malformed)?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(ends) => Some(Proxied {
            client: (ends.source_address, ends.source_port).into(),
            destination: (ends.destination_address, ends.destination_port).into(),
        }),
        v2::Addresses::IPv6(ends) => Some(Proxied {
            client: (ends.source_address, ends.source_port).into(),
            destination: (ends.destination_address, ends.destination_port).into(),
        }),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    })
}

fn malformed(error: impl std::fmt::Display) -> ProxyError {
    ProxyError::Malformed(error.to_string().escape_debug().to_string())
}

const V1_PREFIX: &[u8] = b"PROXY ";
/// The prefix, what kind of header it is, and the length of the rest.
const V2_FIXED: usize = 16;
/// The longest line of version 1.
const V1_MAX: usize = 107;
/// The longest header of version 2 that is read: a proxy that adds certificates needs some hundreds.
const V2_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::runtime::Builder;

    use super::*;

    /// What a header says, and the bytes left behind it.
    fn of(mut bytes: &[u8]) -> (Result<Option<Proxied>, String>, &[u8]) {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let read = runtime.block_on(read(&mut bytes, Duration::from_secs(10)));
        (read.map_err(|error| error.to_string()), bytes)
    }

    fn proxied(client: &str, destination: &str) -> Option<Proxied> {
        Some(Proxied { client: client.parse().unwrap(), destination: destination.parse().unwrap() })
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend(rest);
        header
    }

    #[test]
    fn a_line_names_both_ends() {
        let (read, left) = of(b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 5672\r\nAMQP\0\0\x09\x01");
        assert_eq!(read.unwrap(), proxied("192.0.2.7:56324", "10.0.0.1:5672"));
        assert_eq!(left, b"AMQP\0\0\x09\x01");
        let (read, _) = of(b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 5671\r\n");
        assert_eq!(read.unwrap(), proxied("[2001:db8::7]:56324", "[2001:db8::1]:5671"));
        assert_eq!(of(b"PROXY UNKNOWN\r\n").0.unwrap(), None);
    }

    #[test]
    fn so_does_a_binary_header() {
        let mut ends = vec![192, 0, 2, 7, 10, 0, 0, 1];
        ends.extend(56324_u16.to_be_bytes());
        ends.extend(5672_u16.to_be_bytes());
        // With a TLV behind the addresses.
        ends.extend([0x04, 0, 1, 0]);
        let bytes = [v2(1, 0x11, &ends), b"AMQP".to_vec()].concat();
        let (read, left) = of(&bytes);
        assert_eq!(read.unwrap(), proxied("192.0.2.7:56324", "10.0.0.1:5672"));
        assert_eq!(left, b"AMQP");

        let mut ends = vec![0; 32];
        (ends[15], ends[31]) = (1, 2);
        ends.extend([0xdc, 4, 0x16, 0x28]);
        let (read, _) = of(&v2(1, 0x21, &ends));
        assert_eq!(read.unwrap(), proxied("[::1]:56324", "[::2]:5672"));
    }

    #[test]
    fn a_proxy_may_speak_for_itself() {
        assert_eq!(of(&v2(0, 0, &[])).0.unwrap(), None);
        assert_eq!(of(&v2(1, 0x31, &[0; 216])).0.unwrap(), None);
    }

    #[test]
    fn anything_else_is_refused_at_once() {
        for bytes in [&b"AMQP\0\0\x09\x01"[..], b"PROXI", b"\r\n\r\n\0\r\nQUIX", b"\x16\x03\x01"] {
            let (read, _) = of(bytes);
            let missing = "it does not begin with a header of the PROXY protocol";
            assert_eq!(read.unwrap_err(), missing, "{bytes:?}");
        }
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let too_long = "malformed header of the PROXY protocol: more than 107 bytes";
        assert_eq!(of(&long).0.unwrap_err(), too_long);
        let too_long = "malformed header of the PROXY protocol: more than 4096 bytes";
        assert_eq!(of(&v2(1, 0x11, &[0; 5000])).0.unwrap_err(), too_long);
        for bytes in [&b"PROXY TCP4 192.0.2.7\r\n"[..], b"PROXY TCP4 1.2.3.4 1.2.3 1 2\r\n"] {
            let refused = of(bytes).0.unwrap_err();
            assert!(refused.starts_with("malformed header of the PROXY protocol: "), "{refused}");
        }
        let refused = of(&v2(1, 0x11, &[0; 4])).0.unwrap_err();
        assert!(refused.starts_with("malformed header of the PROXY protocol: "), "{refused}");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(
            prefix in prop_oneof![Just(V1_PREFIX), Just(v2::PROTOCOL_PREFIX), Just(&b""[..])],
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [prefix, &bytes].concat();
            let (_, left) = of(&bytes);
            prop_assert!(left.len() <= bytes.len());
        }
    }
}
