//! The kinds of queue.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a queue promises its messages (`x-queue-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueType {
    /// As durable as its declaration and its publishers ask for.
    #[default]
    Classic,
    /// Keeps every message on disk, and counts how often each came back.
    Quorum,
    /// Keeps every message on disk, also when it was read, for as long as its settings say.
    Stream,
}

impl QueueType {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Classic, Self::Quorum, Self::Stream];

    /// The value of `x-queue-type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }
}

impl fmt::Display for QueueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
