//! Limits of logins and permissions that no setting changes.

use super::pattern::{COMPILED_BYTES_MAX, PATTERN_BYTES_MAX};
use super::throttle::{ENTRIES_MAX, REMEMBERED, WAIT_MIN};
use crate::{Figure, FixedLimit};

/// For the page of the settings.
pub const FIXED_LIMITS: &[FixedLimit] = &[
    FixedLimit {
        limit: "the first wait after wrong passwords, and how long they are remembered",
        value: "{}, {}",
        figures: &[Figure::Time(WAIT_MIN), Figure::Time(REMEMBERED)],
        why: "`auth.wrong_passwords_max` and its kin say the rest",
    },
    FixedLimit {
        limit: "addresses and users whose wrong passwords are remembered",
        value: "{}",
        figures: &[Figure::Count(ENTRIES_MAX)],
        why: "memory: the one that failed longest ago is forgotten",
    },
    FixedLimit {
        limit: "regular expressions of permissions",
        value: "{}, {} compiled",
        figures: &[Figure::Bytes(PATTERN_BYTES_MAX), Figure::Bytes(COMPILED_BYTES_MAX)],
        why: "matching costs the client that publishes",
    },
];
