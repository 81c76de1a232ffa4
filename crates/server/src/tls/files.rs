//! PEM files.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::TlsError;
use crate::config::TlsConfig;

/// When a file was made, and which one it is; nothing for one that is missing.
pub(super) type Stamp = Option<(u64, u64, i64, i64)>;

/// The stamps of all files that are read.
pub(super) fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    let files = config.cert_files.iter().chain(&config.key_files).chain(&config.ca_file);
    files.map(|path| fs::metadata(path).ok().as_ref().map(stamp)).collect()
}

fn stamp(file: &Metadata) -> (u64, u64, i64, i64) {
    (file.ino(), file.len(), file.mtime(), file.mtime_nsec())
}

/// The certificates of a file: one, at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| damaged(path, &error))?;
    if all.is_empty() {
        let reason = "there is no certificate in it; PEM files have '-----BEGIN CERTIFICATE-----'";
        return Err(TlsError::file(path, reason));
    }
    Ok(all)
}

/// The key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted(&text) => Err(TlsError::file(
            path,
            "the key is encrypted: decrypt it with 'openssl pkey', and let only the broker's user \
             read it",
        )),
        Err(pem::Error::NoItemsFound) => {
            let reason = "there is no key in it; PEM files have '-----BEGIN PRIVATE KEY-----'";
            Err(TlsError::file(path, reason))
        }
        Err(error) => Err(damaged(path, &error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::file(path, error.to_string()))
}

fn is_encrypted(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

fn damaged(path: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section has no proper beginning".to_owned(),
        other => other.to_string(),
    };
    TlsError::file(path, format!("it is damaged: {reason}"))
}
