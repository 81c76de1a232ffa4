//! Queues with priorities, and queues with a single active consumer.

use leveret_tests::codec::{Properties, Value, basic, queue};
use leveret_tests::{
    Broker, ack, cancel, consume, declare, get, nack, passive, publish, qos, table,
};

use crate::check;

fn with_priority(priority: Option<u8>) -> Properties<'static> {
    Properties { priority, ..Properties::default() }
}

#[test]
fn the_highest_priority_comes_first() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([("x-max-priority", Value::I32(5))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    let published = [
        (None, "none"),
        (Some(0), "0"),
        (Some(3), "3"),
        (Some(9), "9"),
        (Some(5), "5"),
        (Some(1), "1"),
    ];
    for (priority, body) in published {
        channel.publish_with(&publish("", "q"), &with_priority(priority), body.as_bytes());
    }
    // Above the maximum counts as the maximum, none as 0; in order among equals.
    for (tag, body) in (1..).zip(["9", "5", "3", "1", "none", "0"]) {
        assert_eq!(channel.call(&get("q")), format!("basic.get-ok {tag} '' q {}: {body}", 6 - tag));
    }
    // Back at their places, whatever the order of their return.
    for tag in [5, 2, 6, 4] {
        channel.send(&nack(tag));
    }
    channel.publish_with(&publish("", "q"), &with_priority(Some(5)), b"new");
    for (tag, body) in (7..).zip(["5", "new", "1", "none", "0"]) {
        let answer = channel.call(&get("q"));
        let again = if body == "new" { "" } else { "redelivered " };
        assert_eq!(answer, format!("basic.get-ok {tag} {again}'' q {}: {body}", 11 - tag));
    }
}

/// The head of the queue is what would be delivered next, so the more important goes first.
#[test]
fn the_head_gives_way_whatever_its_priority() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([("x-max-priority", Value::I32(5)), ("x-max-length", Value::I32(2))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    for (priority, body) in [(5, "high"), (1, "low"), (0, "lowest")] {
        channel.publish_with(&publish("", "q"), &with_priority(Some(priority)), body.as_bytes());
    }
    check(
        &channel,
        &[(&get("q"), "basic.get-ok 1 '' q 1: low"), (&get("q"), "basic.get-ok 2 '' q 0: lowest")],
    );
}

/// A purge takes all levels, and the queue goes on.
#[test]
fn a_queue_with_priorities_is_purged() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([("x-max-priority", Value::I32(255))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    for priority in [0, 9, 200, 255] {
        channel.publish_with(&publish("", "q"), &with_priority(Some(priority)), b"x");
    }
    check(
        &channel,
        &[
            (&leveret_tests::purge("q"), "queue.purge-ok 4"),
            (&get("q"), "basic.get-empty"),
            (&consume("q", "c"), "basic.consume-ok c"),
        ],
    );
    channel.publish_with(&publish("", "q"), &with_priority(Some(7)), b"next");
    assert_eq!(channel.recv(), "basic.deliver c 1 '' q: next");
}

#[test]
fn without_the_argument_priorities_mean_nothing() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for (priority, body) in [(1, "low"), (9, "high")] {
        channel.publish_with(&publish("", "q"), &with_priority(Some(priority)), body.as_bytes());
    }
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 1: low");
}

#[test]
fn one_consumer_is_active_until_it_leaves() {
    let broker = Broker::start();
    let connection = broker.connect();
    let publisher = connection.channel(9);
    let arguments = table([("x-single-active-consumer", Value::Bool(true))]);
    publisher.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    let (first, second) = (connection.channel(1), connection.channel(2));
    let third = broker.connect();
    let last = third.channel(1);
    for (channel, tag, priority) in [(&first, "a", 0), (&last, "c", 1), (&second, "b", 2)] {
        channel.call(&qos(1));
        // A higher priority doesn't drive the active one away, it comes next.
        let arguments = table([("x-priority", Value::I32(priority))]);
        let consume = basic::Consume { arguments: arguments.as_table(), ..consume("q", tag) };
        assert_eq!(channel.call(&consume), format!("basic.consume-ok {tag}"));
    }
    for body in ["1", "2", "3", "4"] {
        publisher.publish("", "q", body);
    }
    assert_eq!(first.recv(), "basic.deliver a 1 '' q: 1");
    // The others get nothing though the active one has no credit.
    assert_eq!(publisher.call(&passive("q")), "queue.declare-ok q 3 3");
    first.send(&ack(1));
    assert_eq!(first.recv(), "basic.deliver a 2 '' q: 2");
    // What it holds stays with it, and the next one takes over.
    assert_eq!(first.call(&cancel("a")), "basic.cancel-ok a");
    assert_eq!(second.recv(), "basic.deliver b 1 '' q: 3");
    first.send(&nack(2));
    second.close();
    assert_eq!(last.recv(), "basic.deliver c 1 redelivered '' q: 2");
    last.send(&ack(1));
    assert_eq!(last.recv(), "basic.deliver c 2 redelivered '' q: 3");
}

#[test]
fn single_active_consumers_are_not_exclusive() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([("x-single-active-consumer", Value::Bool(true))]);
    let exclusive = basic::Consume { exclusive: true, ..consume("q", "c") };
    let refused = "channel.close 403 basic.consume ACCESS_REFUSED - queue 'q' in vhost '/' in \
                   exclusive use";
    check(
        &channel,
        &[
            (
                &queue::Declare { arguments: arguments.as_table(), ..declare("q") },
                "queue.declare-ok q 0 0",
            ),
            (&exclusive, refused),
            (&get("q"), "basic.get-empty"),
            (&consume("q", "c"), "basic.consume-ok c"),
        ],
    );
}
