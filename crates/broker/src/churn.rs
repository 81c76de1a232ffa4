//! How much comes and goes.

use crate::connections::Sum;

macro_rules! churn {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Counts what comes and goes.
        #[derive(Debug, Default)]
        pub(crate) struct Churn {
            $(pub(crate) $name: Sum,)+
        }

        /// What has come and gone since the broker started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ChurnTotals {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl Churn {
            pub(crate) fn read(&self) -> ChurnTotals {
                ChurnTotals { $($name: self.$name.get(),)+ }
            }
        }
    };
}

churn! {
    /// Connections that have opened.
    connections_opened,
    /// Connections that have ended.
    connections_closed,
    /// Channels that have opened.
    channels_opened,
    /// Channels that have ended.
    channels_closed,
    /// Declarations of queues, of those that were there included.
    queues_declared,
    /// Queues that were made.
    queues_created,
    /// Queues that are gone.
    queues_deleted,
}
