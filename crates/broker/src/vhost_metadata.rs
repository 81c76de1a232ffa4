//! What is said about a vhost, besides what is in it.

use serde::{Deserialize, Serialize};

use crate::queue_type::QueueType;

/// What is said about a vhost. Stored as it is, beside the vhost's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VhostMetadata {
    /// For people.
    pub description: String,
    /// For tools.
    pub tags: Vec<String>,
    /// The type of durable queues that are declared without one; exclusive and auto-delete queues
    /// are classic.
    pub default_queue_type: Option<QueueType>,
    /// The vhost can't be deleted until this is taken back.
    pub protected_from_deletion: bool,
}
