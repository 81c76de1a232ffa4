//! Bytes on the wire: what a client's own encoder and decoder would hide.

use leveret_tests::codec::{Properties, basic};
use leveret_tests::{Broker, Channel, Connection, declare, get, publish};

/// A request as it lies on the wire, without the frame around it, and the answer's payload. RabbitMQ
/// gives each what it gives here.
#[test]
fn requests_and_answers_have_rabbitmqs_fields() {
    let broker = Broker::start();
    let connection = broker.connect();
    // channel.open, with its empty reserved shortstr; the answer has an empty longstr.
    exchange(&connection, b"\0\x14\0\x0a\0", b"\0\x14\0\x0b\0\0\0\0");
    // queue.declare, with a ticket that means nothing.
    exchange(&connection, b"\0\x32\0\x0a\xff\xff\x01q\x10\0\0\0\0", b"");
    // basic.get: get-empty has an empty shortstr.
    exchange(&connection, b"\0\x3c\0\x46\xff\xff\x01q\0", b"\0\x3c\0\x48\0");
    // queue.unbind has no nowait: after the key come the arguments.
    exchange(&connection, b"\0\x32\0\x32\xff\xff\x01q\x0aamq.direct\x01k\0\0\0\0", b"\0\x32\0\x33");
    // exchange.unbind-ok is 51, not 41.
    exchange(
        &connection,
        b"\0\x28\0\x28\xff\xff\x0aamq.fanout\x0aamq.direct\x01k\0\0\0\0\0",
        b"\0\x28\0\x33",
    );
    // Bits of one method share an octet: basic.consume's no-ack is the second.
    exchange(&connection, b"\0\x3c\0\x14\xff\xff\x01q\x01c\x02\0\0\0\0", b"\0\x3c\0\x15\x01c");
    connection.unopened(1).publish("", "q", "x");
    let deliver = b"\0\x3c\0\x3c\x01c\0\0\0\0\0\0\0\x01\0\0\x01q";
    assert_eq!(payload(&connection), deliver);
    // A content header: class, weight, size, no flags. Then the body, in a frame of its own.
    assert_eq!(payload(&connection), b"\0\x3c\0\0\0\0\0\0\0\0\0\x01\0\0");
    assert_eq!(payload(&connection), b"x");
}

/// Nothing in them is put in order, made wider or merged.
#[test]
fn headers_pass_to_the_bit() {
    // `L` is RabbitMQ's other letter for `l`; true may be any octet but 0.
    let headers = b"\x01zt\x01\x01aL\0\0\0\0\0\0\0\x05\x01as\0\x07\x01bu\0\x08\x01cb\x09\x01dV";
    let mut properties = vec![0x20, 0];
    properties.extend_from_slice(&u32::try_from(headers.len()).unwrap().to_be_bytes());
    properties.extend_from_slice(headers);
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    publish_raw(&channel, &properties);
    let answer = channel.call(&get("q"));
    assert_eq!(answer.raw_properties(), properties);
    // In a message that comes back too.
    let mandatory = basic::Publish { mandatory: true, ..publish("", "nowhere") };
    channel.send(&mandatory);
    send_content(&channel, &properties);
    assert_eq!(channel.recv().raw_properties(), properties);
}

/// The lowest bit says that another word of flags follows.
#[test]
fn property_flags_may_continue() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    publish_raw(&channel, b"\x10\x01\0\0\x02");
    assert_eq!(channel.call(&get("q")).properties().delivery_mode, Some(2));
}

#[test]
fn properties_that_cannot_be_read_are_refused() {
    let broker = Broker::start();
    for (properties, close) in [
        // A header of type `Z`.
        (
            &b"\x20\0\0\0\0\x03\x01aZ"[..],
            "502 basic.publish SYNTAX_ERROR - malformed table: unknown field type 90",
        ),
        // A content type that ends before it should.
        (b"\x80\0\x05ab", "501 basic.publish FRAME_ERROR - cannot decode <<128,0,5,97,98>>"),
        // More than the flags say.
        (b"\0\0\x01", "501 basic.publish FRAME_ERROR - cannot decode <<0,0,1>>"),
    ] {
        let channel = broker.connect().channel(1);
        publish_raw(&channel, properties);
        assert_eq!(channel.recv(), format!("connection.close {close}"));
    }
}

#[test]
fn any_timestamp_is_taken() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for timestamp in [0, 1, u64::from(u32::MAX) + 1, i64::MAX.cast_unsigned() + 1, u64::MAX] {
        let properties = Properties { timestamp: Some(timestamp), ..Properties::default() };
        channel.publish_with(&publish("", "q"), &properties, b"");
        assert_eq!(channel.call(&get("q")).properties().timestamp, Some(timestamp));
    }
}

/// Sends a method on channel 1 and compares the answer's payload, unless that is empty.
fn exchange(connection: &Connection, request: &[u8], answer: &[u8]) {
    connection.send_frame(1, 1, request);
    if !answer.is_empty() {
        assert_eq!(payload(connection), answer, "to {request:?}");
    }
}

/// The payload of the next frame.
fn payload(connection: &Connection) -> Vec<u8> {
    let head = connection.recv_bytes(7);
    let size = u32::from_be_bytes(head[3..7].try_into().expect("four bytes"));
    let payload = connection.recv_bytes(size.try_into().unwrap());
    assert_eq!(connection.recv_bytes(1), [0xce]);
    payload
}

/// Publishes an empty message to the queue `q` with these properties.
fn publish_raw(channel: &Channel, properties: &[u8]) {
    channel.send(&publish("", "q"));
    send_content(channel, properties);
}

fn send_content(channel: &Channel, properties: &[u8]) {
    let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header.extend_from_slice(properties);
    channel.send_frame(2, &header);
}
