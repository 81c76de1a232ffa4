//! What `exchange.*` is refused for, and bindings.

use leveret_tests::codec::{Table, Value, exchange, queue};
use leveret_tests::{
    Answer, bind, bind_exchange, declare, declare_exchange, delete_exchange, table, unbind,
    unbind_exchange,
};

use super::{Row, Stage};

impl Stage<'_> {
    /// Declares the exchange `new` of a type, transient, with arguments.
    fn declare_exchange_with(&self, kind: &str, arguments: Table<'_>) -> Answer {
        self.channel.call(&exchange::Declare { arguments, ..declare_exchange("new", kind) })
    }

    /// Binds a queue to the exchange `random`, which is declared as often as needed.
    fn bind_to_local_random(&self, queue: &str) -> Answer {
        self.channel.call(&declare_exchange("random", "x-local-random"));
        self.channel.call(&bind(queue, "random", ""))
    }

    /// Binds the queue `q` to a new exchange of a type with this key.
    fn bind_to_new(&self, kind: &str, key: &str) -> Answer {
        self.channel
            .call(&exchange::Declare { auto_delete: true, ..declare_exchange("bound-to", kind) });
        let answer = self.channel.call(&bind("q", "bound-to", key));
        self.channel.reopen();
        self.channel.call(&delete_exchange("bound-to"));
        answer
    }
}

/// The exchange `x` as it is.
fn x() -> exchange::Declare<'static> {
    exchange::Declare { durable: true, ..declare_exchange("x", "direct") }
}

