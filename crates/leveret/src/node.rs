//! A broker with everything that serves it.

use std::net::SocketAddr;
use std::sync::Arc;

use leveret_management::{Bound, Management, Orders, load_definitions};
use leveret_server::config::Config;
use leveret_server::{Server, StartError};

/// A running broker: AMQP and the HTTP API. What the binary runs, and [`TestBroker`](crate::TestBroker).
pub struct Node {
    server: Server,
    management: Management,
}

impl Node {
    /// Opens the broker, loads the definitions the configuration names, and serves. Returns when clients can connect.
    ///
    /// # Errors
    /// When an address is taken, or the data directory can't be used.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, None).await
    }

    /// As [`start`](Self::start), with a control socket for operators, whose orders arrive at the other end.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_operated(config: Config, orders: Orders) -> Result<Self, StartError> {
        Self::start_with(config, Some(orders)).await
    }

    async fn start_with(config: Config, orders: Option<Orders>) -> Result<Self, StartError> {
        let bound = Bound::new(&config)?;
        let opened = Server::open(config.clone()).await?;
        if let Some(path) = config.load_definitions.clone() {
            let (broker, tables) = (Arc::clone(opened.broker()), config.amqp.tables);
            let load = move || load_definitions(&broker, &path, tables);
            let loaded = tokio::task::spawn_blocking(load).await;
            if let Some(lsn) = loaded.map_err(|_| StartError::Interrupted)?? {
                opened.broker().store().durable(lsn).await;
            }
        }
        let server = opened.serve()?;
        match bound.serve(&server, &config, orders) {
            Ok(management) => Ok(Self { server, management }),
            Err(error) => {
                server.stop().await;
                Err(error)
            }
        }
    }

    /// The AMQP side.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Where the HTTP API listens, ports resolved.
    pub fn management_addresses(&self) -> &[SocketAddr] {
        self.management.addresses()
    }

    /// Where the HTTP API listens over TLS, ports resolved.
    pub fn management_tls_addresses(&self) -> &[SocketAddr] {
        self.management.tls_addresses()
    }

    /// Where the metrics are, ports resolved.
    pub fn metrics_addresses(&self) -> &[SocketAddr] {
        self.management.metrics_addresses()
    }

    /// Where the metrics are over TLS, ports resolved.
    pub fn metrics_tls_addresses(&self) -> &[SocketAddr] {
        self.management.metrics_tls_addresses()
    }

    /// Stops: clients are told, and everything durable is on disk when this returns.
    pub async fn stop(self) {
        self.management.stop().await;
        self.server.stop().await;
    }
}
