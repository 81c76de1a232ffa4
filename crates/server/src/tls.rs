//! TLS of listeners: certificates and keys from files, which are read again when they are new.
//!
//! A [`Tls`] belongs to a kind of listener. What it serves is replaced as a whole, for handshakes
//! that begin from then on; open connections keep what they have.

mod certificate;
mod chain;
mod clients;
mod distinguished_name;
mod error;
mod files;
mod listeners;
mod session;
mod sni;
mod watch;

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::certificate::{AlternativeName, Certificate, NameKind};
use self::chain::Chain;
pub use self::error::{HandshakeError, TlsError};
pub use self::listeners::{TlsListeners, check_tls};
pub(crate) use self::session::about;
pub(crate) use self::watch::watch;
use crate::config::TlsConfig;

/// What a connection may hold in memory at worst for coming over TLS: the part that has come of a message of
/// the handshake, which rustls takes up to 64 KiB of, before the handshake's end and after it, and a record
/// of 16 KiB that has been decrypted.
const HANDSHAKE_BYTES: u64 = 80 * 1024;
/// And if it is asked for a certificate: all that was said, until it has shown that the certificate is
/// its own. That is a message of 64 KiB with the broker's own behind it, for which the room is doubled.
const TRANSCRIPT_BYTES: u64 = 128 * 1024;

/// What a kind of listener serves TLS with.
pub struct Tls {
    /// What is spoken inside, for clients that ask (RFC 7301).
    application: Option<&'static [u8]>,
    served: RwLock<Arc<Served>>,
}

/// What was made of the files, and when they were made.
struct Served {
    config: TlsConfig,
    rustls: Arc<ServerConfig>,
    certificates: Vec<Certificate>,
    stamps: Vec<files::Stamp>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub(crate) fn new(
        config: TlsConfig,
        application: Option<&'static [u8]>,
    ) -> Result<Self, TlsError> {
        let served = RwLock::new(Arc::new(Served::read(config, application)?));
        Ok(Self { application, served })
    }

    /// The server's side of a handshake.
    ///
    /// # Errors
    /// When the client takes too long, shows no certificate that counts, or speaks something else.
    pub async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let served = self.served();
        let accept = TlsAcceptor::from(Arc::clone(&served.rustls)).accept(stream);
        match timeout(served.config.handshake_timeout, accept).await {
            Ok(accepted) => Ok(accepted?),
            Err(_) => Err(HandshakeError::Timeout),
        }
    }

    /// The certificates of its files, those behind them in the chains included.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.served().certificates.clone()
    }

    /// Reads the files anew, under these settings. What was served stays if that fails.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn reload(&self, config: TlsConfig) -> Result<(), TlsError> {
        let served = Served::read(config, self.application)?;
        *self.served.write() = Arc::new(served);
        Ok(())
    }

    /// Reads the files of what was served anew. Nothing changes, and `false` is returned, if something
    /// else is served by now: other settings may have come meanwhile.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    fn renew(&self, old: &Arc<Served>) -> Result<bool, TlsError> {
        let new = Served::read(old.config.clone(), self.application)?;
        let mut served = self.served.write();
        let is_still = Arc::ptr_eq(&served, old);
        if is_still {
            *served = Arc::new(new);
        }
        Ok(is_still)
    }

    /// What a connection may hold in memory at worst for coming over it, in bytes.
    pub fn connection_bytes(&self) -> u64 {
        connection_bytes(self.served().config.verify)
    }

    fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served.read())
    }
}

/// What a connection holds at worst where clients are asked for certificates, or are not.
pub(crate) const fn connection_bytes(asks_for_certificates: bool) -> u64 {
    HANDSHAKE_BYTES + if asks_for_certificates { TRANSCRIPT_BYTES } else { 0 }
}

impl Served {
    fn read(config: TlsConfig, application: Option<&'static [u8]>) -> Result<Self, TlsError> {
        // Files that change while they are read are read once more.
        let stamps = files::stamps(&config);
        let chains = Chain::read_all(&config)?;
        let mut certificates: Vec<Certificate> =
            chains.iter().flat_map(|chain| chain.certificates.iter().cloned()).collect();
        let versions = chain::versions(&config);
        let builder = ServerConfig::builder_with_provider(chain::provider(&config)?)
            .with_protocol_versions(&versions)
            .map_err(|error| TlsError::settings(error.to_string()))?;
        let builder = match clients::verifier(&config)? {
            Some((verifier, authorities)) => {
                certificates.extend(authorities);
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut rustls = builder.with_cert_resolver(Arc::new(sni::ByHost::new(chains)));
        rustls.ignore_client_order = true;
        rustls.alpn_protocols.extend(application.map(<[u8]>::to_vec));
        certificates.iter().for_each(Certificate::warn_if_expired);
        Ok(Self { config, rustls: Arc::new(rustls), certificates, stamps })
    }
}
