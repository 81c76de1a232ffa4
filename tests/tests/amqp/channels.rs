//! The life of channels.

use leveret_tests::codec::queue;
use leveret_tests::{Broker, declare, passive, qos};

#[test]
fn an_error_closes_the_channel_alone() {
    let broker = Broker::start();
    let connection = broker.connect();
    let (one, two) = (connection.channel(1), connection.channel(2));
    assert_eq!(
        one.call(&passive("q")),
        "channel.close 404 queue.declare NOT_FOUND - no queue 'q' in vhost '/'"
    );
    assert_eq!(two.call(&declare("q")), "queue.declare-ok q 0 0");
    one.reopen();
    assert_eq!(one.call(&passive("q")), "queue.declare-ok q 0 0");
}

#[test]
fn a_closed_channel_discards_until_close_ok() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    assert!(channel.call(&passive("q")).starts_with("channel.close 404 "));
    // A publish with its content, a method that would be answered and one that would fail.
    channel.publish("no such exchange", "", "body");
    channel.send(&qos(1));
    channel.send(&queue::Declare { nowait: true, ..passive("q") });
    channel.reopen();
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
}
