//! What the API knows of the node besides the broker: its names, its listeners, its machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use leveret_broker::Broker;
use leveret_engine::Millis;
use leveret_server::config::Config;

use crate::rates::Rates;

/// A node and the broker it runs.
pub(crate) struct Node {
    pub(crate) broker: Arc<Broker>,
    /// RabbitMQ's form of a node's name: `rabbit@host`.
    pub(crate) name: String,
    pub(crate) config: Config,
    pub(crate) listeners: Vec<Listening>,
    pub(crate) rates: Rates,
    pub(crate) started: Instant,
}

/// A port somebody may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    /// RabbitMQ's name for what is spoken there.
    pub(crate) protocol: &'static str,
    pub(crate) address: SocketAddr,
}

impl Node {
    pub(crate) fn new(broker: Arc<Broker>, config: Config, listeners: Vec<Listening>) -> Self {
        let name = config.node_name();
        let rates = Rates::default();
        Self { broker, name, config, listeners, rates, started: Instant::now() }
    }

    /// The version of RabbitMQ that is announced.
    pub(crate) fn version(&self) -> &str {
        &self.config.server_properties.version
    }

    pub(crate) fn product(&self) -> &str {
        &self.config.server_properties.product
    }

    /// The name an operator gave the cluster, or the configured one.
    pub(crate) fn cluster_name(&self) -> String {
        let configured = || self.config.server_properties.cluster_name.clone();
        self.broker.cluster_name().unwrap_or_else(configured)
    }
}

/// The time.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
