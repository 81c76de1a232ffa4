//! The real binary on a disk that is watched, fails, is full, or damaged.
//!
//! `strace` shows and injects what the system calls do, and a small tmpfs is soon full; where either
//! can't be had a test says so and passes, unless the run demands it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod damaged;
mod full;
mod missing;
mod running;
mod skipped;
mod traced;
