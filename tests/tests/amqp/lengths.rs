//! Queues that hold so many messages, or so many bytes.

use leveret_tests::codec::{Value, basic, queue};
use leveret_tests::{
    Broker, Channel, ack, bind, confirm_select, consume, declare, get, passive, table,
};

use crate::{bodies, check};

/// A channel with confirms and the queue `q`, declared with these arguments.
fn limited(broker: &Broker, arguments: &[(&str, Value<'_>)]) -> Channel {
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    let arguments =
        arguments.iter().fold(leveret_tests::codec::TableBuilder::new(), |table, (key, value)| {
            table.put(key, *value)
        });
    let arguments = arguments.build();
    let q = queue::Declare { arguments: arguments.as_table(), ..declare("q") };
    assert_eq!(channel.call(&q), "queue.declare-ok q 0 0");
    channel
}

/// Publishes to `q` one by one; the confirms.
fn publish_all(channel: &Channel, bodies: &[&str]) -> Vec<String> {
    let confirm = |body: &&str| {
        channel.publish("", "q", body);
        channel.recv().to_string()
    };
    bodies.iter().map(confirm).collect()
}

/// The oldest go, and their publishers were told that they arrived.
#[test]
fn the_oldest_give_way() {
    let broker = Broker::start();
    let channel = limited(&broker, &[("x-max-length", Value::I32(2))]);
    let confirms = publish_all(&channel, &["1", "2", "3", "4"]);
    assert_eq!(confirms, ["basic.ack 1", "basic.ack 2", "basic.ack 3", "basic.ack 4"]);
    check(
        &channel,
        &[
            (&passive("q"), "queue.declare-ok q 2 0"),
            (&get("q"), "basic.get-ok 1 '' q 1: 3"),
            (&get("q"), "basic.get-ok 2 '' q 0: 4"),
        ],
    );
}

#[test]
fn bodies_count_by_their_bytes() {
    let broker = Broker::start();
    let channel = limited(&broker, &[("x-max-length-bytes", Value::I32(10))]);
    publish_all(&channel, &["aaaa", "bbbb", "cc", "d"]);
    // Ten bytes fit, the eleventh pushes the oldest out; one that fits never stays out.
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 3 0");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 2: bbbb");
    publish_all(&channel, &["larger than all there may be"]);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
}

/// What is with a consumer takes no room, until it comes back.
#[test]
fn only_ready_messages_count() {
    let broker = Broker::start();
    let channel = limited(&broker, &[("x-max-length", Value::I32(1))]);
    publish_all(&channel, &["1"]);
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: 1");
    publish_all(&channel, &["2"]);
    assert_eq!(channel.call(&get("q")), "basic.get-ok 2 '' q 0: 2");
    publish_all(&channel, &["3"]);
    channel.send(&basic::Nack { delivery_tag: 2, multiple: true, requeue: true });
    // All three in their places; the two in front are too many.
    assert_eq!(channel.call(&get("q")), "basic.get-ok 3 '' q 0: 3");
}

#[test]
fn reject_publish_refuses_the_newest() {
    let broker = Broker::start();
    let reject = ("x-overflow", Value::text("reject-publish"));
    let channel = limited(&broker, &[("x-max-length", Value::I32(1)), reject]);
    let confirms = publish_all(&channel, &["1", "2", "3"]);
    assert_eq!(confirms, ["basic.ack 1", "basic.nack 2", "basic.nack 3"]);
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: 1");
    channel.send(&ack(1));
    assert_eq!(publish_all(&channel, &["4"]), ["basic.ack 4"]);
}

/// One that refuses is enough, whoever else takes the message.
#[test]
fn a_message_one_queue_refuses_is_nacked() {
    let broker = Broker::start();
    let reject = ("x-overflow", Value::text("reject-publish"));
    let channel = limited(&broker, &[("x-max-length", Value::I32(0)), reject]);
    channel.call(&declare("other"));
    for queue in ["q", "other"] {
        channel.call(&bind(queue, "amq.fanout", ""));
    }
    channel.publish("amq.fanout", "", "x");
    assert_eq!(channel.recv(), "basic.nack 1");
    assert_eq!(channel.call(&get("other")), "basic.get-ok 1 amq.fanout '' 0: x");
}

/// Nothing is kept, but who waits gets it.
#[test]
fn a_queue_of_length_0_passes_on() {
    let broker = Broker::start();
    let channel = limited(&broker, &[("x-max-length", Value::I32(0))]);
    assert_eq!(publish_all(&channel, &["nobody there"]), ["basic.ack 1"]);
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
    let consumer = channel.connection().channel(2);
    consumer.call(&basic::Consume { no_ack: true, ..consume("q", "c") });
    publish_all(&channel, &["1", "2"]);
    assert_eq!(bodies(&consumer, 2), ["1", "2"]);
}

/// Arguments of old that mean nothing any more, and those that are only for clusters, are taken.
#[test]
fn arguments_without_effect_are_taken() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for (argument, value) in [
        ("x-queue-mode", Value::text("lazy")),
        ("x-queue-mode", Value::text("default")),
        ("x-queue-mode", Value::text("foo")),
        ("x-queue-version", Value::I32(1)),
        ("x-queue-version", Value::I32(2)),
        ("x-queue-master-locator", Value::text("min-masters")),
        ("x-queue-leader-locator", Value::text("client-local")),
        ("x-queue-leader-locator", Value::text("balanced")),
        ("x-queue-type", Value::text("")),
        ("x-queue-type", Value::text("undefined")),
        ("x-never-heard-of", Value::I32(1)),
    ] {
        let arguments = table([(argument, value)]);
        let q = queue::Declare { arguments: arguments.as_table(), ..declare("q") };
        assert_eq!(channel.call(&q), "queue.declare-ok q 0 0", "{argument}");
        channel.call(&leveret_tests::delete("q"));
    }
}
