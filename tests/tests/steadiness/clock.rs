//! The system's clock is set while the broker runs, by libfaketime; where that can't be had a test says
//! so and passes.

use leveret_tests::codec::{Properties, Value, queue};
use leveret_tests::{Channel, Warped, declare, eventually, get, passive, publish, table};

fn publish_for(channel: &Channel, queue: &str, milliseconds: &[u8]) {
    let properties = Properties { expiration: Some(milliseconds), ..Properties::default() };
    channel.publish_with(&publish("", queue), &properties, b"x");
}

fn is_empty(channel: &Channel, queue: &str) -> bool {
    channel.call(&passive(queue)) == format!("queue.declare-ok {queue} 0 0")
}

#[test]
fn a_clock_that_is_set_ahead_expires_nothing() {
    let Some(warped) = Warped::start("") else { return };
    let channel = warped.broker.connect().channel(1);
    let arguments = table([("x-expires", Value::I32(600_000))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    channel.call(&declare("soon"));
    publish_for(&channel, "q", b"600000");
    warped.jump("+7200", "ahead of the broker's");
    // What comes now expires when it should, and by then all has been looked at.
    publish_for(&channel, "soon", b"100");
    eventually(|| is_empty(&channel, "soon"));
    assert!(channel.call(&get("q")).starts_with("basic.get-ok"));
    // Heartbeats and timeouts of connections do not notice either.
    assert!(warped.broker.connect().channel(1).call(&get("soon")).starts_with("basic.get-empty"));
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_for_longer() {
    let Some(warped) = Warped::start("") else { return };
    let channel = warped.broker.connect().channel(1);
    let arguments = table([("x-expires", Value::I32(1000))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("unused") });
    channel.call(&declare("q"));
    publish_for(&channel, "q", b"1000");
    warped.jump("-7200", "behind the broker's");
    publish_for(&channel, "q", b"100");
    eventually(|| is_empty(&channel, "q"));
    eventually(|| {
        let other = warped.broker.connect().channel(1);
        other.call(&passive("unused")).starts_with("channel.close 404")
    });
}
