//! A certificate with its chain and its key, and the cryptography they are used with.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::sign::CertifiedKey;
use rustls::{Error, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::certificate::Certificate;
use super::error::TlsError;
use super::files;
use crate::config::{TlsConfig, TlsVersion};

/// What a host is served with.
#[derive(Debug)]
pub(super) struct Chain {
    /// The host's certificate, then those that sign it.
    pub(super) certificates: Vec<Certificate>,
    pub(super) key: Arc<CertifiedKey>,
}

impl Chain {
    /// Reads the certificates and keys of the settings: one, at least.
    pub(super) fn read_all(config: &TlsConfig) -> Result<Vec<Self>, TlsError> {
        let (certificates, keys) = (&config.cert_files, &config.key_files);
        if certificates.is_empty() {
            return Err(TlsError::settings("no certificate is given: set tls.cert_file"));
        }
        if certificates.len() != keys.len() {
            return Err(TlsError::settings(format!(
                "there are {} certificates (cert_file) and {} keys (key_file)",
                certificates.len(),
                keys.len()
            )));
        }
        certificates.iter().zip(keys).map(|(one, key)| Self::read(one, key)).collect()
    }

    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let all = files::certificates(certificate)?;
        let certificates = Certificate::parse_all(&all, certificate)?;
        let certified = CertifiedKey::from_der(all, files::key(key)?, &ring::default_provider());
        let certified = certified.map_err(|error| match error {
            Error::InconsistentKeys(_) => TlsError::file(
                key,
                format!("the key does not belong to the certificate in {}", certificate.display()),
            ),
            Error::InvalidCertificate(error) => {
                TlsError::file(certificate, format!("the certificate can't be read: {error:?}"))
            }
            error => TlsError::file(key, error.to_string()),
        })?;
        Ok(Self { certificates, key: Arc::new(certified) })
    }
}

/// The cryptography of the settings.
pub(super) fn provider(config: &TlsConfig) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = ring::default_provider();
    if config.ciphers.is_empty() {
        return Ok(Arc::new(provider));
    }
    let is_named = |suite: &SupportedCipherSuite, name: &String| {
        let own = standard_name(*suite);
        own.eq_ignore_ascii_case(name) || openssl_name(&own).eq_ignore_ascii_case(name)
    };
    let all = std::mem::take(&mut provider.cipher_suites);
    for name in &config.ciphers {
        match all.iter().find(|suite| is_named(suite, name)) {
            Some(suite) if !provider.cipher_suites.contains(suite) => {
                provider.cipher_suites.push(*suite);
            }
            Some(_) => {}
            None => tracing::warn!("the cipher {name} is not safe enough, or unknown: ignored"),
        }
    }
    let names: Vec<String> = all.iter().map(|suite| standard_name(*suite)).collect();
    let versions = versions(config);
    let is_spoken = |suite: &SupportedCipherSuite| versions.contains(&suite.version());
    if !provider.cipher_suites.iter().any(is_spoken) {
        let reason = format!("none of the ciphers is spoken; there are {}", names.join(", "));
        return Err(TlsError::settings(reason));
    }
    Ok(Arc::new(provider))
}

/// The versions of the settings that have a cipher.
pub(super) fn versions(config: &TlsConfig) -> Vec<&'static SupportedProtocolVersion> {
    let versions = config.versions.iter().map(|version| match version {
        TlsVersion::Tls13 => &version::TLS13,
        TlsVersion::Tls12 => &version::TLS12,
    });
    versions.collect()
}

/// As in `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
pub(super) fn standard_name(suite: SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replacen("TLS13_", "TLS_", 1)
}

/// As in `ECDHE-RSA-AES128-GCM-SHA256`; suites of 1.3 have no other name.
fn openssl_name(standard: &str) -> String {
    let Some((exchange, rest)) = standard.split_once("_WITH_") else { return standard.to_owned() };
    let cipher = rest.replacen("AES_", "AES", 1).replacen("POLY1305_SHA256", "POLY1305", 1);
    format!("{}_{cipher}", exchange.trim_start_matches("TLS_")).replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphers_go_by_two_names() {
        let names: Vec<(String, String)> = ring::default_provider()
            .cipher_suites
            .iter()
            .map(|suite| (standard_name(*suite), openssl_name(&standard_name(*suite))))
            .collect();
        let has = |standard: &str, openssl: &str| {
            names.contains(&(standard.to_owned(), openssl.to_owned()))
        };
        assert!(has("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"), "{names:?}");
        assert!(has("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"));
        assert!(has(
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        ));
    }

    #[test]
    fn only_ciphers_that_are_asked_for_are_spoken() {
        let ask = |names: &[&str], versions: &[TlsVersion]| {
            let ciphers = names.iter().map(|name| (*name).to_owned()).collect();
            let config = TlsConfig { ciphers, versions: versions.to_vec(), ..TlsConfig::default() };
            provider(&config).map(|provider| {
                provider.cipher_suites.iter().map(|suite| standard_name(*suite)).collect::<Vec<_>>()
            })
        };
        let both = [TlsVersion::Tls13, TlsVersion::Tls12];
        let found = ask(&["AES128-SHA", "ecdhe-rsa-aes256-gcm-sha384"], &both).unwrap();
        assert_eq!(found, ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]);
        let error = ask(&["AES128-SHA"], &both).unwrap_err().to_string();
        assert!(error.starts_with("cannot serve TLS: none of the ciphers is spoken"), "{error}");
        assert!(ask(&["TLS_AES_256_GCM_SHA384"], &[TlsVersion::Tls12]).is_err());
    }
}
