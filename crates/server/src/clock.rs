//! The time: the one place that asks the system for it.

use std::time::{SystemTime, UNIX_EPOCH};

use leveret_engine::Millis;

/// Milliseconds since 1970, which a broker's calls take for the time.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
