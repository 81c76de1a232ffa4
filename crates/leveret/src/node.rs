//! A broker with everything that serves it.

use std::net::SocketAddr;

use leveret_management::{Bound, Management};
use leveret_server::config::Config;
use leveret_server::{Server, StartError};

/// A running broker: AMQP and the HTTP API. What the binary runs, and [`TestBroker`](crate::TestBroker).
pub struct Node {
    server: Server,
    management: Management,
}

impl Node {
    /// Starts the broker, then what shows it. Returns when clients can connect.
    ///
    /// # Errors
    /// When an address is taken, or the data directory can't be used.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let bound = Bound::new(&config)?;
        let server = Server::start(config.clone()).await?;
        match bound.serve(&server, &config) {
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

    /// Stops: clients are told, and everything durable is on disk when this returns.
    pub async fn stop(self) {
        self.management.stop().await;
        self.server.stop().await;
    }
}
