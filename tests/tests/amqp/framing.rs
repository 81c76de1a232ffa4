//! Bytes that are no frames, and frames out of place: all of them end the connection.

use leveret_tests::codec::{Properties, basic, connection, queue};
use leveret_tests::{Broker, Channel, Connection, Login, declare, get, publish, qos};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

/// What to send on an open channel, and the close it is answered with.
type Misdeed = (fn(&Channel), &'static str);

#[test]
fn bad_frames_are_refused() {
    check(&[
        (
            |channel| channel.send_frame(BODY, &[b'x'; 140_000]),
            "501 0.0 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,140000,131064}",
        ),
        (
            |channel| channel.connection().send_bytes(b"\x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\0"),
            "501 0.0 FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: \
             {invalid_frame_end_marker,0}",
        ),
        // Of long ones the beginning is shown.
        (
            |channel| {
                let frame = b"\x03\0\x01\0\0\0\x11aaaaaaaaaaaaaaaaab";
                channel.connection().send_bytes(frame);
            },
            "501 0.0 FRAME_ERROR - type 3, first 16 octets = <<\"aaaaaaaaaaaaaaaa\">>: \
             {invalid_frame_end_marker,98}",
        ),
        (
            |channel| channel.send_frame(9, b"abc"),
            "501 0.0 FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame",
        ),
        (
            |channel| channel.connection().send_frame(9, 0, b"abc"),
            "501 0.0 FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame",
        ),
        (
            |channel| channel.connection().send_frame(HEARTBEAT, 0, b"x"),
            "501 0.0 FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame",
        ),
    ]);
}

#[test]
fn misplaced_frames_are_refused() {
    const EXPECTED_HEADER: &str = "505 basic.publish UNEXPECTED_FRAME - \
         expected content header for class 60, got non content header frame instead";
    check(&[
        (
            |channel| channel.send_frame(HEARTBEAT, b""),
            "505 0.0 UNEXPECTED_FRAME - type 8, all octets = <<>>",
        ),
        (
            |channel| channel.connection().send_frame(HEADER, 0, &[0; 14]),
            "505 0.0 UNEXPECTED_FRAME - type 2, all octets = <<0,0,0,0,0,0,0,0,0,0,0,0,0,0>>",
        ),
        (
            |channel| channel.send_frame(BODY, b"x"),
            "505 0.0 UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            |channel| {
                channel.send(&publish("", "q"));
                channel.send(&qos(1));
            },
            EXPECTED_HEADER,
        ),
        (
            |channel| {
                channel.send(&publish("", "q"));
                channel.send_frame(BODY, b"x");
            },
            EXPECTED_HEADER,
        ),
        (
            |channel| {
                channel.send(&publish("", "q"));
                channel.send_frame(HEADER, &content_header(60, 1, 1));
            },
            EXPECTED_HEADER,
        ),
        (
            |channel| {
                channel.send(&publish("", "q"));
                channel.send_frame(HEADER, &content_header(50, 0, 1));
            },
            "505 basic.publish UNEXPECTED_FRAME - \
             expected content header for class 60, got one for class 50 instead",
        ),
        (
            |channel| {
                channel.send(&publish("", "q"));
                channel.send_frame(HEADER, &content_header(60, 0, 1));
                channel.send(&qos(1));
            },
            "505 basic.publish UNEXPECTED_FRAME - \
             expected content body, got non content body frame instead",
        ),
    ]);
}

#[test]
fn bodies_must_keep_to_the_announced_size() {
    check(&[
        (
            |channel| {
                channel.send(&publish("", "q"));
                channel.send_frame(HEADER, &content_header(60, 0, 1));
                channel.send_frame(BODY, b"xx");
            },
            "501 basic.publish FRAME_ERROR - content body frame exceeds remaining content size",
        ),
        (
            |channel| {
                channel.send(&publish("", "q"));
                channel.send_frame(HEADER, &content_header(60, 0, 1 << 40));
            },
            "501 basic.publish FRAME_ERROR - \
             content body size 1099511627776 exceeds maximum allowed size 536870912",
        ),
        (
            |channel| {
                channel.send(&publish("", "q"));
                channel.send_frame(HEADER, &content_header(60, 0, 536_870_913));
            },
            "501 basic.publish FRAME_ERROR - \
             content body size 536870913 exceeds maximum allowed size 536870912",
        ),
    ]);
}

#[test]
fn methods_that_cannot_be_read_are_refused() {
    check(&[
        (
            |channel| channel.send_frame(METHOD, b"\0\x32\0\x0a\0\0"),
            "501 queue.declare FRAME_ERROR - cannot decode <<0,0>>",
        ),
        (
            |channel| channel.send_frame(METHOD, b"\0\x32\0\x0a\0\0\x02\xff\xfe\0\0\0\0\0"),
            "501 0.0 FRAME_ERROR - Malformed UTF-8 in shortstr",
        ),
    ]);
}

/// RabbitMQ drops the connection without a word on these.
#[test]
fn unknown_methods_and_tables_are_named() {
    check(&[
        (
            |channel| channel.send_frame(METHOD, b"\0\x3c\0\x63"),
            "503 60.99 COMMAND_INVALID - unknown method",
        ),
        (
            |channel| channel.send_frame(METHOD, b"\0\x63\0\x0a"),
            "503 99.10 COMMAND_INVALID - unknown method",
        ),
        (
            |channel| channel.send_frame(METHOD, b"\0\x32\0\x0a\0\0\x01q\0\0\0\0\x03\x01aZ"),
            "502 queue.declare SYNTAX_ERROR - malformed table: unknown field type 90",
        ),
    ]);
}

