//! Limits of the node, of vhosts and of users, and what is counted against them.
//!
//! A limit that is negative or absent allows everything, 0 nothing. A lower one takes nothing away
//! from those who are over it; it holds for whoever comes next.

use std::sync::Arc;

use ahash::HashMap;
use leveret_codec::AmqpError;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::access::{Pattern, User};
use crate::refusal;
use crate::vhost::Vhost;

/// What the node may hold, over all vhosts. RabbitMQ's `vhost_max`, `connection_max`,
/// `channel_max_per_node`, `cluster_queue_limit` and `cluster_exchange_limit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeLimits {
    /// Vhosts.
    pub vhosts: Option<u32>,
    /// Connections at a time.
    pub connections: Option<u32>,
    /// Channels at a time, over all connections.
    pub channels: Option<u32>,
    /// Queues, those of clients' own included.
    pub queues: Option<u32>,
    /// Exchanges, those every vhost has from the start included.
    pub exchanges: Option<u32>,
    /// Bindings, those to the default exchange not included. RabbitMQ has no limit of them.
    pub bindings: Option<u32>,
    /// Policies of users in a vhost, and as many of operators. RabbitMQ has no limit of them.
    pub policies_per_vhost: Option<u32>,
    /// Global parameters. RabbitMQ has no limit of them.
    pub global_parameters: Option<u32>,
    /// Steps to find the queues of one message; see
    /// [`set_steps_max`](leveret_engine::Topology::set_steps_max). RabbitMQ has no limit of them.
    pub routing_steps: Option<u32>,
}

/// The default of [`routing_steps`](NodeLimits::routing_steps): what ordinary patterns take for thousands of
/// matching bindings, and some milliseconds at most.
pub const ROUTING_STEPS_MAX: u32 = 50_000;

/// The default of [`policies_per_vhost`](NodeLimits::policies_per_vhost): each new queue's name is matched with
/// them, which takes a millisecond then.
pub const POLICIES_MAX: u32 = 5000;

/// The default of [`global_parameters`](NodeLimits::global_parameters).
pub const GLOBAL_PARAMETERS_MAX: u32 = 1000;

/// What a vhost may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VhostLimits {
    /// Connections at a time.
    pub max_connections: Option<i64>,
    /// Queues, those of clients' own included.
    pub max_queues: Option<i64>,
}

/// The limits new vhosts get whose names match, unless they are given others (RabbitMQ's
/// `default_limits.vhosts`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultVhostLimits {
    /// Searched for in the name.
    pub pattern: Pattern,
    /// What such a vhost may hold.
    pub limits: VhostLimits,
}

/// What a user may hold, over all vhosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserLimits {
    /// Connections at a time.
    pub max_connections: Option<i64>,
    /// Channels at a time, over all connections.
    pub max_channels: Option<i64>,
}

/// The limit that is reached when there are `count` already.
pub(crate) fn reached<L>(limit: Option<L>, count: u64) -> Option<u64>
where
    L: TryInto<u64>,
{
    limit.and_then(|limit| limit.try_into().ok()).filter(|limit| count >= *limit)
}

/// Who is connected, and with how many channels.
#[derive(Default)]
pub(crate) struct Occupancy {
    counts: Mutex<Counts>,
}

/// Keys without a count are taken out.
#[derive(Default)]
struct Counts {
    connections: u64,
    channels: u64,
    vhosts: HashMap<Arc<str>, u64>,
    users: HashMap<Box<str>, Usage>,
}

#[derive(Default)]
struct Usage {
    connections: u64,
    channels: u64,
}

/// A connection's place in the counts, given back when it is dropped.
pub(crate) struct Presence {
    occupancy: Arc<Occupancy>,
    user: Box<str>,
    vhost: Arc<str>,
    channels: u64,
}

impl Occupancy {
    /// Counts a connection that is about to open, unless a limit is reached. The vhost is looked
    /// for between the node's limit and its own, as RabbitMQ does it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        limits_of_node: NodeLimits,
        user: &User,
        limits_of_user: UserLimits,
        find_vhost: impl FnOnce() -> Result<Arc<Vhost>, AmqpError>,
    ) -> Result<(Arc<Vhost>, Presence), AmqpError> {
        let mut counts = self.counts.lock();
        if let Some(limit) = reached(limits_of_node.connections, counts.connections) {
            return Err(refusal::node_connection_limit(limit));
        }
        let vhost = find_vhost()?;
        let name = vhost.name();
        let in_vhost = counts.vhosts.get(name).copied().unwrap_or_default();
        if let Some(limit) = reached(vhost.limits().max_connections, in_vhost) {
            return Err(refusal::vhost_connection_limit(name, &user.name, limit));
        }
        let of_user = counts.users.get(&*user.name).map_or(0, |usage| usage.connections);
        if let Some(limit) = reached(limits_of_user.max_connections, of_user) {
            return Err(refusal::user_connection_limit(&user.name, limit));
        }
        counts.connections += 1;
        *counts.vhosts.entry(Arc::clone(name)).or_default() += 1;
        counts.users.entry(user.name.as_str().into()).or_default().connections += 1;
        let presence = Presence {
            occupancy: Arc::clone(self),
            user: user.name.as_str().into(),
            vhost: Arc::clone(name),
            channels: 0,
        };
        Ok((vhost, presence))
    }
}

