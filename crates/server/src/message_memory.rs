//! How much memory messages may take, by what is configured and what the machine, or the container, has.

use crate::config::{AmqpConfig, StoreConfig};

/// All messages that wait in queues, in bytes: no more than a quarter of what there is.
pub(crate) fn of_all(store: &StoreConfig, available: Option<u64>) -> u64 {
    available.map_or(store.message_memory, |memory| store.message_memory.min(memory / 4))
}

/// Those that are not in the journal, in bytes: by default an eighth of what there is, so that a backlog
/// of some seconds is not written. Where that is little it is what a few messages need, but well below
/// the memory alarm.
pub(crate) fn of_transient(store: &StoreConfig, available: Option<u64>) -> u64 {
    let few = 4 * store.message_memory;
    let auto = || available.map_or(few, |memory| (memory / 8).max(few).min(memory / 4));
    store.transient_memory.unwrap_or_else(auto)
}

/// What recent history exchanges keep, in bytes: by default a thirty-second of what there is, and the largest
/// message at least.
pub(crate) fn of_histories(amqp: &AmqpConfig, available: Option<u64>) -> u64 {
    let part = available.map_or(u64::MAX, |memory| memory / 32);
    amqp.history_max_per_node.unwrap_or_else(|| part.max(amqp.max_message_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const MIB: u64 = 1 << 20;

    fn store(message_memory: u64, transient_memory: Option<u64>) -> StoreConfig {
        StoreConfig { message_memory, transient_memory, ..Config::default().store }
    }

    #[test]
    fn messages_take_what_is_configured_but_a_quarter_of_a_small_container() {
        let store = store(32 * MIB, None);
        assert_eq!(of_all(&store, None), 32 * MIB);
        assert_eq!(of_all(&store, Some(8192 * MIB)), 32 * MIB);
        assert_eq!(of_all(&store, Some(128 * MIB)), 32 * MIB);
        assert_eq!(of_all(&store, Some(64 * MIB)), 16 * MIB);
    }

    #[test]
    fn transient_messages_take_an_eighth_or_more_but_a_quarter_of_a_small_container() {
        let auto = store(32 * MIB, None);
        assert_eq!(of_transient(&auto, None), 128 * MIB);
        assert_eq!(of_transient(&auto, Some(8192 * MIB)), 1024 * MIB);
        assert_eq!(of_transient(&auto, Some(768 * MIB)), 128 * MIB);
        assert_eq!(of_transient(&auto, Some(256 * MIB)), 64 * MIB);
        let configured = store(32 * MIB, Some(5 * MIB));
        assert_eq!(of_transient(&configured, Some(8192 * MIB)), 5 * MIB);
    }

    #[test]
    fn histories_take_a_thirty_second_but_the_largest_message() {
        let mut config = Config::default();
        assert_eq!(of_histories(&config.amqp, Some(8192 * MIB)), 256 * MIB);
        assert_eq!(of_histories(&config.amqp, Some(64 * MIB)), 16 * MIB);
        config.amqp.history_max_per_node = Some(1);
        assert_eq!(of_histories(&config.amqp, Some(8192 * MIB)), 1);
    }
}
