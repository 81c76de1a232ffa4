//! How many certificates there may be between somebody's and one of an authority that is trusted.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

/// As OpenSSL counts, and with Erlang's default.
pub const DEPTH: u8 = 10;

/// Whether there is a way from a certificate to an authority with so many others between at most.
/// Says nothing else about them.
pub fn is_near(
    certificate: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    authorities: &RootCertStore,
    (usage, now): (KeyUsage, UnixTime),
    depth: u8,
) -> bool {
    let depth = usize::from(depth);
    // No way is longer than what was shown.
    if intermediates.len() <= depth {
        return true;
    }
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
    let found = certificate.verify_for_usage(
        ring::default_provider().signature_verification_algorithms.all,
        &authorities.roots,
        intermediates,
        now,
        usage,
        None,
        Some(&|path| match path.intermediate_certificates().count() {
            count if count <= depth => Ok(()),
            _ => Err(webpki::Error::MaximumPathDepthExceeded),
        }),
    );
    found.is_ok()
}

/// Checks servers' certificates, and takes no chain that is longer than allowed.
#[derive(Debug)]
pub(crate) struct UpToDepth {
    pub(crate) inner: Arc<WebPkiServerVerifier>,
    pub(crate) authorities: Arc<RootCertStore>,
    pub(crate) depth: u8,
}

impl ServerCertVerifier for UpToDepth {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Self { inner, authorities, depth } = self;
        let verified =
            inner.verify_server_cert(certificate, intermediates, name, ocsp_response, now)?;
        let usage = (KeyUsage::server_auth(), now);
        if is_near(certificate, intermediates, authorities, usage, *depth) {
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
