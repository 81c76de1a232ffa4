//! The process as an operator sees it: starting, stopping, and a second one in the way.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use leveret_tests::codec::{Properties, connection, queue};
use leveret_tests::{
    Broker, Connection, Login, Unconfirmed, confirm_select, consume, declare, get, publish, qos,
};

const WHY: &str = "stops the broker";
const SHUTDOWN: &str = "connection.close 320 0.0 CONNECTION_FORCED - \
                        broker forced connection closure with reason 'shutdown'";

#[test]
fn a_stop_tells_clients_and_takes_less_than_a_second() {
    let Some(mut broker) = Broker::own(WHY) else { return };
    let idle = broker.connect();
    let polite = broker.connect();
    let consumer = broker.connect().channel(1);
    consumer.call(&declare("q"));
    consumer.call(&consume("q", "c"));
    // Neither of these will ever answer.
    let greeted = broker.dial();
    greeted.greet();
    let silent = broker.dial();

    let asked = Instant::now();
    broker.begin_to_terminate();
    assert_eq!(polite.recv(), SHUTDOWN);
    let end = polite.call(&connection::CloseOk {});
    assert!(end.ends_connection(), "{end}");
    let status = broker.await_exit();
    assert!(status.success(), "{status}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(idle.recv(), SHUTDOWN);
    assert_eq!(consumer.recv(), SHUTDOWN);
    for connection in [greeted, silent] {
        let answer = connection.recv();
        assert!(answer.ends_connection(), "{answer}");
    }
}

/// With clients that do not react, under load.
#[test]
fn a_stop_under_load_is_quick_and_loses_nothing() {
    let Some(mut broker) = Broker::own(WHY) else { return };
    let setup = broker.connect().channel(1);
    setup.call(&queue::Declare { durable: true, ..declare("q") });
    drop(setup);
    let address = broker.address();
    let publishers = [0, 1, 2]
        .map(|publisher| std::thread::spawn(move || publish_until_the_end(address, publisher)));
    // The load is on once a message of each can be had.
    let watcher = broker.connect().channel(1);
    watcher.call(&consume("q", "c"));
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        seen.insert(watcher.recv().body()[0]);
    }
    let exit = broker.terminate();
    assert!(exit.status.success(), "{exit:?}");
    assert!(exit.took < Duration::from_secs(1), "{exit:?}");
    drop(watcher);
    let confirmed = publishers.map(|publisher| publisher.join().unwrap());

    broker.restart();
    let channel = broker.connect().channel(1);
    let mut next = [0; 3];
    loop {
        let answer = channel.call(&get("q"));
        if answer == "basic.get-empty" {
            break;
        }
        let (publisher, number) = unpack(answer.body());
        assert_eq!(number, next[publisher], "of publisher {publisher}");
        next[publisher] += 1;
    }
    for (publisher, confirmed) in confirmed.into_iter().enumerate() {
        assert!(next[publisher] >= confirmed, "{publisher}: {} of {confirmed}", next[publisher]);
    }
}

/// Publishes numbered messages as fast as they are confirmed, a hundred on the way at a time; says
/// how many were confirmed in an unbroken row when the broker ended the connection.
fn publish_until_the_end(address: SocketAddr, publisher: u8) -> u64 {
    let connection = Connection::dial(address);
    connection.open(&Login::default()).unwrap();
    let channel = connection.channel(1);
    channel.call(&confirm_select());
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let (mut unconfirmed, mut confirmed) = (Unconfirmed::default(), BTreeSet::new());
    loop {
        while unconfirmed.len() < 100 {
            let mut body = vec![publisher];
            // Messages are counted from zero, the broker counts publishes from one.
            body.extend_from_slice(&(unconfirmed.add() - 1).to_be_bytes());
            channel.publish_with(&publish("", "q"), &properties, &body);
        }
        let answer = channel.recv();
        if answer.ends_connection() {
            return (1..).find(|tag| !confirmed.contains(tag)).unwrap() - 1;
        }
        confirmed.extend(unconfirmed.confirm(&answer));
    }
}

fn unpack(body: &[u8]) -> (usize, u64) {
    let (publisher, number) = body.split_first().unwrap();
    (usize::from(*publisher), u64::from_be_bytes(number.try_into().unwrap()))
}

#[test]
fn a_second_broker_on_the_same_data_is_refused() {
    let Some(mut broker) = Broker::own("needs a data directory") else { return };
    let data = broker.data_dir();
    let data = data.to_str().unwrap();
    let arguments =
        ["--listen=127.0.0.1:0", "--management=none", "--metrics=none", "--data-dir", data];
    let (status, output) = Broker::run(&arguments);
    assert!(!status.success(), "{output}");
    assert!(output.contains(data), "the message names the directory: {output}");
    // The first did not notice.
    assert_eq!(broker.connect().channel(1).call(&qos(1)), "basic.qos-ok");

    // Its lock dies with it, however it dies.
    broker.kill9();
    broker.restart();
    assert_eq!(broker.connect().channel(1).call(&qos(1)), "basic.qos-ok");
}

#[test]
fn a_taken_port_is_named() {
    let Some(broker) = Broker::own("needs a taken port") else { return };
    let directory = tempfile::tempdir().unwrap();
    let listen = broker.address().to_string();
    let data = directory.path().to_str().unwrap();
    let arguments =
        ["--listen", &listen, "--management=none", "--metrics=none", "--data-dir", data];
    let (status, output) = Broker::run(&arguments);
    assert!(!status.success(), "{output}");
    assert!(output.contains(&listen), "{output}");
}

/// Clients are served from the moment the ready line is printed.
#[test]
fn ready_means_ready() {
    for _ in 0..5 {
        let Some(broker) = Broker::own("starts brokers") else { return };
        assert_eq!(broker.connect().channel(1).call(&qos(1)), "basic.qos-ok");
    }
}

/// Load balancers connect and go, every few seconds: nobody wants to read that.
#[test]
fn health_checks_are_not_logged() {
    let Some(mut broker) = Broker::own("reads the log") else { return };
    for _ in 0..3 {
        broker.dial().shut_down_writing();
    }
    let connection = broker.connect();
    connection.close();
    assert!(broker.terminate().status.success());
    let log = broker.log();
    let (_, log) = log.split_once("Server startup complete").unwrap();
    let about_connections: Vec<_> =
        log.lines().filter(|line| line.contains("connection")).collect();
    // Of the one that logged in: that it did, and that it left.
    assert_eq!(about_connections.len(), 2, "{about_connections:?}");
}

/// How much is logged changes nothing else.
#[test]
fn every_log_level_serves() {
    for level in ["none", "error", "warning", "info", "debug", "trace"] {
        let config = format!("[log]\nlevel = \"{level}\"\n");
        let Some(mut broker) = Broker::configured(&config, "sets the log level") else { return };
        assert_eq!(broker.connect().channel(1).call(&qos(1)), "basic.qos-ok", "{level}");
        assert!(broker.terminate().status.success(), "{level}");
    }
}
