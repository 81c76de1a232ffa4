//! The broker driven without a front end: sessions, a clock in the test's hand, a disk in memory.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod administration;
mod at_least_once;
mod confirms;
mod crash;
mod dead_letter_model;
mod dead_letters;
mod delayed_retry;
mod departed;
mod dispatch;
mod expiry;
mod history;
mod identities;
mod limits;
mod order;
mod paging;
mod policies;
mod rights_from_outside;
mod short_disk;
mod streams;
mod turns;
mod unreadable;
mod vhost_deletion;
mod wide_letters;
mod world;
