//! Declaring, checking, purging and deleting queues.

use leveret_tests::codec::{Value, queue};
use leveret_tests::{
    Broker, Channel, ack, bind, cancel, confirm_select, consume, declare, delete, eventually, get,
    nack, passive, purge, table, unbind,
};

use crate::check;

#[test]
fn declare_ok_counts_ready_messages_and_consumers() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&confirm_select());
    for (number, body) in (1..).zip(["a", "b", "c"]) {
        channel.publish("", "q", body);
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
    }
    check(
        &channel,
        &[
            (&passive("q"), "queue.declare-ok q 3 0"),
            (&get("q"), "basic.get-ok 1 '' q 2: a"),
            (&declare("q"), "queue.declare-ok q 2 0"),
        ],
    );
    channel.send(&ack(1));
    assert_eq!(channel.call(&consume("q", "c")), "basic.consume-ok c");
    channel.recv_many(2);
    assert_eq!(channel.call(&declare("q")), "queue.declare-ok q 0 1");
}

#[test]
fn a_different_redeclare_is_refused() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let ttl = table([("x-message-ttl", Value::I32(1000))]);
    let ttl_long = table([("x-message-ttl", Value::I64(1000))]);
    let ttl_other = table([("x-message-ttl", Value::I32(2000))]);
    let quorum = table([("x-queue-type", Value::text("quorum"))]);
    let classic = table([("x-queue-type", Value::text("classic"))]);
    let unknown = table([("x-whatever", Value::I32(1))]);
    let q = queue::Declare { durable: true, ..declare("q") };
    let t = queue::Declare { arguments: ttl.as_table(), ..declare("t") };
    let refused = |what: &str| {
        format!("channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg {what}")
    };
    check(
        &channel,
        &[
            (&q, "queue.declare-ok q 0 0"),
            (&q, "queue.declare-ok q 0 0"),
            (
                &queue::Declare { durable: false, ..q },
                &refused(
                    "'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
                ),
            ),
            (
                &queue::Declare { auto_delete: true, ..q },
                &refused(
                    "'auto_delete' for queue 'q' in vhost '/': \
                     received 'true' but current is 'false'",
                ),
            ),
            (
                &queue::Declare { exclusive: true, ..q },
                "channel.close 405 queue.declare RESOURCE_LOCKED - cannot obtain exclusive access \
                 to locked queue 'q' in vhost '/'. It could be originally declared on another \
                 connection or the exclusive property value does not match that of the original \
                 declaration.",
            ),
            (
                &queue::Declare { arguments: ttl.as_table(), ..q },
                &refused(
                    "'x-message-ttl' for queue 'q' in vhost '/': \
                     received the value '1000' of type 'signedint' but current is none",
                ),
            ),
            (
                &queue::Declare { arguments: quorum.as_table(), ..q },
                &refused(
                    "'x-queue-type' for queue 'q' in vhost '/': \
                     received 'quorum' but current is 'classic'",
                ),
            ),
            // Classic is what a queue is without saying so, and unknown arguments do not matter.
            (&queue::Declare { arguments: classic.as_table(), ..q }, "queue.declare-ok q 0 0"),
            (&queue::Declare { arguments: unknown.as_table(), ..q }, "queue.declare-ok q 0 0"),
            // Integers are compared by value.
            (&t, "queue.declare-ok t 0 0"),
            (&queue::Declare { arguments: ttl_long.as_table(), ..t }, "queue.declare-ok t 0 0"),
            (
                &queue::Declare { arguments: ttl_other.as_table(), ..t },
                &refused(
                    "'x-message-ttl' for queue 't' in vhost '/': \
                     received '2000' but current is '1000'",
                ),
            ),
            (
                &declare("t"),
                &refused(
                    "'x-message-ttl' for queue 't' in vhost '/': \
                     received none but current is the value '1000' of type 'signedint'",
                ),
            ),
            // A passive declare compares nothing.
            (&queue::Declare { auto_delete: true, ..passive("q") }, "queue.declare-ok q 0 0"),
        ],
    );
}

