//! How many unacknowledged deliveries a consumer or a channel may have.

use leveret_tests::codec::basic;
use leveret_tests::{Broker, Channel, ack, consume, declare, get, nack, passive, qos};

use crate::{bodies, check};

#[test]
fn the_limit_holds_for_each_consumer() {
    let broker = Broker::start();
    let channel = with_backlog(&broker, 6);
    channel.call(&qos(2));
    channel.call(&consume("q", "a"));
    assert_eq!(bodies(&channel, 2), ["1", "2"]);
    channel.call(&consume("q", "b"));
    assert_eq!(bodies(&channel, 2), ["3", "4"]);
    // No more until one is settled, and then to the one that has room.
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 2 2");
    channel.send(&ack(3));
    assert_eq!(channel.recv(), "basic.deliver b 5 '' q: 5");
    channel.send(&nack(1));
    assert_eq!(channel.recv(), "basic.deliver a 6 redelivered '' q: 1");
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 1 2");
}

#[test]
fn a_new_limit_is_for_new_consumers() {
    let broker = Broker::start();
    let channel = with_backlog(&broker, 10);
    channel.call(&qos(1));
    channel.call(&consume("q", "a"));
    assert_eq!(bodies(&channel, 1), ["1"]);
    channel.call(&qos(3));
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 9 1");
    channel.call(&consume("q", "b"));
    assert_eq!(bodies(&channel, 3), ["2", "3", "4"]);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 6 2");
    // None for the third.
    channel.call(&qos(0));
    channel.call(&consume("q", "c"));
    assert_eq!(bodies(&channel, 6), ["5", "6", "7", "8", "9", "10"]);
}

#[test]
fn multiple_acknowledges_make_room_for_as_many() {
    let broker = Broker::start();
    let channel = with_backlog(&broker, 10);
    channel.call(&qos(4));
    channel.call(&consume("q", "c"));
    assert_eq!(bodies(&channel, 4), ["1", "2", "3", "4"]);
    channel.send(&basic::Ack { delivery_tag: 3, multiple: true });
    assert_eq!(bodies(&channel, 3), ["5", "6", "7"]);
    channel.send(&basic::Ack { delivery_tag: 0, multiple: true });
    assert_eq!(bodies(&channel, 3), ["8", "9", "10"]);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 1");
}

/// RabbitMQ 4.3 takes it for a limit of each consumer; before, and here, the channel shares it.
#[test]
fn a_global_limit_is_shared_by_the_channel() {
    let broker = Broker::start();
    let channel = with_backlog(&broker, 6);
    channel.call(&basic::Qos { global: true, ..qos(3) });
    channel.call(&consume("q", "a"));
    assert_eq!(bodies(&channel, 3), ["1", "2", "3"]);
    channel.call(&consume("q", "b"));
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 3 2");
    channel.send(&ack(1));
    assert_eq!(bodies(&channel, 1), ["4"]);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 2 2");
    // Changed, it counts for those that are there, before or after the answer.
    channel.send(&basic::Qos { global: true, ..qos(0) });
    let answers = channel.recv_many(3);
    let mut others = answers.iter().filter(|answer| **answer != "basic.qos-ok");
    assert_eq!(others.next().unwrap().body(), b"5");
    assert_eq!(others.next().unwrap().body(), b"6");
    assert!(others.next().is_none(), "{answers:?}");
}

#[test]
fn both_limits_hold_together() {
    let broker = Broker::start();
    let channel = with_backlog(&broker, 10);
    channel.call(&qos(3));
    channel.call(&basic::Qos { global: true, ..qos(5) });
    channel.call(&consume("q", "a"));
    assert_eq!(bodies(&channel, 3), ["1", "2", "3"]);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 7 1");
    channel.call(&consume("q", "b"));
    assert_eq!(bodies(&channel, 2), ["4", "5"]);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 5 2");
}

#[test]
fn limits_are_for_acknowledging_consumers() {
    let broker = Broker::start();
    let channel = with_backlog(&broker, 5);
    channel.call(&qos(1));
    channel.call(&basic::Consume { no_ack: true, ..consume("q", "c") });
    assert_eq!(bodies(&channel, 5), ["1", "2", "3", "4", "5"]);
}

#[test]
fn get_is_not_limited() {
    let broker = Broker::start();
    let channel = with_backlog(&broker, 3);
    channel.call(&qos(1));
    channel.call(&consume("q", "c"));
    assert_eq!(bodies(&channel, 1), ["1"]);
    check(
        &channel,
        &[(&get("q"), "basic.get-ok 2 '' q 1: 2"), (&get("q"), "basic.get-ok 3 '' q 0: 3")],
    );
}

/// Until enough is settled, without the consumer asking over and over.
#[test]
fn a_lowered_global_limit_holds_back() {
    let broker = Broker::start();
    let channel = with_backlog(&broker, 8);
    channel.call(&basic::Qos { global: true, ..qos(4) });
    channel.call(&consume("q", "c"));
    assert_eq!(bodies(&channel, 4), ["1", "2", "3", "4"]);
    assert_eq!(channel.call(&basic::Qos { global: true, ..qos(2) }), "basic.qos-ok");
    channel.send(&basic::Ack { delivery_tag: 2, multiple: true });
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 4 1");
    channel.send(&ack(3));
    assert_eq!(channel.recv(), "basic.deliver c 5 '' q: 5");
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 3 1");
}

/// Neither before nor after it is settled.
#[test]
fn what_was_got_counts_in_no_limit() {
    let broker = Broker::start();
    let channel = with_backlog(&broker, 7);
    channel.call(&basic::Qos { global: true, ..qos(2) });
    for tag in 1..=2 {
        assert_eq!(channel.call(&get("q")).delivery_tag(), tag);
    }
    channel.call(&consume("q", "c"));
    assert_eq!(bodies(&channel, 2), ["3", "4"]);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 3 1");
    channel.send(&ack(1));
    channel.send(&ack(2));
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 3 1");
    channel.send(&ack(3));
    assert_eq!(bodies(&channel, 1), ["5"]);
    assert_eq!(channel.call(&get("q")), "basic.get-ok 6 '' q 1: 6");
    channel.send(&basic::Ack { delivery_tag: 6, multiple: true });
    assert_eq!(bodies(&channel, 1), ["7"]);
}

#[test]
fn a_limit_in_bytes_is_not_implemented() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    assert_eq!(
        channel.call(&basic::Qos { prefetch_size: 10, ..qos(0) }),
        "connection.close 540 basic.qos NOT_IMPLEMENTED - prefetch_size!=0 (10)"
    );
}

/// A channel with the queue `q` and messages `1`, `2` and so on in it.
fn with_backlog(broker: &Broker, count: usize) -> Channel {
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for number in 1..=count {
        channel.publish("", "q", number.to_string());
    }
    channel
}
