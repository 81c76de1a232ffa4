//! Limits of dead letters that no setting changes.

use super::history::{DEATHS_MAX, KEYS_BYTES};
use super::portion::{TURN, TURN_BYTES, TURN_PLACES};
use crate::fixed_limit::{Figure, FixedLimit};

/// For the page of the settings.
#[expect(clippy::cast_possible_truncation, reason = "some megabytes")]
pub const FIXED_LIMITS: &[FixedLimit] = &[
    FixedLimit {
        limit: "dead letters of a turn, and delayed messages that are due",
        value: "{}, of {}, that go to {} queues or take as long to find theirs",
        figures: &[
            Figure::Count(TURN),
            Figure::Bytes(TURN_BYTES as usize),
            Figure::Count(TURN_PLACES),
        ],
        why: "one may go to thousands of queues: the rest has further turns, and whoever publishes what pushes them \
              out of their queue, or rejects them, waits for that",
    },
    FixedLimit {
        limit: "deaths in an `x-death` header",
        value: "{} besides the first; beyond {} only the first and the latest have their `routing-keys`",
        figures: &[Figure::Count(DEATHS_MAX), Figure::Bytes(KEYS_BYTES)],
        why: "a message would grow with each queue it dies in: the oldest are left out, and one that has died so often \
              without a rejection counts as one that runs in circles",
    },
];