#[test]
fn methods_only_a_server_sends_are_refused() {
    check(&[
        (
            |channel| channel.send(&basic::GetEmpty {}),
            "503 basic.get-empty COMMAND_INVALID - unimplemented method",
        ),
        (
            |channel| {
                channel.send(&queue::DeclareOk { queue: "a", message_count: 0, consumer_count: 0 });
            },
            "503 queue.declare-ok COMMAND_INVALID - unimplemented method",
        ),
        (
            |channel| channel.send(&leveret_tests::codec::channel::CloseOk {}),
            "503 channel.close-ok COMMAND_INVALID - unimplemented method",
        ),
        (
            |channel| {
                channel.send(&connection::Close {
                    reply_code: 200,
                    reply_text: "x",
                    class_id: 0,
                    method_id: 0,
                });
            },
            "503 connection.close COMMAND_INVALID - unimplemented method",
        ),
    ]);
}

/// The limit that counts is the one agreed on.
#[test]
fn frames_over_the_agreed_limit_are_refused() {
    let broker = Broker::start();
    let tune = connection::TuneOk { channel_max: 10, frame_max: 8192, heartbeat: 0 };
    let connection = broker.connect_as(&Login { tune: Some(tune), ..Login::default() }).unwrap();
    connection.channel(1).send_frame(BODY, &[b'x'; 9000]);
    assert_eq!(
        connection.recv(),
        "connection.close 501 0.0 FRAME_ERROR - type 3, all octets = <<>>: \
         {frame_too_large,9000,8184}"
    );
}

/// Before one is agreed on, a client has no reason to send much.
#[test]
fn frames_of_the_handshake_are_small() {
    let broker = Broker::start();
    let connection = broker.dial();
    connection.greet();
    connection.send_frame(METHOD, 0, &[0; 10_000]);
    assert_eq!(
        connection.recv(),
        "connection.close 501 0.0 FRAME_ERROR - type 1, all octets = <<>>: \
         {frame_too_large,10000,8184}"
    );
}

/// Some clients forget the frame's own eight bytes.
#[test]
fn eight_bytes_too_many_are_tolerated() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.send(&publish("", "q"));
    channel.send_frame(HEADER, &content_header(60, 0, 131_072));
    channel.send_frame(BODY, &[b'x'; 131_072]);
    assert_eq!(channel.call(&get("q")).body().len(), 131_072);
}

#[test]
fn empty_body_frames_are_tolerated() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.send(&publish("", "q"));
    channel.send_frame(HEADER, &content_header(60, 0, 2));
    for piece in [&b""[..], b"a", b"", b"b"] {
        channel.send_frame(BODY, piece);
    }
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: ab");
}

/// Frames of different channels may be mixed, as long as each channel's own are in order.
#[test]
fn channels_interleave_their_content() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channels: Vec<_> = (1..=3).map(|number| connection.channel(number)).collect();
    channels[0].call(&declare("q"));
    channels.iter().for_each(|channel| channel.send(&publish("", "q")));
    channels.iter().for_each(|channel| channel.send_frame(HEADER, &content_header(60, 0, 2)));
    for piece in ["a", "b"] {
        channels.iter().for_each(|channel| channel.send_frame(BODY, piece.as_bytes()));
    }
    for _ in 0..3 {
        assert_eq!(channels[2].call(&get("q")).body(), b"ab");
    }
}

#[test]
fn frames_may_come_byte_by_byte() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    let mut frames = Vec::new();
    publish("", "q").encode_frame(1, &mut frames);
    let mut properties = Vec::new();
    Properties { message_id: Some(b"id"), ..Properties::default() }.encode(&mut properties);
    leveret_tests::codec::encode_content(1, &properties, b"body", 131_072, &mut frames);
    for byte in frames {
        channel.connection().send_bytes(&[byte]);
    }
    let answer = channel.call(&get("q"));
    assert_eq!(answer, "basic.get-ok 1 '' q 0: body");
    assert_eq!(answer.properties().message_id, Some(&b"id"[..]));
}

/// Commits each misdeed on a connection of its own. The broker says why and closes; it goes on
/// serving others.
fn check(misdeeds: &[Misdeed]) {
    let broker = Broker::start();
    let bystander = broker.connect().channel(1);
    for (misdeed, close) in misdeeds {
        let connection = broker.connect();
        misdeed(&connection.channel(1));
        assert_eq!(connection.recv(), format!("connection.close {close}"));
        assert_ended(&connection);
    }
    assert_eq!(bystander.call(&qos(1)), "basic.qos-ok");
}

fn assert_ended(connection: &Connection) {
    let end = connection.call(&connection::CloseOk {});
    assert!(end == "eof" || end == "reset", "{end}");
}

fn content_header(class: u16, weight: u16, body_size: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&class.to_be_bytes());
    payload.extend_from_slice(&weight.to_be_bytes());
    payload.extend_from_slice(&body_size.to_be_bytes());
    payload.extend_from_slice(&[0, 0]);
    payload
}
