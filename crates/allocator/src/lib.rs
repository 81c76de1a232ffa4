//! The allocator of the `leveret` binary: mimalloc, on Linux.
//!
//! Memory that a backlog took is the system's again soon after the backlog has gone: the memory
//! alarm, which looks at what the process holds, would not end otherwise. Whoever embeds the broker
//! keeps the allocator of their program.
#![cfg(target_os = "linux")]

mod purge_delay;

pub use mimalloc::MiMalloc as Allocator;

pub use crate::purge_delay::give_back_sooner;
