//! Quorum queues, on one node.

use leveret_tests::codec::{Properties, TableBuf, TableBuilder, Value, basic, queue};
use leveret_tests::{
    Answer, Broker, Channel, ack, cancel, confirm_select, consume, declare, delete, get, nack,
    passive, publish, qos, reject, table,
};

use crate::{bodies, check};

/// Arguments of a quorum queue.
fn quorum(more: &[(&str, Value<'_>)]) -> TableBuf {
    let arguments = table([("x-queue-type", Value::text("quorum"))]);
    let more = more
        .iter()
        .fold(TableBuilder::from_table(arguments.as_table()), |builder, (key, value)| {
            builder.put(key, *value)
        });
    more.build()
}

fn declare_quorum<'a>(name: &'a str, arguments: &'a TableBuf) -> queue::Declare<'a> {
    queue::Declare { durable: true, arguments: arguments.as_table(), ..declare(name) }
}

/// A channel with a quorum queue `q`.
fn with_queue(broker: &Broker, more: &[(&str, Value<'_>)]) -> Channel {
    let channel = broker.connect().channel(1);
    let arguments = quorum(more);
    assert_eq!(channel.call(&declare_quorum("q", &arguments)), "queue.declare-ok q 0 0");
    channel
}

/// What a delivery says of those before it: `x-delivery-count` and `x-acquired-count`.
fn counts(delivery: &Answer) -> [Option<i64>; 2] {
    let properties = delivery.properties();
    let headers = properties.headers.unwrap_or_default();
    ["x-delivery-count", "x-acquired-count"].map(|header| match headers.get(header) {
        None => None,
        Some(Value::I64(count)) => Some(count),
        Some(other) => panic!("{header} is {other:?}"),
    })
}

fn refused(reason: &str) -> String {
    format!("channel.close 406 queue.declare PRECONDITION_FAILED - {reason}")
}

#[test]
fn arguments_are_those_of_quorum_queues() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let number = Value::I32;
    let text = Value::text;
    let accepted = [
        ("x-expires", number(60_000)),
        ("x-message-ttl", number(0)),
        ("x-max-length", number(5)),
        ("x-max-length-bytes", number(5)),
        ("x-overflow", text("reject-publish-dlx")),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-single-active-consumer", Value::Bool(true)),
        ("x-queue-leader-locator", text("balanced")),
        ("x-delivery-limit", number(-1)),
        ("x-quorum-initial-group-size", number(3)),
        ("x-max-in-memory-length", number(0)),
        ("x-max-in-memory-bytes", number(0)),
        ("x-consumer-timeout", number(1000)),
        ("x-whatever", text("anything")),
    ];
    for (argument, value) in accepted {
        let arguments = quorum(&[(argument, value)]);
        let answer = channel.call(&declare_quorum("q", &arguments));
        assert_eq!(answer, "queue.declare-ok q 0 0", "{argument}");
        assert_eq!(channel.call(&delete("q")), "queue.delete-ok 0");
    }
    let of_type = "of queue type rabbit_quorum_queue";
    let cases = [
        ("x-max-priority", number(5), of_type),
        ("x-queue-mode", text("lazy"), of_type),
        ("x-queue-version", number(2), of_type),
        ("x-queue-master-locator", text("client-local"), of_type),
        ("x-max-age", text("1D"), of_type),
        ("x-stream-max-segment-size-bytes", number(1000), of_type),
        ("x-delivery-limit", text("a"), ": \"expected integer, got longstr\""),
        ("x-quorum-initial-group-size", number(0), ": {value_zero,0}"),
        ("x-quorum-initial-group-size", number(-1), ": {value_negative,-1}"),
        ("x-max-in-memory-length", number(-1), ": {value_negative,-1}"),
        ("x-dead-letter-strategy", text("sometimes"), ": invalid_dlx_strategy"),
        ("x-dead-letter-strategy", number(1), ": {unacceptable_type,signedint}"),
        ("x-message-ttl", number(-1), ": {value_negative,-1}"),
        ("x-overflow", text("a"), ": invalid_overflow"),
    ];
    for (argument, value, reason) in cases {
        let arguments = quorum(&[(argument, value)]);
        let space = if reason.starts_with(':') { "" } else { " " };
        let expected =
            refused(&format!("invalid arg '{argument}' for queue 'q' in vhost '/'{space}{reason}"));
        check(&channel, &[(&declare_quorum("q", &arguments), &expected)]);
    }
}

#[test]
fn a_quorum_queue_is_durable_named_and_nobodys() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = quorum(&[]);
    let q = declare_quorum("q", &arguments);
    let invalid =
        |property| refused(&format!("invalid property '{property}' for queue 'q' in vhost '/'"));
    let all = queue::Declare { durable: false, exclusive: true, auto_delete: true, ..q };
    check(
        &channel,
        &[
            (&all, &invalid("auto-delete")),
            (&queue::Declare { auto_delete: false, ..all }, &invalid("exclusive-owner")),
            (&queue::Declare { durable: false, ..q }, &invalid("non-durable")),
            (
                &queue::Declare { queue: "", ..q },
                &refused("Cannot declare a server-named queue for type rabbit_quorum_queue"),
            ),
            (&q, "queue.declare-ok q 0 0"),
        ],
    );
}

#[test]
fn the_type_is_part_of_the_declaration() {
    let broker = Broker::start();
    let channel = with_queue(&broker, &[("x-delivery-limit", Value::I32(5))]);
    let same = quorum(&[("x-delivery-limit", Value::I64(5))]);
    let other = quorum(&[("x-delivery-limit", Value::I32(6))]);
    let classic = table([("x-queue-type", Value::text("classic"))]);
    let inequivalent = |argument: &str, received: &str, current: &str| {
        refused(&format!(
            "inequivalent arg '{argument}' for queue 'q' in vhost '/': received '{received}' but \
             current is '{current}'"
        ))
    };
    let untyped = queue::Declare { durable: true, ..declare("q") };
    check(
        &channel,
        &[
            (&declare_quorum("q", &same), "queue.declare-ok q 0 0"),
            (&declare_quorum("q", &other), &inequivalent("x-delivery-limit", "6", "5")),
            (&declare_quorum("q", &classic), &inequivalent("x-queue-type", "classic", "quorum")),
            (&untyped, &inequivalent("x-queue-type", "classic", "quorum")),
        ],
    );
}

#[test]
fn what_quorum_queues_do_not_do_is_refused() {
    let broker = Broker::start();
    let channel = with_queue(&broker, &[]);
    let single = quorum(&[("x-single-active-consumer", Value::Bool(true))]);
    let stream = table([("x-stream-offset", Value::text("first"))]);
    check(
        &channel,
        &[
            (&declare_quorum("single", &single), "queue.declare-ok single 0 0"),
            (
                &get("single"),
                "channel.close 405 basic.get RESOURCE_LOCKED - cannot obtain access to locked \
                 queue 'single' in vhost '/'. basic.get operations are not supported by \
                 <<\"quorum\">> queues with single active consumer",
            ),
            (
                &basic::Consume { arguments: stream.as_table(), ..consume("q", "c") },
                "channel.close 406 basic.consume PRECONDITION_FAILED - invalid arg \
                 'x-stream-offset' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue",
            ),
        ],
    );
    for (flag, request) in [
        ("if-unused", queue::Delete { if_unused: true, ..delete("q") }),
        ("if-empty", queue::Delete { if_empty: true, ..delete("q") }),
    ] {
        let answer = broker.connect().channel(1).call(&request);
        assert_eq!(
            answer,
            format!(
                "connection.close 540 queue.delete NOT_IMPLEMENTED - cannot delete queue 'q' in \
                 vhost '/'. queue.delete operations with {flag} flag set are not supported by \
                 quorum queues"
            )
        );
    }
}

#[test]
fn a_message_that_comes_back_too_often_is_dead_lettered() {
    let broker = Broker::start();
    let channel = with_queue(
        &broker,
        &[
            ("x-delivery-limit", Value::I32(2)),
            ("x-dead-letter-exchange", Value::text("")),
            ("x-dead-letter-routing-key", Value::text("dead")),
        ],
    );
    channel.call(&declare("dead"));
    channel.call(&basic::Consume { no_ack: true, ..consume("dead", "dead") });
    let own = channel.connection().channel(2);
    own.call(&consume("q", "c"));
    own.publish("", "q", "body");
    for (tag, count) in (1..).zip([None, Some(1), Some(2)]) {
        let delivery = own.recv();
        let again = if count.is_some() { "redelivered " } else { "" };
        assert_eq!(delivery, format!("basic.deliver c {tag} {again}'' q: body"));
        assert_eq!(counts(&delivery), [count; 2]);
        own.send(&reject(tag));
    }
    let letter = channel.recv();
    assert_eq!(letter, "basic.deliver dead 1 redelivered '' dead: body");
    let headers = letter.properties().headers.unwrap();
    assert_eq!(headers.get("x-first-death-reason"), Some(Value::text("delivery_limit")));
}

#[test]
fn every_way_back_counts() {
    let broker = Broker::start();
    let channel = with_queue(&broker, &[("x-delivery-limit", Value::I32(4))]);
    channel.publish("", "q", "body");
    let got = channel.call(&get("q"));
    assert_eq!(counts(&got), [None; 2]);
    channel.send(&nack(1));
    assert_eq!(counts(&channel.call(&get("q"))), [Some(1); 2]);
    channel.send(&reject(2));
    assert_eq!(counts(&channel.call(&get("q"))), [Some(2); 2]);
    channel.close();
    let channel = channel.connection().channel(1);
    assert_eq!(counts(&channel.call(&get("q"))), [Some(3); 2]);
    channel.connection().clone().close();
    let channel = broker.connect().channel(1);
    assert_eq!(counts(&channel.call(&get("q"))), [Some(4); 2]);
    channel.send(&nack(1));
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
}

#[test]
fn twenty_returns_are_the_most_unless_the_limit_is_lifted() {
    let broker = Broker::start();
    for (limit, returns) in [(None, 20), (Some(-1), 30)] {
        let more = limit.map(|limit| ("x-delivery-limit", Value::I32(limit)));
        let channel = with_queue(&broker, more.as_slice());
        channel.call(&consume("q", "c"));
        channel.publish("", "q", "body");
        for tag in 1..=returns + 1 {
            assert!(channel.recv().starts_with("basic.deliver "));
            channel.send(&reject(tag));
        }
        if limit.is_none() {
            channel.publish("", "q", "next");
            assert_eq!(bodies(&channel, 1), ["next"]);
        } else {
            assert_eq!(bodies(&channel, 1), ["body"]);
        }
        assert_eq!(channel.call(&cancel("c")), "basic.cancel-ok c");
        assert_eq!(channel.call(&delete("q")), "queue.delete-ok 0");
    }
}

#[test]
fn counts_are_added_to_the_properties_a_message_has() {
    let broker = Broker::start();
    let channel = with_queue(&broker, &[]);
    let headers = table([("a", Value::I32(1)), ("x-delivery-count", Value::I32(9))]);
    let given = Properties {
        message_id: Some(b"m"),
        headers: Some(headers.as_table()),
        ..Properties::default()
    };
    channel.publish_with(&publish("", "q"), &given, b"body");
    let first = channel.call(&get("q"));
    assert_eq!(first.properties(), given);
    channel.send(&nack(1));
    let second = channel.call(&get("q"));
    assert_eq!(second.properties().message_id, given.message_id);
    assert_eq!(second.properties().headers.unwrap().get("a"), Some(Value::I32(1)));
    assert_eq!(counts(&second), [Some(1); 2]);
}

#[test]
fn classic_queues_count_nothing() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "body");
    for tag in 1..=30 {
        assert_eq!(counts(&channel.call(&get("q"))), [None; 2]);
        channel.send(&reject(tag));
    }
}

