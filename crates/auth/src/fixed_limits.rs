//! Limits of other backends that no setting changes.

use leveret_broker::{Figure, FixedLimit};

use crate::http::ANSWER_MAX;
use crate::ldap::GROUPS_MAX;
use crate::oauth2::{ASKED_EVERY, FRESH, SCOPES_MAX, TOKEN_MAX};

/// For the page of the settings.
pub const FIXED_LIMITS: &[FixedLimit] = &[
    FixedLimit {
        limit: "a token's length, and its scopes",
        value: "{}, {}",
        figures: &[Figure::Bytes(TOKEN_MAX), Figure::Count(SCOPES_MAX)],
        why: "what is longer lets nobody in",
    },
    FixedLimit {
        limit: "keys of a token's provider are fetched again",
        value: "after {}; for unknown ones every {} at most",
        figures: &[Figure::Time(FRESH), Figure::Time(ASKED_EVERY)],
        why: "so that nobody has the provider asked all the time",
    },
    FixedLimit {
        limit: "an answer of an HTTP service about logins",
        value: "{}",
        figures: &[Figure::Bytes(ANSWER_MAX)],
        why: "it says allow or deny",
    },
    FixedLimit {
        limit: "groups of groups looked up with LDAP",
        value: "{}",
        figures: &[Figure::Count(GROUPS_MAX)],
        why: "a circle of groups has an end",
    },
];
