//! What connections may take of memory.

use std::ops::RangeInclusive;

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
    about: "What such messages of all connections may take before each may take an even share only; twice that is the most",
    live: true,
    allowed: "a size from 1MiB to 1TiB, such as \"1GiB\", or \"auto\" for an eighth of the memory, and the largest message at least",
    apply: |config, value| {
        config.amqp.unfinished_messages_max_per_node = budget(value)?;
        Ok(())
    },
    show: |config| show_budget(config.amqp.unfinished_messages_max_per_node),
};

pub(super) const UNCOMMITTED: Setting = Setting {
    key: "amqp.uncommitted_max",
    about: "What transactions of a connection may hold together until they are committed; one message alone has amqp.max_message_size only",
    live: true,
    allowed: "a size from 64KiB to 1TiB, such as \"128MiB\"",
    apply: |config, value| {
        config.amqp.uncommitted_max = value.bytes(64 << 10..=1 << 40)?;
        Ok(())
    },
    show: |config| show_bytes(config.amqp.uncommitted_max).into(),
};

pub(super) const UNCOMMITTED_PER_NODE: Setting = Setting {
    key: "amqp.uncommitted_max_per_node",
    about: "What transactions of all connections may hold before each may an even share only; twice that is the most",
    live: true,
    allowed: "a size from 1MiB to 1TiB, such as \"1GiB\", or \"auto\" for a sixteenth of the memory, and the largest message at least",
    apply: |config, value| {
        config.amqp.uncommitted_max_per_node = budget(value)?;
        Ok(())
    },
    show: |config| show_budget(config.amqp.uncommitted_max_per_node),
};

pub(super) const HISTORY_PER_NODE: Setting = Setting {
    key: "amqp.history_max_per_node",
    about: "What recent history exchanges may keep together before each may keep an even share only; twice that is the most",
    live: false,
    allowed: "a size from 1MiB to 1TiB, such as \"1GiB\", or \"auto\" for a thirty-second of the memory, and the largest message at least",
    apply: |config, value| {
        config.amqp.history_max_per_node = budget(value)?;
        Ok(())
    },
    show: |config| show_budget(config.amqp.history_max_per_node),
};

pub(super) const UNREAD_DELIVERIES: Setting = Setting {
    key: "amqp.unread_deliveries_max",
    about: "From how much on that a client has not read it is delivered no more",
    live: true,
    allowed: UNREAD,
    apply: |config, value| {
        config.amqp.unread.deliveries = value.bytes(UNREAD_RANGE)?;
        Ok(())
    },
    show: |config| show_size(config.amqp.unread.deliveries),
};

pub(super) const UNREAD_ANSWERS: Setting = Setting {
    key: "amqp.unread_answers_max",
    about: "Above how much that a client has not read it is not listened to",
    live: true,
    allowed: UNREAD,
    apply: |config, value| {
        config.amqp.unread.answers = value.bytes(UNREAD_RANGE)?;
        Ok(())
    },
    show: |config| show_size(config.amqp.unread.answers),
};

pub(super) const UNREAD_REPLIES: Setting = Setting {
    key: "amqp.unread_replies_max",
    about: "Above how much that a client has not read direct replies to it are lost",
    live: true,
    allowed: UNREAD,
    apply: |config, value| {
        config.amqp.unread.replies = value.bytes(UNREAD_RANGE)?;
        Ok(())
    },
    show: |config| show_size(config.amqp.unread.replies),
};

pub(super) const UNREAD_PER_NODE: Setting = Setting {
    key: "amqp.unread_max_per_node",
    about: "What all clients may leave unread before each may an even share only; twice that is the most",
    live: true,
    allowed: "a size from 1MiB to 1TiB, such as \"1GiB\", or \"auto\" for an eighth of the memory",
    apply: |config, value| {
        config.amqp.unread_max_per_node = budget(value)?;
        Ok(())
    },
    show: |config| show_budget(config.amqp.unread_max_per_node),
};

const UNREAD: &str = "a size from 4KiB to 1GiB, such as \"1MiB\"";
const UNREAD_RANGE: RangeInclusive<usize> = 4 << 10..=1 << 30;

fn show_size(bytes: usize) -> Shown {
    show_bytes(bytes as u64).into()
}

pub(super) fn budget(value: &Value) -> Result<Option<u64>, Refused> {
    let auto = value.word(&[("auto", None)]);
    auto.or_else(|_| value.bytes(1 << 20..=1 << 40).map(Some))
}

pub(super) fn show_budget(bytes: Option<u64>) -> Shown {
    bytes.map_or_else(|| "auto".into(), |bytes| show_bytes(bytes).into())
}
