//! What is set for a vhost, as its clients meet it.

use leveret_tests::codec::{Value as Field, queue};
use leveret_tests::{Login, declare, table};
use serde_json::json;

use crate::managed;

/// Only those that can be: the others stay classic, and so does who says so.
#[test]
fn queues_have_their_vhosts_default_type() {
    let Some((broker, api)) = managed() else { return };
    api.put("/vhosts/v", &json!({ "default_queue_type": "quorum" }));
    let login = Login { vhost: "v", ..Login::default() };
    let channel = broker.connect_as(&login).unwrap().channel(1);
    let classic = table([("x-queue-type", Field::text("classic"))]);
    let quorum = table([("x-queue-type", Field::text("quorum"))]);
    let durable = |name| queue::Declare { durable: true, ..declare(name) };
    for (request, name, kind) in [
        (durable("durable"), "durable", "quorum"),
        (declare("transient"), "transient", "classic"),
        (queue::Declare { exclusive: true, ..durable("exclusive") }, "exclusive", "classic"),
        (
            queue::Declare { arguments: classic.as_table(), ..durable("by argument") },
            "by argument",
            "classic",
        ),
    ] {
        assert_eq!(channel.call(&request), format!("queue.declare-ok {name} 0 0"));
        // The same again is the same.
        assert_eq!(channel.call(&request), format!("queue.declare-ok {name} 0 0"));
        let path = format!("/queues/v/{}", name.replace(' ', "%20"));
        assert_eq!(api.get(&path)["type"], kind, "{name}");
    }
    // It is as if the type had been given.
    let explicit = queue::Declare { arguments: quorum.as_table(), ..durable("durable") };
    assert_eq!(channel.call(&explicit), "queue.declare-ok durable 0 0");
    assert_eq!(
        channel.call(&durable("by argument")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for \
         queue 'by argument' in vhost 'v': received 'quorum' but current is 'classic'"
    );
}
