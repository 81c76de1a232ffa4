//! Leveret's exchanges, bindings and queues, as pure state machines.
//!
//! A [`Topology`] answers where a message goes; a [`Queue`] decides who gets it and when it
//! leaves. Both take input and time as arguments and leave all acting to the caller: a queue
//! pushes [`Effect`]s, a topology fills a [`RouteSet`]. A [`Message`] is the immutable value that
//! passes through them.
//!
//! Deliberately absent: clocks, I/O, threads, locks and randomness; permissions and the texts of
//! protocol errors; virtual hosts (a topology is one); the table of unacknowledged deliveries,
//! which belongs to whoever received them; dead-lettering, which needs routing and a journal and
//! so is the caller's answer to an [`Effect::Drop`].
//!
//! Read first: [`Topology`], [`Queue`], [`Message`].

mod ids;
mod message;
mod queue;
mod topology;

pub use ids::{ConsumerId, ExchangeId, Lsn, Millis, QueueId};
pub use message::{Body, LARGE_BODY, Message, MessageArena, StoredMessageError};
pub use queue::{
    Admission, ConsumeRefused, ConsumerSpec, ConsumerStatus, DropReason, Effect, Entry, Gate,
    Overflow, Pushed, Queue, QueueSettings, RemovedConsumer,
};
pub use topology::{
    BindError, BindingRef, Bound, Destination, DestinationName, Exchange, ExchangeKind,
    ExchangeSpec, InvalidMatch, Removed, RemovedBinding, RemovedDestination, RouteSet, Topology,
    UnknownKind,
};
