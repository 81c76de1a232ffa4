//! What clients see of the broker over HTTP, compared with RabbitMQ's recorded answers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod access;
mod alerts;
mod audit;
mod browse;
mod dead_letters;
mod definitions;
mod deprecated;
mod firehose;
mod http;
mod logins;
mod map;
mod matrix;
mod metrics;
mod passwords;
mod permissions;
mod protection;
mod rebinding;
mod recorded;
mod rights_taken;
mod route;
mod stats;
mod streams;
mod tail;
mod traces;
mod vhosts;
mod web;

use leveret_tests::{Api, Broker};

/// A broker of our own and a client of its HTTP API; `None`, and a note, if the tests are to use
/// a given one.
fn managed() -> Option<(Broker, Api)> {
    let broker = Broker::managed()?;
    let api = Api::new(broker.management_address());
    Some((broker, api))
}
