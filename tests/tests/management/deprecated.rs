//! What RabbitMQ takes back one by one and Leveret still takes.

use leveret_tests::codec::{Value, basic, queue};
use leveret_tests::{declare, qos, table};
use serde_json::json;

use crate::managed;

#[test]
fn what_newer_rabbitmqs_refuse_is_taken_with_one_line_in_the_log() {
    let Some((broker, api)) = managed() else { return };
    let used = || {
        let used = api.get("/deprecated-features/used");
        let names = used.as_array().unwrap().iter().map(|one| one["name"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(api.get("/deprecated-features").as_array().unwrap().len(), 3);
    let channel = broker.connect().channel(1);
    let locator = table([("x-queue-master-locator", Value::text("min-masters"))]);
    channel.call(&queue::Declare { durable: true, ..declare("durable") });
    channel.call(&queue::Declare { exclusive: true, ..declare("exclusive") });
    channel.call(&qos(1));
    // An operator's queue is no program's.
    assert_eq!(api.get("/aliveness-test/%2F")["status"], "ok");
    assert_eq!(used(), [json!(null); 0]);
    for name in ["first", "second"] {
        assert_eq!(channel.call(&basic::Qos { global: true, ..qos(2) }), "basic.qos-ok");
        let arguments = locator.as_table();
        let request = queue::Declare { arguments, ..declare(name) };
        assert_eq!(channel.call(&request), format!("queue.declare-ok {name} 0 0"));
    }
    let features = ["global_qos", "queue_master_locator", "transient_nonexcl_queues"];
    assert_eq!(used(), features);
    for feature in features {
        let line = format!("[warning] deprecated feature {feature} is in use: ");
        broker.await_line(&line);
        let log = broker.log();
        assert_eq!(log.matches(&line).count(), 1, "{feature}: {log}");
    }
}