/// In Erlang's words, as operators look for them.
#[test]
fn a_difference_names_the_type_of_the_argument() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for (value, shown) in [
        (Value::I8(1), "'1' of type 'byte'"),
        (Value::U8(1), "'1' of type 'unsignedbyte'"),
        (Value::I16(1), "'1' of type 'short'"),
        (Value::U16(1), "'1' of type 'unsignedshort'"),
        (Value::I32(1), "'1' of type 'signedint'"),
        (Value::U32(1), "'1' of type 'unsignedint'"),
        (Value::I64(1), "'1' of type 'long'"),
        (Value::text("1"), "'1' of type 'longstr'"),
        (Value::Bool(true), "'true' of type 'bool'"),
        (Value::Timestamp(1), "'1' of type 'timestamp'"),
    ] {
        let arguments = table([("x-max-length", value)]);
        let q = queue::Declare { arguments: arguments.as_table(), ..declare("q") };
        assert_eq!(
            channel.call(&q),
            format!(
                "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg \
                 'x-max-length' for queue 'q' in vhost '/': received the value {shown} but current \
                 is none"
            )
        );
        channel.reopen();
    }
}

#[test]
fn bad_arguments_are_refused() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for (name, value, reason) in [
        ("x-queue-type", Value::text("foo"), "\"unsupported queue type 'foo'\""),
        ("x-queue-type", Value::I32(1), "{unacceptable_type,signedint}"),
        ("x-message-ttl", Value::text("1"), "\"expected integer, got longstr\""),
        ("x-message-ttl", Value::I32(-1), "{value_negative,-1}"),
        ("x-message-ttl", Value::I64(400_000_000_000), "{value_too_large,400000000000}"),
        ("x-expires", Value::I32(0), "{value_zero,0}"),
        ("x-expires", Value::I32(-1), "{value_negative,-1}"),
        ("x-expires", Value::text("1"), "\"expected integer, got longstr\""),
        ("x-max-length", Value::I32(-1), "{value_negative,-1}"),
        ("x-max-length", Value::text("1"), "\"expected integer, got longstr\""),
        ("x-max-priority", Value::I32(256), "{max_value_exceeded,256}"),
        ("x-max-priority", Value::I32(-1), "{value_negative,-1}"),
        ("x-max-priority", Value::text("1"), "\"expected integer, got longstr\""),
        ("x-overflow", Value::text("foo"), "invalid_overflow"),
        ("x-overflow", Value::I32(1), "{unacceptable_type,signedint}"),
        ("x-single-active-consumer", Value::text("true"), "{unacceptable_type,longstr}"),
    ] {
        let arguments = table([(name, value)]);
        let answer =
            channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
        assert_eq!(
            answer,
            format!(
                "channel.close 406 queue.declare PRECONDITION_FAILED - \
                 invalid arg '{name}' for queue 'q' in vhost '/': {reason}"
            )
        );
        channel.reopen();
    }
    for (name, value) in [
        ("x-delivery-limit", Value::I32(1)),
        ("x-dead-letter-strategy", Value::text("at-most-once")),
        ("x-max-age", Value::text("1h")),
    ] {
        let arguments = table([(name, value)]);
        let answer =
            channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
        assert_eq!(
            answer,
            format!(
                "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg '{name}' \
                 for queue 'q' in vhost '/' of queue type rabbit_classic_queue"
            )
        );
        channel.reopen();
    }
}

