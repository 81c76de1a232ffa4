//! Rights that are not among the broker's own permissions: somebody outside has to be asked.

use std::fmt::Debug;
use std::pin::Pin;

use super::permission::PermissionKind;
use super::topic_permission::TopicPermissionKind;

/// Decides what one user may do, in a place that takes time to ask.
///
/// A session doesn't wait. It leaves a [`Question`] behind, and whoever drives it asks, hands in
/// the [`Decision`] and does the same thing again. Sessions of operators have a thread of their own
/// to wait on.
pub trait Authority: Debug + Send + Sync {
    /// Asks whether the user may do this in the vhost.
    fn ask<'a>(
        &'a self,
        vhost: &'a str,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Decision> + Send + 'a>>;

    /// The same, waiting for the answer: not on a thread that serves others.
    fn ask_and_wait(&self, vhost: &str, question: &Question) -> Decision;
}

/// What a user wants to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Enter the vhost.
    Vhost,
    /// Something with an exchange or a queue; the default exchange goes by the name `amq.default`.
    Resource {
        /// What.
        kind: PermissionKind,
        /// With which sort of thing.
        of: ResourceKind,
        /// Its name.
        name: Box<str>,
    },
    /// Use a key on a topic exchange.
    Topic {
        /// How.
        kind: TopicPermissionKind,
        /// The exchange.
        exchange: Box<str>,
        /// The key.
        routing_key: Box<str>,
    },
}

/// What permissions are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
}

impl ResourceKind {
    /// RabbitMQ's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allowed,
    /// No. RabbitMQ ends its text with the reason, if the client may hear one.
    Refused(Option<Box<str>>),
}

impl Decision {
    /// No, without a reason.
    pub const REFUSED: Self = Self::Refused(None);

    /// Yes or no.
    pub fn of(is_allowed: bool) -> Self {
        if is_allowed { Self::Allowed } else { Self::REFUSED }
    }

    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allowed
    }
}
