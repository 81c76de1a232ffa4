//! The certificates that servers are checked by. Read when they are needed: they take a megabyte.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::courier::Undelivered;

/// For a client that checks its server by these certificates, or else by the system's.
pub(super) fn client_config(ca_file: Option<&PathBuf>) -> Result<Arc<ClientConfig>, Undelivered> {
    let mut roots = RootCertStore::empty();
    let certificates = match ca_file {
        Some(path) => of_file(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(Undelivered::Certificates("there are none to check a server by".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Undelivered::Certificates(error.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// The certificates of a PEM file.
pub(super) fn of_file(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, Undelivered> {
    let wrong = |error| Undelivered::Certificates(format!("{}: {error}", path.display()));
    let all = CertificateDer::pem_file_iter(path).map_err(wrong)?;
    all.collect::<Result<_, _>>().map_err(wrong)
}
