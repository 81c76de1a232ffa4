//! What a turn of a connection came to, and what its driver does then.

use leveret_store::Lsn;

/// What the driver does after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read more.
    Read,
    /// Let others have their turn, then call [`receive`](super::Connection::receive) again.
    Yield,
    /// Wait until this LSN is on disk, then call [`durable`](super::Connection::durable) and `receive` again.
    Wait(Lsn),
    /// Wait until the client has fetched some of its answers, then call `receive` again.
    Pause,
    /// Wait until memory and disk space are no longer short, then call `receive` again: a message
    /// is about to be published.
    Hold,
    /// Ask what [`asking`](super::Connection::asking) says, hand in the answer and call `receive` again.
    Ask,
    /// Send what there is and hang up.
    Close,
    /// A failed login: wait, send what there is and hang up.
    Refused,
}

/// What a turn came to.
pub(crate) struct Received {
    /// Bytes of the input that are done with.
    pub(crate) consumed: usize,
    pub(crate) next: Next,
}
