//! The store through its public surface: on real files, in memory, and on a simulated disk.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod backup;
mod clean_stop;
mod compaction;
mod crash;
mod damage;
mod definitions;
mod full_disk;
mod group_commit;
mod kill;
mod model;
mod offline;
mod read;
mod repair;
mod store;
mod summaries;
mod support;
