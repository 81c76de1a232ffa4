//! Publisher confirms: one answer for each publish, and what it means.

use leveret_tests::codec::{Method, Properties, Value, basic, confirm, exchange, queue, tx};
use leveret_tests::{
    Broker, Channel, Unconfirmed, bind, confirm_select, consume, declare, declare_exchange, delete,
    passive, publish, purge, qos, table,
};

use crate::check;

#[test]
fn select_may_be_repeated() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    check(
        &channel,
        &[(&confirm_select(), "confirm.select-ok"), (&confirm_select(), "confirm.select-ok")],
    );
    channel.send(&confirm::Select { nowait: true });
    channel.publish("", "nowhere", "x");
    assert_eq!(channel.recv(), "basic.ack 1");
}

#[test]
fn numbers_start_at_the_first_publish_after_select() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "before");
    channel.call(&confirm_select());
    for number in 1..=3 {
        channel.publish("", "q", "x");
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
    }
    assert_eq!(channel.call(&purge("q")), "queue.purge-ok 4");
}

#[test]
fn each_channel_counts_for_itself() {
    let broker = Broker::start();
    let connection = broker.connect();
    for number in 1..=3 {
        let channel = connection.channel(number);
        channel.call(&confirm_select());
        channel.publish("", "nowhere", "x");
        assert_eq!(channel.recv(), "basic.ack 1");
    }
    // And from the start again when the number is used anew.
    connection.unopened(2).close();
    let channel = connection.channel(2);
    channel.publish("", "nowhere", "x");
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
    channel.call(&confirm_select());
    channel.publish("", "nowhere", "x");
    assert_eq!(channel.recv(), "basic.ack 1");
}

#[test]
fn a_returned_message_is_returned_before_it_is_confirmed() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    let mandatory = basic::Publish { mandatory: true, ..publish("", "nowhere") };
    for number in 1..=3 {
        channel.publish_with(&mandatory, &Properties::default(), b"x");
        assert_eq!(channel.recv(), "basic.return 312 NO_ROUTE '' nowhere: x");
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
    }
}

/// Durable or not, persistent or not, to none, one or several queues.
#[test]
fn every_publish_is_confirmed_once() {
    const COUNT: u64 = 2000;
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&exchange::Declare { durable: true, ..declare_exchange("x", "fanout") });
    for number in 0..3 {
        let name = format!("durable {number}");
        channel.call(&queue::Declare { durable: true, ..declare(&name) });
        channel.call(&bind(&name, "x", ""));
    }
    channel.call(&declare("transient"));
    channel.call(&bind("transient", "x", ""));
    channel.call(&confirm_select());
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
    for number in 0..COUNT {
        let (exchange, key) = [("x", ""), ("", "durable 0"), ("", "transient"), ("", "nowhere")]
            [usize::try_from(number % 4).unwrap()];
        let properties = if number % 3 == 0 { Properties::default() } else { persistent };
        channel.publish_with(&publish(exchange, key), &properties, &number.to_be_bytes());
    }
    let frames = await_confirms(&channel, COUNT);
    assert!(frames <= COUNT, "{frames}");
    assert_eq!(channel.call(&passive("durable 0")), "queue.declare-ok durable 0 1000 0");
    assert_eq!(channel.call(&passive("durable 2")), "queue.declare-ok durable 2 500 0");
    assert_eq!(channel.call(&passive("transient")), "queue.declare-ok transient 1000 0");
}

#[test]
fn confirms_of_a_burst_are_put_together() {
    const COUNT: u64 = 10_000;
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    let mut burst = Vec::new();
    for _ in 0..COUNT {
        publish("", "q").encode_frame(1, &mut burst);
        leveret_tests::codec::encode_content(1, &[0x10, 0, 2], b"x", 131_072, &mut burst);
    }
    channel.connection().send_bytes(&burst);
    let frames = await_confirms(&channel, COUNT);
    assert!(frames < COUNT / 10, "{frames} frames confirm {COUNT} messages");
}

/// What is confirmed is there for everybody.
#[test]
fn a_confirmed_message_is_in_its_queue() {
    let broker = Broker::start();
    let publisher = broker.connect().channel(1);
    let witness = broker.connect().channel(1);
    publisher.call(&queue::Declare { durable: true, ..declare("q") });
    publisher.call(&confirm_select());
    for number in 1..=100 {
        publisher.publish_persistent("q", "x");
        assert_eq!(publisher.recv(), format!("basic.ack {number}"));
        assert_eq!(witness.call(&passive("q")), format!("queue.declare-ok q {number} 0"));
    }
}

