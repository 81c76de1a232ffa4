//! The life of channels: opening, errors that close one and leave the rest, closing.

use leveret_tests::codec::{Method, access, basic, channel, confirm, connection, exchange, queue};
use leveret_tests::{
    Broker, Login, ack, bind, bind_exchange, cancel, confirm_select, consume, declare,
    declare_exchange, delete, delete_exchange, get, nack, passive, publish, purge, qos, reject,
    unbind, unbind_exchange,
};

use crate::check;

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
    // A publish with its content, methods that would be answered and one that would fail.
    channel.publish("no such exchange", "", "body");
    channel.send(&qos(1));
    channel.send(&queue::Declare { nowait: true, ..passive("q") });
    channel.reopen();
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
}

/// The error comes while the content of a publish is still on its way.
#[test]
fn a_closed_channel_discards_the_rest_of_a_message() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.send(&passive("q"));
    channel.send(&publish("", "q"));
    assert!(channel.recv().starts_with("channel.close 404 "));
    channel.send_frame(2, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0]);
    channel.send_frame(3, b"body");
    channel.reopen();
    assert_eq!(channel.call(&declare("q")), "queue.declare-ok q 0 0");
}

/// What the client sends before it knows is no second error.
#[test]
fn a_failed_channel_fails_once() {
    let broker = Broker::start();
    let connection = broker.connect();
    let (channel, other) = (connection.channel(1), connection.channel(2));
    channel.call(&declare("q"));
    channel.publish("", "q", "x");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: x");
    channel.send(&passive("missing"));
    channel.send(&passive("missing too"));
    channel.send(&ack(1));
    channel.send(&ack(99));
    channel.send(&nack(1));
    channel.send(&reject(7));
    assert_eq!(
        channel.recv(),
        "channel.close 404 queue.declare NOT_FOUND - no queue 'missing' in vhost '/'"
    );
    assert_eq!(other.call(&qos(1)), "basic.qos-ok");
    channel.reopen();
    // Nor was any of it done.
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 redelivered '' q 0: x");
}

/// The number of a channel that has failed is in use until the client has agreed to that.
#[test]
fn a_failed_channel_is_not_opened_before_close_ok() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    assert!(channel.call(&passive("missing")).starts_with("channel.close 404 "));
    assert_eq!(
        channel.call(&channel::Open {}),
        "connection.close 504 channel.open CHANNEL_ERROR - second 'channel.open' seen"
    );
}

/// No delivery, confirm or answer, however many are on their way.
#[test]
fn nothing_follows_a_close() {
    let broker = Broker::start();
    let publisher = broker.connect().channel(1);
    publisher.call(&declare("q"));
    for round in 0..20 {
        let connection = broker.connect();
        let (channel, other) = (connection.channel(1), connection.channel(2));
        channel.call(&basic::Consume { no_ack: round % 2 == 0, ..consume("q", "c") });
        channel.call(&confirm_select());
        for _ in 0..200 {
            publisher.publish("", "q", "x");
            channel.publish("", "q", "x");
        }
        channel.send(&passive("missing"));
        for _ in 0..200 {
            publisher.publish("", "q", "x");
        }
        while !channel.recv().starts_with("channel.close 404 ") {}
        // Answered when all that was sent before has arrived.
        publisher.call(&qos(0));
        other.send(&qos(1));
        let (number, answer) = connection.recv_any();
        assert_eq!(number, 2, "{answer}");
        assert_eq!(answer, "basic.qos-ok");
        publisher.call(&purge("q"));
    }
}

#[test]
fn a_close_from_both_sides_is_answered() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    assert!(channel.call(&passive("q")).starts_with("channel.close 404 "));
    channel.close();
    channel.send(&channel::CloseOk {});
    assert_eq!(channel.call(&channel::Open {}), "channel.open-ok");
}

#[test]
fn a_number_is_free_again_at_close_ok() {
    let broker = Broker::start();
    let connection = broker.connect();
    for _ in 0..50 {
        let channel = connection.channel(1);
        assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
        channel.close();
    }
}

#[test]
fn a_channel_is_opened_once() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    assert_eq!(
        channel.call(&channel::Open {}),
        "connection.close 504 channel.open CHANNEL_ERROR - second 'channel.open' seen"
    );
}

#[test]
fn a_channel_is_opened_first() {
    let broker = Broker::start();
    assert_eq!(
        broker.connect().unopened(1).call(&qos(1)),
        "connection.close 504 basic.qos CHANNEL_ERROR - expected 'channel.open'"
    );
}

/// It is the number of channels that is limited, not the numbers they have.
#[test]
fn channel_max_counts_channels() {
    let broker = Broker::start();
    let tune = connection::TuneOk { channel_max: 2, frame_max: 131_072, heartbeat: 0 };
    let connection = broker.connect_as(&Login { tune: Some(tune), ..Login::default() }).unwrap();
    let first = connection.channel(100);
    let _second = connection.channel(65_535);
    first.close();
    let _third = connection.channel(1);
    assert_eq!(
        connection.unopened(2).call(&channel::Open {}),
        "connection.close 530 0.0 NOT_ALLOWED - \
         number of channels opened (2) has reached the negotiated channel_max (2)"
    );
}

