//! The command line tools, by the names that RabbitMQ's have, against a broker.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod admin;
mod alerts;
mod backup;
mod control;
mod migrate;
mod objects;
mod refusals;
mod server;
mod testcontainers;
mod tools;
mod transcript;

use leveret_tests::Broker;

use crate::tools::Tools;

/// A broker of our own with the HTTP API on, and the tools for it; `None`, and a note, if the
/// tests are to use a given one.
fn managed() -> Option<(Broker, Tools)> {
    let broker = Broker::managed()?;
    let tools = Tools::of(&broker.data_dir());
    Some((broker, tools))
}
