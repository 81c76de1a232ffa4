//! Leveret as a library: a real broker inside a test.
//!
//! [`TestBroker`] starts the same broker the `leveret` binary runs, in this process, on a free
//! loopback port, in a few milliseconds. Tests get one each and share nothing.
//!
//! ```
//! use lapin::{Connection, ConnectionProperties, options::*, types::FieldTable};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = leveret::TestBroker::start()?;
//!
//! let connection = Connection::connect(broker.url(), ConnectionProperties::default()).await?;
//! let channel = connection.create_channel().await?;
//! let queue = channel
//!     .queue_declare("greetings".into(), QueueDeclareOptions::durable(), FieldTable::default())
//!     .await?;
//! assert_eq!(queue.message_count(), 0);
//!
//! broker.stop();
//! # Ok(())
//! # }
//! ```
//!
//! Policies are set as with `rabbitmqctl set_policy`, see [`TestBroker::set_policy`]; what a client
//! does when memory or disk space runs short shows with [`TestBroker::pretend`].
//!
//! Not here: anything a broker is made of. The crates below hold that; this one holds the
//! decisions of the binary and the handle for tests.

mod node;
mod test_broker;

pub use leveret_broker::{AlarmStatus, Resource, policy};
pub use leveret_server::{StartError, config};
pub use node::Node;
pub use test_broker::{TestBroker, TestBrokerError};
