//! What queues are there for.

use leveret_engine::{Message, Millis, delay};
use leveret_store::Outline;

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
    /// Whether an outline says all that a queue has to know of a message that stays on disk.
    /// That of a delayed message may be from before outlines said the delay.
    pub(super) const fn is_served_by(self, outline: &Outline) -> bool {
        match self {
            Self::Clients => true,
            Self::Delay => outline.delay.is_some(),
            Self::History => false,
        }
    }

    /// As [`deadline`](Self::deadline), of a message that is known in outline.
    pub(super) fn deadline_in(self, outline: &Outline) -> Option<Millis> {
        match self {
            Self::Clients => None,
            Self::Delay => {
                let delay = Millis(outline.delay.unwrap_or_default());
                Some(Millis(outline.time).saturating_add(delay))
            }
            Self::History => Some(NEVER),
        }
    }

    /// When `message` leaves a queue, if that is not for the queue's settings to say.
    pub(super) fn deadline(self, message: &Message) -> Option<Millis> {
        match self {
            Self::Clients => None,
            Self::Delay => {
                let delay = properties(message).headers.and_then(delay).unwrap_or_default();
                Some(message.timestamp().saturating_add(delay))
            }
            Self::History => Some(NEVER),
        }
    }
}
