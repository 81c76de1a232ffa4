//! Clients' certificates: signed by whom, over how many others.

use std::sync::Arc;

use leveret_outbound::is_near;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use webpki::KeyUsage;

use super::certificate::Certificate;
use super::error::TlsError;
use super::files;
use crate::config::TlsConfig;

/// What checks clients' certificates, and the authorities that count.
type Verifier = (Arc<dyn ClientCertVerifier>, Vec<Certificate>);

/// What there is to check clients' certificates, if they are asked for one.
pub(super) fn verifier(config: &TlsConfig) -> Result<Option<Verifier>, TlsError> {
    if !config.verify {
        if config.requires_certificate {
            return Err(TlsError::settings(
                "require_certificate goes with verify = \"peer\": a certificate that nobody \
                 checks says nothing",
            ));
        }
        return Ok(None);
    }
    let path = config.ca_file.as_ref().ok_or_else(|| {
        TlsError::settings("verify = \"peer\" needs ca_file: whose signatures count")
    })?;
    let certificates = files::certificates(path)?;
    let authorities = Certificate::parse_all(&certificates, path)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| TlsError::file(path, error.to_string()))?;
    }
    let roots = Arc::new(roots);
    let provider = Arc::new(ring::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider);
    if !config.requires_certificate {
        builder = builder.allow_unauthenticated();
    }
    let inner = builder.build().map_err(|error| TlsError::file(path, error.to_string()))?;
    let verifier = UpToDepth { inner, roots, depth: config.depth };
    Ok(Some((Arc::new(verifier), authorities)))
}

/// Takes no chain that is longer than allowed.
#[derive(Debug)]
struct UpToDepth {
    inner: Arc<dyn ClientCertVerifier>,
    roots: Arc<RootCertStore>,
    depth: u8,
}

impl ClientCertVerifier for UpToDepth {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(certificate, intermediates, now)?;
        let usage = (KeyUsage::client_auth(), now);
        if is_near(certificate, intermediates, &self.roots, usage, self.depth) {
            return Ok(verified);
        }
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