#[test]
fn priorities_need_no_argument() {
    let broker = Broker::start();
    let channel = with_queue(&broker, &[]);
    for (priority, body) in [
        (None, "none"),
        (Some(3), "3"),
        (Some(4), "4"),
        (Some(5), "5"),
        (Some(40), "40"),
        (Some(31), "31"),
    ] {
        let properties = Properties { priority, ..Properties::default() };
        channel.publish_with(&publish("", "q"), &properties, body.as_bytes());
    }
    channel.call(&consume("q", "c"));
    assert_eq!(bodies(&channel, 6), ["40", "31", "5", "none", "4", "3"]);
}

#[test]
fn a_shared_prefetch_limit_holds() {
    let broker = Broker::start();
    let channel = with_queue(&broker, &[]);
    channel.call(&basic::Qos { global: true, ..qos(1) });
    channel.call(&consume("q", "c"));
    for body in ["1", "2"] {
        channel.publish("", "q", body);
    }
    assert_eq!(channel.recv(), "basic.deliver c 1 '' q: 1");
    assert_eq!(channel.call(&declare_quorum("q", &quorum(&[]))), "queue.declare-ok q 1 1");
    channel.send(&ack(1));
    assert_eq!(channel.recv(), "basic.deliver c 2 '' q: 2");
}

