//! Messages that come back to a quorum queue with delayed retry.

use leveret_tests::codec::{TableBuf, TableBuilder, Value, basic, queue};
use leveret_tests::{
    Broker, Channel, cancel, confirm_select, consume, declare, delete, eventually, get, nack,
    passive, purge, qos, reject, table,
};

use crate::{bodies, check};

/// Longer than a test takes.
const LONG: i32 = 3_600_000;

fn delayed(kind: &str, min: i32, more: &[(&str, Value<'_>)]) -> TableBuf {
    let arguments = table([
        ("x-queue-type", Value::text("quorum")),
        ("x-delayed-retry-type", Value::text(kind)),
        ("x-delayed-retry-min", Value::I32(min)),
    ]);
    let arguments = TableBuilder::from_table(arguments.as_table());
    more.iter().fold(arguments, |arguments, (key, value)| arguments.put(key, *value)).build()
}

fn declare_durable<'a>(name: &'a str, arguments: &'a TableBuf) -> queue::Declare<'a> {
    queue::Declare { durable: true, arguments: arguments.as_table(), ..declare(name) }
}

/// A channel with a queue `q` that delays what comes back.
fn with_queue(broker: &Broker, kind: &str, min: i32, more: &[(&str, Value<'_>)]) -> Channel {
    let channel = broker.connect().channel(1);
    let arguments = delayed(kind, min, more);
    assert_eq!(channel.call(&declare_durable("q", &arguments)), "queue.declare-ok q 0 0");
    channel
}

#[test]
fn a_message_comes_back_when_its_delay_is_over() {
    let broker = Broker::start();
    let channel = with_queue(&broker, "all", 100, &[]);
    channel.call(&consume("q", "c"));
    channel.publish("", "q", "again");
    assert_eq!(channel.recv(), "basic.deliver c 1 '' q: again");
    channel.send(&nack(1));
    channel.publish("", "q", "next");
    assert_eq!(channel.recv(), "basic.deliver c 2 '' q: next");
    let back = channel.recv();
    assert_eq!(back, "basic.deliver c 3 redelivered '' q: again");
    let headers = back.properties().headers.unwrap();
    assert_eq!(headers.get("x-delivery-count"), Some(Value::I64(1)));
}

#[test]
fn nobody_gets_a_message_that_waits() {
    let broker = Broker::start();
    let channel = with_queue(&broker, "all", LONG, &[]);
    channel.publish("", "q", "1");
    channel.publish("", "q", "2");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 1: 1");
    channel.send(&nack(1));
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 1 0");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 2 '' q 0: 2");
    channel.send(&nack(2));
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
    // It is there all the same.
    assert_eq!(channel.call(&purge("q")), "queue.purge-ok 2");
}

/// Gets a message, has it come back in a way, and says whether it waits.
fn waits(kind: &str, come_back: fn(Channel)) -> bool {
    let broker = Broker::start();
    let channel = with_queue(&broker, kind, LONG, &[]);
    channel.publish("", "q", "body");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: body");
    come_back(channel);
    let channel = broker.connect().channel(1);
    let ready = channel.call(&passive("q")) == "queue.declare-ok q 1 0";
    // In any case it has come back.
    assert_eq!(channel.call(&purge("q")), "queue.purge-ok 1");
    assert_eq!(channel.call(&delete("q")), "queue.delete-ok 0");
    !ready
}

#[test]
fn the_type_says_what_waits() {
    let nacked = |channel: Channel| {
        channel.send(&nack(1));
        channel.call(&passive("q"));
    };
    let recovered = |channel: Channel| {
        channel.call(&basic::Recover { requeue: true });
    };
    let rejected = |channel: Channel| {
        channel.send(&reject(1));
        channel.call(&passive("q"));
    };
    let closed = |channel: Channel| channel.close();
    let disconnected = |channel: Channel| channel.connection().clone().close();
    let given_back: [fn(Channel); 2] = [nacked, recovered];
    let failures: [fn(Channel); 3] = [rejected, closed, disconnected];
    for come_back in given_back {
        let waiting = ["all", "returned", "failed", "disabled"].map(|kind| waits(kind, come_back));
        assert_eq!(waiting, [true, true, false, false]);
    }
    for come_back in failures {
        let waiting = ["all", "returned", "failed", "disabled"].map(|kind| waits(kind, come_back));
        assert_eq!(waiting, [true, false, true, false]);
    }
}

#[test]
fn a_single_active_consumer_goes_on_meanwhile() {
    let broker = Broker::start();
    let single = [("x-single-active-consumer", Value::Bool(true))];
    let channel = with_queue(&broker, "returned", 100, &single);
    channel.call(&qos(1));
    for consumer in ["active", "waiting"] {
        channel.call(&consume("q", consumer));
    }
    channel.publish("", "q", "1");
    channel.publish("", "q", "2");
    assert_eq!(channel.recv(), "basic.deliver active 1 '' q: 1");
    channel.send(&nack(1));
    assert_eq!(channel.recv(), "basic.deliver active 2 '' q: 2");
    // The next one has it as soon as the delay is over.
    channel.call(&cancel("active"));
    assert_eq!(channel.recv(), "basic.deliver waiting 3 redelivered '' q: 1");
}

#[test]
fn a_delayed_message_expires_where_it_waits() {
    let broker = Broker::start();
    let dlx = ("x-dead-letter-exchange", Value::text(""));
    let dlrk = ("x-dead-letter-routing-key", Value::text("dead"));
    let channel =
        with_queue(&broker, "all", LONG, &[dlx, dlrk, ("x-message-ttl", Value::I32(100))]);
    channel.call(&declare("dead"));
    channel.call(&basic::Consume { no_ack: true, ..consume("dead", "dead") });
    let own = channel.connection().channel(2);
    own.call(&consume("q", "c"));
    own.publish("", "q", "body");
    own.recv();
    own.send(&nack(1));
    assert_eq!(bodies(&channel, 1), ["body"]);
}

#[test]
fn arguments_are_compared_and_for_quorum_queues_only() {
    let broker = Broker::start();
    let channel = with_queue(&broker, "all", 100, &[]);
    let (other, longer) = (
        delayed("failed", 100, &[]),
        delayed("all", 100, &[("x-delayed-retry-max", Value::I32(200))]),
    );
    let classic = table([("x-delayed-retry-min", Value::I32(100))]);
    let stream =
        table([("x-queue-type", Value::text("stream")), ("x-delayed-retry-max", Value::I32(1))]);
    let failed =
        |reason: &str| format!("channel.close 406 queue.declare PRECONDITION_FAILED - {reason}");
    check(
        &channel,
        &[
            (
                &declare_durable("q", &other),
                &failed(
                    "inequivalent arg 'x-delayed-retry-type' for queue 'q' in vhost '/': received \
                     'failed' but current is 'all'",
                ),
            ),
            (
                &declare_durable("q", &longer),
                &failed(
                    "inequivalent arg 'x-delayed-retry-max' for queue 'q' in vhost '/': received \
                     the value '200' of type 'signedint' but current is none",
                ),
            ),
            (
                &declare_durable("c", &classic),
                &failed(
                    "invalid arg 'x-delayed-retry-min' for queue 'c' in vhost '/' of queue type \
                     rabbit_classic_queue",
                ),
            ),
            (
                &declare_durable("s", &stream),
                &failed(
                    "invalid arg 'x-delayed-retry-max' for queue 's' in vhost '/' of queue type \
                     rabbit_stream_queue",
                ),
            ),
        ],
    );
    // RabbitMQ takes what means nothing, and delays nothing.
    let odd = delayed("sometimes", -1, &[]);
    assert_eq!(channel.call(&declare_durable("odd", &odd)), "queue.declare-ok odd 0 0");
    channel.publish("", "odd", "body");
    channel.call(&get("odd"));
    channel.send(&nack(1));
    assert_eq!(channel.call(&get("odd")), "basic.get-ok 2 redelivered '' odd 0: body");
}

#[test]
fn what_waits_still_waits_after_a_restart() {
    let ends: [fn(&mut Broker); 2] = [
        |broker| {
            broker.terminate();
        },
        |broker| {
            broker.kill9();
        },
    ];
    for end in ends {
        let Some(mut broker) = Broker::own("restarts the broker") else { return };
        let channel = with_queue(&broker, "all", LONG, &[]);
        let short = delayed("all", 100, &[]);
        channel.call(&declare_durable("short", &short));
        channel.call(&confirm_select());
        for (number, queue) in [(1, "q"), (2, "short")] {
            channel.publish("", queue, "body");
            assert_eq!(channel.recv(), format!("basic.ack {number}"));
            channel.call(&get(queue));
            channel.send(&nack(number));
        }
        channel.call(&passive("q"));
        // A confirm that comes after them: they are on disk as well.
        channel.publish("", "q", "last");
        assert_eq!(channel.recv(), "basic.ack 3");
        end(&mut broker);
        broker.restart();

        let channel = broker.connect().channel(1);
        assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 1 0");
        assert_eq!(channel.call(&get("q")).body(), b"last");
        assert_eq!(channel.call(&get("q")), "basic.get-empty");
        eventually(|| channel.call(&passive("short")) == "queue.declare-ok short 1 0");
        assert_eq!(channel.call(&purge("q")), "queue.purge-ok 1");
    }
}
