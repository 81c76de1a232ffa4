//! Subscribing, being cancelled, getting single messages, and whose turn it is.

use leveret_tests::codec::{Value, basic};
use leveret_tests::{
    Broker, ack, cancel, consume, declare, delete, eventually, get, nack, passive, qos, table,
};

use crate::{bodies, check};

#[test]
fn consume_ok_comes_before_the_first_delivery() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for number in 1..=5 {
        channel.publish("", "q", number.to_string());
    }
    channel.send(&consume("q", "c"));
    assert_eq!(channel.recv(), "basic.consume-ok c");
    for number in 1..=5 {
        assert_eq!(channel.recv(), format!("basic.deliver c {number} '' q: {number}"));
    }
    channel.publish("", "q", "6");
    assert_eq!(channel.recv(), "basic.deliver c 6 '' q: 6");
}

#[test]
fn the_broker_makes_up_tags() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    let (one, two) = (channel.call(&consume("q", "")), channel.call(&consume("q", "")));
    for answer in [&one, &two] {
        let line = answer.to_string();
        let random = line.strip_prefix("basic.consume-ok amq.ctag-").unwrap();
        assert_eq!(random.len(), 22, "{answer}");
    }
    assert_ne!(one.to_string(), two.to_string());
}

#[test]
fn a_tag_is_used_once_on_a_channel() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    check(
        &channel,
        &[
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&consume("q", "c"), "basic.consume-ok c"),
            (&cancel("c"), "basic.cancel-ok c"),
            (&consume("q", "c"), "basic.consume-ok c"),
        ],
    );
    // On another channel it is another consumer.
    check(&connection.channel(2), &[(&consume("q", "c"), "basic.consume-ok c")]);
    assert_eq!(
        channel.call(&consume("q", "c")),
        "connection.close 530 basic.consume NOT_ALLOWED - attempt to reuse consumer tag 'c'"
    );
}

#[test]
fn bad_subscriptions_are_refused() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([("x-priority", Value::text("high"))]);
    check(
        &channel,
        &[
            (&declare("q"), "queue.declare-ok q 0 0"),
            (
                &consume("missing", "c"),
                "channel.close 404 basic.consume NOT_FOUND - no queue 'missing' in vhost '/'",
            ),
            (
                &get("missing"),
                "channel.close 404 basic.get NOT_FOUND - no queue 'missing' in vhost '/'",
            ),
            (
                &basic::Consume { arguments: arguments.as_table(), ..consume("q", "c") },
                "channel.close 406 basic.consume PRECONDITION_FAILED - invalid arg 'x-priority' \
                 for queue 'q' in vhost '/': \"expected integer, got longstr\"",
            ),
            (&basic::Consume { no_local: true, ..consume("q", "c") }, "basic.consume-ok c"),
        ],
    );
}

/// Of mirrored queues, which are gone; and what nobody has heard of.
#[test]
fn arguments_without_effect_are_taken() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for (argument, value) in
        [("x-cancel-on-ha-failover", Value::Bool(true)), ("x-never-heard-of", Value::I32(1))]
    {
        let arguments = table([(argument, value)]);
        let consume = basic::Consume { arguments: arguments.as_table(), ..consume("q", argument) };
        assert_eq!(channel.call(&consume), format!("basic.consume-ok {argument}"));
    }
}

/// Any integer, of any width.
#[test]
fn priorities_are_any_integers() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for (tag, priority) in [
        ("low", Value::I64(-3_000_000_000)),
        ("high", Value::I64(3_000_000_000)),
        ("mid", Value::I8(1)),
    ] {
        let arguments = table([("x-priority", priority)]);
        let (arguments, no_ack) = (arguments.as_table(), true);
        channel.call(&basic::Consume { arguments, no_ack, ..consume("q", tag) });
    }
    channel.publish("", "q", "x");
    assert_eq!(channel.recv(), "basic.deliver high 1 '' q: x");
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let broker = Broker::start();
    let connection = broker.connect();
    let (one, two) = (connection.channel(1), connection.channel(2));
    let exclusive = basic::Consume { exclusive: true, ..consume("q", "c") };
    let refused = "channel.close 403 basic.consume \
                   ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";
    one.call(&declare("q"));
    check(&one, &[(&exclusive, "basic.consume-ok c")]);
    check(&two, &[(&consume("q", "c"), refused), (&exclusive, refused)]);
    check(&one, &[(&cancel("c"), "basic.cancel-ok c")]);
    check(&two, &[(&consume("q", "c"), "basic.consume-ok c")]);
    check(&one, &[(&exclusive, refused)]);
    // Once the other's channel is closed there is room again.
    two.close();
    eventually(|| {
        let answer = one.call(&exclusive);
        if answer.starts_with("channel.close ") {
            one.reopen();
        }
        answer == "basic.consume-ok c"
    });
}

/// What was delivered stays with the channel; what was not goes to others.
#[test]
fn cancel_keeps_what_was_delivered() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for body in ["a", "b", "c"] {
        channel.publish("", "q", body);
    }
    channel.call(&qos(2));
    channel.call(&consume("q", "c"));
    assert_eq!(bodies(&channel, 2), ["a", "b"]);
    check(
        &channel,
        &[
            (&cancel("c"), "basic.cancel-ok c"),
            (&passive("q"), "queue.declare-ok q 1 0"),
            (&cancel("c"), "basic.cancel-ok c"),
            (&cancel("never heard of"), "basic.cancel-ok never heard of"),
        ],
    );
    channel.send(&ack(1));
    channel.send(&nack(2));
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 3 redelivered '' q 1: b"),
            (&get("q"), "basic.get-ok 4 '' q 0: c"),
        ],
    );
}

