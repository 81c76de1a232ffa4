//! Who is at the other end of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use leveret_broker::TlsAbout;

use crate::sasl::Transport;
use crate::tls::Certificate;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) local: SocketAddr,
    /// What protects the connection, if anything does.
    pub(crate) tls: Option<Arc<TlsAbout>>,
    /// What the client has shown, until it has logged in.
    pub(crate) certificate: Option<Box<Certificate>>,
}

impl Peer {
    pub(super) fn transport(&self) -> Transport<'_> {
        match self.tls {
            Some(_) => Transport::Tls(self.certificate.as_deref()),
            None => Transport::Plain,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.address, self.local)
    }
}
