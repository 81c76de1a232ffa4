//! What a handshake has come to, in RabbitMQ's words.

use leveret_broker::TlsAbout;
use rustls::{ProtocolVersion, ServerConnection};

use super::certificate::Certificate;
use super::chain::standard_name;

/// What protects a connection, and whose it is.
pub(crate) fn about(session: &ServerConnection) -> (TlsAbout, Option<Certificate>) {
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.and_then(|certificate| Certificate::parse(certificate));
    let suite = session.negotiated_cipher_suite().map(standard_name).unwrap_or_default();
    let (key_exchange, cipher) = words(&suite);
    let protocol = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "tlsv1.3",
        Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
        _ => "",
    };
    let says = |what: fn(&Certificate) -> &str| certificate.as_ref().map(what).unwrap_or_default();
    let about = TlsAbout {
        protocol,
        key_exchange,
        cipher,
        peer_subject: says(|certificate| &certificate.subject).to_owned(),
        peer_issuer: says(|certificate| &certificate.issuer).to_owned(),
        peer_validity: says(Certificate::validity).to_owned(),
    };
    (about, certificate)
}

/// The key exchange and the cipher of a suite, as Erlang calls them: `ecdhe_rsa` and `aes_128_gcm`.
fn words(suite: &str) -> (String, String) {
    let suite = suite.trim_start_matches("TLS_").to_lowercase();
    let (exchange, rest) = suite.split_once("_with_").unwrap_or(("any", &suite));
    let cipher = rest.trim_end_matches("_sha256").trim_end_matches("_sha384");
    (exchange.to_owned(), cipher.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_called_as_erlang_does() {
        let both = |exchange: &str, cipher: &str| (exchange.to_owned(), cipher.to_owned());
        assert_eq!(words("TLS_AES_256_GCM_SHA384"), both("any", "aes_256_gcm"));
        assert_eq!(
            words("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
            both("ecdhe_rsa", "chacha20_poly1305")
        );
    }
}
