//! What outlives the process, stopped politely or killed.

use leveret_tests::codec::{Properties, Value, basic, exchange, queue};
use leveret_tests::{
    Broker, Channel, ack, bind, bind_exchange, confirm_select, consume, declare, declare_exchange,
    delete, get, passive, publish, table, unbind,
};

use crate::check;

/// Both ways to end the broker.
const ENDS: [fn(&mut Broker); 2] = [
    |broker| {
        broker.terminate();
    },
    |broker| {
        broker.kill9();
    },
];

const WHY: &str = "restarts the broker";

#[test]
fn durable_definitions_outlive_the_process() {
    for end in ENDS {
        let Some(mut broker) = Broker::own(WHY) else { return };
        let channel = broker.connect().channel(1);
        let arguments = table([("alternate-exchange", Value::text("amq.fanout"))]);
        let x = exchange::Declare {
            durable: true,
            arguments: arguments.as_table(),
            ..declare_exchange("x", "topic")
        };
        let internal = exchange::Declare {
            durable: true,
            internal: true,
            auto_delete: true,
            ..declare_exchange("internal", "headers")
        };
        let q_arguments = table([("x-custom", Value::text("kept"))]);
        let q = queue::Declare { durable: true, arguments: q_arguments.as_table(), ..declare("q") };
        let auto = queue::Declare { durable: true, auto_delete: true, ..declare("auto") };
        let definitions: [crate::Case<'_>; 4] = [
            (&x, "exchange.declare-ok"),
            (&internal, "exchange.declare-ok"),
            (&q, "queue.declare-ok q 0 0"),
            (&auto, "queue.declare-ok auto 0 0"),
        ];
        let match_all = table([("x-match", Value::text("all")), ("a", Value::I32(1))]);
        check(&channel, &definitions);
        check(
            &channel,
            &[
                (&bind("q", "x", "k.#"), "queue.bind-ok"),
                (&bind("q", "x", "gone"), "queue.bind-ok"),
                (&unbind("q", "x", "gone"), "queue.unbind-ok"),
                (&bind_exchange("internal", "x", "e2e"), "exchange.bind-ok"),
                (
                    &queue::Bind {
                        arguments: match_all.as_table(),
                        ..bind("auto", "internal", "")
                    },
                    "queue.bind-ok",
                ),
                // These go with the process.
                (&declare_exchange("transient x", "fanout"), "exchange.declare-ok"),
                (&declare("transient q"), "queue.declare-ok transient q 0 0"),
                (&bind("q", "transient x", ""), "queue.bind-ok"),
                (&bind("transient q", "x", "#"), "queue.bind-ok"),
                // And these have gone before.
                (
                    &queue::Declare { durable: true, ..declare("deleted") },
                    "queue.declare-ok deleted 0 0",
                ),
                (&delete("deleted"), "queue.delete-ok 0"),
            ],
        );
        end(&mut broker);
        broker.restart();

        let channel = broker.connect().channel(1);
        check(&channel, &definitions);
        check(
            &channel,
            &[
                (
                    &passive("transient q"),
                    "channel.close 404 queue.declare \
                     NOT_FOUND - no queue 'transient q' in vhost '/'",
                ),
                (
                    &passive("deleted"),
                    "channel.close 404 queue.declare NOT_FOUND - no queue 'deleted' in vhost '/'",
                ),
                (
                    &exchange::Declare { passive: true, ..declare_exchange("transient x", "") },
                    "channel.close 404 exchange.declare \
                     NOT_FOUND - no exchange 'transient x' in vhost '/'",
                ),
            ],
        );
        let headers = table([("a", Value::I32(1))]);
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        channel.publish("x", "k.1", "by topic");
        channel.publish("x", "gone", "by no binding");
        channel.publish_with(&publish("x", "e2e"), &properties, b"by headers");
        check(
            &channel,
            &[
                (&get("q"), "basic.get-ok 1 x k.1 0: by topic"),
                (&get("q"), "basic.get-empty"),
                (&get("auto"), "basic.get-ok 2 x e2e 0: by headers"),
                (&get("auto"), "basic.get-empty"),
            ],
        );
    }
}

