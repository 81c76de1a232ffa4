//! What goes through vhosts.

use std::sync::Arc;

use ahash::AHashMap;
use leveret_broker::{Broker, ChannelTotals, Vhost};

/// What all channels of each vhost have counted, those that are closed included. One look at the
/// connections, of which there may be very many, for all vhosts.
pub(crate) struct VhostTotals(AHashMap<usize, ChannelTotals>);

impl VhostTotals {
    pub(crate) fn read(broker: &Broker) -> Self {
        // Before those that are open: one that is closed meanwhile is not counted twice.
        let vhosts = broker.vhosts();
        let closed = vhosts.iter().map(|vhost| (identity(vhost), vhost.past_channels()));
        let mut totals: AHashMap<_, _> = closed.collect();
        for connection in broker.connections().all() {
            if let Some(totals) = totals.get_mut(&identity(connection.vhost())) {
                connection.channels().iter().for_each(|one| totals.add(&one.counters.read()));
            }
        }
        Self(totals)
    }

    /// Those of one.
    pub(crate) fn of(&self, vhost: &Arc<Vhost>) -> ChannelTotals {
        self.0.get(&identity(vhost)).copied().unwrap_or_default()
    }

    /// Those of all together.
    pub(crate) fn sum(&self) -> ChannelTotals {
        let mut sum = ChannelTotals::default();
        self.0.values().for_each(|totals| sum.add(totals));
        sum
    }
}

/// Another vhost may have had its name.
fn identity(vhost: &Arc<Vhost>) -> usize {
    Arc::as_ptr(vhost).addr()
}
