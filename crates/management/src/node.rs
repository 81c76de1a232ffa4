//! What the API knows of the node besides the broker: its names, its listeners, its machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use leveret_auth::Backends;
use leveret_broker::{Broker, UNWRITTEN_JOURNAL_MAX};
use leveret_server::config::{Config, ServerProperties};
pub(crate) use leveret_server::now;
use leveret_server::{Admission, Budgets, Server, Tls};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::alerts::Alerts;
use crate::api::overview::Overviews;
use crate::looked_through::LookedThrough;
use crate::metrics::Pages;
use crate::order::Orders;
use crate::rates::Rates;
use crate::replay::Replays;
use crate::request_rate::RequestRate;
use crate::seldom::Seldom;
use crate::sessions::Sessions;

/// Requests that watch messages pass, at a time.
pub(crate) const TAILS_MAX: usize = 32;

/// A node and the broker it runs.
pub(crate) struct Node {
    pub(crate) broker: Arc<Broker>,
    /// Who may connect.
    pub(crate) admission: Arc<Admission>,
    /// What connections take of memory together.
    pub(crate) budgets: Budgets,
    /// Who decides about logins.
    pub(crate) backends: Arc<Backends>,
    /// RabbitMQ's form of a node's name: `rabbit@host`.
    pub(crate) name: String,
    config: watch::Receiver<Arc<Config>>,
    product: String,
    version: String,
    pub(crate) listeners: Vec<Listening>,
    pub(crate) rates: Rates,
    pub(crate) metrics: Pages,
    pub(crate) overviews: Overviews,
    pub(crate) request_rate: RequestRate,
    /// Connections over HTTP that made room for others, or found none.
    pub(crate) turned_away: Seldom,
    /// Those whose handshake failed.
    pub(crate) failed_handshakes: Seldom,
    /// Logins over HTTP that were not looked at.
    pub(crate) throttled: Seldom,
    pub(crate) replays: Replays,
    pub(crate) looked_through: LookedThrough,
    pub(crate) alerts: Alerts,
    /// Of the web interface.
    pub(crate) sessions: Sessions,
    /// Ends what goes on when the broker stops.
    pub(crate) stop: CancellationToken,
    pub(crate) tails: Arc<Semaphore>,
    pub(crate) started: Instant,
    /// The way to the process, if it takes orders.
    pub(crate) orders: Option<Orders>,
}

/// A port somebody may connect to.
pub(crate) struct Listening {
    /// RabbitMQ's name for what is spoken there.
    pub(crate) protocol: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Node {
    pub(crate) fn new(
        server: &Server,
        listeners: Vec<Listening>,
        orders: Option<Orders>,
        stop: CancellationToken,
    ) -> Self {
        let config = server.config();
        let name = config.borrow().node_name();
        let ServerProperties { product, version, .. } = config.borrow().server_properties.clone();
        let (rates, started) = (Rates::default(), Instant::now());
        let replays = Replays::new(stop.clone());
        Self {
            broker: Arc::clone(server.broker()),
            admission: Arc::clone(server.admission()),
            budgets: server.budgets().clone(),
            backends: server.backends(),
            name,
            config,
            product,
            version,
            listeners,
            rates,
            metrics: Pages::default(),
            overviews: Overviews::default(),
            request_rate: RequestRate::default(),
            turned_away: Seldom::default(),
            failed_handshakes: Seldom::default(),
            throttled: Seldom::default(),
            replays,
            looked_through: LookedThrough::default(),
            alerts: Alerts::default(),
            sessions: Sessions::default(),
            stop,
            tails: Arc::new(Semaphore::new(TAILS_MAX)),
            started,
            orders,
        }
    }

    /// The settings in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// Tells when there are other settings.
    pub(crate) fn config_changes(&self) -> watch::Receiver<Arc<Config>> {
        self.config.clone()
    }

    /// Why publishers have to wait at the moment, if they have.
    pub(crate) fn holds_publishers(&self) -> Option<&'static str> {
        let is_behind = || self.broker.store().buffered_bytes() > UNWRITTEN_JOURNAL_MAX;
        let shortage = self.broker.alarms().shortage().reason();
        shortage.or_else(|| is_behind().then_some("the disk is behind"))
    }

    /// The version of RabbitMQ that is announced.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn product(&self) -> &str {
        &self.product
    }

    /// The name an operator gave the cluster, or the configured one.
    pub(crate) fn cluster_name(&self) -> String {
        let configured = || self.config().server_properties.cluster_name.clone();
        self.broker.cluster_name().unwrap_or_else(configured)
    }
}
