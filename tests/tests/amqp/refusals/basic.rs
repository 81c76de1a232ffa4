//! What `basic.*` is refused for.

use leveret_tests::codec::{Array, ArrayBuilder, Properties, Value, basic, tx};
use leveret_tests::{
    Answer, ack, cancel, confirm_select, consume, get, nack, publish, qos, reject, table,
};

use super::{Row, Stage};

impl Stage<'_> {
    /// Consumes from the queue `q` with one argument.
    fn consume_with(&self, queue: &str, argument: &str, value: Value<'_>) -> Answer {
        let arguments = table([(argument, value)]);
        self.channel.call(&basic::Consume { arguments: arguments.as_table(), ..consume(queue, "") })
    }

    /// Publishes with a header.
    fn publish_with_header(&self, header: &str, value: Value<'_>) -> Answer {
        let headers = table([(header, value)]);
        self.publish_with(&Properties {
            headers: Some(headers.as_table()),
            ..Properties::default()
        })
    }

    fn publish_expiring(&self, expiration: &str) -> Answer {
        let expiration = Some(expiration.as_bytes());
        self.publish_with(&Properties { expiration, ..Properties::default() })
    }

    /// Takes the message of `filled`, as delivery 1.
    fn fetch(&self) {
        assert!(self.channel.call(&get("filled")).starts_with("basic.get-ok 1 "));
    }
}

const REPLIES: &str = "amq.rabbitmq.reply-to";

