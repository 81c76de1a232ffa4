//! Streams: queues that many read and nobody empties.

mod arguments;
mod filters;
mod offsets;
mod persistence;
mod reading;
mod retention;
mod tracking;

use leveret_tests::codec::{Properties, Table, TableBuf, TableBuilder, Value, basic, queue};
use leveret_tests::{
    Answer, Broker, Channel, confirm_select, consume, declare, passive, publish, qos, table,
};

use crate::{bodies, check};

/// Arguments of a stream.
fn stream(more: &[(&str, Value<'_>)]) -> TableBuf {
    let arguments = table([("x-queue-type", Value::text("stream"))]);
    more.iter()
        .fold(TableBuilder::from_table(arguments.as_table()), |table, (key, value)| {
            table.put(key, *value)
        })
        .build()
}

fn declare_stream<'a>(name: &'a str, arguments: &'a TableBuf) -> queue::Declare<'a> {
    queue::Declare { durable: true, arguments: arguments.as_table(), ..declare(name) }
}

/// A channel that takes many deliveries at a time, with a stream `s`.
fn with_stream(broker: &Broker, more: &[(&str, Value<'_>)]) -> Channel {
    let channel = reader(broker);
    let arguments = stream(more);
    assert_eq!(channel.call(&declare_stream("s", &arguments)), "queue.declare-ok s 0 0");
    channel
}

/// A channel that takes many deliveries at a time.
fn reader(broker: &Broker) -> Channel {
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&qos(1000)), "basic.qos-ok");
    channel
}

/// Publishes to the stream `s`, each message in a batch of its own, and waits for the confirms.
fn fill<T: AsRef<[u8]>>(broker: &Broker, bodies: impl IntoIterator<Item = T>) {
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    for (number, body) in (1..).zip(bodies) {
        channel.publish("", "s", body);
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
    }
}

fn from<'a>(tag: &'a str, arguments: &'a TableBuf) -> basic::Consume<'a> {
    basic::Consume { arguments: arguments.as_table(), ..consume("s", tag) }
}

/// Reads from the first message on.
fn from_first(channel: &Channel, tag: &str) {
    let first = table([("x-stream-offset", Value::text("first"))]);
    assert_eq!(channel.call(&from(tag, &first)), format!("basic.consume-ok {tag}"));
}

/// The offset a delivery says it has.
fn offset(delivery: &Answer) -> i64 {
    let headers = delivery.properties().headers.unwrap_or(Table::EMPTY);
    match headers.get("x-stream-offset") {
        Some(Value::I64(offset)) => offset,
        other => panic!("{other:?} in {delivery}"),
    }
}

/// The offsets of the next `count` deliveries.
fn offsets(channel: &Channel, count: usize) -> Vec<i64> {
    channel.recv_many(count).iter().map(offset).collect()
}

/// Nothing else has been delivered: the answer to a question comes next.
fn assert_quiet(channel: &Channel) {
    let answer = channel.call(&passive("s"));
    assert!(answer.starts_with("queue.declare-ok "), "{answer}");
}

fn refused(method: &str, reason: &str) -> String {
    format!("channel.close 406 {method} PRECONDITION_FAILED - {reason}")
}

/// Publishes to `s` with a header.
fn publish_with_header(channel: &Channel, header: &str, value: Value<'_>, body: &str) {
    let headers = table([(header, value)]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    channel.publish_with(&publish("", "s"), &properties, body.as_bytes());
}
