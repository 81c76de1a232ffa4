//! `connection.update-secret`: users here have no secret that expires, but their permissions may
//! have changed.

use leveret_broker::Actor;
use leveret_broker::access::{Permission, PermissionKey};
use leveret_tests::codec::connection;
use leveret_tests::{Account, Broker, Login, consume, declare, passive};

const UPDATE: connection::UpdateSecret<'_> =
    connection::UpdateSecret { new_secret: b"new", reason: "why not" };

#[test]
fn a_new_secret_is_accepted() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    channel.call(&consume("q", "c"));
    assert_eq!(connection.call(&UPDATE), "connection.update-secret-ok");
    channel.publish("", "q", "x");
    assert_eq!(channel.recv(), "basic.deliver c 1 '' q: x");
}

#[test]
fn it_has_no_place_in_the_handshake() {
    let broker = Broker::start();
    let connection = broker.dial();
    connection.greet();
    assert_eq!(
        connection.call(&UPDATE),
        "connection.close 504 connection.update-secret CHANNEL_ERROR - \
         unexpected method in connection state starting"
    );
}

#[test]
fn consumers_that_may_no_longer_read_are_cancelled() {
    let anna =
        Account { name: "anna", tag: "", permissions: Some([".*", ".*", ".*"]), topic: None };
    let because = "changes permissions inside the broker";
    let Some(broker) = Broker::embedded(&[anna], because) else { return };
    let login = Login { response: b"\0anna\0anna", ..Login::default() };
    let connection = broker.connect_as(&login).unwrap();
    let channel = connection.channel(1);
    for queue in ["mine", "theirs"] {
        channel.call(&declare(queue));
        channel.call(&consume(queue, queue));
    }
    let permission = Permission::new(".*", ".*", "^mine$").unwrap();
    broker
        .inside()
        .administration(&Actor::program())
        .put_permission(PermissionKey::new("anna", "/"), permission)
        .unwrap();
    assert_eq!(connection.call(&UPDATE), "connection.update-secret-ok");
    assert_eq!(channel.recv(), "basic.cancel theirs nowait");
    assert_eq!(channel.call(&passive("theirs")), "queue.declare-ok theirs 0 0");
    assert_eq!(channel.call(&passive("mine")), "queue.declare-ok mine 0 1");
}