pub(super) const ROWS: &[Row] = &[
    (
        "no_prefetch",
        |stage| stage.channel.call(&consume("stream", "")),
        "channel.close 406 basic.consume PRECONDITION_FAILED - consumer prefetch count is not set \
         for stream queue 'stream' in vhost '/'",
    ),
    (
        "automatic_acknowledgement",
        |stage| {
            stage.channel.call(&qos(1));
            stage.channel.call(&basic::Consume { no_ack: true, ..consume("stream", "") })
        },
        "connection.close 540 basic.consume NOT_IMPLEMENTED - automatic acknowledgement not \
         supported by stream queue 'stream' in vhost '/'",
    ),
    (
        "not_for_streams",
        |stage| stage.channel.call(&get("stream")),
        "connection.close 540 basic.get NOT_IMPLEMENTED - basic.get not supported by stream queues \
         queue 'stream' in vhost '/'",
    ),
    (
        "not_found",
        |stage| stage.channel.call(&consume("none", "")),
        "channel.close 404 basic.consume NOT_FOUND - no queue 'none' in vhost '/'",
    ),
    (
        "not_found",
        |stage| stage.channel.call(&get("none")),
        "channel.close 404 basic.get NOT_FOUND - no queue 'none' in vhost '/'",
    ),
    (
        "not_found",
        |stage| {
            stage.channel.publish("none", "k", "x");
            stage.channel.recv()
        },
        "channel.close 404 basic.publish NOT_FOUND - no exchange 'none' in vhost '/'",
    ),
    // A transaction doesn't put it off.
    (
        "not_found",
        |stage| {
            stage.channel.call(&tx::Select {});
            stage.channel.publish("none", "k", "x");
            stage.channel.recv()
        },
        "channel.close 404 basic.publish NOT_FOUND - no exchange 'none' in vhost '/'",
    ),
    (
        "no_previously_declared_queue",
        |stage| stage.channel.call(&consume("", "")),
        "channel.close 404 basic.consume NOT_FOUND - no previously declared queue",
    ),
    // Even before it is found that the tag is taken.
    (
        "no_previously_declared_queue",
        |stage| {
            stage.channel.call(&consume("q", "t"));
            stage.channel.call(&consume("", "t"))
        },
        "channel.close 404 basic.consume NOT_FOUND - no previously declared queue",
    ),
    (
        "no_previously_declared_queue",
        |stage| stage.channel.call(&get("")),
        "channel.close 404 basic.get NOT_FOUND - no previously declared queue",
    ),
    (
        "internal_exchange",
        |stage| {
            stage.channel.publish("internal", "k", "x");
            stage.channel.recv()
        },
        "channel.close 403 basic.publish ACCESS_REFUSED - cannot publish to internal exchange \
         'internal' in vhost '/'",
    ),
    (
        "locked",
        |stage| stage.channel.call(&consume("locked", "")),
        "channel.close 405 basic.consume RESOURCE_LOCKED - cannot obtain exclusive access to locked \
         queue 'locked' in vhost '/'. It could be originally declared on another connection or the \
         exclusive property value does not match that of the original declaration.",
    ),
    (
        "locked",
        |stage| stage.channel.call(&get("locked")),
        "channel.close 405 basic.get RESOURCE_LOCKED - cannot obtain exclusive access to locked \
         queue 'locked' in vhost '/'. It could be originally declared on another connection or the \
         exclusive property value does not match that of the original declaration.",
    ),
    (
        "exclusive_use",
        |stage| stage.channel.call(&consume("taken", "")),
        "channel.close 403 basic.consume ACCESS_REFUSED - queue 'taken' in vhost '/' in exclusive \
         use",
    ),
    (
        "exclusive_use",
        |stage| stage.channel.call(&basic::Consume { exclusive: true, ..consume("consumed", "") }),
        "channel.close 403 basic.consume ACCESS_REFUSED - queue 'consumed' in vhost '/' in exclusive \
         use",
    ),
    (
        "exclusive_use",
        |stage| stage.channel.call(&basic::Consume { exclusive: true, ..consume("alone", "") }),
        "channel.close 403 basic.consume ACCESS_REFUSED - queue 'alone' in vhost '/' in exclusive \
         use",
    ),
    (
        "get_with_single_active_consumer",
        |stage| stage.channel.call(&get("single")),
        "channel.close 405 basic.get RESOURCE_LOCKED - cannot obtain access to locked queue 'single' \
         in vhost '/'. basic.get operations are not supported by <<\"quorum\">> queues with single \
         active consumer",
    ),
    (
        "consumer_tag_in_use",
        |stage| {
            stage.channel.call(&consume("q", "t"));
            stage.channel.call(&consume("quorum", "t"))
        },
        "connection.close 530 basic.consume NOT_ALLOWED - attempt to reuse consumer tag 't'",
    ),
    (
        "invalid_argument",
        |stage| stage.consume_with("q", "x-priority", Value::text("hi")),
        "channel.close 406 basic.consume PRECONDITION_FAILED - invalid arg 'x-priority' for queue \
         'q' in vhost '/': \"expected integer, got longstr\"",
    ),
    (
        "invalid_argument",
        |stage| stage.consume_with("quorum", "x-consumer-timeout", Value::I32(-1)),
        "channel.close 406 basic.consume PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for \
         queue 'quorum' in vhost '/': {value_negative,-1}",
    ),
    (
        "argument_of_other_type",
        |stage| stage.consume_with("q", "x-stream-offset", Value::text("first")),
        "channel.close 406 basic.consume PRECONDITION_FAILED - invalid arg 'x-stream-offset' for \
         queue 'q' in vhost '/' of queue type rabbit_classic_queue",
    ),
    (
        "argument_of_other_type",
        |stage| stage.consume_with("quorum", "x-stream-offset", Value::text("first")),
        "channel.close 406 basic.consume PRECONDITION_FAILED - invalid arg 'x-stream-offset' for \
         queue 'quorum' in vhost '/' of queue type rabbit_quorum_queue",
    ),
    (
        "reply_consumer_cannot_acknowledge",
        |stage| stage.channel.call(&consume(REPLIES, "")),
        "channel.close 406 basic.consume PRECONDITION_FAILED - reply consumer cannot acknowledge",
    ),
    (
        "reply_consumer_already_set",
        |stage| {
            let replies = basic::Consume { no_ack: true, ..consume(REPLIES, "") };
            stage.channel.call(&replies);
            stage.channel.call(&replies)
        },
        "channel.close 406 basic.consume PRECONDITION_FAILED - reply consumer already set",
    ),
    (
        "no_fast_reply_consumer",
        |stage| {
            let reply_to = Some(REPLIES.as_bytes());
            stage.publish_with(&Properties { reply_to, ..Properties::default() })
        },
        "channel.close 406 basic.publish PRECONDITION_FAILED - fast reply consumer does not exist",
    ),
    (
        "immediate",
        |stage| {
            let immediate = basic::Publish { immediate: true, ..publish("", "q") };
            stage.channel.publish_with(&immediate, &Properties::default(), b"x");
            stage.channel.recv()
        },
        "connection.close 540 basic.publish NOT_IMPLEMENTED - immediate=true",
    ),
    (
        "message_too_large",
        |stage| {
            stage.channel.send(&publish("", "q"));
            let mut header = vec![0, 60, 0, 0];
            header.extend_from_slice(&(16_777_216_u64 + 1).to_be_bytes());
            header.extend_from_slice(&[0, 0]);
            stage.channel.send_frame(2, &header);
            stage.channel.recv()
        },
        "channel.close 406 basic.publish PRECONDITION_FAILED - message size 16777217 is larger than \
         configured max size 16777216",
    ),
    (
        "invalid_expiration",
        |stage| stage.publish_expiring("abc"),
        "channel.close 406 basic.publish PRECONDITION_FAILED - invalid expiration 'abc': no_integer",
    ),
    (
        "invalid_expiration",
        |stage| stage.publish_expiring(""),
        "channel.close 406 basic.publish PRECONDITION_FAILED - invalid expiration '': no_integer",
    ),
    (
        "invalid_expiration",
        |stage| stage.publish_expiring(" 10"),
        "channel.close 406 basic.publish PRECONDITION_FAILED - invalid expiration ' 10': no_integer",
    ),
    (
        "invalid_expiration",
        |stage| stage.publish_expiring("-1"),
        "channel.close 406 basic.publish PRECONDITION_FAILED - invalid expiration '-1': \
         {value_negative,-1}",
    ),
    (
        "invalid_expiration",
        |stage| stage.publish_expiring("10abc"),
        "channel.close 406 basic.publish PRECONDITION_FAILED - invalid expiration '10abc': \
         {leftover_string,\"abc\"}",
    ),
    (
        "invalid_expiration",
        |stage| stage.publish_expiring("1.5"),
        "channel.close 406 basic.publish PRECONDITION_FAILED - invalid expiration '1.5': \
         {leftover_string,\".5\"}",
    ),
    (
        "invalid_expiration",
        |stage| stage.publish_expiring("400000000000"),
        "channel.close 406 basic.publish PRECONDITION_FAILED - invalid expiration '400000000000': \
         {value_too_large,400000000000}",
    ),
    (
        "user_id_mismatch",
        |stage| {
            let user_id = Some(b"bob".as_slice());
            stage.publish_with(&Properties { user_id, ..Properties::default() })
        },
        "channel.close 406 basic.publish PRECONDITION_FAILED - user_id property set to 'bob' but \
         authenticated user was 'guest'",
    ),
    (
        "unacceptable_header",
        |stage| stage.publish_with_header("CC", Value::text("foo")),
        "channel.close 406 basic.publish PRECONDITION_FAILED - invalid message: \
         {unacceptable_type_in_header,\"CC\",longstr}",
    ),
    (
        "unacceptable_header",
        |stage| stage.publish_with_header("BCC", Value::I32(1)),
        "channel.close 406 basic.publish PRECONDITION_FAILED - invalid message: \
         {unacceptable_type_in_header,\"BCC\",signedint}",
    ),
    (
        "unknown_delivery_tag",
        |stage| stage.channel.call(&ack(99)),
        "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 99",
    ),
    (
        "unknown_delivery_tag",
        |stage| stage.channel.call(&nack(99)),
        "channel.close 406 basic.nack PRECONDITION_FAILED - unknown delivery tag 99",
    ),
    (
        "unknown_delivery_tag",
        |stage| stage.channel.call(&reject(99)),
        "channel.close 406 basic.reject PRECONDITION_FAILED - unknown delivery tag 99",
    ),
    (
        "unknown_delivery_tag",
        |stage| stage.channel.call(&ack(0)),
        "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 0",
    ),
    (
        "unknown_delivery_tag",
        |stage| stage.channel.call(&basic::Ack { delivery_tag: 9, multiple: true }),
        "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 9",
    ),
    // A range has to end with a delivery that is outstanding.
    (
        "unknown_delivery_tag",
        |stage| {
            stage.fetch();
            stage.channel.call(&basic::Ack { delivery_tag: 2, multiple: true })
        },
        "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 2",
    ),
    // A transaction looks at the tag at once.
    (
        "unknown_delivery_tag",
        |stage| {
            stage.channel.call(&tx::Select {});
            stage.channel.call(&ack(1))
        },
        "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 1",
    ),
    (
        "unknown_delivery_tag",
        |stage| {
            stage.fetch();
            stage.channel.send(&nack(1));
            stage.channel.call(&nack(1))
        },
        "channel.close 406 basic.nack PRECONDITION_FAILED - unknown delivery tag 1",
    ),
    (
        "prefetch_size",
        |stage| stage.channel.call(&basic::Qos { prefetch_size: 10, ..qos(0) }),
        "connection.close 540 basic.qos NOT_IMPLEMENTED - prefetch_size!=0 (10)",
    ),
    (
        "recover_without_requeue",
        |stage| stage.channel.call(&basic::Recover { requeue: false }),
        "connection.close 540 basic.recover NOT_IMPLEMENTED - requeue=false",
    ),
    (
        "recover_without_requeue",
        |stage| stage.channel.call(&basic::RecoverAsync { requeue: false }),
        "connection.close 540 basic.recover-async NOT_IMPLEMENTED - requeue=false",
    ),
    // What is no refusal, though it might be one.
    ("no_refusal", |stage| stage.channel.call(&cancel("nobody")), "basic.cancel-ok nobody"),
    (
        "no_refusal",
        |stage| {
            stage.channel.send(&basic::Ack { delivery_tag: 0, multiple: true });
            stage.channel.call(&qos(1))
        },
        "basic.qos-ok",
    ),
    (
        "no_refusal",
        |stage| {
            let keys = ArrayBuilder::new().push(Value::I32(1)).build();
            let keys: Array<'_> = keys.as_array();
            stage.channel.call(&confirm_select());
            stage.publish_with_header("BCC", Value::Array(keys))
        },
        "basic.ack 1",
    ),
];