#[test]
fn confirmed_persistent_messages_outlive_the_process() {
    for (end, is_clean) in ENDS.into_iter().zip([true, false]) {
        let Some(mut broker) = Broker::own(WHY) else { return };
        let channel = broker.connect().channel(1);
        channel.call(&queue::Declare { durable: true, ..declare("q") });
        channel.call(&exchange::Declare { durable: true, ..declare_exchange("x", "fanout") });
        channel.call(&queue::Declare { durable: true, ..declare("copy") });
        channel.call(&bind("q", "x", ""));
        channel.call(&bind("copy", "x", ""));
        channel.call(&confirm_select());
        let headers = table([("number", Value::I64(7))]);
        let properties = Properties {
            delivery_mode: Some(2),
            headers: Some(headers.as_table()),
            message_id: Some(b"id"),
            ..Properties::default()
        };
        let large: Vec<u8> = (0..=250).cycle().take(300_000).collect();
        for (number, body) in (1..).zip([&b"small"[..], b"", &large]) {
            channel.publish_with(&publish("x", "key"), &properties, body);
            assert_eq!(channel.recv(), format!("basic.ack {number}"));
        }
        // Confirmed is not persistent.
        channel.publish("x", "key", "transient");
        assert_eq!(channel.recv(), "basic.ack 4");
        end(&mut broker);
        broker.restart();

        let channel = broker.connect().channel(1);
        for queue in ["q", "copy"] {
            for body in [&b"small"[..], b"", &large] {
                let answer = channel.call(&get(queue));
                assert!(answer.starts_with("basic.get-ok "), "{answer}");
                // After a crash nobody knows whether it was on its way to somebody.
                let is_redelivered = answer.to_string().contains(" redelivered ");
                assert!(!(is_clean && is_redelivered), "{answer}");
                assert_eq!(answer.body(), body);
                assert_eq!(answer.properties(), properties);
            }
            assert_eq!(channel.call(&get(queue)), "basic.get-empty");
        }
    }
}

/// What was acknowledged is gone, what was delivered comes back as such, in its place.
#[test]
fn unacknowledged_messages_come_back_redelivered() {
    for end in ENDS {
        let Some(mut broker) = Broker::own(WHY) else { return };
        let channel = with_persistent(&broker, &["a", "b", "c", "d"]);
        for _ in 0..3 {
            channel.call(&get("q"));
        }
        channel.send(&ack(2));
        // Answered when the acknowledgement has been dealt with; a clean stop keeps it for sure.
        channel.call(&passive("q"));
        channel.close();
        end(&mut broker);
        broker.restart();

        let channel = broker.connect().channel(1);
        let delivered: Vec<_> = std::iter::from_fn(|| {
            let answer = channel.call(&get("q"));
            answer.starts_with("basic.get-ok ").then_some(answer)
        })
        .collect();
        let bodies: Vec<_> =
            delivered.iter().map(|answer| str::from_utf8(answer.body()).unwrap()).collect();
        // Only kill -9 may lose the acknowledgement of a moment ago.
        let lost_ack = bodies == ["a", "b", "c", "d"];
        assert!(bodies == ["a", "c", "d"] || lost_ack, "{bodies:?}");
    }
}

#[test]
fn a_clean_stop_loses_no_acknowledgement() {
    let Some(mut broker) = Broker::own(WHY) else { return };
    let channel = with_persistent(&broker, &["a", "b", "c", "d", "e"]);
    channel.call(&consume("q", "c"));
    channel.recv_many(4);
    channel.send(&basic::Ack { delivery_tag: 2, multiple: true });
    channel.send(&basic::Reject { delivery_tag: 3, requeue: false });
    // Not answered: the broker has read it before the next, and both before the signal.
    channel.recv_many(1);
    channel.call(&passive("q"));
    broker.terminate();
    broker.restart();

    let channel = broker.connect().channel(1);
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 1 redelivered '' q 1: d"),
            (&get("q"), "basic.get-ok 2 redelivered '' q 0: e"),
            (&get("q"), "basic.get-empty"),
        ],
    );
}

/// The journal has room again, and the definitions are sound, after many lives.
#[test]
fn many_restarts_add_up() {
    let Some(mut broker) = Broker::own(WHY) else { return };
    let channel = with_persistent(&broker, &["first"]);
    drop(channel);
    for round in 0..10 {
        let channel = broker.connect().channel(1);
        channel.call(&confirm_select());
        channel.publish_persistent("q", round.to_string());
        assert_eq!(channel.recv(), "basic.ack 1");
        ENDS[round % 2](&mut broker);
        broker.restart();
    }
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&get("q")).body(), b"first");
    for round in 0..10 {
        assert_eq!(channel.call(&get("q")).body(), round.to_string().as_bytes());
    }
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
}

/// Exclusive queues belong to a connection, and no connection outlives the process.
#[test]
fn exclusive_queues_do_not_outlive_the_process() {
    for end in ENDS {
        let Some(mut broker) = Broker::own(WHY) else { return };
        let channel = broker.connect().channel(1);
        channel.call(&queue::Declare { exclusive: true, durable: true, ..declare("q") });
        channel.call(&confirm_select());
        channel.publish_persistent("q", "x");
        assert_eq!(channel.recv(), "basic.ack 1");
        end(&mut broker);
        broker.restart();
        let channel = broker.connect().channel(1);
        assert_eq!(
            channel.call(&passive("q")),
            "channel.close 404 queue.declare NOT_FOUND - no queue 'q' in vhost '/'"
        );
    }
}

/// A channel and the durable queue `q` with these messages, on disk.
fn with_persistent(broker: &Broker, messages: &[&str]) -> Channel {
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    for (number, body) in (1..).zip(messages) {
        channel.publish_persistent("q", body);
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
    }
    connection.channel(2)
}
