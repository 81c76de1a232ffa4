//! A channel that publishes the same again and again is looked at less closely: it must not show.

use leveret_tests::codec::{Properties, basic};
use leveret_tests::{
    Api, Broker, Channel, Login, bind, confirm_select, consume, declare, get, publish, unbind,
};
use serde_json::json;

const MANDATORY: bool = true;

fn publish_thrice(channel: &Channel, exchange: &str, routing_key: &str) {
    for body in ["1", "2", "3"] {
        send(channel, exchange, routing_key, !MANDATORY, body.as_bytes());
    }
}

fn send(channel: &Channel, exchange: &str, routing_key: &str, mandatory: bool, body: &[u8]) {
    let method = basic::Publish { mandatory, ..publish(exchange, routing_key) };
    let properties = Properties { message_id: Some(b"same"), ..Properties::default() };
    channel.publish_with(&method, &properties, body);
}

fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let next = || channel.call(&get(queue));
    let bodies = std::iter::from_fn(|| {
        let answer = next();
        (answer != "basic.get-empty").then(|| String::from_utf8(answer.body().to_vec()).unwrap())
    });
    bodies.collect()
}

#[test]
fn repeated_publishes_follow_bindings_as_they_change() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for queue in ["a", "b"] {
        channel.call(&declare(queue));
    }
    channel.call(&bind("a", "amq.direct", "k"));
    publish_thrice(&channel, "amq.direct", "k");
    channel.call(&bind("b", "amq.direct", "k"));
    send(&channel, "amq.direct", "k", !MANDATORY, b"to both");
    channel.call(&unbind("a", "amq.direct", "k"));
    send(&channel, "amq.direct", "k", !MANDATORY, b"to b");
    channel.call(&unbind("b", "amq.direct", "k"));
    send(&channel, "amq.direct", "k", !MANDATORY, b"to nobody");
    assert_eq!(drain(&channel, "a"), ["1", "2", "3", "to both"]);
    assert_eq!(drain(&channel, "b"), ["to both", "to b"]);
}

#[test]
fn a_repeated_mandatory_publish_comes_back_when_its_queue_is_gone() {
    let broker = Broker::start();
    let connection = broker.connect();
    let (channel, other) = (connection.channel(1), connection.channel(2));
    channel.call(&declare("q"));
    for body in [b"1", b"2", b"3"] {
        send(&channel, "", "q", MANDATORY, body);
    }
    assert_eq!(drain(&channel, "q"), ["1", "2", "3"]);
    other.call(&leveret_tests::delete("q"));
    send(&channel, "", "q", MANDATORY, b"4");
    assert_eq!(channel.recv(), "basic.return 312 NO_ROUTE '' q: 4");
}

#[test]
fn a_repeated_publish_is_refused_once_its_permission_is_gone() {
    let Some(broker) = Broker::managed() else { return };
    let http = Api::new(broker.management_address());
    http.put("/users/writer", &json!({"password": "writer", "tags": ""}));
    let permissions = |write: &str| {
        let body = json!({"configure": ".*", "write": write, "read": ".*"});
        http.put("/permissions/%2F/writer", &body);
    };
    permissions(".*");
    let login = Login { response: b"\0writer\0writer", ..Login::default() };
    let channel = broker.connect_as(&login).unwrap().channel(1);
    channel.call(&declare("q"));
    channel.call(&bind("q", "amq.direct", "k"));
    publish_thrice(&channel, "amq.direct", "k");
    assert_eq!(drain(&channel, "q"), ["1", "2", "3"]);
    permissions("^q$");
    send(&channel, "amq.direct", "k", !MANDATORY, b"4");
    let refused = "channel.close 403 basic.publish ACCESS_REFUSED - write access to exchange \
                   'amq.direct' in vhost '/' refused for user 'writer'";
    assert_eq!(channel.recv(), refused);
}

#[test]
fn repeated_publishes_may_have_bodies_of_all_sizes() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for size in [1, 1, 1, 0, 5, 20_000, 7, 131_064, 131_065, 0, 300_000, 3, 16_384, 16_383] {
        let body: Vec<u8> = (0..=250).cycle().take(size).collect();
        send(&channel, "", "q", !MANDATORY, &body);
        let answer = channel.call(&get("q"));
        assert_eq!(answer.body(), body, "{size}");
        assert_eq!(answer.properties().message_id, Some(&b"same"[..]));
    }
}

/// Exchange, key, properties and flags may each be all that differs.
#[test]
fn publishes_that_take_turns_are_not_taken_for_each_other() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for queue in ["a", "b"] {
        channel.call(&declare(queue));
    }
    channel.call(&bind("a", "amq.direct", "b"));
    for _ in 0..3 {
        send(&channel, "", "a", !MANDATORY, b"1");
        send(&channel, "", "b", !MANDATORY, b"2");
        send(&channel, "amq.direct", "b", !MANDATORY, b"3");
        send(&channel, "", "c", MANDATORY, b"4");
        assert_eq!(channel.recv(), "basic.return 312 NO_ROUTE '' c: 4");
        for message_id in [&b"id1"[..], b"id2"] {
            let properties = Properties { message_id: Some(message_id), ..Properties::default() };
            channel.publish_with(&publish("", "b"), &properties, message_id);
        }
        assert_eq!(drain(&channel, "a"), ["1", "3"]);
        assert_eq!(drain(&channel, "b"), ["2", "id1", "id2"]);
    }
}

#[test]
fn repeated_publishes_are_confirmed_each_and_commit_with_their_transaction() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    publish_thrice(&channel, "", "q");
    channel.call(&confirm_select());
    for number in 1..=4 {
        send(&channel, "", "q", !MANDATORY, b"confirmed");
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
    }
    assert_eq!(drain(&channel, "q").len(), 7);

    let channel = connection.channel(2);
    publish_thrice(&channel, "", "q");
    channel.call(&leveret_tests::codec::tx::Select {});
    publish_thrice(&channel, "", "q");
    assert_eq!(drain(&channel, "q"), ["1", "2", "3"], "before the commit");
    channel.call(&leveret_tests::codec::tx::Commit {});
    assert_eq!(drain(&channel, "q"), ["1", "2", "3"], "after it");
}

/// What the deliveries have in common is sent as often as there are deliveries.
#[test]
fn a_run_of_deliveries_keeps_every_message_its_own() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&bind("q", "amq.direct", "b"));
    let bodies = ["", "1", "22", "333"];
    for body in bodies {
        channel.publish("", "q", body);
        send(&channel, "", "q", !MANDATORY, body.as_bytes());
        send(&channel, "", "q", !MANDATORY, body.as_bytes());
        send(&channel, "amq.direct", "b", !MANDATORY, body.as_bytes());
    }
    channel.call(&consume("q", "c"));
    let mut tag = 0;
    for body in bodies {
        for (names, id) in [
            ("'' q", None),
            ("'' q", Some(&b"same"[..])),
            ("'' q", Some(b"same")),
            ("amq.direct b", Some(b"same")),
        ] {
            tag += 1;
            let delivered = channel.recv();
            assert_eq!(delivered, format!("basic.deliver c {tag} {names}: {body}"));
            assert_eq!(delivered.properties().message_id, id);
        }
    }
    channel.send(&basic::Nack { delivery_tag: 0, multiple: true, requeue: true });
    for redelivered in ["", "1", "22", "333"].into_iter().flat_map(|body| [body; 4]) {
        tag += 1;
        let answer = channel.recv();
        assert!(answer.starts_with(&format!("basic.deliver c {tag} redelivered")), "{answer}");
        assert_eq!(answer.body(), redelivered.as_bytes());
    }
}
