//! What RabbitMQ 4 takes back one by one, and Leveret still takes: it is named in the log when it is
//! first used, once.

use std::sync::atomic::{AtomicBool, Ordering};

/// A feature of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeprecatedFeature {
    /// `basic.qos` for all consumers of a channel together.
    GlobalQos,
    /// The argument `x-queue-master-locator`.
    QueueMasterLocator,
    /// Queues that are neither durable nor exclusive.
    TransientNonexclusiveQueues,
}

impl DeprecatedFeature {
    /// All of them, by their names.
    pub const ALL: [Self; 3] =
        [Self::GlobalQos, Self::QueueMasterLocator, Self::TransientNonexclusiveQueues];

    /// RabbitMQ's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GlobalQos => "global_qos",
            Self::QueueMasterLocator => "queue_master_locator",
            Self::TransientNonexclusiveQueues => "transient_nonexcl_queues",
        }
    }

    /// What it is.
    pub const fn description(self) -> &'static str {
        match self {
            Self::GlobalQos => "prefetch limits that all consumers of a channel share",
            Self::QueueMasterLocator => "x-queue-master-locator, which has no effect",
            Self::TransientNonexclusiveQueues => "queues that are neither durable nor exclusive",
        }
    }
}

/// Which of them were used since the broker started.
#[derive(Debug, Default)]
pub struct DeprecatedFeatures {
    global_qos: AtomicBool,
    queue_master_locator: AtomicBool,
    transient_nonexclusive_queues: AtomicBool,
}

impl DeprecatedFeatures {
    /// Notes a use, and logs the first.
    pub fn note(&self, feature: DeprecatedFeature) {
        if !self.flag(feature).swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "deprecated feature {} is in use: {}. It goes on working; RabbitMQ 4.3 refuses it or \
                 passes over it",
                feature.name(),
                feature.description()
            );
        }
    }

    /// Whether it was used.
    pub fn is_used(&self, feature: DeprecatedFeature) -> bool {
        self.flag(feature).load(Ordering::Relaxed)
    }

    fn flag(&self, feature: DeprecatedFeature) -> &AtomicBool {
        match feature {
            DeprecatedFeature::GlobalQos => &self.global_qos,
            DeprecatedFeature::QueueMasterLocator => &self.queue_master_locator,
            DeprecatedFeature::TransientNonexclusiveQueues => &self.transient_nonexclusive_queues,
        }
    }
}
