//! What can be wrong with files, and with clients, each in one line.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why TLS can't be served.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be used.
    #[error("cannot use {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings don't go together.
    #[error("cannot serve TLS: {0}")]
    Settings(String),
}

impl TlsError {
    pub(super) fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), reason: reason.into() }
    }

    pub(super) fn settings(reason: impl Into<String>) -> Self {
        Self::Settings(reason.into())
    }
}

/// Why a client's handshake came to nothing.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("timeout")]
    Timeout,
    /// The client speaks no TLS that is spoken here, shows no certificate that counts, or is gone.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl HandshakeError {
    /// Whether the client said nothing and left, as health checks do.
    pub fn is_silent(&self) -> bool {
        match self {
            Self::Timeout => false,
            Self::Failed(error) => matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
            ),
        }
    }
}
