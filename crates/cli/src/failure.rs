//! How a command fails: what is written to standard error, and RabbitMQ's exit code.

use std::fmt::Display;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// One of RabbitMQ's, which are those of `sysexits.h`.
    pub(crate) code: u8,
    /// As it is printed.
    pub(crate) text: String,
}

/// The command line makes no sense.
pub(crate) const USAGE: u8 = 64;
/// An argument names what isn't there, or is no such thing.
pub(crate) const DATA: u8 = 65;
/// There is no such user.
pub(crate) const NO_USER: u8 = 67;
/// The broker can't be reached, or refuses.
pub(crate) const UNAVAILABLE: u8 = 69;
/// It can't be done.
pub(crate) const SOFTWARE: u8 = 70;
/// It took too long.
pub(crate) const TIMEOUT: u8 = 75;
/// The configuration is wrong.
pub(crate) const CONFIG: u8 = 78;

impl Failure {
    /// With this text as it is.
    pub(crate) fn plain(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Under the heading `Error:`.
    pub(crate) fn error(code: u8, reason: impl Display) -> Self {
        Self::plain(code, format!("Error:\n{reason}"))
    }

    /// What the broker refused.
    pub(crate) fn refused(reason: impl Display) -> Self {
        Self::error(UNAVAILABLE, reason)
    }

    pub(crate) fn no_user(name: &str) -> Self {
        Self::error(NO_USER, format!("User \"{name}\" does not exist"))
    }

    pub(crate) fn no_vhost(name: &str) -> Self {
        Self::plain(DATA, format!("Virtual host '{name}' does not exist"))
    }
}
