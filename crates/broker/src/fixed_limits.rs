//! Limits of what operators define that no setting changes.

use crate::global_parameters::VALUE_BYTES_MAX;
use crate::policy::DEFINITION_BYTES_MAX;
use crate::{Figure, FixedLimit};

/// For the page of the settings.
pub const FIXED_LIMITS: &[FixedLimit] = &[FixedLimit {
    limit: "a policy's definition, a global parameter's value",
    value: "{}, {}",
    figures: &[Figure::Bytes(DEFINITION_BYTES_MAX), Figure::Bytes(VALUE_BYTES_MAX)],
    why: "memory, also of those who may make policies only; more gets 400",
}];
