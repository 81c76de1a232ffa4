//! Properties of the codec as a whole, through its public API: against amq-protocol, against naive
//! models, and under hostile input.

#![allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that is wrong about its own input should stop"
)]

mod differential;
mod hostile;
mod model;
mod round_trip;
