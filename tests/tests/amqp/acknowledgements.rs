//! Settling deliveries: what goes, what comes back, and where in the queue.

use leveret_tests::codec::basic;
use leveret_tests::{
    Broker, Channel, ack, consume, declare, eventually, get, nack, passive, qos, reject,
};

use crate::{bodies, check};

#[test]
fn unknown_tags_close_the_channel() {
    let broker = Broker::start();
    let channel = with_messages(&broker, &["a", "b", "c"]);
    let unknown = |method: &str, tag: u64| {
        format!("channel.close 406 {method} PRECONDITION_FAILED - unknown delivery tag {tag}")
    };
    check(
        &channel,
        &[
            (&ack(99), &unknown("basic.ack", 99)),
            (&nack(99), &unknown("basic.nack", 99)),
            (&reject(99), &unknown("basic.reject", 99)),
            (&ack(0), &unknown("basic.ack", 0)),
            (&nack(0), &unknown("basic.nack", 0)),
            (&reject(0), &unknown("basic.reject", 0)),
            (&basic::Ack { delivery_tag: 9, multiple: true }, &unknown("basic.ack", 9)),
        ],
    );

    // Settled is unknown.
    channel.call(&get("q"));
    channel.send(&ack(1));
    check(&channel, &[(&ack(1), &unknown("basic.ack", 1))]);

    // Also as the end of a range in which others are open.
    channel.call(&get("q"));
    channel.call(&get("q"));
    channel.send(&ack(2));
    check(&channel, &[(&basic::Ack { delivery_tag: 2, multiple: true }, &unknown("basic.ack", 2))]);

    // Tags are the channel's own.
    let connection = channel.connection();
    let other = connection.channel(2);
    other.call(&get("q"));
    check(&channel, &[(&ack(1), &unknown("basic.ack", 1))]);
}

/// Zero with `multiple` means all there are, and none is fine.
#[test]
fn zero_settles_all() {
    let broker = Broker::start();
    let channel = with_messages(&broker, &["a", "b", "c"]);
    channel.send(&basic::Ack { delivery_tag: 0, multiple: true });
    channel.send(&basic::Nack { delivery_tag: 0, multiple: true, requeue: true });
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 2: a");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 2 '' q 1: b");
    channel.send(&basic::Nack { delivery_tag: 0, multiple: true, requeue: true });
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 3 redelivered '' q 2: a"),
            (&get("q"), "basic.get-ok 4 redelivered '' q 1: b"),
            (&get("q"), "basic.get-ok 5 '' q 0: c"),
        ],
    );
    channel.send(&basic::Ack { delivery_tag: 0, multiple: true });
    channel.close();
    let channel = channel.connection().channel(1);
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
}

#[test]
fn a_range_settles_across_queues() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for queue in ["q1", "q2", "q3"] {
        channel.call(&declare(queue));
        channel.publish("", queue, queue);
        channel.call(&get(queue));
    }
    channel.send(&basic::Ack { delivery_tag: 2, multiple: true });
    channel.close();
    check(
        &channel.connection().channel(1),
        &[
            (&get("q1"), "basic.get-empty"),
            (&get("q2"), "basic.get-empty"),
            (&get("q3"), "basic.get-ok 1 redelivered '' q3 0: q3"),
        ],
    );
}

#[test]
fn requeued_messages_return_to_their_place() {
    let broker = Broker::start();
    let channel = with_messages(&broker, &["a", "b", "c", "d", "e"]);
    for tag in 1..=3 {
        channel.call(&get("q"));
        assert_eq!(channel.call(&passive("q")), format!("queue.declare-ok q {} 0", 5 - tag));
    }
    // In an order that is not the queue's, by both methods.
    channel.send(&reject(3));
    channel.send(&nack(1));
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 4 redelivered '' q 3: a"),
            (&get("q"), "basic.get-ok 5 redelivered '' q 2: c"),
            (&get("q"), "basic.get-ok 6 '' q 1: d"),
        ],
    );
    channel.send(&nack(2));
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 7 redelivered '' q 1: b"),
            (&get("q"), "basic.get-ok 8 '' q 0: e"),
        ],
    );
    channel.send(&basic::Nack { delivery_tag: 8, multiple: true, requeue: true });
    channel.call(&consume("q", "c"));
    for (tag, line) in
        (9..).zip(["redelivered '' q: a", "redelivered '' q: b", "redelivered '' q: c"])
    {
        assert_eq!(channel.recv(), format!("basic.deliver c {tag} {line}"));
    }
    assert_eq!(bodies(&channel, 2), ["d", "e"]);
}

