//! Clients that want the broker to fall over, each kind in a file of its own, with a client that
//! wants nothing but its work done beside them.
//!
//! Asserted is what the broker's own metrics say of its memory and descriptors, and that the
//! well-behaved client gets its work done. With `LEVERET_ATTACK_SECONDS` each attack goes on for that
//! long, and it is asserted how well: `docs/security-testing.md` has what came out.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod bindings;
mod channels;
mod connects;
mod consumers;
mod dead_letters;
mod declares;
mod half_open;
mod half_open_http;
mod half_open_https;
mod half_open_tls;
mod patterns;
mod scene;
mod slow_readers;
mod slow_writers;
mod tables;
mod tiny_bodies;
mod unacked;
mod uncommitted;
mod unfinished_messages;
mod unread_http_answers;
mod worker;
mod wrong_passwords;
