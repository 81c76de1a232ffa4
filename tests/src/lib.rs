//! What the end-to-end tests are written with: a broker process and a client that hides nothing.
//!
//! [`Broker`] runs the real binary, stops it politely or with `kill -9` and starts it again on the
//! same data. [`Connection`] and [`Channel`] send any frame, also malformed ones, and hand out every
//! frame that comes back as an [`Answer`], which compares with a line of text such as
//! `channel.close 404 queue.declare NOT_FOUND - no queue 'q' in vhost '/'`.
//!
//! Environment variables steer the tests: `LEVERET_BIN` names the binary to run (built with
//! cargo otherwise), and `LEVERET_TEST_URL` (`host:port`) has them use a broker that runs already,
//! say RabbitMQ, one test at a time; tests that must own the process are skipped then, and those that
//! need users unless `LEVERET_TEST_MANAGEMENT` (`host:port`) names its management API.
//!
//! Deliberately absent: assertions about particular behaviour, which belong to the tests, and any
//! waiting for time to pass; everything waits for an event, and no longer than [`PATIENCE`].
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod account;
mod answer;
mod binary;
mod broker;
mod client;
mod given;
mod http;
mod output;
mod process;
mod request;
mod set_on_drop;
pub mod tls;
mod unconfirmed;
mod warped;
mod wire;

use std::time::{Duration, Instant};

pub use account::Account;
pub use answer::Answer;
pub use binary::path as binary;
pub use broker::{Broker, Exit};
pub use client::{Channel, Connection, Login};
pub use http::{Api, Reply};
pub use leveret_codec as codec;
pub use request::{
    Request, ack, bind, bind_exchange, cancel, confirm_select, consume, declare, declare_exchange,
    delete, delete_exchange, get, nack, passive, publish, purge, qos, reject, table, unbind,
    unbind_exchange,
};
pub use set_on_drop::SetOnDrop;
pub use unconfirmed::Unconfirmed;
pub use warped::Warped;

/// How long any event is awaited before the test fails. Generous: it bounds, it measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until it is so, for what a broker does in its own time and announces to
/// nobody.
///
/// # Panics
/// If it is still not so after [`PATIENCE`].
pub fn eventually(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::yield_now();
    }
}
