//! Leveret's exchanges, bindings and queues, as pure state machines.
//!
//! A [`Topology`] answers where a message goes; a [`Queue`] decides who gets it and when it
//! leaves, a [`Stream`] keeps it for all who read. They take input and time as arguments and leave
//! all acting to the caller: a queue pushes [`Effect`]s, a topology fills a [`RouteSet`]. A
//! [`Message`] is the immutable value that passes through them.
//!
//! Deliberately absent: clocks, I/O, threads, locks and randomness; permissions and the texts of
//! protocol errors; virtual hosts (a topology is one); the table of unacknowledged deliveries,
//! which belongs to whoever received them; dead-lettering, which needs routing and a journal and
//! so is the caller's answer to an [`Effect::Drop`].
//!
//! Read first: [`Topology`], [`Queue`], [`Stream`], [`Message`].
//!
//! ```
//! use leveret_codec::{Properties, TableBuf};
//! use leveret_engine::*;
//!
//! let mut topology = Topology::new();
//! topology.add_exchange(ExchangeSpec {
//!     name: "weather".into(),
//!     kind: ExchangeKind::Topic,
//!     durable: true,
//!     auto_delete: false,
//!     internal: false,
//!     arguments: TableBuf::default(),
//! });
//! topology.add_queue("frost".into(), QueueId(7));
//! topology.bind("weather", DestinationName::Queue("frost"), "*.cold", &TableBuf::default())?;
//!
//! let mut routes = RouteSet::new();
//! let message = Routable { keys: &["berlin.cold"], properties: &Properties::default(), drawn: 0 };
//! topology.route("weather", message, &mut routes).unwrap();
//! assert_eq!(routes.as_slice(), [QueueId(7)]);
//!
//! let (now, properties) = (Millis(0), Properties::default());
//! let message = MessageArena::new().message(
//!     now, "weather", "berlin.cold", &properties, &[0, 0], Body::Copy(b"-3"),
//! );
//! let mut queue = Queue::new(QueueSettings::default());
//! let Pushed::Accepted = queue.push(Entry::new(Lsn(1), message), now) else { panic!("no limit") };
//! assert_eq!(queue.ready_len(), 1);
//! # Ok::<(), BindError>(())
//! ```

mod folded;
mod give_back;
#[cfg(test)]
mod histories;
mod ids;
mod message;
mod paged_list;
mod queue;
mod selector;
mod stream;
mod topology;

pub use folded::Folded;
pub use give_back::GiveBack;
pub use ids::{ConsumerId, ExchangeId, Lsn, Millis, QueueId};
pub use message::{
    Body, LARGE_BODY, Message, MessageArena, NewMessage, StoredMessageError, StoredOutline,
};
pub use queue::{
    Admission, AnyEntry, ConsumeRefused, ConsumerSpec, ConsumerStatus, DelayedRetry, DropReason,
    ENTRY_MEMORY, Effect, Entry, Gate, Got, Overflow, PAGED_ENTRY_MEMORY, PageRequest, PagedEntry,
    Pushed, Queue, QueueSettings, RemovedConsumer, Return, SpillBlock, Spilled, Standing,
};
pub use selector::InvalidSelector;
pub use stream::{
    Allowance, Filter, NameChange, ReaderSpec, ReaderStatus, Settled, Shown, StartAt, Stream,
    StreamRequest, StreamSettings,
};
pub use topology::{
    BindError, BindingRef, Bound, DELAY_HEADER, Deduplication, Deduplicator, Destination,
    DestinationName, Exchange, ExchangeKind, ExchangeSpec, ExchangeTraffic, Explanation,
    InvalidBinding, InvalidExchange, InvalidJmsBinding, InvalidMatch, Keeper, Removed,
    RemovedBinding, RemovedDestination, Routable, RouteSet, TooManySteps, Topology, UnknownKind,
    Visit, delay,
};