/// With the publisher the matter is closed, whatever became of the message.
#[test]
fn what_is_dropped_is_confirmed() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let short = table([("x-max-length", Value::I32(1))]);
    let fleeting = table([("x-message-ttl", Value::I32(0))]);
    for (queue, arguments) in [("short", &short), ("fleeting", &fleeting)] {
        for durable in [false, true] {
            let name = format!("{queue} {durable}");
            let arguments = arguments.as_table();
            channel.call(&queue::Declare { durable, arguments, ..declare(&name) });
        }
    }
    channel.call(&confirm_select());
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
    let mut number = 0;
    for queue in ["short false", "short true", "fleeting false", "fleeting true"] {
        for _ in 0..3 {
            channel.publish_with(&publish("", queue), &persistent, b"x");
            number += 1;
            assert_eq!(channel.recv(), format!("basic.ack {number}"), "{queue}");
        }
    }
}

/// Whatever else is on its way on the channel, select-ok comes before what it begins.
#[test]
fn select_among_deliveries_begins_with_its_answer() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for _ in 0..100 {
        channel.publish("", "q", "x");
    }
    channel.send(&basic::Consume { no_ack: true, ..consume("q", "c") });
    channel.send(&confirm_select());
    channel.publish("", "q", "last");
    let answers: Vec<_> = channel.recv_many(104).iter().map(ToString::to_string).collect();
    let place = |line: &str| answers.iter().position(|answer| answer == line).unwrap();
    assert!(place("basic.consume-ok c") < place("basic.deliver c 1 '' q: x"));
    assert!(place("confirm.select-ok") < place("basic.ack 1"));
    assert!(place("basic.deliver c 100 '' q: x") < place("basic.deliver c 101 '' q: last"));
}

/// Clients that keep a list of what is pending fail when a number is answered twice.
#[test]
fn nacks_of_a_burst_are_covered_by_no_ack() {
    const COUNT: u64 = 2000;
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let full =
        table([("x-max-length", Value::I32(0)), ("x-overflow", Value::text("reject-publish"))]);
    channel.call(&queue::Declare { arguments: full.as_table(), ..declare("full") });
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    let mut burst = Vec::new();
    for number in 1..=COUNT {
        let queue = if number % 7 == 0 { "full" } else { "q" };
        publish("", queue).encode_frame(1, &mut burst);
        leveret_tests::codec::encode_content(1, &[0x10, 0, 2], b"x", 131_072, &mut burst);
    }
    channel.connection().send_bytes(&burst);
    let mut answers = vec![None; usize::try_from(COUNT).unwrap() + 1];
    let mut answered = 0;
    while answered < COUNT {
        let answer = channel.recv();
        let (tag, multiple, is_ack) = match answer.method() {
            Method::BasicAck(ack) => (ack.delivery_tag, ack.multiple, true),
            Method::BasicNack(nack) => (nack.delivery_tag, nack.multiple, false),
            _ => panic!("{answer}"),
        };
        let tag = usize::try_from(tag).unwrap();
        let first = if multiple { 1 } else { tag };
        let mut covered = 0;
        for (number, known) in answers.iter_mut().enumerate().take(tag + 1).skip(first) {
            // A range means those that are pending still.
            if known.is_none() {
                *known = Some(is_ack);
                covered += 1;
            } else {
                assert!(multiple && number < tag, "{number} is answered twice");
            }
        }
        answered += covered;
    }
    for (number, answer) in answers.iter().enumerate().skip(1) {
        assert_eq!(*answer, Some(number % 7 != 0), "{number}");
    }
}

/// The queue is deleted while publishes to it are on their way: they are confirmed all the same.
#[test]
fn a_deleted_queue_leaves_no_publish_unanswered() {
    let broker = Broker::start();
    let publisher = broker.connect().channel(1);
    let deleter = broker.connect().channel(1);
    publisher.call(&queue::Declare { durable: true, ..declare("q") });
    publisher.call(&confirm_select());
    for _ in 0..500 {
        publisher.publish_persistent("q", "x");
    }
    assert!(deleter.call(&delete("q")).starts_with("queue.delete-ok "));
    for _ in 0..500 {
        publisher.publish_persistent("q", "x");
    }
    await_confirms(&publisher, 1000);
}

#[test]
fn confirm_and_tx_exclude_each_other() {
    let broker = Broker::start();
    let connection = broker.connect();
    check(
        &connection.channel(1),
        &[
            (&confirm_select(), "confirm.select-ok"),
            (
                &tx::Select {},
                "channel.close 406 tx.select \
                 PRECONDITION_FAILED - cannot switch from confirm to tx mode",
            ),
        ],
    );
    check(
        &connection.channel(2),
        &[
            (&tx::Select {}, "tx.select-ok"),
            (
                &confirm_select(),
                "channel.close 406 confirm.select \
                 PRECONDITION_FAILED - cannot switch from tx to confirm mode",
            ),
        ],
    );
}

/// Takes confirms until `count` publishes are confirmed, each once; says how many frames it took.
fn await_confirms(channel: &Channel, count: u64) -> u64 {
    let mut unconfirmed = Unconfirmed::default();
    for _ in 0..count {
        unconfirmed.add();
    }
    let mut frames = 0;
    while !unconfirmed.is_empty() {
        unconfirmed.confirm(&channel.recv());
        frames += 1;
    }
    frames
}
