//! Whom a TLS client trusts. Certificates are read when they are needed first: the system's take a
//! megabyte.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use crate::depth::{DEPTH, UpToDepth};

/// The certificates that servers are checked by, and what they are shown.
#[derive(Debug)]
pub struct Trust {
    ca_file: Option<PathBuf>,
    /// A certificate with its chain, and its key.
    own: Option<(PathBuf, PathBuf)>,
    depth: u8,
    config: Mutex<Option<Arc<ClientConfig>>>,
}

/// Why certificates can't be used.
#[derive(Debug, Error)]
pub enum TrustError {
    /// A file can't be read, or isn't PEM.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// The machine has no certificates.
    #[error("there are no certificates to check a server by")]
    None,
    /// A certificate and its key don't go together, or the like.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// Servers can't be checked by these certificates.
    #[error("{0}")]
    Authorities(#[from] VerifierBuilderError),
}

/// By the system's authorities.
impl Default for Trust {
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl Trust {
    /// Checks servers by the authorities of a PEM file, or else by the system's; shows them the
    /// certificate of `own`, a PEM file, whose key is in the other.
    pub fn new(ca_file: Option<PathBuf>, own: Option<(PathBuf, PathBuf)>) -> Self {
        Self { ca_file, own, depth: DEPTH, config: Mutex::default() }
    }

    /// With at most so many certificates between a server's and one of its authority's; without, [`DEPTH`].
    #[must_use]
    pub fn up_to(self, depth: u8) -> Self {
        Self { depth, ..self }
    }

    /// For a TLS client. Blocks on files the first time.
    ///
    /// # Errors
    /// When a file can't be used.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let mut config = self.config.lock();
        if let Some(config) = &*config {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(match &self.ca_file {
            Some(path) => certificates(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        });
        if roots.is_empty() {
            return Err(TrustError::None);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authorities = Arc::new(roots);
        let inner = WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&authorities),
            Arc::clone(&provider),
        );
        let verifier = UpToDepth { inner: inner.build()?, authorities, depth: self.depth };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            // It checks what the usual one checks, and one thing more.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let made = Arc::new(match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let wrong = |source| TrustError::File { path: key.clone(), source };
                let key = PrivateKeyDer::from_pem_file(key).map_err(wrong)?;
                builder.with_client_auth_cert(certificates(certificate)?, key)?
            }
        });
        *config = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// The certificates of a PEM file.
///
/// # Errors
/// When it can't be read.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let wrong = |source| TrustError::File { path: path.to_owned(), source };
    let all = CertificateDer::pem_file_iter(path).map_err(wrong)?;
    all.collect::<Result<_, _>>().map_err(wrong)
}
