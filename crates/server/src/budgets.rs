//! What connections may take of memory together, by what for.

use std::sync::Arc;

use crate::budget::Budget;
use crate::config::{AmqpConfig, Config};
use crate::resources;

/// What is made of the JSON of definitions takes many times its bytes: there is room for so many of the
/// longest bodies where that is not too much.
const LONGEST_BODIES: u64 = 8;

/// A node's budgets.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// For messages that have come in part.
    pub unfinished: Arc<Budget>,
    /// For what transactions hold until they are committed.
    pub uncommitted: Arc<Budget>,
    /// For what clients have not read yet: answers and deliveries.
    pub unread: Arc<Budget>,
    /// For what requests over HTTP bring, what is made of it, and answers until their clients have them.
    pub requests: Arc<Budget>,
}

/// How large they are, in bytes.
///
/// By default so large that all of them, taken twice, leave something of the memory, also beside connections
/// that nobody has logged in on. Only where it is very small they are more: the largest message and the
/// longest body always fit.
#[derive(Debug)]
struct Sizes {
    unfinished: u64,
    uncommitted: u64,
    unread: u64,
    requests: u64,
}

impl Sizes {
    /// With this configuration, in so much memory.
    fn of(config: &Config, memory: Option<u64>) -> Self {
        let Config { amqp, web, .. } = config;
        let part = |part| memory.map_or(u64::MAX, |memory| memory / part);
        let for_messages = |of_memory| part(of_memory).max(amqp.max_message_bytes);
        let AmqpConfig {
            unfinished_messages_max_per_node: unfinished,
            uncommitted_max_per_node: uncommitted,
            unread_max_per_node: unread,
            ..
        } = amqp;
        let longest_bodies = web.body_max.saturating_mul(LONGEST_BODIES);
        Self {
            unfinished: unfinished.unwrap_or_else(|| for_messages(8)),
            // Transactions are few.
            uncommitted: uncommitted.unwrap_or_else(|| for_messages(16)),
            unread: unread.unwrap_or_else(|| part(8)),
            // What comes over HTTP is small, but for definitions.
            requests: web
                .memory_max
                .unwrap_or_else(|| part(16).max(longest_bodies).min(part(12)).max(web.body_max)),
        }
    }

    fn here(config: &Config) -> Self {
        Self::of(config, resources::memory_available())
    }
}

impl Budgets {
    pub(crate) fn new(config: &Config) -> Self {
        let Sizes { unfinished, uncommitted, unread, requests } = Sizes::here(config);
        let of = |max| Arc::new(Budget::new(max));
        Self {
            unfinished: of(unfinished),
            uncommitted: of(uncommitted),
            unread: of(unread),
            requests: of(requests),
        }
    }

    /// They are as large as these settings say from now on.
    pub(crate) fn set(&self, config: &Config) {
        let Sizes { unfinished, uncommitted, unread, requests } = Sizes::here(config);
        self.unfinished.set_max(unfinished);
        self.uncommitted.set_max(uncommitted);
        self.unread.set_max(unread);
        self.requests.set_max(requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admission, http_capacity};

    const MIB: u64 = 1 << 20;

    /// A budget is exceeded up to twice itself, and all may be at once.
    #[test]
    fn all_that_connections_may_take_is_less_than_there_is() {
        for memory in [256 * MIB, 512 * MIB, 1024 * MIB, 2048 * MIB, 8192 * MIB, 1 << 40] {
            let config = Config::default();
            let sizes = Sizes::of(&config, Some(memory));
            let Sizes { unfinished, uncommitted, unread, requests } = sizes;
            let most = 2 * (unfinished + uncommitted + unread + requests);
            let of_http = http_capacity::most_of_connections(memory, config.web.head_max);
            let most = most + admission::most_of_guests(memory) + of_http;
            assert!(most < memory, "{most} of {memory}: {sizes:?}");
        }
    }

    #[test]
    fn budgets_are_parts_of_the_memory_and_bear_the_largest_there_may_be() {
        let sizes = |memory, config: &Config| {
            let Sizes { unfinished, uncommitted, unread, requests } = Sizes::of(config, memory);
            [unfinished, uncommitted, unread, requests]
        };
        let mut config = Config::default();
        let of_eight = [1024 * MIB, 512 * MIB, 1024 * MIB, 512 * MIB];
        assert_eq!(sizes(Some(8192 * MIB), &config), of_eight);
        // Eight bodies of 20 MB, as far as that is no more than a twelfth.
        assert_eq!(sizes(Some(2048 * MIB), &config)[3], 160_000_000);
        assert_eq!(sizes(Some(1200 * MIB), &config)[3], 100 * MIB);
        assert_eq!(sizes(Some(64 * MIB), &config), [16 * MIB, 16 * MIB, 8 * MIB, 20_000_000]);
        assert_eq!(sizes(None, &config)[..3], [u64::MAX; 3]);
        config.amqp.unfinished_messages_max_per_node = Some(1);
        config.amqp.uncommitted_max_per_node = Some(2);
        config.amqp.unread_max_per_node = Some(3);
        config.web.memory_max = Some(4);
        assert_eq!(sizes(Some(8192 * MIB), &config), [1, 2, 3, 4]);
    }
}
