//! What a fuzzer calls: all that bytes from outside go through, with what must hold afterwards.
//!
//! A target is a function that panics when something doesn't hold. `tests/short.rs` gives each what
//! is in `corpus/`, and changed; `libfuzzer/` has a fuzzer look for more.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what doesn't hold ends the process: that is what the fuzzer looks for"
)]

mod codec;
mod configuration;
mod connection;
mod http;
mod journal;
mod login;

pub use codec::{frame, method, properties, table};
pub use configuration::{configuration, rabbitmq_conf};
pub use connection::connection;
pub use http::{definitions, http};
pub use journal::journal;
pub use login::{proxy, sasl};

/// A target by its name, which is that of its folder in `corpus/`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 12] = [
    ("frame", frame),
    ("method", method),
    ("table", table),
    ("properties", properties),
    ("connection", connection),
    ("sasl", sasl),
    ("proxy", proxy),
    ("http", http),
    ("definitions", definitions),
    ("configuration", configuration),
    ("rabbitmq_conf", rabbitmq_conf),
    ("journal", journal),
];
