//! Clients that mean no good, or died: the broker closes what it must and goes on serving others.

use leveret_tests::codec::{PROTOCOL_HEADER, Properties, TableBuf, basic, connection, queue};
use leveret_tests::{
    Broker, Channel, Connection, Login, bind, confirm_select, consume, declare, declare_exchange,
    eventually, get, passive, publish, qos,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A frame that announces the most a frame can.
const GIGANTIC: &[u8] = b"\x01\0\0\xff\xff\xff\xff";

#[test]
fn a_frame_of_4_gib_is_refused_at_its_header() {
    let broker = Broker::start();
    let bystander = bystander(&broker);
    let open = broker.connect();
    open.send_bytes(GIGANTIC);
    assert_eq!(
        open.recv(),
        "connection.close 501 0.0 FRAME_ERROR - type 1, all octets = <<>>: \
         {frame_too_large,4294967295,131064}"
    );

    // Before the limits are settled.
    let greeted = broker.dial();
    greeted.greet();
    greeted.send_bytes(GIGANTIC);
    let answer = greeted.recv();
    assert!(answer.ends_connection(), "{answer}");
    assert_serving(&bystander);
}

/// RabbitMQ takes them; a limit on nesting is ours, and nothing anybody does by intent.
#[test]
fn tables_nested_10_000_deep_are_refused() {
    let broker = Broker::start();
    let bystander = bystander(&broker);
    let nested = nested_table(10_000);

    let channel = broker.connect().channel(1);
    let mut declare = b"\0\x32\0\x0a\0\0\x01q\0".to_vec();
    declare.extend_from_slice(&nested);
    channel.send_frame(1, &declare);
    let answer = channel.recv();
    assert!(answer.starts_with("connection.close 502 queue.declare SYNTAX_ERROR - "), "{answer}");

    // In the headers of a message, which the broker may well pass on unread.
    let channel = broker.connect().channel(1);
    channel.call(&leveret_tests::declare("q"));
    channel.send(&publish("", "q"));
    let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0];
    header.extend_from_slice(&nested);
    channel.send_frame(2, &header);
    let answer = channel.call(&get("q"));
    assert!(answer.ends_connection() || answer.starts_with("basic.get-ok 1 "), "{answer}");

    // In the client's properties.
    let greeted = broker.dial();
    greeted.greet();
    let mut start_ok = b"\0\x0a\0\x0b".to_vec();
    start_ok.extend_from_slice(&nested);
    start_ok.extend_from_slice(b"\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US");
    greeted.send_frame(1, 0, &start_ok);
    let answer = greeted.recv();
    assert!(answer.ends_connection(), "{answer}");
    assert_serving(&bystander);
}

#[test]
fn random_bytes_do_no_harm() {
    let broker = Broker::start();
    let bystander = bystander(&broker);
    for seed in 0..100 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = vec![0; random.random_range(1..20_000)];
        random.fill(&mut bytes[..]);
        let connection = match seed % 3 {
            0 => broker.dial(),
            1 => {
                let connection = broker.dial();
                connection.send_bytes(&PROTOCOL_HEADER);
                connection
            }
            _ => broker.connect(),
        };
        send_all(&connection, &bytes);
        await_end(&connection);
        assert_serving(&bystander);
    }
}

/// A sound session with a few bytes changed gets deeper into the broker than noise.
#[test]
fn mutated_sessions_do_no_harm() {
    let broker = Broker::start();
    let bystander = bystander(&broker);
    let session = session();
    // All at once, as the broker takes its time to refuse a login.
    let connections: Vec<_> = (0..400)
        .map(|seed| {
            let mut random = StdRng::seed_from_u64(seed);
            let mut bytes = session.clone();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(PROTOCOL_HEADER.len()..bytes.len());
                match random.random_range(0..4) {
                    0 => bytes[at] = random.random(),
                    1 => bytes[at] ^= 1 << random.random_range(0..8),
                    2 => bytes.truncate(at + 1),
                    _ => bytes.insert(at, random.random()),
                }
            }
            let connection = broker.dial();
            send_all(&connection, &bytes);
            connection
        })
        .collect();
    assert_serving(&bystander);
    connections.iter().for_each(await_end);
    assert_serving(&bystander);
}

/// A message that never comes entirely was never published.
#[test]
fn a_half_sent_message_is_dropped() {
    let broker = Broker::start();
    let bystander = bystander(&broker);
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "whole");
    channel.send(&publish("", "q"));
    channel.send_frame(2, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]);
    channel.send_frame(3, b"half");
    channel.connection().shut_down_writing();
    while !channel.recv().ends_connection() {}
    eventually(|| bystander.call(&passive("q")) == "queue.declare-ok q 1 0");
}

