//! What `queue.*` is refused for.

use leveret_tests::codec::{Value, queue};
use leveret_tests::{declare, delete, passive, purge, table};

use super::Row;

/// The queue `q` as it is.
fn q() -> queue::Declare<'static> {
    queue::Declare { durable: true, ..declare("q") }
}

pub(super) const ROWS: &[Row] = &[
    (
        "not_found",
        |stage| stage.channel.call(&passive("none")),
        "channel.close 404 queue.declare NOT_FOUND - no queue 'none' in vhost '/'",
    ),
    (
        "not_found",
        |stage| stage.channel.call(&queue::Declare { nowait: true, ..passive("none") }),
        "channel.close 404 queue.declare NOT_FOUND - no queue 'none' in vhost '/'",
    ),
    (
        "not_found",
        |stage| stage.channel.call(&purge("none")),
        "channel.close 404 queue.purge NOT_FOUND - no queue 'none' in vhost '/'",
    ),
    (
        "no_previously_declared_queue",
        |stage| stage.channel.call(&purge("")),
        "channel.close 404 queue.purge NOT_FOUND - no previously declared queue",
    ),
    (
        "no_previously_declared_queue",
        |stage| stage.channel.call(&delete("")),
        "channel.close 404 queue.delete NOT_FOUND - no previously declared queue",
    ),
    (
        "no_previously_declared_queue",
        |stage| stage.channel.call(&leveret_tests::bind("", "x", "")),
        "channel.close 404 queue.bind NOT_FOUND - no previously declared queue",
    ),
    (
        "no_previously_declared_queue",
        |stage| stage.channel.call(&leveret_tests::unbind("", "x", "")),
        "channel.close 404 queue.unbind NOT_FOUND - no previously declared queue",
    ),
    (
        "reserved_name",
        |stage| stage.channel.call(&declare("amq.mine")),
        "channel.close 403 queue.declare ACCESS_REFUSED - queue name 'amq.mine' contains reserved \
         prefix 'amq.*'",
    ),
    (
        "name_prefix",
        |stage| {
            let prefix = "p".repeat(65);
            let arguments = table([("x-name-prefix", Value::text(&prefix))]);
            let nameless = queue::Declare { exclusive: true, ..declare("") };
            stage.channel.call(&queue::Declare { arguments: arguments.as_table(), ..nameless })
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - Queue name prefix \
         'ppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp' exceeds the 64-byte \
         limit",
    ),
    (
        "server_named",
        |stage| {
            let quorum = table([("x-queue-type", Value::text("quorum"))]);
            let nameless = queue::Declare { durable: true, ..declare("") };
            stage.channel.call(&queue::Declare { arguments: quorum.as_table(), ..nameless })
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - Cannot declare a server-named queue \
         for type rabbit_quorum_queue",
    ),
    (
        "invalid_property",
        |stage| {
            let quorum = table([("x-queue-type", Value::text("quorum"))]);
            stage.channel.call(&queue::Declare { arguments: quorum.as_table(), ..declare("new") })
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid property 'non-durable' for \
         queue 'new' in vhost '/'",
    ),
    (
        "invalid_property",
        |stage| {
            let quorum = table([("x-queue-type", Value::text("quorum"))]);
            let new = queue::Declare { durable: true, exclusive: true, ..declare("new") };
            stage.channel.call(&queue::Declare { arguments: quorum.as_table(), ..new })
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid property 'exclusive-owner' \
         for queue 'new' in vhost '/'",
    ),
    (
        "invalid_property",
        |stage| {
            let quorum = table([("x-queue-type", Value::text("quorum"))]);
            let new = queue::Declare { auto_delete: true, exclusive: true, ..declare("new") };
            stage.channel.call(&queue::Declare { arguments: quorum.as_table(), ..new })
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid property 'auto-delete' for \
         queue 'new' in vhost '/'",
    ),
    (
        "segment_size",
        |stage| {
            stage.declare_stream_with("x-stream-max-segment-size-bytes", Value::I64(4_000_000_000))
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - Exceeded max value for \
         x-stream-max-segment-size-bytes",
    ),
    (
        "filter_size",
        |stage| stage.declare_stream_with("x-stream-filter-size-bytes", Value::I32(15)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - Invalid value for \
         x-stream-filter-size-bytes",
    ),
    (
        "not_for_streams",
        |stage| stage.channel.call(&purge("stream")),
        "connection.close 540 queue.purge NOT_IMPLEMENTED - queue.purge not supported by stream \
         queues queue 'stream' in vhost '/'",
    ),
    (
        "inequivalent",
        |stage| stage.channel.call(&queue::Declare { durable: false, ..q() }),
        "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg 'durable' for queue \
         'q' in vhost '/': received 'false' but current is 'true'",
    ),
    (
        "inequivalent",
        |stage| stage.channel.call(&queue::Declare { auto_delete: true, ..q() }),
        "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg 'auto_delete' for \
         queue 'q' in vhost '/': received 'true' but current is 'false'",
    ),
    (
        "inequivalent",
        |stage| {
            let arguments = table([("x-message-ttl", Value::I32(1000))]);
            stage.channel.call(&queue::Declare { arguments: arguments.as_table(), ..q() })
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for \
         queue 'q' in vhost '/': received the value '1000' of type 'signedint' but current is none",
    ),
    (
        "inequivalent",
        |stage| stage.channel.call(&declare("mortal")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for \
         queue 'mortal' in vhost '/': received none but current is the value '1000' of type \
         'signedint'",
    ),
    (
        "inequivalent",
        |stage| {
            let arguments = table([("x-message-ttl", Value::I64(2000))]);
            let mortal = declare("mortal");
            stage.channel.call(&queue::Declare { arguments: arguments.as_table(), ..mortal })
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for \
         queue 'mortal' in vhost '/': received '2000' but current is '1000'",
    ),
    (
        "inequivalent",
        |stage| {
            let arguments = table([("x-message-ttl", Value::text("1000"))]);
            let mortal = declare("mortal");
            stage.channel.call(&queue::Declare { arguments: arguments.as_table(), ..mortal })
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for \
         queue 'mortal' in vhost '/': received '1000' but current is '1000'",
    ),
    (
        "inequivalent",
        |stage| {
            let quorum = table([("x-queue-type", Value::text("quorum"))]);
            stage.channel.call(&queue::Declare { arguments: quorum.as_table(), ..q() })
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for \
         queue 'q' in vhost '/': received 'quorum' but current is 'classic'",
    ),
    (
        "inequivalent",
        |stage| stage.channel.call(&queue::Declare { durable: true, ..declare("quorum") }),
        "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for \
         queue 'quorum' in vhost '/': received 'classic' but current is 'quorum'",
    ),
    (
        "locked",
        |stage| stage.channel.call(&queue::Declare { exclusive: true, ..q() }),
        "channel.close 405 queue.declare RESOURCE_LOCKED - cannot obtain exclusive access to locked \
         queue 'q' in vhost '/'. It could be originally declared on another connection or the \
         exclusive property value does not match that of the original declaration.",
    ),
    (
        "locked",
        |stage| stage.channel.call(&passive("locked")),
        "channel.close 405 queue.declare RESOURCE_LOCKED - cannot obtain exclusive access to locked \
         queue 'locked' in vhost '/'. It could be originally declared on another connection or the \
         exclusive property value does not match that of the original declaration.",
    ),
    (
        "locked",
        |stage| stage.channel.call(&purge("locked")),
        "channel.close 405 queue.purge RESOURCE_LOCKED - cannot obtain exclusive access to locked \
         queue 'locked' in vhost '/'. It could be originally declared on another connection or the \
         exclusive property value does not match that of the original declaration.",
    ),
    (
        "locked",
        |stage| stage.channel.call(&delete("locked")),
        "channel.close 405 queue.delete RESOURCE_LOCKED - cannot obtain exclusive access to locked \
         queue 'locked' in vhost '/'. It could be originally declared on another connection or the \
         exclusive property value does not match that of the original declaration.",
    ),
    (
        "in_use",
        |stage| stage.channel.call(&queue::Delete { if_unused: true, ..delete("consumed") }),
        "channel.close 406 queue.delete PRECONDITION_FAILED - queue 'consumed' in vhost '/' in use",
    ),
    (
        "not_empty",
        |stage| stage.channel.call(&queue::Delete { if_empty: true, ..delete("filled") }),
        "channel.close 406 queue.delete PRECONDITION_FAILED - queue 'filled' in vhost '/' not empty",
    ),
    (
        "conditional_delete",
        |stage| stage.channel.call(&queue::Delete { if_unused: true, ..delete("quorum") }),
        "connection.close 540 queue.delete NOT_IMPLEMENTED - cannot delete queue 'quorum' in vhost \
         '/'. queue.delete operations with if-unused flag set are not supported by quorum queues",
    ),
    (
        "conditional_delete",
        |stage| stage.channel.call(&queue::Delete { if_empty: true, ..delete("quorum") }),
        "connection.close 540 queue.delete NOT_IMPLEMENTED - cannot delete queue 'quorum' in vhost \
         '/'. queue.delete operations with if-empty flag set are not supported by quorum queues",
    ),
    (
        "invalid_argument_type",
        |stage| stage.declare_with("x-dead-letter-exchange", Value::I32(1)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid type 'signedint' for arg \
         'x-dead-letter-exchange' in queue 'new' in vhost '/'",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-queue-type", Value::text("foo")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue \
         'new' in vhost '/': \"unsupported queue type 'foo'\"",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-queue-type", Value::I32(1)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue \
         'new' in vhost '/': {unacceptable_type,signedint}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-message-ttl", Value::text("1")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue \
         'new' in vhost '/': \"expected integer, got longstr\"",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-message-ttl", Value::F64(1.5)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue \
         'new' in vhost '/': \"expected integer, got double\"",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-message-ttl", Value::I32(-1)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue \
         'new' in vhost '/': {value_negative,-1}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-message-ttl", Value::I64(400_000_000_000)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue \
         'new' in vhost '/': {value_too_large,400000000000}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-expires", Value::I32(0)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-expires' for queue \
         'new' in vhost '/': {value_zero,0}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-max-length", Value::I32(-1)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-max-length' for queue \
         'new' in vhost '/': {value_negative,-1}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-max-length-bytes", Value::text("1")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-max-length-bytes' for \
         queue 'new' in vhost '/': \"expected integer, got longstr\"",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-max-priority", Value::I32(256)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-max-priority' for \
         queue 'new' in vhost '/': {max_value_exceeded,256}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-overflow", Value::text("foo")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-overflow' for queue \
         'new' in vhost '/': invalid_overflow",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-overflow", Value::I32(1)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-overflow' for queue \
         'new' in vhost '/': {unacceptable_type,signedint}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-queue-version", Value::I32(9)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-queue-version' for \
         queue 'new' in vhost '/': \"unsupported queue version '9'\"",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-queue-version", Value::I32(-1)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-queue-version' for \
         queue 'new' in vhost '/': {value_negative,-1}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-single-active-consumer", Value::text("true")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg \
         'x-single-active-consumer' for queue 'new' in vhost '/': {unacceptable_type,longstr}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-dead-letter-routing-key", Value::text("k")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg \
         'x-dead-letter-routing-key' for queue 'new' in vhost '/': routing_key_but_no_dlx_defined",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_with("x-queue-leader-locator", Value::text("foo")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-queue-leader-locator' \
         for queue 'new' in vhost '/': invalid_queue_locator_arg",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_quorum_with("x-dead-letter-strategy", Value::text("foo")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-dead-letter-strategy' \
         for queue 'new' in vhost '/': invalid_dlx_strategy",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_quorum_with("x-quorum-initial-group-size", Value::I32(0)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg \
         'x-quorum-initial-group-size' for queue 'new' in vhost '/': {value_zero,0}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_quorum_with("x-consumer-timeout", Value::I32(-1)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for \
         queue 'new' in vhost '/': {value_negative,-1}",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_quorum_with("x-consumer-disconnected-timeout", Value::text("1")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg \
         'x-consumer-disconnected-timeout' for queue 'new' in vhost '/': \"expected integer, got \
         longstr\"",
    ),
    (
        "invalid_argument",
        |stage| stage.declare_quorum_with("x-max-in-memory-length", Value::I32(-1)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-max-in-memory-length' \
         for queue 'new' in vhost '/': {value_negative,-1}",
    ),
    (
        "argument_of_other_type",
        |stage| stage.declare_with("x-delivery-limit", Value::I32(5)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for \
         queue 'new' in vhost '/' of queue type rabbit_classic_queue",
    ),
    (
        "argument_of_other_type",
        |stage| stage.declare_with("x-dead-letter-strategy", Value::text("at-least-once")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-dead-letter-strategy' \
         for queue 'new' in vhost '/' of queue type rabbit_classic_queue",
    ),
    (
        "argument_of_other_type",
        |stage| stage.declare_with("x-max-age", Value::text("1h")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-max-age' for queue \
         'new' in vhost '/' of queue type rabbit_classic_queue",
    ),
    (
        "argument_of_other_type",
        |stage| stage.declare_quorum_with("x-max-priority", Value::I32(5)),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-max-priority' for \
         queue 'new' in vhost '/' of queue type rabbit_quorum_queue",
    ),
    (
        "argument_of_other_type",
        |stage| stage.declare_quorum_with("x-queue-mode", Value::text("lazy")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-queue-mode' for queue \
         'new' in vhost '/' of queue type rabbit_quorum_queue",
    ),
    (
        "argument_of_other_type",
        |stage| stage.declare_quorum_with("x-max-age", Value::text("1h")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-max-age' for queue \
         'new' in vhost '/' of queue type rabbit_quorum_queue",
    ),
    // Values are looked at before it is asked to whom an argument belongs.
    (
        "invalid_argument",
        |stage| {
            let arguments = table([
                ("x-delivery-limit", Value::I32(5)),
                ("x-max-length", Value::I32(-1)),
                ("x-message-ttl", Value::I32(-2)),
            ]);
            let request = queue::Declare { arguments: arguments.as_table(), ..declare("new") };
            stage.channel.call(&request)
        },
        "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue \
         'new' in vhost '/': {value_negative,-2}",
    ),
];
