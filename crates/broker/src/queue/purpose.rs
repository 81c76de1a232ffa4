//! What queues are there for.

use leveret_engine::{Message, Millis, delay};

use super::properties;
use super::schedule::NEVER;

/// Who a queue is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Those who declare queues and consume from them.
    #[default]
    Clients,
    /// A delayed exchange: messages leave when their delay is over.
    Delay,
    /// A recent history exchange: the newest messages stay.
    History,
}

impl Purpose {
    /// When `message` leaves a queue, if that is not for the queue's settings to say.
    pub(super) fn deadline(self, message: &Message) -> Option<Millis> {
        match self {
            Self::Clients => None,
            Self::Delay => {
                let delay = delay(&properties(message)).unwrap_or_default();
                Some(message.timestamp().saturating_add(delay))
            }
            Self::History => Some(NEVER),
        }
    }
}