#[test]
fn a_silent_client_is_let_go() {
    let config = "[amqp]\nhandshake_timeout = \"200ms\"\n";
    let Some(broker) = Broker::configured(config, "needs a short time for handshakes") else {
        return;
    };
    let bystander = bystander(&broker);
    let silent = broker.dial();
    let half = broker.dial();
    half.send_bytes(b"AMQP");
    let greeted = broker.dial();
    assert!(greeted.greet().starts_with("connection.start "));
    let tuned = broker.dial();
    tuned.greet();
    assert!(tuned.log_in(&Login::default()).starts_with("connection.tune "));
    for connection in [silent, half, greeted, tuned] {
        let answer = connection.recv();
        assert!(answer.ends_connection(), "{answer}");
    }
    // An open connection may be as silent as it likes.
    assert_serving(&bystander);
}

#[test]
fn idle_connections_do_not_keep_others_out() {
    let broker = Broker::start();
    let bystander = bystander(&broker);
    let idle: Vec<_> = (0..300).map(|_| broker.dial()).collect();
    for connection in idle.iter().take(100) {
        connection.send_bytes(b"AMQP\0\0");
    }
    assert_serving(&bystander);
    assert_eq!(broker.connect().channel(1).call(&qos(1)), "basic.qos-ok");
    drop(idle);
    assert_serving(&bystander);
}

#[test]
fn clients_may_come_and_vanish() {
    let broker = Broker::start();
    let bystander = bystander(&broker);
    for round in 0..200 {
        let connection = broker.connect();
        let channel = connection.channel(1);
        channel.send(&queue::Declare { exclusive: true, nowait: true, ..declare("vanishing") });
        if round % 2 == 0 {
            channel.publish("", "vanishing", "x");
        }
        // In half of the rounds the broker reads the end before it has written its answers.
        if round % 4 < 2 {
            channel.send(&qos(1));
        }
        drop((channel, connection));
        // The next round wants the name: it is free once the broker has seen this one off.
        eventually(|| {
            let answer = bystander.call(&passive("vanishing"));
            let is_gone = answer.starts_with("channel.close 404 ");
            if answer.starts_with("channel.close ") {
                bystander.reopen();
            }
            is_gone
        });
    }
}

fn bystander(broker: &Broker) -> Channel {
    let channel = broker.connect().channel(1);
    channel.call(&queue::Declare { exclusive: true, ..declare("bystander") });
    channel
}

fn assert_serving(channel: &Channel) {
    channel.publish("", "bystander", "still here");
    let answer = channel.call(&basic::Get { no_ack: true, ..get("bystander") });
    assert!(answer.starts_with("basic.get-ok ") && answer.body() == b"still here", "{answer}");
}

/// Sends what the broker takes: it may have seen enough in the middle of it.
fn send_all(connection: &Connection, bytes: &[u8]) {
    if connection.try_send_bytes(bytes).is_ok() {
        connection.shut_down_writing();
    }
}

fn await_end(connection: &Connection) {
    while !connection.recv_bytes(65_536).is_empty() {}
}

/// `{"": {"": {...}}}`, with the length before it.
fn nested_table(depth: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for level in (0..depth).rev() {
        bytes.extend_from_slice(&(level * 6).to_be_bytes());
        if level > 0 {
            bytes.extend_from_slice(b"\0F");
        }
    }
    bytes
}

/// What a client sends that publishes, consumes and closes.
fn session() -> Vec<u8> {
    let mut out = PROTOCOL_HEADER.to_vec();
    let properties = TableBuf::default();
    connection::StartOk {
        client_properties: properties.as_table(),
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    }
    .encode_frame(0, &mut out);
    connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 }
        .encode_frame(0, &mut out);
    connection::Open { virtual_host: "/" }.encode_frame(0, &mut out);
    leveret_tests::codec::channel::Open {}.encode_frame(1, &mut out);
    let exclusive = queue::Declare { exclusive: true, ..declare("") };
    exclusive.encode_frame(1, &mut out);
    declare_exchange("amq.topic", "topic").encode_frame(1, &mut out);
    bind("", "amq.topic", "a.*.#").encode_frame(1, &mut out);
    confirm_select().encode_frame(1, &mut out);
    let mut encoded = Vec::new();
    let headers = leveret_tests::table([("key", "value".into()), ("number", 7.into())]);
    Properties {
        headers: Some(headers.as_table()),
        expiration: Some(b"60000"),
        message_id: Some(b"id"),
        ..Properties::default()
    }
    .encode(&mut encoded);
    for _ in 0..3 {
        publish("amq.topic", "a.b.c").encode_frame(1, &mut out);
        leveret_tests::codec::encode_content(1, &encoded, b"body", 131_072, &mut out);
    }
    qos(2).encode_frame(1, &mut out);
    consume("", "c").encode_frame(1, &mut out);
    basic::Ack { delivery_tag: 1, multiple: false }.encode_frame(1, &mut out);
    basic::Nack { delivery_tag: 2, multiple: true, requeue: true }.encode_frame(1, &mut out);
    basic::Recover { requeue: true }.encode_frame(1, &mut out);
    connection::Close { reply_code: 200, reply_text: "done", class_id: 0, method_id: 0 }
        .encode_frame(0, &mut out);
    out
}
