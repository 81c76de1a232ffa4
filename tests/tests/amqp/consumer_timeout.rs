//! Deliveries whose acknowledgement takes too long.

use leveret_tests::codec::{Value, basic};
use leveret_tests::{Broker, ack, consume, declare, get, table};

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