impl Presence {
    /// Counts a channel of the connection, unless the node, whose name is `node`, or its user has as
    /// many as it may.
    pub(crate) fn open_channel(
        &mut self,
        node: &str,
        limits_of_node: NodeLimits,
        limits: UserLimits,
    ) -> Result<(), AmqpError> {
        let mut counts = self.occupancy.counts.lock();
        if let Some(limit) = reached(limits_of_node.channels, counts.channels) {
            return Err(refusal::node_channel_limit(node, limit));
        }
        let usage = counts.users.entry(self.user.clone()).or_default();
        if let Some(limit) = reached(limits.max_channels, usage.channels) {
            return Err(refusal::user_channel_limit(&self.user, limit));
        }
        usage.channels += 1;
        counts.channels += 1;
        self.channels += 1;
        Ok(())
    }

    /// A channel of the connection is gone.
    pub(crate) fn close_channel(&mut self) {
        let mut counts = self.occupancy.counts.lock();
        if let Some(left) = self.channels.checked_sub(1) {
            self.channels = left;
            counts.channels = counts.channels.saturating_sub(1);
            counts.leave(&self.user, |usage| usage.channels = usage.channels.saturating_sub(1));
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut counts = self.occupancy.counts.lock();
        counts.connections = counts.connections.saturating_sub(1);
        if let Some(count) = counts.vhosts.get_mut(&self.vhost) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.vhosts.remove(&self.vhost);
            }
        }
        let channels = self.channels;
        counts.channels = counts.channels.saturating_sub(channels);
        counts.leave(&self.user, |usage| {
            usage.connections = usage.connections.saturating_sub(1);
            usage.channels = usage.channels.saturating_sub(channels);
        });
    }
}

impl Counts {
    fn leave(&mut self, user: &str, change: impl FnOnce(&mut Usage)) {
        let Some(usage) = self.users.get_mut(user) else { return };
        change(usage);
        if usage.connections == 0 && usage.channels == 0 {
            self.users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            name: "anna".to_owned(),
            password_hash: None,
            tags: vec![],
            limits: UserLimits::default(),
        }
    }

    fn enter(
        occupancy: &Arc<Occupancy>,
        connections: Option<u32>,
        limits: UserLimits,
    ) -> Result<Presence, String> {
        let vhost = || Ok(Arc::new(Vhost::new("v".into())));
        let limits_of_node = NodeLimits { connections, ..NodeLimits::default() };
        let entered = occupancy.enter(limits_of_node, &user(), limits, vhost);
        entered.map(|(_, presence)| presence).map_err(|error| error.reply_text())
    }

    #[test]
    fn places_come_back() {
        let occupancy = Arc::new(Occupancy::default());
        let limits = UserLimits { max_connections: Some(2), max_channels: Some(1) };
        let mut first = enter(&occupancy, None, limits).unwrap();
        let mut second = enter(&occupancy, None, limits).unwrap();
        assert_eq!(
            enter(&occupancy, None, limits).err().unwrap(),
            "NOT_ALLOWED - connection refused for user 'anna': user connection limit (2) is reached"
        );
        let open =
            |presence: &mut Presence| presence.open_channel("n", NodeLimits::default(), limits);
        open(&mut first).unwrap();
        assert!(open(&mut second).is_err());
        // What never was opened gives nothing back.
        second.close_channel();
        assert!(open(&mut second).is_err());
        drop(first);
        open(&mut second).unwrap();
        drop(second);
        let counts = occupancy.counts.lock();
        assert_eq!((counts.connections, counts.channels), (0, 0));
        assert!(counts.vhosts.is_empty() && counts.users.is_empty());
    }

    #[test]
    fn negative_is_no_limit_and_zero_is_none() {
        let occupancy = Arc::new(Occupancy::default());
        let limits = |n| UserLimits { max_connections: Some(n), max_channels: Some(n) };
        assert!(enter(&occupancy, None, limits(-1)).is_ok());
        assert!(enter(&occupancy, None, limits(0)).is_err());
        assert_eq!(
            enter(&occupancy, Some(0), limits(0)).err().unwrap(),
            "NOT_ALLOWED - connection refused: node connection limit (0) is reached"
        );
    }
}
