//! The process has no descriptors left.

use leveret_tests::codec::queue;
use leveret_tests::{Api, Broker, Connection, Login, confirm_select, consume, declare, eventually};

/// Files, sockets and all.
const DESCRIPTORS: &str = "--nofile=96:96";
const LISTENERS: &str = "management = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n\
                         [store]\nsegment_size = \"1MiB\"\n";

/// Connections are turned away before files can't be opened: what was promised is kept, and who is
/// there is served. Once clients leave others come in.
#[test]
fn connections_leave_descriptors_for_files() {
    let because = "takes the broker's descriptors";
    let Some(broker) = Broker::behind(&["prlimit", DESCRIPTORS], LISTENERS, because) else {
        return;
    };
    let channel = broker.connect().channel(1);
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    let open = || {
        let connection = Connection::try_dial(broker.address()).ok()?;
        connection.open(&Login::default()).ok()?;
        Some(connection)
    };
    let mut held = Vec::new();
    while let Some(connection) = open() {
        held.push(connection);
        assert!(held.len() < 96, "there are no descriptors for so many");
    }
    assert_eq!(held.len(), 31, "all but 64, and one is ours");
    // Segments of the journal are made and opened.
    for _ in 0..5 {
        channel.publish_persistent("q", vec![0; 700_000]);
        assert!(channel.recv().starts_with("basic.ack"));
    }
    let api = Api::new(broker.management_address());
    assert_eq!(api.get("/whoami")["name"], "guest");
    let consumer = channel.connection().channel(2);
    consumer.call(&consume("q", "c"));
    assert!(consumer.recv().starts_with("basic.deliver"));
    broker.await_line("turning AMQP connections away: 32 are open");
    let log = broker.log();
    assert_eq!(log.matches("turning AMQP connections away").count(), 1, "{log}");
    drop(held);
    eventually(|| open().is_some());
}

/// Whatever takes them: the accept loop waits, says so once, and goes on.
#[test]
fn the_listener_waits_for_descriptors() {
    let because = "takes the broker's descriptors";
    let listeners = LISTENERS.split("[store]").next().unwrap();
    let Some(broker) = Broker::behind(&["prlimit", "--nofile=512"], listeners, because) else {
        return;
    };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    // What it has open already is not closed.
    limit(&broker, 4);
    let waiting = broker.dial();
    broker.await_line("cannot accept connections");
    channel.publish("", "q", "x");
    assert!(channel.call(&leveret_tests::get("q")).starts_with("basic.get-ok"));
    limit(&broker, 512);
    waiting.open(&Login::default()).unwrap_or_else(|refused| panic!("{refused}"));
    broker.await_line("accepting connections again");
    assert_eq!(broker.log().matches("cannot accept connections").count(), 1);
}

fn limit(broker: &Broker, descriptors: u32) {
    let status = std::process::Command::new("prlimit")
        .args([format!("--pid={}", broker.pid()), format!("--nofile={descriptors}:512")])
        .status()
        .expect("prlimit runs");
    assert!(status.success(), "{status}");
}
