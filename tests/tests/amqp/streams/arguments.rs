//! How streams are declared and deleted, and what they refuse.

use leveret_tests::codec::Value;
use leveret_tests::{ack, bind, cancel, delete, get, purge};

use super::*;

#[test]
fn arguments_of_streams() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let number = Value::I64;
    let text = Value::text;
    let accepted = [
        ("x-max-length-bytes", number(0)),
        ("x-max-age", text("7D")),
        ("x-max-age", text("01h")),
        ("x-stream-max-segment-size-bytes", number(3_000_000_000)),
        ("x-stream-max-segment-size-bytes", number(0)),
        ("x-stream-filter-size-bytes", number(16)),
        ("x-stream-filter-size-bytes", number(255)),
        ("x-initial-cluster-size", number(3)),
        ("x-queue-leader-locator", text("balanced")),
        ("x-whatever", text("anything")),
    ];
    for (argument, value) in accepted {
        let arguments = stream(&[(argument, value)]);
        let answer = channel.call(&declare_stream("s", &arguments));
        assert_eq!(answer, "queue.declare-ok s 0 0", "{argument}");
        assert_eq!(channel.call(&delete("s")), "queue.delete-ok 0");
    }
    let of_type = " of queue type rabbit_stream_queue";
    let negative = ": {value_negative,-1}";
    let no_integer = ": \"expected integer, got longstr\"";
    let cases = [
        ("x-expires", number(1000), of_type),
        ("x-message-ttl", number(1), of_type),
        ("x-max-length", number(1), of_type),
        ("x-overflow", text("drop-head"), of_type),
        ("x-dead-letter-exchange", text("x"), of_type),
        ("x-dead-letter-routing-key", text("x"), of_type),
        ("x-dead-letter-strategy", text("at-most-once"), of_type),
        ("x-max-priority", number(5), of_type),
        ("x-single-active-consumer", Value::Bool(true), of_type),
        ("x-delivery-limit", number(1), of_type),
        ("x-consumer-timeout", number(1), of_type),
        ("x-queue-mode", text("lazy"), of_type),
        ("x-queue-version", number(2), of_type),
        ("x-quorum-initial-group-size", number(3), of_type),
        // RabbitMQ doesn't know it. Here it would mean something for other queues.
        ("x-message-deduplication", Value::Bool(true), of_type),
        ("x-max-age", text("1x"), ": invalid_max_age"),
        ("x-max-age", text("0h"), ": invalid_max_age"),
        ("x-max-age", text(""), ": invalid_max_age"),
        ("x-max-age", Value::I32(10), ": {unacceptable_type,signedint}"),
        ("x-max-length-bytes", number(-1), negative),
        ("x-max-length-bytes", text("a"), no_integer),
        ("x-stream-max-segment-size-bytes", number(-1), negative),
        ("x-stream-max-segment-size-bytes", text("a"), no_integer),
        ("x-stream-filter-size-bytes", number(-1), negative),
        ("x-stream-filter-size-bytes", text("a"), no_integer),
        ("x-initial-cluster-size", number(0), ": {value_zero,0}"),
        ("x-initial-cluster-size", number(-1), negative),
        ("x-queue-leader-locator", text("a"), ": invalid_queue_locator_arg"),
    ];
    for (argument, value, reason) in cases {
        let arguments = stream(&[(argument, value)]);
        let reason = format!("invalid arg '{argument}' for queue 's' in vhost '/'{reason}");
        let expected = refused("queue.declare", &reason);
        check(&channel, &[(&declare_stream("s", &arguments), &expected)]);
    }
    let too_large = "Exceeded max value for x-stream-max-segment-size-bytes";
    let out_of_range = "Invalid value for x-stream-filter-size-bytes";
    for (argument, value, reason) in [
        ("x-stream-max-segment-size-bytes", 3_000_000_001, too_large),
        ("x-stream-filter-size-bytes", 15, out_of_range),
        ("x-stream-filter-size-bytes", 256, out_of_range),
    ] {
        let arguments = stream(&[(argument, number(value))]);
        let expected = refused("queue.declare", reason);
        check(&channel, &[(&declare_stream("s", &arguments), &expected)]);
    }
}

#[test]
fn a_stream_is_durable_named_and_nobodys() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    // What is wrong with its properties comes first.
    let arguments = stream(&[("x-stream-max-segment-size-bytes", Value::I64(4_000_000_000))]);
    let s = declare_stream("s", &arguments);
    let invalid = |property| {
        let reason = format!("invalid property '{property}' for queue 's' in vhost '/'");
        refused("queue.declare", &reason)
    };
    let all = queue::Declare { durable: false, exclusive: true, auto_delete: true, ..s };
    let nameless = "Cannot declare a server-named queue for type rabbit_stream_queue";
    check(
        &channel,
        &[
            (&all, &invalid("auto-delete")),
            (&queue::Declare { auto_delete: false, ..all }, &invalid("exclusive-owner")),
            (&queue::Declare { durable: false, ..s }, &invalid("non-durable")),
            (&queue::Declare { queue: "", ..all }, &refused("queue.declare", nameless)),
        ],
    );
}