#[test]
fn a_cancel_ok_of_the_client_is_ignored() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.send(&basic::CancelOk { consumer_tag: "c" });
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
}

#[test]
fn get_takes_one_at_a_time() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for number in 1..=3 {
        channel.publish("", "q", number.to_string());
    }
    let no_ack = basic::Get { no_ack: true, ..get("q") };
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 1 '' q 2: 1"),
            // Counted among the deliveries, though there is nothing to acknowledge.
            (&no_ack, "basic.get-ok 2 '' q 1: 2"),
            (&get("q"), "basic.get-ok 3 '' q 0: 3"),
            (&get("q"), "basic.get-empty"),
            (&no_ack, "basic.get-empty"),
            (&ack(2), "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 2"),
            (&get("q"), "basic.get-ok 1 redelivered '' q 1: 1"),
            (&get("q"), "basic.get-ok 2 redelivered '' q 0: 3"),
        ],
    );
}

/// Delivered is done: neither the channel's nor the connection's end brings it back.
#[test]
fn without_acknowledgements_delivered_is_done() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "a");
    channel.publish("", "q", "b");
    channel.call(&basic::Consume { no_ack: true, ..consume("q", "c") });
    assert_eq!(bodies(&channel, 2), ["a", "b"]);
    check(
        &channel,
        &[(&ack(1), "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 1")],
    );
    drop((channel, connection));
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
}

#[test]
fn higher_priority_goes_first() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&qos(1));
    for (tag, priority) in
        [("low", Value::I32(-1)), ("high", Value::I64(10)), ("top", Value::I8(11))]
    {
        let arguments = table([("x-priority", priority)]);
        channel.call(&basic::Consume { arguments: arguments.as_table(), ..consume("q", tag) });
    }
    channel.call(&consume("q", "none"));
    for body in ["a", "b", "c", "d", "e"] {
        channel.publish("", "q", body);
    }
    for line in [
        "basic.deliver top 1 '' q: a",
        "basic.deliver high 2 '' q: b",
        "basic.deliver none 3 '' q: c",
        "basic.deliver low 4 '' q: d",
    ] {
        assert_eq!(channel.recv(), line);
    }
    channel.send(&ack(2));
    assert_eq!(channel.recv(), "basic.deliver high 5 '' q: e");
}

/// With nothing else to tell them apart, consumers take turns: nobody is ever more than one message
/// ahead.
#[test]
fn consumers_take_turns() {
    let broker = Broker::start();
    let connection = broker.connect();
    let publisher = connection.channel(9);
    publisher.call(&declare("q"));
    // Two on one channel, one on another, one on another connection.
    let one = connection.channel(1);
    let two = connection.channel(2);
    let three = broker.connect().channel(1);
    for (channel, tag) in [(&one, "a"), (&one, "b"), (&two, "c"), (&three, "d")] {
        channel.call(&consume("q", tag));
    }
    for number in 0..400 {
        publisher.publish("", "q", number.to_string());
    }
    let mut taken: Vec<u32> = Vec::new();
    for (channel, consumers) in [(&one, 2), (&two, 1), (&three, 1)] {
        let numbers: Vec<u32> =
            bodies(channel, 100 * consumers).iter().map(|body| body.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        if consumers == 1 {
            assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] <= 5), "{numbers:?}");
        }
        taken.extend(numbers);
    }
    taken.sort_unstable();
    assert_eq!(taken, (0..400).collect::<Vec<_>>());
}

/// Also when each may hold one message only and acknowledges at once.
#[test]
fn consumers_with_prefetch_take_turns() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&qos(1));
    let tags = ["a", "b", "c"];
    for tag in tags {
        channel.call(&consume("q", tag));
    }
    for number in 0..300 {
        channel.publish("", "q", number.to_string());
    }
    let mut counts = [0; 3];
    for _ in 0..300 {
        let answer = channel.recv();
        let taker = tags
            .iter()
            .position(|tag| answer.starts_with(&format!("basic.deliver {tag} ")))
            .unwrap_or_else(|| panic!("{answer}"));
        counts[taker] += 1;
        channel.send(&ack(answer.delivery_tag()));
    }
    assert_eq!(counts, [100, 100, 100]);
}

/// A queue with both a backlog and consumers that come and go loses nothing and doubles nothing.
#[test]
fn consumers_may_come_and_go() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for number in 0..100 {
        channel.publish("", "q", number.to_string());
    }
    channel.call(&qos(3));
    let mut expected = 0;
    while expected < 100 {
        channel.send(&consume("q", "c"));
        assert_eq!(channel.recv(), "basic.consume-ok c");
        let held = usize::min(3, 100 - expected);
        let deliveries = channel.recv_many(held);
        for delivery in &deliveries {
            assert_eq!(delivery.body(), expected.to_string().as_bytes());
            expected += 1;
        }
        assert_eq!(channel.call(&cancel("c")), "basic.cancel-ok c");
        let delivery_tag = deliveries.last().unwrap().delivery_tag();
        channel.send(&basic::Ack { delivery_tag, multiple: true });
    }
    assert_eq!(channel.call(&delete("q")), "queue.delete-ok 0");
}