#[test]
fn messages_and_their_counts_outlive_the_process() {
    let ends: [fn(&mut Broker); 2] = [
        |broker| {
            broker.terminate();
        },
        |broker| {
            broker.kill9();
        },
    ];
    for end in ends {
        let Some(mut broker) = Broker::own("restarts the broker") else { return };
        let channel = with_queue(&broker, &[("x-delivery-limit", Value::I32(2))]);
        channel.call(&confirm_select());
        for body in ["returned", "untouched"] {
            // Without a word about persistence.
            channel.publish("", "q", body);
            assert!(channel.recv().starts_with("basic.ack "));
        }
        channel.call(&get("q"));
        channel.send(&nack(1));
        channel.call(&get("q"));
        channel.send(&nack(2));
        channel.call(&passive("q"));
        // A confirm that comes after them: they are on disk as well.
        channel.publish("", "q", "last");
        assert_eq!(channel.recv(), "basic.ack 3");
        end(&mut broker);
        broker.restart();

        let channel = broker.connect().channel(1);
        let arguments = quorum(&[("x-delivery-limit", Value::I32(2))]);
        assert_eq!(channel.call(&declare_quorum("q", &arguments)), "queue.declare-ok q 3 0");
        let returned = channel.call(&get("q"));
        assert_eq!(returned, "basic.get-ok 1 redelivered '' q 2: returned");
        assert_eq!(counts(&returned), [Some(2); 2]);
        channel.send(&nack(1));
        let untouched = channel.call(&get("q"));
        assert_eq!(untouched.body(), b"untouched");
        assert_eq!(counts(&untouched), [None; 2]);
    }
}
