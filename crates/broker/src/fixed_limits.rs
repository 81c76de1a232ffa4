//! Limits of what operators define that no setting changes.

use crate::access::PATTERN_MEMORY_MAX;
use crate::global_parameters::VALUE_BYTES_MAX;
use crate::policy::{DEFINITION_BYTES_MAX, PATTERNS_BYTES_MAX};
use crate::{Figure, FixedLimit};

/// For the page of the settings.
pub const FIXED_LIMITS: &[FixedLimit] = &[
    FixedLimit {
        limit: "a policy's definition, a global parameter's value",
        value: "{}, {}",
        figures: &[Figure::Bytes(DEFINITION_BYTES_MAX), Figure::Bytes(VALUE_BYTES_MAX)],
        why: "memory, also of those who may make policies only; more gets 400",
    },
    FixedLimit {
        limit: "the compiled patterns of a virtual host's policies",
        value: "{} each, with what they remember of matches, and {} together",
        figures: &[Figure::Bytes(PATTERN_MEMORY_MAX), Figure::Bytes(PATTERNS_BYTES_MAX)],
        why: "the same: a text of a few bytes may take a megabyte; most take some kilobytes",
    },
];