pub(super) const ROWS: &[Row] = &[
    (
        "not_found",
        |stage| {
            stage.channel.call(&exchange::Declare { passive: true, ..declare_exchange("none", "") })
        },
        "channel.close 404 exchange.declare NOT_FOUND - no exchange 'none' in vhost '/'",
    ),
    (
        "not_found",
        |stage| stage.channel.call(&bind("q", "none", "k")),
        "channel.close 404 queue.bind NOT_FOUND - no exchange 'none' in vhost '/'",
    ),
    (
        "not_found",
        |stage| stage.channel.call(&bind("none", "x", "k")),
        "channel.close 404 queue.bind NOT_FOUND - no queue 'none' in vhost '/'",
    ),
    (
        "not_found",
        |stage| stage.channel.call(&bind("none", "nox", "k")),
        "channel.close 404 queue.bind NOT_FOUND - no exchange 'nox' in vhost '/'",
    ),
    (
        "not_found",
        |stage| stage.channel.call(&bind_exchange("x", "none", "k")),
        "channel.close 404 exchange.bind NOT_FOUND - no exchange 'none' in vhost '/'",
    ),
    (
        "not_found",
        |stage| stage.channel.call(&bind_exchange("none", "x", "k")),
        "channel.close 404 exchange.bind NOT_FOUND - no exchange 'none' in vhost '/'",
    ),
    (
        "default_exchange",
        |stage| {
            let default = declare_exchange("", "direct");
            stage.channel.call(&exchange::Declare { durable: true, ..default })
        },
        "channel.close 403 exchange.declare ACCESS_REFUSED - operation not permitted on the default \
         exchange",
    ),
    (
        "default_exchange",
        |stage| {
            stage.channel.call(&exchange::Declare { passive: true, ..declare_exchange("", "") })
        },
        "channel.close 403 exchange.declare ACCESS_REFUSED - operation not permitted on the default \
         exchange",
    ),
    (
        "default_exchange",
        |stage| stage.channel.call(&delete_exchange("")),
        "channel.close 403 exchange.delete ACCESS_REFUSED - operation not permitted on the default \
         exchange",
    ),
    (
        "default_exchange",
        |stage| stage.channel.call(&bind("q", "", "k")),
        "channel.close 403 queue.bind ACCESS_REFUSED - operation not permitted on the default \
         exchange",
    ),
    (
        "default_exchange",
        |stage| stage.channel.call(&unbind("q", "", "q")),
        "channel.close 403 queue.unbind ACCESS_REFUSED - operation not permitted on the default \
         exchange",
    ),
    (
        "default_exchange",
        |stage| stage.channel.call(&bind_exchange("", "x", "k")),
        "channel.close 403 exchange.bind ACCESS_REFUSED - operation not permitted on the default \
         exchange",
    ),
    (
        "default_exchange",
        |stage| stage.channel.call(&unbind_exchange("x", "", "k")),
        "channel.close 403 exchange.unbind ACCESS_REFUSED - operation not permitted on the default \
         exchange",
    ),
    (
        "reserved_name",
        |stage| stage.channel.call(&declare_exchange("amq.mine", "direct")),
        "channel.close 403 exchange.declare ACCESS_REFUSED - exchange name 'amq.mine' contains \
         reserved prefix 'amq.*'",
    ),
    (
        "system_exchange",
        |stage| stage.channel.call(&delete_exchange("amq.direct")),
        "channel.close 403 exchange.delete ACCESS_REFUSED - deletion of system exchange \
         'amq.direct' in vhost '/' not allowed",
    ),
    (
        "system_exchange",
        |stage| stage.channel.call(&delete_exchange("amq.none")),
        "channel.close 403 exchange.delete ACCESS_REFUSED - deletion of system exchange 'amq.none' \
         in vhost '/' not allowed",
    ),
    (
        "in_use",
        |stage| stage.channel.call(&exchange::Delete { if_unused: true, ..delete_exchange("x") }),
        "channel.close 406 exchange.delete PRECONDITION_FAILED - exchange 'x' in vhost '/' in use",
    ),
    (
        "inequivalent",
        |stage| stage.channel.call(&exchange::Declare { kind: "topic", ..x() }),
        "channel.close 406 exchange.declare PRECONDITION_FAILED - inequivalent arg 'type' for \
         exchange 'x' in vhost '/': received 'topic' but current is 'direct'",
    ),
    (
        "inequivalent",
        |stage| stage.channel.call(&exchange::Declare { durable: false, ..x() }),
        "channel.close 406 exchange.declare PRECONDITION_FAILED - inequivalent arg 'durable' for \
         exchange 'x' in vhost '/': received 'false' but current is 'true'",
    ),
    (
        "inequivalent",
        |stage| stage.channel.call(&exchange::Declare { auto_delete: true, ..x() }),
        "channel.close 406 exchange.declare PRECONDITION_FAILED - inequivalent arg 'auto_delete' \
         for exchange 'x' in vhost '/': received 'true' but current is 'false'",
    ),
    (
        "inequivalent",
        |stage| stage.channel.call(&exchange::Declare { internal: true, ..x() }),
        "channel.close 406 exchange.declare PRECONDITION_FAILED - inequivalent arg 'internal' for \
         exchange 'x' in vhost '/': received 'true' but current is 'false'",
    ),
    (
        "inequivalent",
        |stage| {
            let arguments = table([("alternate-exchange", Value::text("a"))]);
            stage.channel.call(&exchange::Declare { arguments: arguments.as_table(), ..x() })
        },
        "channel.close 406 exchange.declare PRECONDITION_FAILED - inequivalent arg \
         'alternate-exchange' for exchange 'x' in vhost '/': received the value 'a' of type \
         'longstr' but current is none",
    ),
    (
        "inequivalent",
        |stage| {
            let arguments = table([("alternate-exchange", Value::text("a"))]);
            let declare = declare_exchange("with-alternate", "direct");
            stage.channel.call(&exchange::Declare { arguments: arguments.as_table(), ..declare })
        },
        "channel.close 406 exchange.declare PRECONDITION_FAILED - inequivalent arg \
         'alternate-exchange' for exchange 'with-alternate' in vhost '/': received 'a' but current \
         is 'amq.fanout'",
    ),
    (
        "invalid_argument_type",
        |stage| {
            let arguments = table([("alternate-exchange", Value::I32(1))]);
            stage.declare_exchange_with("direct", arguments.as_table())
        },
        "channel.close 406 exchange.declare PRECONDITION_FAILED - invalid type 'signedint' for arg \
         'alternate-exchange' in exchange 'new' in vhost '/'",
    ),
    (
        "invalid_exchange_type",
        |stage| stage.channel.call(&declare_exchange("new", "foo")),
        "channel.close 406 exchange.declare PRECONDITION_FAILED - invalid exchange type 'foo'",
    ),
    (
        "unknown_exchange_type",
        |stage| stage.channel.call(&declare_exchange("new", "x-never-heard-of")),
        "channel.close 406 exchange.declare PRECONDITION_FAILED - unknown exchange type \
         'x-never-heard-of'",
    ),
    (
        "hash_on_both",
        |stage| {
            let both = table([
                ("hash-header", Value::text("a")),
                ("hash-property", Value::text("message_id")),
            ]);
            stage.declare_exchange_with("x-consistent-hash", both.as_table())
        },
        "channel.close 406 exchange.declare PRECONDITION_FAILED - hash-header and hash-property are \
         mutually exclusive",
    ),
    (
        "hash_property",
        |stage| {
            let arguments = table([("hash-property", Value::text("foo"))]);
            stage.declare_exchange_with("x-consistent-hash", arguments.as_table())
        },
        "channel.close 406 exchange.declare PRECONDITION_FAILED - Unsupported property: foo",
    ),
    (
        "history_length",
        |stage| {
            let arguments = table([("x-recent-history-length", Value::text("a"))]);
            stage.declare_exchange_with("x-recent-history", arguments.as_table())
        },
        "channel.close 406 exchange.declare PRECONDITION_FAILED - Invalid argument <<\"a\">>, \
         'x-recent-history-length' must be a positive integer",
    ),
    (
        "no_delayed_kind",
        |stage| stage.declare_exchange_with("x-delayed-message", Table::EMPTY),
        "channel.close 406 exchange.declare PRECONDITION_FAILED - Invalid argument, \
         'x-delayed-type' must be an existing exchange type",
    ),
    (
        "cache_size",
        |stage| stage.declare_exchange_with("x-message-deduplication", Table::EMPTY),
        "channel.close 406 exchange.declare PRECONDITION_FAILED - Missing or invalid argument, \
         'x-cache-size' must be an integer greater than 0",
    ),
    (
        "invalid_match",
        |stage| {
            let arguments = table([("x-match", Value::text("foo"))]);
            let bind = bind("q", "amq.headers", "");
            stage.channel.call(&queue::Bind { arguments: arguments.as_table(), ..bind })
        },
        "channel.close 406 queue.bind PRECONDITION_FAILED - Invalid x-match field value <<\"foo\">>; \
         expected all, any, all-with-x, or any-with-x",
    ),
    (
        "invalid_match",
        |stage| {
            let arguments = table([("x-match", Value::I32(1))]);
            let bind = bind("q", "amq.headers", "");
            stage.channel.call(&queue::Bind { arguments: arguments.as_table(), ..bind })
        },
        "channel.close 406 queue.bind PRECONDITION_FAILED - Invalid x-match field type signedint \
         (value 1); expected longstr",
    ),
    (
        "weight_not_integer",
        |stage| stage.bind_to_new("x-consistent-hash", "abc"),
        "channel.close 406 queue.bind PRECONDITION_FAILED - The binding key must be an integer: \
         <<\"abc\">>",
    ),
    (
        "weight_not_positive",
        |stage| stage.bind_to_new("x-consistent-hash", "0"),
        "channel.close 406 queue.bind PRECONDITION_FAILED - The binding key must be greater than 0",
    ),
    (
        "no_selector",
        |stage| stage.bind_to_new("x-jms-topic", "k"),
        "channel.close 406 queue.bind PRECONDITION_FAILED - cannot parse selector 'error' binding \
         destination 'q' to exchange 'bound-to'",
    ),
    (
        "key_not_empty",
        |stage| stage.bind_to_new("x-local-random", "k"),
        "channel.close 406 queue.bind PRECONDITION_FAILED - Non empty binding 'k' key not permitted",
    ),
    (
        "not_for_local_random",
        |stage| stage.bind_to_local_random("quorum"),
        "channel.close 406 queue.bind PRECONDITION_FAILED - Queue type rabbit_quorum_queue not valid \
         for this exchange type",
    ),
    (
        "not_for_local_random",
        |stage| stage.bind_to_local_random("stream"),
        "channel.close 406 queue.bind PRECONDITION_FAILED - Queue type rabbit_stream_queue not valid \
         for this exchange type",
    ),
    (
        "locked",
        |stage| stage.channel.call(&bind("locked", "x", "k")),
        "channel.close 405 queue.bind RESOURCE_LOCKED - cannot obtain exclusive access to locked \
         queue 'locked' in vhost '/'. It could be originally declared on another connection or the \
         exclusive property value does not match that of the original declaration.",
    ),
    (
        "volatile_queue",
        |stage| stage.channel.call(&bind("amq.rabbitmq.reply-to.token", "x", "k")),
        "channel.close 403 queue.bind ACCESS_REFUSED - cannot bind or unbind to a volatile (direct \
         reply-to) queue",
    ),
    (
        "volatile_queue",
        |stage| stage.channel.call(&unbind("amq.rabbitmq.reply-to.token", "x", "k")),
        "channel.close 403 queue.unbind ACCESS_REFUSED - cannot bind or unbind to a volatile \
         (direct reply-to) queue",
    ),
    // Names lose their line breaks before anything else is looked at.
    (
        "not_found",
        |stage| {
            stage.channel.call(&declare("q"));
            stage.channel.reopen();
            stage.channel.call(&bind("no\r\nqueue", "x", "k"))
        },
        "channel.close 404 queue.bind NOT_FOUND - no queue 'noqueue' in vhost '/'",
    ),
];
