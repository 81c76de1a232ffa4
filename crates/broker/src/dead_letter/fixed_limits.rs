//! Limits of dead letters that no setting changes.

use super::portion::{TURN, TURN_BYTES, TURN_PLACES};
use crate::fixed_limit::{Figure, FixedLimit};

/// For the page of the settings.
#[expect(clippy::cast_possible_truncation, reason = "some megabytes")]
pub const FIXED_LIMITS: &[FixedLimit] = &[FixedLimit {
    limit: "dead letters of a turn, and delayed messages that are due",
    value: "{}, of {}, that go to {} queues or take as long to find theirs",
    figures: &[Figure::Count(TURN), Figure::Bytes(TURN_BYTES as usize), Figure::Count(TURN_PLACES)],
    why: "one may go to thousands of queues: the rest has further turns, and whoever publishes what pushes them out \
          of their queue, or rejects them, waits for that",
}];