/// It asks for what a queue does anyway, and is part of its declaration all the same.
#[test]
fn false_is_a_boolean_too() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let [no, yes] = [false, true].map(|is| table([("x-single-active-consumer", Value::Bool(is))]));
    let q = queue::Declare { arguments: no.as_table(), ..declare("q") };
    check(
        &channel,
        &[
            (&q, "queue.declare-ok q 0 0"),
            (&q, "queue.declare-ok q 0 0"),
            (
                &queue::Declare { arguments: yes.as_table(), ..q },
                "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg \
                 'x-single-active-consumer' for queue 'q' in vhost '/': received 'true' but \
                 current is 'false'",
            ),
            // Both consumers are active.
            (&consume("q", "a"), "basic.consume-ok a"),
            (&consume("q", "b"), "basic.consume-ok b"),
        ],
    );
    for body in ["1", "2"] {
        channel.publish("", "q", body);
    }
    let mut tags: Vec<_> = channel
        .recv_many(2)
        .iter()
        .map(|delivery| delivery.to_string().split(' ').nth(1).unwrap().to_owned())
        .collect();
    tags.sort();
    assert_eq!(tags, ["a", "b"]);
}

#[test]
fn exclusive_queues_are_locked_for_others() {
    let broker = Broker::start();
    let owner = broker.connect().channel(1);
    let exclusive = queue::Declare { exclusive: true, ..declare("q") };
    // Durable or not makes no difference to an exclusive queue.
    let durable = queue::Declare { durable: true, ..exclusive };
    check(
        &owner,
        &[
            (&exclusive, "queue.declare-ok q 0 0"),
            (&durable, "queue.declare-ok q 0 0"),
            (&exclusive, "queue.declare-ok q 0 0"),
            (&bind("q", "amq.direct", "k"), "queue.bind-ok"),
        ],
    );

    let locked = |method: &str| {
        format!(
            "channel.close 405 {method} RESOURCE_LOCKED - cannot obtain exclusive access to locked \
             queue 'q' in vhost '/'. It could be originally declared on another connection or the \
             exclusive property value does not match that of the original declaration."
        )
    };
    check(
        &broker.connect().channel(1),
        &[
            (&declare("q"), &locked("queue.declare")),
            (&exclusive, &locked("queue.declare")),
            (&passive("q"), &locked("queue.declare")),
            (&bind("q", "amq.direct", "k"), &locked("queue.bind")),
            (&unbind("q", "amq.direct", "k"), &locked("queue.unbind")),
            (&purge("q"), &locked("queue.purge")),
            (&delete("q"), &locked("queue.delete")),
            (&get("q"), &locked("basic.get")),
            (&consume("q", "c"), &locked("basic.consume")),
        ],
    );
    // Publishing to it is open to all.
    let other = broker.connect().channel(1);
    other.publish("", "q", "hello");
    assert_eq!(other.call(&declare("barrier")), "queue.declare-ok barrier 0 0");
    assert_eq!(owner.call(&consume("q", "c")), "basic.consume-ok c");
    assert_eq!(owner.recv(), "basic.deliver c 1 '' q: hello");
}

/// One that went before its connection is forgotten: another of its name stays when that ends.
#[test]
fn an_exclusive_queue_that_went_frees_its_name() {
    let broker = Broker::start();
    let (first, second) = (broker.connect(), broker.connect());
    let (owner, heir) = (first.channel(1), second.channel(1));
    let own = queue::Declare { exclusive: true, auto_delete: true, ..declare("q") };
    for way in ["cancelled", "deleted"] {
        check(
            &owner,
            &[(&own, "queue.declare-ok q 0 0"), (&consume("q", "c"), "basic.consume-ok c")],
        );
        if way == "cancelled" {
            assert_eq!(owner.call(&cancel("c")), "basic.cancel-ok c");
            assert_eq!(heir.call(&own), "queue.declare-ok q 0 0");
            assert_eq!(heir.call(&delete("q")), "queue.delete-ok 0");
        } else {
            let answers = [owner.call(&delete("q")), owner.recv()].map(|one| one.to_string());
            assert!(answers.contains(&"queue.delete-ok 0".to_owned()), "{answers:?}");
        }
    }
    assert_eq!(heir.call(&own), "queue.declare-ok q 0 0");
    first.close();
    assert_eq!(heir.call(&passive("q")), "queue.declare-ok q 0 0");
}

