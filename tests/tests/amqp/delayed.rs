//! `x-delayed-message` exchanges.

use leveret_tests::codec::{Properties, Value, exchange, queue};
use leveret_tests::{
    Broker, bind, bind_exchange, declare, declare_exchange, passive, publish, table,
};

use crate::bodies;

#[test]
fn delayed_messages_arrive_in_time() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let topic = table([("x-delayed-type", Value::text("topic"))]);
    let x = exchange::Declare {
        arguments: topic.as_table(),
        ..declare_exchange("x", "x-delayed-message")
    };
    assert_eq!(channel.call(&x), "exchange.declare-ok");
    channel.call(&declare("q"));
    channel.call(&bind("q", "x", "a.*"));
    let consume =
        leveret_tests::codec::basic::Consume { no_ack: true, ..leveret_tests::consume("q", "t") };
    channel.call(&consume);
    let start = std::time::Instant::now();
    let mandatory = leveret_tests::codec::basic::Publish { mandatory: true, ..publish("x", "a.b") };
    let send = |delay: Value<'_>,
                publish: &leveret_tests::codec::basic::Publish<'_>,
                body: &str| {
        let headers = table([("first", Value::text("kept")), ("x-delay", delay)]);
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        channel.publish_with(publish, &properties, body.as_bytes());
    };
    send(Value::I32(400), &publish("x", "a.b"), "third");
    send(Value::I64(200), &publish("x", "a.b"), "second");
    send(Value::I32(0), &publish("x", "a.b"), "now");
    send(Value::I32(-10), &publish("x", "a.b"), "now too");
    send(Value::I32(100), &publish("x", "other"), "to nobody");
    // As with the plugin: where it goes is not known yet.
    send(Value::I32(300), &mandatory, "returned and delivered");
    let mut answers = channel.recv_many(3);
    answers.sort_by_key(|answer| answer.starts_with("basic.return"));
    assert_eq!(answers[0], "basic.deliver t 1 x a.b: now");
    assert_eq!(answers[1], "basic.deliver t 2 x a.b: now too");
    assert_eq!(answers[2], "basic.return 312 NO_ROUTE x a.b: returned and delivered");
    for (after, delay, expected) in [
        (200, Value::I32(-200), "basic.deliver t 3 x a.b: second"),
        (300, Value::I32(-300), "basic.deliver t 4 x a.b: returned and delivered"),
        (400, Value::I32(-400), "basic.deliver t 5 x a.b: third"),
    ] {
        let answer = channel.recv();
        // The broker counts in whole milliseconds.
        assert!(start.elapsed().as_millis() + 1 >= after, "{answer} too early");
        assert_eq!(answer, expected);
        let headers = answer.properties().headers.unwrap();
        assert_eq!(headers.get("x-delay"), Some(delay));
        assert_eq!(headers.get("first"), Some(Value::text("kept")));
        assert_eq!(headers.get("x-death"), None);
    }
}

/// Wherever a message comes from: another exchange, or the death in a queue. A delay that is no
/// number is none, one that is written as text counts.
#[test]
fn a_delayed_exchange_delays_what_others_pass_on() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let fanout = table([("x-delayed-type", Value::text("fanout"))]);
    let x = exchange::Declare {
        arguments: fanout.as_table(),
        ..declare_exchange("x", "x-delayed-message")
    };
    assert_eq!(channel.call(&x), "exchange.declare-ok");
    channel.call(&declare("q"));
    channel.call(&bind("q", "x", ""));
    channel.call(&bind_exchange("x", "amq.direct", "k"));
    let dying =
        table([("x-dead-letter-exchange", Value::text("x")), ("x-max-length", Value::I32(0))]);
    channel.call(&queue::Declare { arguments: dying.as_table(), ..declare("dying") });
    let no_ack =
        leveret_tests::codec::basic::Consume { no_ack: true, ..leveret_tests::consume("q", "t") };
    channel.call(&no_ack);
    let start = std::time::Instant::now();
    for (exchange, key, delay) in [
        ("", "dying", Value::I32(300)),
        ("amq.direct", "k", Value::text("200")),
        ("amq.direct", "k", Value::text("soon")),
        ("x", "k", Value::Void),
    ] {
        let headers = table([("x-delay", delay)]);
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        channel.publish_with(&publish(exchange, key), &properties, key.as_bytes());
    }
    assert_eq!(channel.recv(), "basic.deliver t 1 amq.direct k: k");
    assert_eq!(channel.recv(), "basic.deliver t 2 x k: k");
    assert_eq!(channel.recv(), "basic.deliver t 3 amq.direct k: k");
    assert!(start.elapsed().as_millis() >= 199);
    let dead = channel.recv();
    assert!(start.elapsed().as_millis() >= 299);
    assert_eq!(dead, "basic.deliver t 4 x dying: dying");
    let headers = dead.properties().headers.unwrap();
    assert_eq!(headers.get("x-first-death-reason"), Some(Value::text("maxlen")));
}

#[test]
fn delayed_messages_survive_a_crash() {
    let Some(mut broker) = Broker::own("it is killed") else { return };
    {
        let channel = broker.connect().channel(1);
        let direct = table([("x-delayed-type", Value::text("direct"))]);
        let x = exchange::Declare {
            durable: true,
            arguments: direct.as_table(),
            ..declare_exchange("x", "x-delayed-message")
        };
        assert_eq!(channel.call(&x), "exchange.declare-ok");
        for queue in ["q", "gone"] {
            channel.call(&queue::Declare { durable: true, ..declare(queue) });
        }
        channel.call(&bind("q", "x", "k"));
        let gone = exchange::Declare { exchange: "gone", ..x };
        channel.call(&gone);
        channel.call(&bind("gone", "gone", "k"));
        channel.call(&leveret_tests::codec::confirm::Select { nowait: false });
        for (delay, exchange) in [(600, "x"), (1, "x"), (600, "gone"), (3_600_000, "x")] {
            let headers = table([("x-delay", Value::I32(delay))]);
            let properties = Properties {
                headers: Some(headers.as_table()),
                delivery_mode: Some(2),
                ..Properties::default()
            };
            channel.publish_with(&publish(exchange, "k"), &properties, b"waits");
        }
        let mut confirmed = 0;
        while confirmed < 4 {
            confirmed = channel.recv().delivery_tag();
        }
        channel.call(&leveret_tests::delete_exchange("gone"));
    }
    broker.kill9();
    broker.restart();
    let channel = broker.connect().channel(1);
    channel.call(&leveret_tests::consume("q", "t"));
    assert_eq!(bodies(&channel, 2), ["waits", "waits"]);
    channel.send(&leveret_tests::codec::basic::Ack { delivery_tag: 0, multiple: true });
    channel.close();
    drop(channel);
    broker.terminate();
    broker.restart();
    // Each went once; one still waits, and takes no room in any queue that clients see.
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
    assert_eq!(channel.call(&passive("gone")), "queue.declare-ok gone 0 0");
}
