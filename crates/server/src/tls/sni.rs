//! Which certificate a client gets: the one for the host it names (RFC 6066, section 3).

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::chain::Chain;

/// Chains, of which the first is for clients that name no host, or one that nobody knows.
#[derive(Debug)]
pub(super) struct ByHost(Vec<Chain>);

impl ByHost {
    pub(super) fn new(chains: Vec<Chain>) -> Self {
        Self(chains)
    }
}

impl ResolvesServerCert for ByHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let can_sign = |chain: &&Chain| chain.key.key.choose_scheme(schemes).is_some();
        let is_for = |chain: &&Chain| {
            let certificate = chain.certificates.first();
            let host = hello.server_name();
            certificate.zip(host).is_some_and(|(certificate, host)| certificate.is_for(host))
        };
        let Self(chains) = self;
        let named = chains.iter().filter(can_sign).find(is_for);
        let chain = named.or_else(|| chains.iter().find(can_sign))?;
        Some(Arc::clone(&chain.key))
    }
}
