//! What a change took away.

use std::sync::Arc;

use leveret_codec::TableBuf;

use super::exchange::ExchangeSpec;

/// Something a change to a [`Topology`](crate::Topology) removed, the requested and what followed
/// from it, in order: bindings before the exchange they hang on.
#[derive(Clone, Debug)]
pub enum Removed {
    /// A binding.
    Binding(RemovedBinding),
    /// An exchange.
    Exchange(ExchangeSpec),
}

/// A binding that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedBinding {
    /// The exchange it led from.
    pub source: Arc<str>,
    /// Where it led.
    pub destination: RemovedDestination,
    /// Its key.
    pub key: Arc<str>,
    /// Its arguments, sorted by key.
    pub arguments: TableBuf,
}

/// Where a binding that is gone led.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RemovedDestination {
    /// To the queue of this name.
    Queue(Arc<str>),
    /// To the exchange of this name.
    Exchange(Arc<str>),
}
