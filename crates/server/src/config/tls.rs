//! `[tls]`: certificates of listeners, what clients have to show, how they may speak.

use std::path::PathBuf;
use std::time::Duration;

/// TLS of one kind of listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates as PEM files, each with the chain behind it. A client that names a host gets the
    /// first one for that host, others the first one.
    pub cert_files: Vec<PathBuf>,
    /// Their keys as PEM files, in the same order.
    pub key_files: Vec<PathBuf>,
    /// Whose signatures under clients' certificates count: PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub verify: bool,
    /// Whether a client without one is refused.
    pub requires_certificate: bool,
    /// Most certificates between a client's and one of [`ca_file`](Self::ca_file).
    pub depth: u8,
    /// Versions that are spoken.
    pub versions: Vec<TlsVersion>,
    /// Names of ciphers, OpenSSL's or those of the standard; none for all.
    pub ciphers: Vec<String>,
    /// How long a client may take for its handshake.
    pub handshake_timeout: Duration,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.3
    Tls13,
    /// 1.2
    Tls12,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            cert_files: Vec::new(),
            key_files: Vec::new(),
            ca_file: None,
            verify: false,
            requires_certificate: false,
            depth: 10,
            versions: vec![TlsVersion::Tls13, TlsVersion::Tls12],
            ciphers: Vec::new(),
            handshake_timeout: Duration::from_secs(5),
            reload_interval: Duration::from_secs(10),
        }
    }
}
