//! Signs of life in both directions. The shortest interval is a second, so these take seconds.

use leveret_tests::codec::{connection, encode_heartbeat};
use leveret_tests::{Broker, Connection, Login, declare, qos};

#[test]
fn the_broker_sends_them_and_gives_up_on_a_silent_client() {
    let broker = Broker::start();
    let connection = connect(&broker);
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    let mut heartbeats = 0;
    loop {
        match connection.recv() {
            answer if answer == "heartbeat" => heartbeats += 1,
            // Without connection.close: nobody is there to read it.
            answer => break assert!(answer == "eof" || answer == "reset", "{answer}"),
        }
    }
    // One each half second, for the two to three seconds until the broker gave up.
    assert!((2..=6).contains(&heartbeats), "{heartbeats}");
}

#[test]
fn heartbeats_keep_a_connection() {
    let broker = Broker::start();
    let connection = connect(&broker);
    let channel = connection.channel(1);
    let mut heartbeat = Vec::new();
    encode_heartbeat(&mut heartbeat);
    outlive(&connection, || connection.send_bytes(&heartbeat));
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
}

#[test]
fn any_traffic_keeps_a_connection() {
    let broker = Broker::start();
    let connection = connect(&broker);
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    outlive(&connection, || channel.publish("", "q", ""));
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
}

/// Nor are those of a client that asked for none.
#[test]
fn heartbeats_are_not_echoed() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    let mut heartbeat = Vec::new();
    encode_heartbeat(&mut heartbeat);
    for _ in 0..3 {
        connection.send_bytes(&heartbeat);
        channel.send(&qos(1));
        assert_eq!(connection.recv_any().1, "basic.qos-ok");
    }
}

/// Answers each heartbeat with `life` for longer than a silent client is given.
fn outlive(connection: &Connection, life: impl Fn()) {
    for _ in 0..8 {
        assert_eq!(connection.recv(), "heartbeat");
        life();
    }
}

fn connect(broker: &Broker) -> Connection {
    let tune = connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 1 };
    broker.connect_as(&Login { tune: Some(tune), ..Login::default() }).unwrap()
}
