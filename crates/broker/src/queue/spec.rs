//! What a queue is to be.

use std::sync::Arc;
use std::time::Duration;

use leveret_codec::TableBuf;
use leveret_engine::{Deduplication, Millis, QueueId, QueueSettings, StreamSettings};

use super::Purpose;
use crate::dead_letter::Strategy;
use crate::firehose::Tracing;
use crate::policy::AppliedPolicies;
use crate::queue_type::QueueType;
use crate::session::SessionId;

/// What a new queue is.
pub(crate) struct QueueSpec {
    pub(crate) id: QueueId,
    pub(crate) name: Arc<str>,
    pub(crate) vhost: Arc<str>,
    pub(crate) tracing: Tracing,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) owner: Option<SessionId>,
    pub(crate) arguments: TableBuf,
    pub(crate) settings: Settings,
    /// What the settings owe to policies.
    pub(crate) policies: AppliedPolicies,
}

/// What the arguments say of a queue's behaviour.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) queue_type: QueueType,
    pub(crate) machine: QueueSettings,
    /// In the place of `machine`, if it is a stream.
    pub(crate) stream: StreamSettings,
    /// Where what dies in it goes.
    pub(crate) dead_letter_exchange: Option<Arc<str>>,
    /// Under which key, instead of its own.
    pub(crate) dead_letter_routing_key: Option<Arc<str>>,
    /// What becomes of what nobody takes.
    pub(crate) dead_letter_strategy: Strategy,
    /// How long it may go unused.
    pub(crate) expires: Option<Millis>,
    /// How long deliveries to its consumers may wait for their settlement.
    pub(crate) consumer_timeout: Option<Duration>,
    pub(crate) purpose: Purpose,
    pub(crate) deduplication: Option<Deduplication>,
}
