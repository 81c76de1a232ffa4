//! The protocol-neutral broker: vhosts, users, permissions, and the publish and settle pipelines.
//!
//! A front end (AMQP 0-9-1 today) authenticates a client with
//! [`AccessControl`](access::AccessControl), opens a [`Session`] in a vhost and calls it; deliveries
//! come back through a [`Subscriber`] it implements, and [`Broker::tick`] tells the time. Not here:
//! wire formats, sockets, an async runtime, the clock (the time is an argument).
//!
//! Lock order: a vhost's policy changes, its directory, the order of streams, a queue, a
//! subscriber's outbox. Leaves are the journal's own lock, which may be taken under any of them but a
//! queue's, the agenda's and that of the work of streams, which are taken under a queue's, and that of
//! what exchanges have seen, under a directory. A direct reply's way stands in
//! a queue's place. Nobody holds two queues. No lock is held across a wait.
//!
//! Read first: [`Broker`], [`Session`], [`SharedQueue`], [`Turn`].

pub mod access;
mod administration;
mod age;
mod agenda;
mod alarms;
mod annotations;
mod arguments;
mod audit;
mod broker;
mod buckets;
mod churn;
mod connections;
mod dead_letter;
mod definitions;
mod delayed_retry;
mod deprecated;
mod direct_reply;
mod even_shares;
mod firehose;
mod fixed_limit;
mod fixed_limits;
mod global_parameters;
mod held_memory;
mod keeper;
mod limits;
mod name_in_log;
mod pager;
pub mod policy;
mod queue;
mod queue_type;
mod recovery;
pub mod refusal;
mod remembered;
mod routes;
mod session;
mod spans;
#[cfg(test)]
mod stage;
mod stored;
mod stream_work;
mod subscriber;
mod tail;
mod tick;
mod totals;
mod turn;
mod vhost;
mod vhost_metadata;

pub use administration::{Administration, Changed, TooManyVhosts, VhostNotDeleted};
pub use alarms::{AlarmListener, AlarmStatus, Alarms, Resource, Shortage};
pub use annotations::has_died;
pub use audit::{Action, Actor, AuditLog, Place};
pub use broker::{Broker, BrokerOptions, MESSAGE_MEMORY, OpenError};
pub use churn::ChurnTotals;
pub use connections::{
    ChannelCounters, ChannelMode, ChannelTotals, ConnectionAbout, ConnectionControl,
    ConnectionTraffic, Connections, Count, MessageSizes, OpenChannel, OpenConnection, Registration,
    SIZE_CLASSES, SizeTotals, TlsAbout,
};
pub use dead_letter::{
    DeadLetterCounts, DeathsByReason, FIXED_LIMITS as DEAD_LETTER_LIMITS, UNWRITTEN_JOURNAL_MAX,
};
pub use definitions::DefinitionError;
pub use deprecated::{DeprecatedFeature, DeprecatedFeatures};
pub use direct_reply::{DIRECT_REPLY_TO, ReplyConsumer};
pub use fixed_limit::{Figure, FixedLimit};
pub use fixed_limits::FIXED_LIMITS;
pub use global_parameters::GlobalParameterRefused;
pub use held_memory::{HeldMemory, HeldShare, Holder};
pub use limits::{
    DefaultVhostLimits, GLOBAL_PARAMETERS_MAX, NodeLimits, POLICIES_MAX, ROUTING_STEPS_MAX,
    UserLimits, VhostLimits,
};
pub use name_in_log::name_in_log;
pub use pager::{Paging, ReliefListener};
pub use queue::{
    Browsed, ConsumerAbout, DeleteIf, QueueConsumer, QueueCounts, QueueStatus, QueueTotals,
    Reading, SharedQueue,
};
pub use queue_type::QueueType;
pub use session::{
    Client, Confirmation, Consume, DeclareExchange, DeclareQueue, DeclaredQueue, DeletedQueue,
    Fetched, Imported, Imports, Moved, Movement, NewConsumer, Outcome, Prepared, Publish,
    Repeatable, Session, SessionId, SettleGroup, Settlement, Staged, Ticket, generated_name,
    published_keys,
};
pub use spans::{SettleOutcome, Span, SpanMessage, SpanOptions, SpanSink, Step, TraceHeader};
pub use stored::{key_names, queue_names, streams};
pub use subscriber::{Subscriber, Wake};
pub use tail::{Copied, Passed, Tail};
pub use tick::Progress;
pub use turn::Turn;
pub use vhost::Vhost;
pub use vhost_metadata::VhostMetadata;
