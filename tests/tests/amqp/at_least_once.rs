//! Quorum queues that keep their dead letters until somebody takes them.

use leveret_tests::codec::{TableBuilder, Value, basic, queue};
use leveret_tests::{
    Broker, Channel, bind, confirm_select, declare, declare_exchange, eventually, get, passive,
    reject,
};

use crate::check;

/// A confirming channel and a queue `q` that dead-letters to the exchange `dlx` at least once.
fn careful(broker: &Broker, more: &[(&str, Value<'_>)]) -> Channel {
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    let arguments = TableBuilder::new()
        .put("x-queue-type", "quorum")
        .put("x-dead-letter-exchange", "dlx")
        .put("x-dead-letter-strategy", "at-least-once")
        .put("x-overflow", "reject-publish");
    let arguments = more.iter().fold(arguments, |table, (key, value)| table.put(key, *value));
    let arguments = arguments.build();
    let q = queue::Declare { durable: true, ..declare("q") };
    let q = queue::Declare { arguments: arguments.as_table(), ..q };
    assert_eq!(channel.call(&q), "queue.declare-ok q 0 0");
    channel
}

/// Publishes messages to `q` and rejects them.
fn kill(channel: &Channel, bodies: &[&str]) {
    for body in bodies {
        channel.publish("", "q", body);
        assert!(channel.recv().starts_with("basic.ack "));
        let delivery_tag = channel.call(&get("q")).delivery_tag();
        channel.send(&basic::Reject { requeue: false, ..reject(delivery_tag) });
    }
}

fn await_ready(channel: &Channel, queue: &str, count: u32) {
    let ready = format!("queue.declare-ok {queue} {count} 0");
    eventually(|| channel.call(&passive(queue)) == ready);
}

#[test]
fn what_has_no_route_waits_for_one() {
    let broker = Broker::start();
    let channel = careful(&broker, &[]);
    kill(&channel, &["1", "2"]);
    check(
        &channel,
        &[
            (&passive("q"), "queue.declare-ok q 0 0"),
            (&declare_exchange("dlx", "fanout"), "exchange.declare-ok"),
            (&declare("dead"), "queue.declare-ok dead 0 0"),
            (&bind("dead", "dlx", ""), "queue.bind-ok"),
        ],
    );
    await_ready(&channel, "dead", 2);
    check(
        &channel,
        &[
            (&get("dead"), "basic.get-ok 3 redelivered dlx q 1: 1"),
            (&get("dead"), "basic.get-ok 4 redelivered dlx q 0: 2"),
        ],
    );
}

#[test]
fn what_is_refused_waits_for_room() {
    let broker = Broker::start();
    let channel = careful(&broker, &[]);
    channel.call(&declare_exchange("dlx", "fanout"));
    let small = TableBuilder::new().put("x-max-length", 1).put("x-overflow", "reject-publish");
    let small = small.build();
    channel.call(&queue::Declare { arguments: small.as_table(), ..declare("dead") });
    channel.call(&bind("dead", "dlx", ""));
    kill(&channel, &["1", "2", "3"]);
    for body in ["1", "2", "3"] {
        await_ready(&channel, "dead", 1);
        let delivery = channel.call(&get("dead"));
        assert_eq!(delivery.body(), body.as_bytes());
        let queue = "x-last-death-queue";
        let headers = delivery.properties().headers.unwrap();
        assert_eq!(headers.get(queue), Some(Value::text("q")));
    }
}

/// The queue's length bounds them: no more is taken in until they are gone.
#[test]
fn what_waits_counts() {
    let broker = Broker::start();
    let channel = careful(&broker, &[("x-max-length", Value::I32(2))]);
    kill(&channel, &["1", "2"]);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
    channel.publish("", "q", "3");
    assert_eq!(channel.recv(), "basic.nack 3");
    channel.call(&declare_exchange("dlx", "fanout"));
    channel.call(&declare("dead"));
    channel.call(&bind("dead", "dlx", ""));
    await_ready(&channel, "dead", 2);
    channel.publish("", "q", "4");
    assert_eq!(channel.recv(), "basic.ack 4");
}

/// Those who got it before it died don't get it again.
#[test]
fn what_waits_outlives_the_process() {
    let Some(mut broker) = Broker::own("kills the broker") else { return };
    let channel = careful(&broker, &[]);
    kill(&channel, &["1", "2"]);
    // What is confirmed after this turn was written after what it wrote.
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
    channel.publish_persistent("q", "alive");
    assert_eq!(channel.recv(), "basic.ack 3");
    broker.kill9();
    broker.restart();
    let channel = broker.connect().channel(1);
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 1 redelivered '' q 0: alive"),
            (&declare_exchange("dlx", "fanout"), "exchange.declare-ok"),
            (&declare("dead"), "queue.declare-ok dead 0 0"),
            (&bind("dead", "dlx", ""), "queue.bind-ok"),
        ],
    );
    await_ready(&channel, "dead", 2);
    assert_eq!(channel.call(&get("dead")).body(), b"1");
    assert_eq!(channel.call(&get("dead")).body(), b"2");
}
