//! What happens to a machine, and must not happen to its broker: no descriptors are left, its clock
//! is set, its container has little memory, it is restarted again and again.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod clock;
mod descriptors;
mod memory_limit;
mod restarts;
