//! What open connections may do when rights are taken away.

use std::collections::HashSet;

use leveret_tests::codec::{Properties, basic, queue};
use leveret_tests::{Api, Broker, Channel, Login, consume, declare, passive, publish, qos};
use serde_json::{Value, json};

const ALL: &str = ".*";

fn managed(tags: &str) -> Option<(Broker, Api)> {
    let broker = Broker::managed()?;
    let api = Api::new(broker.management_address());
    api.put("/users/anna", &json!({ "password": "anna", "tags": tags }));
    permit(&api, ALL);
    Some((broker, api))
}

fn permit(api: &Api, read: &str) {
    let rights = json!({ "configure": ALL, "write": ALL, "read": read });
    api.put("/permissions/%2F/anna", &rights);
}

fn anna(broker: &Broker, capabilities: bool) -> Channel {
    let login = Login { response: b"\0anna\0anna", capabilities, ..Login::default() };
    broker.connect_as(&login).unwrap_or_else(|refused| panic!("{refused}")).channel(1)
}

/// The client does nothing meanwhile. What it may still read it goes on to get.
#[test]
fn consumers_go_with_the_permission_to_read() {
    let Some((broker, api)) = managed("") else { return };
    let (channel, other) = (anna(&broker, true), broker.connect().channel(1));
    for queue in ["lost", "kept"] {
        other.call(&declare(queue));
        assert_eq!(channel.call(&consume(queue, queue)), format!("basic.consume-ok {queue}"));
    }
    permit(&api, "^kept");
    assert_eq!(channel.recv(), "basic.cancel lost nowait");
    other.publish("", "lost", "x");
    other.publish("", "kept", "x");
    assert!(channel.recv().starts_with("basic.deliver kept 1"));
    assert_eq!(other.call(&passive("lost")), "queue.declare-ok lost 1 0");
    let reply = api.call("DELETE", "/permissions/%2F/anna", &Value::Null);
    assert_eq!(reply.status, 204);
    assert_eq!(channel.recv(), "basic.cancel kept nowait");
}

/// The broker doesn't look for each among all of its channel, which would take minutes.
#[test]
fn very_many_consumers_of_a_channel_go_at_once() {
    const QUEUES: usize = 100;
    const CONSUMERS: usize = 60_000;
    let Some((broker, api)) = managed("") else { return };
    let channel = anna(&broker, true);
    for queue in 0..QUEUES {
        channel.send(&queue::Declare { nowait: true, ..declare(&queue.to_string()) });
    }
    for tag in 0..CONSUMERS {
        let (tag, queue) = (tag.to_string(), (tag % QUEUES).to_string());
        channel.send(&basic::Consume { no_ack: true, nowait: true, ..consume(&queue, &tag) });
    }
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
    permit(&api, "^$");
    let cancelled: HashSet<String> =
        channel.recv_many(CONSUMERS).iter().map(ToString::to_string).collect();
    assert_eq!(cancelled.len(), CONSUMERS);
    assert!(cancelled.iter().all(|one| one.starts_with("basic.cancel ")));
}

/// Its client is told of no cancel.
#[test]
fn consumers_go_whose_client_does_not_hear_of_it() {
    let Some((broker, api)) = managed("") else { return };
    let (channel, other) = (anna(&broker, false), broker.connect().channel(1));
    other.call(&declare("q"));
    channel.call(&consume("q", "c"));
    permit(&api, "^$");
    leveret_tests::eventually(|| other.call(&passive("q")) == "queue.declare-ok q 0 0");
    other.publish("", "q", "x");
    assert_eq!(other.call(&passive("q")), "queue.declare-ok q 1 0");
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
}

#[test]
fn who_lost_the_tag_signs_as_nobody_else() {
    let Some((broker, api)) = managed("impersonator") else { return };
    let channel = anna(&broker, true);
    let properties = Properties { user_id: Some(b"other"), ..Properties::default() };
    channel.publish_with(&publish("", "nobody"), &properties, b"x");
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
    api.put("/users/anna", &json!({ "password": "anna", "tags": "" }));
    channel.publish_with(&publish("", "nobody"), &properties, b"x");
    assert_eq!(
        channel.recv(),
        "channel.close 406 basic.publish PRECONDITION_FAILED - user_id property set to 'other' but \
         authenticated user was 'anna'"
    );
}
