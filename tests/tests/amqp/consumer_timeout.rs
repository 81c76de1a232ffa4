//! Deliveries whose acknowledgement takes too long.

use leveret_tests::codec::{Value, basic, queue};
use leveret_tests::{Broker, Channel, Login, ack, consume, declare, get, reject, table};

const CONFIG: &str = "[amqp]\nconsumer_timeout = \"1s\"\n";
const BECAUSE: &str = "needs a short timeout";

fn timed_out(channel: u16, timeout: u64) -> String {
    format!(
        "channel.close 406 0.0 PRECONDITION_FAILED - delivery acknowledgement on channel {channel} \
         timed out. Timeout value used: {timeout} ms. This timeout value can be configured, see \
         consumers doc guide to learn more"
    )
}

#[test]
fn a_late_acknowledgement_closes_the_channel_and_requeues() {
    let Some(broker) = Broker::configured(CONFIG, BECAUSE) else { return };
    let connection = broker.connect();
    let (channel, other) = (connection.channel(3), connection.channel(4));
    channel.call(&declare("q"));
    channel.publish("", "q", "one");
    channel.publish("", "q", "two");
    assert_eq!(channel.call(&consume("q", "c")), "basic.consume-ok c");
    assert_eq!(channel.recv(), "basic.deliver c 1 '' q: one");
    assert_eq!(channel.recv(), "basic.deliver c 2 '' q: two");
    channel.send(&ack(2));
    assert_eq!(channel.recv(), timed_out(3, 1000));
    // The other channel lives, and gets what went back.
    assert_eq!(other.call(&get("q")), "basic.get-ok 1 redelivered '' q 0: one");
    other.send(&ack(1));
    channel.reopen();
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
}

#[test]
fn what_was_got_is_timed_as_well() {
    let Some(broker) = Broker::configured(CONFIG, BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "x");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: x");
    assert_eq!(channel.recv(), timed_out(1, 1000));
}

/// Each is settled well within its time, however long the whole takes.
#[test]
fn prompt_consumers_go_on() {
    let Some(broker) = Broker::configured(CONFIG, BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&consume("q", "c"));
    let started = std::time::Instant::now();
    let mut number = 0;
    while started.elapsed() < std::time::Duration::from_millis(2500) {
        channel.publish("", "q", "x");
        number += 1;
        assert_eq!(channel.recv(), format!("basic.deliver c {number} '' q: x"));
        channel.send(&ack(number));
    }
    assert!(number > 2);
}

/// A consumer may ask for a time of its own, or for none.
#[test]
fn a_consumer_brings_its_own_timeout() {
    let Some(broker) = Broker::configured(CONFIG, BECAUSE) else { return };
    let connection = broker.connect();
    let (channel, patient) = (connection.channel(1), connection.channel(2));
    for queue in ["q", "forever"] {
        channel.call(&declare(queue));
        channel.publish("", queue, "x");
    }
    let never = table([("x-consumer-timeout", Value::I32(0))]);
    let never = basic::Consume { arguments: never.as_table(), ..consume("forever", "n") };
    assert_eq!(patient.call(&never), "basic.consume-ok n");
    assert_eq!(patient.recv(), "basic.deliver n 1 '' forever: x");
    let longer = table([("x-consumer-timeout", Value::I64(1500))]);
    let longer = basic::Consume { arguments: longer.as_table(), ..consume("q", "c") };
    let started = std::time::Instant::now();
    assert_eq!(channel.call(&longer), "basic.consume-ok c");
    assert_eq!(channel.recv(), "basic.deliver c 1 '' q: x");
    assert_eq!(channel.recv(), timed_out(1, 1500));
    assert!(started.elapsed() >= std::time::Duration::from_millis(1500));
    // The other one is still at it.
    patient.send(&ack(1));
    assert_eq!(patient.call(&get("forever")), "basic.get-empty");
}

#[test]
fn a_bad_timeout_is_refused() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for (value, reason) in [
        (Value::text("1s"), "\"expected integer, got longstr\""),
        (Value::I32(-1), "{value_negative,-1}"),
    ] {
        let arguments = table([("x-consumer-timeout", value)]);
        let bad = basic::Consume { arguments: arguments.as_table(), ..consume("q", "c") };
        assert_eq!(
            channel.call(&bad),
            format!(
                "channel.close 406 basic.consume PRECONDITION_FAILED - \
                 invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/': {reason}"
            )
        );
        channel.reopen();
    }
}

/// Publishes these, and consumes them as `c` with room for all.
fn hold(channel: &Channel, bodies: &[&str]) {
    let arguments =
        table([("x-queue-type", Value::text("quorum")), ("x-consumer-timeout", Value::I32(1000))]);
    let quorum = queue::Declare { durable: true, arguments: arguments.as_table(), ..declare("q") };
    assert_eq!(channel.call(&quorum), "queue.declare-ok q 0 0");
    for body in bodies {
        channel.publish("", "q", body);
    }
    assert_eq!(channel.call(&consume("q", "c")), "basic.consume-ok c");
    for (body, tag) in bodies.iter().zip(1..) {
        assert_eq!(channel.recv(), format!("basic.deliver c {tag} '' q: {body}"));
    }
}

/// As 4.3 does: what is late goes back, and the consumer is cancelled; its channel stays.
#[test]
fn a_late_consumer_of_a_quorum_queue_is_cancelled() {
    let broker = Broker::start();
    let connection = broker.connect();
    let (channel, other) = (connection.channel(1), connection.channel(2));
    hold(&channel, &["one", "two", "three"]);
    channel.send(&ack(2));
    assert_eq!(channel.recv(), "basic.cancel c nowait");
    let got = other.call(&get("q"));
    assert_eq!(got, "basic.get-ok 1 redelivered '' q 1: one");
    let properties = got.properties();
    let headers = properties.headers.unwrap_or_default();
    assert_eq!(headers.get("x-acquired-count"), Some(Value::I64(1)));
    assert_eq!(headers.get("x-delivery-count"), Some(Value::I64(1)));
    // Settling what is no longer its own means nothing, once; so does doing it twice, to its cost.
    channel.send(&ack(1));
    channel.send(&reject(3));
    assert_eq!(channel.call(&consume("q", "c")), "basic.consume-ok c");
    assert_eq!(channel.recv(), "basic.deliver c 4 redelivered '' q: three");
    channel.send(&ack(1));
    assert_eq!(
        channel.recv(),
        "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 1"
    );
}

/// All up to a tag means what of it is still held.
#[test]
fn what_was_taken_back_counts_in_ranges() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    hold(&channel, &["one", "two"]);
    assert_eq!(channel.recv(), "basic.cancel c nowait");
    channel.send(&basic::Ack { delivery_tag: 2, multiple: true });
    assert_eq!(channel.call(&get("q")), "basic.get-ok 3 redelivered '' q 1: one");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 4 redelivered '' q 0: two");
}

/// Who doesn't understand a cancel, or got a message without a consumer, loses the channel.
#[test]
fn without_a_consumer_to_cancel_the_channel_goes() {
    let broker = Broker::start();
    let login = Login { capabilities: false, ..Login::default() };
    let channel = broker.connect_as(&login).unwrap().channel(1);
    hold(&channel, &["one"]);
    assert_eq!(channel.recv(), timed_out(1, 1000));
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 redelivered '' q 0: one");
    assert_eq!(channel.recv(), timed_out(1, 1000));
}
