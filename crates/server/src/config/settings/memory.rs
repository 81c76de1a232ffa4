//! What connections may take of memory.

use super::{Refused, Setting, Shown};
use crate::config::units::show_bytes;
use crate::config::value::Value;

pub(super) const UNFINISHED: Setting = Setting {
    key: "amqp.unfinished_messages_max",
    about: "What messages of a connection that have come in part may take together; one alone has amqp.max_message_size only",
    live: true,
    allowed: "a size from 64KiB to 1TiB, such as \"128MiB\"",
    apply: |config, value| {
        config.amqp.unfinished_messages_max = value.bytes(64 << 10..=1 << 40)?;
        Ok(())
    },
    show: |config| show_bytes(config.amqp.unfinished_messages_max).into(),
};

pub(super) const UNFINISHED_PER_NODE: Setting = Setting {
    key: "amqp.unfinished_messages_max_per_node",
    about: "What such messages of all connections may take before each may take an even share only",
    live: true,
    allowed: "a size from 1MiB to 1TiB, such as \"1GiB\", or \"auto\" for a quarter of the memory",
    apply: |config, value| {
        config.amqp.unfinished_messages_max_per_node = budget(value)?;
        Ok(())
    },
    show: |config| show_budget(config.amqp.unfinished_messages_max_per_node),
};

fn budget(value: &Value) -> Result<Option<u64>, Refused> {
    let auto = value.word(&[("auto", None)]);
    auto.or_else(|_| value.bytes(1 << 20..=1 << 40).map(Some))
}

fn show_budget(bytes: Option<u64>) -> Shown {
    bytes.map_or_else(|| "auto".into(), |bytes| show_bytes(bytes).into())
}