#[test]
fn flow_is_answered_but_cannot_be_stopped() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&channel::Flow { active: true }), "channel.flow-ok true");
    assert_eq!(
        channel.call(&channel::Flow { active: false }),
        "connection.close 540 channel.flow NOT_IMPLEMENTED - active=false"
    );
}

#[test]
fn tickets_are_handed_out() {
    let broker = Broker::start();
    let request = access::Request {
        realm: "/data",
        exclusive: false,
        passive: true,
        active: true,
        write: true,
        read: true,
    };
    assert_eq!(broker.connect().channel(1).call(&request), "access.request-ok 1");
}

#[test]
fn nowait_silences_success_but_not_errors() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.send(&queue::Declare { nowait: true, ..declare("q") });
    channel.send(&queue::Bind { nowait: true, ..bind("q", "amq.direct", "k") });
    channel.send(&queue::Purge { nowait: true, ..purge("q") });
    channel.send(&basic::Consume { nowait: true, ..consume("q", "c") });
    channel.send(&basic::Cancel { consumer_tag: "c", nowait: true });
    channel.send(&queue::Delete { nowait: true, ..delete("q") });
    channel.send(&exchange::Declare { nowait: true, ..declare_exchange("x", "fanout") });
    channel.send(&exchange::Bind { nowait: true, ..bind_exchange("x", "amq.fanout", "") });
    channel.send(&exchange::Unbind { nowait: true, ..unbind_exchange("x", "amq.fanout", "") });
    channel.send(&exchange::Delete { nowait: true, ..delete_exchange("x") });
    channel.send(&confirm::Select { nowait: true });
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");

    let nowait = queue::Declare { nowait: true, ..passive("q") };
    check(
        &channel,
        &[(&nowait, "channel.close 404 queue.declare NOT_FOUND - no queue 'q' in vhost '/'")],
    );
}

/// An empty queue name stands for the queue declared last on the channel.
#[test]
fn the_last_queue_is_remembered() {
    let broker = Broker::start();
    let connection = broker.connect();
    let (channel, other) = (connection.channel(1), connection.channel(2));
    check(
        &channel,
        &[
            (&declare("one"), "queue.declare-ok one 0 0"),
            (&declare("two"), "queue.declare-ok two 0 0"),
            (&passive("one"), "queue.declare-ok one 0 0"),
            // With an empty key as well, the key is the name.
            (&bind("", "amq.direct", ""), "queue.bind-ok"),
            (&bind("", "amq.direct", "k"), "queue.bind-ok"),
        ],
    );
    channel.publish("amq.direct", "one", "by name");
    channel.publish("amq.direct", "k", "by key");
    check(
        &channel,
        &[
            (&get(""), "basic.get-ok 1 amq.direct one 1: by name"),
            (&purge(""), "queue.purge-ok 1"),
            (&unbind("", "amq.direct", "k"), "queue.unbind-ok"),
            (&consume("", "c"), "basic.consume-ok c"),
            (&cancel("c"), "basic.cancel-ok c"),
            (&delete(""), "queue.delete-ok 0"),
        ],
    );

    let refused =
        |name: &str| format!("channel.close 404 {name} NOT_FOUND - no previously declared queue");
    check(
        &other,
        &[
            (&consume("", "c"), &refused("basic.consume")),
            (&get(""), &refused("basic.get")),
            (&purge(""), &refused("queue.purge")),
            (&delete(""), &refused("queue.delete")),
            (&bind("", "amq.direct", "k"), &refused("queue.bind")),
            (&unbind("", "amq.direct", "k"), &refused("queue.unbind")),
        ],
    );
}

/// What one connection does wrong is nothing to another.
#[test]
fn errors_stay_in_their_connection() {
    let broker = Broker::start();
    let good = broker.connect().channel(1);
    good.call(&declare_exchange("x", "direct"));
    for _ in 0..10 {
        let bad = broker.connect().channel(1);
        assert!(bad.call(&channel::Open {}).starts_with("connection.close 504 "));
        assert_eq!(good.call(&qos(1)), "basic.qos-ok");
    }
}

/// The field has room for 255 bytes.
#[test]
fn long_explanations_are_cut() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let name = "q".repeat(255);
    let answer = channel.call(&passive(&name));
    let Method::ChannelClose(close) = answer.method() else { panic!("{answer}") };
    assert_eq!(close.reply_text.len(), 255);
    assert!(close.reply_text.starts_with("NOT_FOUND - no queue 'qqq"), "{answer}");
    assert!(close.reply_text.ends_with("qqq..."), "{answer}");
}
