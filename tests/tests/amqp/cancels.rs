//! What a client hears of its consumers when their queue goes.

use leveret_tests::codec::{Value, channel, queue};
use leveret_tests::{
    Answer, Broker, Channel, Login, ack, cancel, consume, declare, delete, nack, passive, qos,
    table,
};

use crate::check;

/// Its consumers are told, its messages are gone, and what was delivered may still be settled.
#[test]
fn a_deleted_queue_cancels_its_consumers() {
    let broker = Broker::start();
    let consumer = broker.connect().channel(1);
    let deleter = broker.connect().channel(1);
    consumer.call(&declare("q"));
    consumer.publish("", "q", "a");
    consumer.publish("", "q", "b");
    consumer.call(&consume("q", "c"));
    consumer.recv_many(2);
    assert_eq!(deleter.call(&delete("q")), "queue.delete-ok 0");
    assert_eq!(consumer.recv(), "basic.cancel c nowait");
    consumer.send(&ack(1));
    consumer.send(&nack(2));
    assert_eq!(consumer.call(&declare("q")), "queue.declare-ok q 0 0");
}

/// A client that has not said it understands the cancel does not get one.
#[test]
fn without_the_capability_no_cancel_is_sent() {
    let broker = Broker::start();
    let login = Login { capabilities: false, ..Login::default() };
    let channel = broker.connect_as(&login).unwrap().channel(1);
    channel.call(&declare("q"));
    channel.call(&consume("q", "c"));
    assert_eq!(channel.call(&delete("q")), "queue.delete-ok 0");
    assert_eq!(channel.call(&declare("q")), "queue.declare-ok q 0 0");
}

/// As RabbitMQ: a library may be in trouble with a cancel that comes while it waits for the answer.
#[test]
fn the_cancel_follows_the_answer_to_the_deletion() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&qos(1));
    for kind in ["classic", "quorum", "stream"] {
        let arguments = table([("x-queue-type", Value::text(kind))]);
        let durable = queue::Declare { durable: true, ..declare("q") };
        channel.call(&queue::Declare { arguments: arguments.as_table(), ..durable });
        channel.call(&consume("q", "c"));
        assert_eq!(channel.call(&delete("q")), "queue.delete-ok 0");
        assert_eq!(channel.recv(), "basic.cancel c nowait");
    }
}

/// Nor does one that closes the channel.
#[test]
fn a_client_that_ends_its_consumer_hears_of_no_cancel_after_that() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for durable in [false, true] {
        channel.call(&queue::Declare { durable, ..declare("q") });
        channel.call(&consume("q", "c"));
        let mut requests = Vec::new();
        delete("q").encode_frame(1, &mut requests);
        cancel("c").encode_frame(1, &mut requests);
        channel.connection().send_bytes(&requests);
        assert_eq!(channel.recv(), "queue.delete-ok 0");
        assert_eq!(after_a_cancel(&channel, durable), "basic.cancel-ok c");
        check(&channel, &[(&passive("q"), MISSING)]);

        channel.call(&queue::Declare { durable, ..declare("q") });
        channel.call(&consume("q", "c"));
        let mut requests = Vec::new();
        delete("q").encode_frame(1, &mut requests);
        let close = channel::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };
        close.encode_frame(1, &mut requests);
        channel.connection().send_bytes(&requests);
        assert_eq!(channel.recv(), "queue.delete-ok 0");
        assert_eq!(after_a_cancel(&channel, durable), "channel.close-ok");
        check(&channel, &[(&channel::Open {}, "channel.open-ok"), (&passive("q"), MISSING)]);
    }
}

/// What comes next. A deletion that has to wait for the disk tells of the cancel first; whether it had
/// to is up to the disk.
fn after_a_cancel(channel: &Channel, durable: bool) -> Answer {
    let answer = channel.recv();
    if durable && answer == "basic.cancel c nowait" { channel.recv() } else { answer }
}

const MISSING: &str = "channel.close 404 queue.declare NOT_FOUND - no queue 'q' in vhost '/'";