#[test]
fn exclusive_queues_go_with_a_lost_connection() {
    let broker = Broker::start();
    let witness = broker.connect().channel(1);
    let owner = broker.connect().channel(1);
    owner.call(&queue::Declare { exclusive: true, durable: true, ..declare("q") });
    drop(owner);
    eventually(|| is_missing(&witness));
}

/// With the last consumer, however it leaves; never before the first.
#[test]
fn auto_delete_follows_the_last_consumer() {
    let broker = Broker::start();
    let witness = broker.connect().channel(1);
    let auto = queue::Declare { auto_delete: true, ..declare("q") };
    let gone = "channel.close 404 queue.declare NOT_FOUND - no queue 'q' in vhost '/'";

    // Cancelled: only by the last of two.
    let connection = broker.connect();
    let channel = connection.channel(1);
    check(
        &channel,
        &[
            (&auto, "queue.declare-ok q 0 0"),
            (&get("q"), "basic.get-empty"),
            (&consume("q", "a"), "basic.consume-ok a"),
            (&consume("q", "b"), "basic.consume-ok b"),
            (&cancel("a"), "basic.cancel-ok a"),
            (&passive("q"), "queue.declare-ok q 0 1"),
            (&cancel("b"), "basic.cancel-ok b"),
            (&passive("q"), gone),
        ],
    );
    // Its channel closed.
    check(
        &channel,
        &[(&auto, "queue.declare-ok q 0 0"), (&consume("q", "a"), "basic.consume-ok a")],
    );
    channel.close();
    eventually(|| is_missing(&witness));
    drop((channel, connection));
    // Its connection lost.
    let channel = broker.connect().channel(1);
    check(
        &channel,
        &[(&auto, "queue.declare-ok q 0 0"), (&consume("q", "a"), "basic.consume-ok a")],
    );
    drop(channel);
    eventually(|| is_missing(&witness));
}

#[test]
fn delete_honours_its_conditions() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let if_unused = queue::Delete { if_unused: true, ..delete("q") };
    let if_empty = queue::Delete { if_empty: true, ..delete("q") };
    channel.call(&declare("q"));
    channel.publish("", "q", "a");
    channel.publish("", "q", "b");
    check(
        &channel,
        &[
            (
                &if_empty,
                "channel.close 406 queue.delete \
                 PRECONDITION_FAILED - queue 'q' in vhost '/' not empty",
            ),
            (&if_unused, "queue.delete-ok 2"),
            (&delete("q"), "queue.delete-ok 0"),
            (&if_unused, "queue.delete-ok 0"),
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&consume("q", "c"), "basic.consume-ok c"),
            (
                &if_unused,
                "channel.close 406 queue.delete \
                 PRECONDITION_FAILED - queue 'q' in vhost '/' in use",
            ),
            (&declare("q"), "queue.declare-ok q 0 0"),
        ],
    );
    // Unacknowledged messages do not count as content.
    channel.publish("", "q", "c");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: c");
    assert_eq!(channel.call(&if_empty), "queue.delete-ok 0");
}

#[test]
fn purge_takes_ready_messages_only() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for body in ["a", "b", "c"] {
        channel.publish("", "q", body);
    }
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 1 '' q 2: a"),
            (&purge("q"), "queue.purge-ok 2"),
            (&purge("q"), "queue.purge-ok 0"),
            (&passive("q"), "queue.declare-ok q 0 0"),
        ],
    );
    channel.send(&nack(1));
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 2 redelivered '' q 0: a"),
            (
                &purge("missing"),
                "channel.close 404 queue.purge NOT_FOUND - no queue 'missing' in vhost '/'",
            ),
        ],
    );
}

fn is_missing(witness: &Channel) -> bool {
    let answer = witness.call(&passive("q"));
    if answer.starts_with("channel.close ") {
        witness.reopen();
    }
    answer == "channel.close 404 queue.declare NOT_FOUND - no queue 'q' in vhost '/'"
}