#[test]
fn rejected_messages_are_gone() {
    let broker = Broker::start();
    let channel = with_messages(&broker, &["a", "b", "c", "d"]);
    for _ in 0..4 {
        channel.call(&get("q"));
    }
    channel.send(&basic::Reject { requeue: false, ..reject(1) });
    channel.send(&basic::Nack { delivery_tag: 3, multiple: true, requeue: false });
    channel.send(&ack(4));
    channel.close();
    let channel = channel.connection().channel(1);
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
}

/// A requeued message goes to whoever is next, also to the consumer that gave it back.
#[test]
fn a_lone_consumer_gets_its_own_back() {
    let broker = Broker::start();
    let channel = with_messages(&broker, &["a"]);
    channel.call(&consume("q", "c"));
    assert_eq!(channel.recv(), "basic.deliver c 1 '' q: a");
    for tag in 2..=5 {
        channel.send(&nack(tag - 1));
        assert_eq!(channel.recv(), format!("basic.deliver c {tag} redelivered '' q: a"));
    }
}

#[test]
fn recover_puts_all_back() {
    let broker = Broker::start();
    let channel = with_messages(&broker, &["a", "b", "c"]);
    for _ in 0..3 {
        channel.call(&get("q"));
    }
    channel.send(&ack(2));
    check(
        &channel,
        &[
            (&basic::Recover { requeue: true }, "basic.recover-ok"),
            (&get("q"), "basic.get-ok 4 redelivered '' q 1: a"),
        ],
    );
    channel.send(&basic::RecoverAsync { requeue: true });
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 5 redelivered '' q 1: a"),
            (&get("q"), "basic.get-ok 6 redelivered '' q 0: c"),
            (
                &basic::Recover { requeue: false },
                "connection.close 540 basic.recover NOT_IMPLEMENTED - requeue=false",
            ),
        ],
    );
}

#[test]
fn a_closed_channel_gives_back_in_order() {
    let broker = Broker::start();
    let channel = with_messages(&broker, &["a", "b", "c", "d", "e"]);
    channel.call(&qos(3));
    channel.call(&consume("q", "c"));
    assert_eq!(bodies(&channel, 3), ["a", "b", "c"]);
    channel.send(&ack(2));
    assert_eq!(bodies(&channel, 1), ["d"]);
    channel.close();
    check(
        &channel.connection().channel(1),
        &[
            (&get("q"), "basic.get-ok 1 redelivered '' q 3: a"),
            (&get("q"), "basic.get-ok 2 redelivered '' q 2: c"),
            (&get("q"), "basic.get-ok 3 redelivered '' q 1: d"),
            (&get("q"), "basic.get-ok 4 '' q 0: e"),
        ],
    );
}

/// Also by an error.
#[test]
fn a_failed_channel_gives_back() {
    let broker = Broker::start();
    let channel = with_messages(&broker, &["a"]);
    channel.call(&get("q"));
    assert!(channel.call(&get("missing")).starts_with("channel.close 404 "));
    channel.reopen();
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 redelivered '' q 0: a");
}

#[test]
fn a_lost_connection_gives_back_in_order() {
    let broker = Broker::start();
    let waiting = broker.connect().channel(1);
    let lost = with_messages(&broker, &["a", "b", "c"]);
    for _ in 0..2 {
        lost.call(&get("q"));
    }
    drop(lost);
    eventually(|| waiting.call(&passive("q")) == "queue.declare-ok q 3 0");
    waiting.call(&consume("q", "c"));
    assert_eq!(waiting.recv(), "basic.deliver c 1 redelivered '' q: a");
    assert_eq!(waiting.recv(), "basic.deliver c 2 redelivered '' q: b");
    assert_eq!(waiting.recv(), "basic.deliver c 3 '' q: c");
}

/// To a consumer that waits for them, at once.
#[test]
fn a_lost_connection_hands_over() {
    let broker = Broker::start();
    let lost = with_messages(&broker, &["a", "b"]);
    lost.call(&consume("q", "lost"));
    lost.recv_many(2);
    let heir = broker.connect().channel(1);
    heir.call(&consume("q", "heir"));
    drop(lost);
    assert_eq!(heir.recv(), "basic.deliver heir 1 redelivered '' q: a");
    assert_eq!(heir.recv(), "basic.deliver heir 2 redelivered '' q: b");
}

/// A channel with the queue `q` and these messages in it.
fn with_messages(broker: &Broker, messages: &[&str]) -> Channel {
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for body in messages {
        channel.publish("", "q", body);
    }
    channel
}