#[test]
fn a_redeclaration_says_the_same() {
    let broker = Broker::start();
    let hour = ("x-max-age", Value::text("1h"));
    let channel = with_stream(&broker, &[hour]);
    let (same, none) = (stream(&[("x-max-age", Value::text("60m"))]), stream(&[]));
    let (two, number) =
        (stream(&[("x-max-age", Value::text("2h"))]), stream(&[("x-max-age", Value::I32(5))]));
    let more = stream(&[hour, ("x-max-length-bytes", Value::I32(5))]);
    let inequivalent = |argument: &str, received: &str, current: &str| {
        let reason = format!(
            "inequivalent arg '{argument}' for queue 's' in vhost '/': received {received} but \
             current is {current}"
        );
        refused("queue.declare", &reason)
    };
    let untyped = queue::Declare { durable: true, ..declare("s") };
    check(
        &channel,
        &[
            (&declare_stream("s", &same), "queue.declare-ok s 0 0"),
            (&declare_stream("s", &two), &inequivalent("x-max-age", "'7200000'", "'3600000'")),
            (&declare_stream("s", &number), &inequivalent("x-max-age", "'5'", "'3600000'")),
            (
                &declare_stream("s", &none),
                &inequivalent("x-max-age", "none", "the value '3600000' of type 'longstr'"),
            ),
            (
                &declare_stream("s", &more),
                &inequivalent("x-max-length-bytes", "the value '5' of type 'signedint'", "none"),
            ),
            (&untyped, &inequivalent("x-queue-type", "'classic'", "'stream'")),
            (
                &queue::Declare { durable: false, ..declare_stream("s", &same) },
                &inequivalent("durable", "'false'", "'true'"),
            ),
        ],
    );
}

#[test]
fn a_reader_says_how_much_it_takes_and_acknowledges() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    let plain = broker.connect().channel(1);
    let no_prefetch = "consumer prefetch count is not set for stream queue 's' in vhost '/'";
    let no_ack = basic::Consume { no_ack: true, ..consume("s", "c") };
    check(
        &plain,
        &[
            (&consume("s", "c"), &refused("basic.consume", no_prefetch)),
            (&no_ack, &refused("basic.consume", no_prefetch)),
            // One for the channel will do.
            (&basic::Qos { global: true, ..qos(2) }, "basic.qos-ok"),
            (&consume("s", "c"), "basic.consume-ok c"),
        ],
    );
    assert_eq!(
        channel.call(&no_ack),
        "connection.close 540 basic.consume NOT_IMPLEMENTED - automatic acknowledgement not \
         supported by stream queue 's' in vhost '/'"
    );
    fill(&broker, ["a", "b", "c"]);
    assert_eq!(offsets(&plain, 2), [0, 1]);
    assert_quiet(&plain);
    plain.send(&ack(2));
    assert_eq!(offsets(&plain, 1), [2]);
}

#[test]
fn what_streams_do_not_do_is_refused() {
    let broker = Broker::start();
    with_stream(&broker, &[]);
    let not_for_streams = |method: &str, operation: &str| {
        format!(
            "connection.close 540 {method} NOT_IMPLEMENTED - {operation} not supported by stream \
             queues queue 's' in vhost '/'"
        )
    };
    let answer = broker.connect().channel(1).call(&get("s"));
    assert_eq!(answer, not_for_streams("basic.get", "basic.get"));
    let answer = broker.connect().channel(1).call(&purge("s"));
    assert_eq!(answer, not_for_streams("queue.purge", "queue.purge"));
    let channel = reader(&broker);
    for argument in ["x-priority", "x-consumer-timeout"] {
        let arguments = table([(argument, Value::I32(5))]);
        let reason = format!(
            "invalid arg '{argument}' for queue 's' in vhost '/' of queue type rabbit_stream_queue"
        );
        let expected = refused("basic.consume", &reason);
        check(&channel, &[(&from("c", &arguments), &expected)]);
    }
}

#[test]
fn arguments_of_readers_are_for_streams() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for argument in [
        "x-stream-offset",
        "x-stream-filter",
        "x-stream-match-unfiltered",
        "x-stream-automatic-offset-tracking",
    ] {
        let arguments = table([(argument, Value::text("first"))]);
        let consume = basic::Consume { arguments: arguments.as_table(), ..consume("q", "c") };
        let reason = format!(
            "invalid arg '{argument}' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"
        );
        check(&channel, &[(&consume, &refused("basic.consume", &reason))]);
    }
}

#[test]
fn deleting_a_stream_asks_for_no_conditions() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    fill(&broker, ["a", "b"]);
    from_first(&channel, "c");
    assert_eq!(offsets(&channel, 2), [0, 1]);
    let other = broker.connect().channel(1);
    let strict = queue::Delete { if_unused: true, if_empty: true, ..delete("s") };
    assert_eq!(other.call(&strict), "queue.delete-ok 0");
    assert_eq!(channel.recv(), "basic.cancel c nowait");
    // What it holds may still be acknowledged.
    channel.send(&ack(1));
    assert_eq!(channel.call(&cancel("c")), "basic.cancel-ok c");
    let arguments = stream(&[]);
    assert_eq!(channel.call(&declare_stream("s", &arguments)), "queue.declare-ok s 0 0");
    fill(&broker, ["c"]);
    from_first(&channel, "d");
    assert_eq!(offsets(&channel, 1), [0]);
}

#[test]
fn a_stream_is_counted_and_declared_like_any_queue() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    fill(&broker, ["a", "b", "c"]);
    from_first(&channel, "c");
    channel.recv_many(3);
    // RabbitMQ counts no consumers here.
    assert_eq!(channel.call(&passive("s")), "queue.declare-ok s 3 1");
    assert_eq!(channel.call(&bind("s", "amq.topic", "#")), "queue.bind-ok");
    channel.publish("amq.topic", "a.b", "d");
    assert_eq!(channel.recv(), "basic.deliver c 4 amq.topic a.b: d");
}
