//! Messages and queues that go because time passes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use leveret_tests::codec::{Properties, Value, basic, queue};
use leveret_tests::{
    Broker, Channel, cancel, confirm_select, consume, declare, eventually, get, nack, passive,
    publish, qos, table,
};

#[test]
fn messages_expire_unasked() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([("x-message-ttl", Value::I32(50))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    channel.call(&confirm_select());
    for (number, body) in (1..).zip(["1", "2", "3"]) {
        channel.publish("", "q", body);
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
    }
    eventually(|| channel.call(&passive("q")) == "queue.declare-ok q 0 0");
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
}

/// RabbitMQ has it count until it gets to the head.
#[test]
fn a_message_expires_behind_one_that_does_not() {
    let Some(broker) = Broker::own("RabbitMQ only looks at the head") else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "stays");
    let short = Properties { expiration: Some(b"50"), ..Properties::default() };
    channel.publish_with(&publish("", "q"), &short, b"goes");
    eventually(|| channel.call(&passive("q")) == "queue.declare-ok q 1 0");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: stays");
}

#[test]
fn without_time_to_live_only_a_waiting_consumer_gets_it() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    let none = Properties { expiration: Some(b"0"), ..Properties::default() };
    channel.publish_with(&publish("", "q"), &none, b"1");
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
    channel.call(&consume("q", "c"));
    channel.publish_with(&publish("", "q"), &none, b"2");
    assert_eq!(channel.recv(), "basic.deliver c 1 '' q: 2");
    // Given back, it has had its time, also for who still waits.
    for tag in 1..100 {
        channel.send(&nack(tag));
        assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 1");
        channel.publish_with(&publish("", "q"), &none, b"2");
        assert_eq!(channel.recv(), format!("basic.deliver c {} '' q: 2", tag + 1));
    }
}

/// The shorter of the queue's time and its own counts, and what is delivered still names its own.
#[test]
fn the_shorter_time_to_live_counts() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let (short, long) = (Value::I32(30), Value::I32(3_600_000));
    for (queue, ttl) in [("short", short), ("long", long)] {
        let arguments = table([("x-message-ttl", ttl)]);
        channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare(queue) });
    }
    let expiring =
        |expiration| Properties { expiration: Some(expiration), ..Properties::default() };
    channel.publish_with(&publish("", "short"), &expiring(b"3600000"), b"x");
    channel.publish_with(&publish("", "long"), &expiring(b"30"), b"x");
    for queue in ["short", "long"] {
        let empty = format!("queue.declare-ok {queue} 0 0");
        eventually(|| channel.call(&passive(queue)) == empty);
    }
    channel.publish_with(&publish("", "long"), &expiring(b"60000"), b"x");
    let delivery = channel.call(&get("long"));
    assert_eq!(delivery, "basic.get-ok 1 '' long 0: x");
    assert_eq!(delivery.properties().expiration, Some(&b"60000"[..]));
}

/// It doesn't get a new time with each delivery.
#[test]
fn what_comes_back_keeps_its_deadline() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    let begin = Instant::now();
    let short = Properties { expiration: Some(b"300"), ..Properties::default() };
    channel.publish_with(&publish("", "q"), &short, b"x");
    let mut returns = 0;
    loop {
        let answer = channel.call(&get("q"));
        if answer == "basic.get-empty" {
            break;
        }
        channel.send(&nack(answer.delivery_tag()));
        returns += 1;
        assert!(begin.elapsed() < leveret_tests::PATIENCE, "it comes back for ever");
    }
    // The broker counts in whole milliseconds.
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(298), "{took:?}, after {returns} returns");
}

#[test]
fn unused_queues_expire() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    for (queue, expires) in [("unused", 50), ("used", 1000)] {
        let arguments = table([("x-expires", Value::I32(expires))]);
        channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare(queue) });
    }
    channel.call(&consume("used", "c"));
    await_end(&channel, "unused");
    assert_eq!(channel.call(&passive("used")), "queue.declare-ok used 0 1");
    channel.call(&cancel("c"));
    await_end(&channel, "used");
    assert_eq!(
        channel.call(&passive("used")),
        "channel.close 404 queue.declare NOT_FOUND - no queue 'used' in vhost '/'"
    );
}

/// The last word of the consumer was long ago; what counts is when it left.
#[test]
fn a_lost_consumer_kept_its_queue_until_it_was_lost() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let consuming = broker.connect();
    let arguments = table([("x-expires", Value::I32(1000))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    consuming.channel(1).call(&consume("q", "c"));
    sleep(Duration::from_millis(1100));
    drop(consuming);
    // Enough to notice the loss and to look at the queue, and well before it is due.
    sleep(Duration::from_millis(200));
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
}

#[test]
fn whoever_asks_keeps_a_queue_from_expiring() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([("x-expires", Value::I32(1000))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1500) {
        assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
        assert_eq!(channel.call(&get("q")), "basic.get-empty");
    }
    await_end(&channel, "q");
}

/// Waits until a queue is gone without using it: a publish is no use.
fn await_end(channel: &Channel, queue: &str) {
    let publish = basic::Publish { mandatory: true, ..publish("", queue) };
    eventually(|| {
        channel.publish_with(&publish, &Properties::default(), b"");
        if channel.call(&qos(0)) == "basic.qos-ok" {
            return false;
        }
        // What came first was the message.
        assert_eq!(channel.recv(), "basic.qos-ok");
        true
    });
}
