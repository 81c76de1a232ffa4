//! Where a connection stands, from its greeting to its end.

/// Where a connection stands. The names in RabbitMQ's texts are its `state_name`s.
pub(super) enum Phase {
    /// The protocol header is to come.
    Greeting,
    /// start-ok is to come.
    Starting,
    /// tune-ok is to come.
    Tuning,
    /// open is to come.
    Opening,
    Running,
    /// The broker has sent close: only close and close-ok count.
    Closing,
    /// Nothing that comes counts any more.
    Closed,
}

impl Phase {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Greeting | Self::Starting => "starting",
            Self::Tuning => "tuning",
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Closing | Self::Closed => "closing",
        }
    }
}
