//! Messages that begin to come and are never complete. RabbitMQ has no limit for them but that of each.

use std::fs;

use leveret_tests::codec::{basic, connection};
use leveret_tests::{Api, Broker, Channel, Connection, Login, declare, get, passive, publish};

const WHY: &str = "has a limit of messages that are not complete";
const KIB: usize = 1 << 10;
/// Of a message without properties.
const HEADER: usize = 2;
const OWN_LIMIT: &str = "connection.close 506 basic.publish RESOURCE_ERROR - messages that are not \
                         complete take more than 262144 bytes of this connection \
                         (amqp.unfinished_messages_max)";

/// Begins a message of this size to the queue `q`, and sends so much of its body.
fn begin(channel: &Channel, size: usize, sent: usize) {
    begin_with(channel, &[0; HEADER], size);
    go_on(channel, sent);
}

/// Sends a message but for its body.
fn begin_with(channel: &Channel, properties: &[u8], size: usize) {
    channel.send(&publish("", "q"));
    let mut header = vec![0, 60, 0, 0];
    header.extend_from_slice(&(size as u64).to_be_bytes());
    header.extend_from_slice(properties);
    channel.send_frame(2, &header);
}

/// Sends more of its body, in frames as large as they may be.
fn go_on(channel: &Channel, mut more: usize) {
    while more > 0 {
        let part = more.min(100 * KIB);
        channel.send_frame(3, &vec![b'x'; part]);
        more -= part;
    }
}

/// All that was sent before has arrived, and was taken.
fn is_served(connection: &Connection) {
    let channel = connection.channel(20);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
    channel.close();
}

#[test]
fn a_connection_has_a_limit_of_messages_that_are_not_complete() {
    let config = "[amqp]\nunfinished_messages_max = \"256KiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let other = broker.connect().channel(1);
    other.call(&declare("q"));
    let connection = broker.connect();
    let channels: Vec<Channel> = (1..=4).map(|number| connection.channel(number)).collect();
    // Together all there may be.
    for channel in &channels {
        begin(channel, 1 << 20, 64 * KIB - HEADER);
    }
    is_served(&connection);
    begin(&other, 500 * KIB, 400 * KIB);
    // And one byte more.
    go_on(&channels[2], 1);
    assert_eq!(connection.recv(), OWN_LIMIT);
    broker.await_line("operation basic.publish caused a connection exception resource_error");
    // Others have limits of their own.
    go_on(&other, 100 * KIB);
    assert_eq!(other.call(&get("q")).body().len(), 500 * KIB);
    assert_eq!(broker.log().matches("caused a connection exception").count(), 1);
}

/// Headers count as bodies do.
#[test]
fn headers_of_messages_that_are_not_complete_count() {
    let config = "[amqp]\nunfinished_messages_max = \"256KiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let connection = broker.connect();
    connection.channel(10).call(&declare("q"));
    // A header with one long text.
    let mut properties = vec![0x20, 0];
    properties.extend_from_slice(&(100_000_u32 - 6).to_be_bytes());
    properties.extend_from_slice(b"\x01xS");
    properties.extend_from_slice(&(100_000_u32 - 13).to_be_bytes());
    properties.resize(100_000, b'x');
    for number in 1..=2 {
        begin_with(&connection.channel(number), &properties, 1);
    }
    is_served(&connection);
    begin_with(&connection.channel(3), &properties, 1);
    assert_eq!(connection.recv(), OWN_LIMIT);
}

/// What is complete, and what its channel took along, does not count any more.
#[test]
fn messages_that_end_make_room() {
    let config = "[amqp]\nunfinished_messages_max = \"256KiB\"\nconsumer_timeout = \"100ms\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let connection = broker.connect();
    let [first, second] = [1, 2].map(|number| connection.channel(number));
    first.call(&declare("q"));
    for channel in [&first, &second] {
        begin(channel, 200 * KIB, 190 * KIB);
        go_on(channel, 10 * KIB);
        let got = channel.call(&basic::Get { no_ack: true, ..get("q") });
        assert_eq!(got.body().len(), 200 * KIB);
    }
    // A channel fails in the middle of one.
    second.publish("", "q", "kept for too long");
    assert_eq!(second.call(&get("q")).body(), b"kept for too long");
    begin(&second, 200 * KIB, 190 * KIB);
    let failed = second.recv();
    assert!(failed.starts_with("channel.close 406 "), "{failed}");
    // One alone may be larger than the limit.
    let got = first.call(&basic::Get { no_ack: true, ..get("q") });
    assert_eq!(got.body(), b"kept for too long");
    begin(&first, 900 * KIB, 890 * KIB);
    is_served(&connection);
    go_on(&first, 10 * KIB);
    let got = first.call(&basic::Get { no_ack: true, ..get("q") });
    assert_eq!(got.body().len(), 900 * KIB);
}

#[test]
fn all_connections_have_a_limit_of_messages_that_are_not_complete() {
    let config = "metrics = \"127.0.0.1:0\"\n[amqp]\nunfinished_messages_max_per_node = \"1MiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let [greedy, modest] = [(); 2].map(|()| broker.connect());
    let [large, small] = [&greedy, &modest].map(|connection| connection.channel(1));
    large.call(&declare("q"));
    begin(&large, 2048 * KIB, 700 * KIB);
    is_served(&greedy);
    assert_eq!(unfinished(&broker), 700 * KIB + HEADER);
    // Now it is more than all may have, of which this is less than half.
    begin(&small, 500 * KIB, 400 * KIB);
    is_served(&modest);
    go_on(&large, 1);
    assert_eq!(
        greedy.recv(),
        "connection.close 506 basic.publish RESOURCE_ERROR - messages that are not complete take \
         more of this connection than its share of amqp.unfinished_messages_max_per_node"
    );
    assert_eq!(unfinished(&broker), 400 * KIB + HEADER);
    go_on(&small, 100 * KIB);
    assert_eq!(small.call(&get("q")).body().len(), 500 * KIB);
    assert_eq!(unfinished(&broker), 0);
}

/// Also a client that sends nothing any more: it is looked at with its heartbeats.
#[test]
fn who_leaves_messages_incomplete_gives_them_up_for_others() {
    let config = "metrics = \"127.0.0.1:0\"\n[amqp]\nunfinished_messages_max_per_node = \"1MiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let tune = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 4 };
    let login = Login { tune: Some(tune), ..Login::default() };
    let greedy = broker.connect_as(&login).unwrap();
    greedy.channel(1).call(&declare("q"));
    begin(&greedy.unopened(1), 2048 * KIB, 700 * KIB);
    is_served(&greedy);
    let modest = broker.connect().channel(1);
    begin(&modest, 500 * KIB, 400 * KIB);
    is_served(modest.connection());
    let mut told = greedy.recv();
    while told == "heartbeat" {
        told = greedy.recv();
    }
    assert_eq!(
        told,
        "connection.close 506 0.0 RESOURCE_ERROR - messages that are not complete take more of this \
         connection than its share of amqp.unfinished_messages_max_per_node"
    );
    assert_eq!(unfinished(&broker), 400 * KIB + HEADER);
    go_on(&modest, 100 * KIB);
    assert_eq!(modest.call(&get("q")).body().len(), 500 * KIB);
}

fn unfinished(broker: &Broker) -> usize {
    let reply = Api::new(broker.metrics_address()).send("GET", "/metrics", &[], "");
    let mut values = reply.text.lines().filter_map(|line| {
        line.strip_prefix("leveret_unfinished_message_bytes ")?.parse::<usize>().ok()
    });
    values.next().unwrap()
}

/// New connections have the new limit, and open ones theirs.
#[test]
fn a_limit_of_messages_that_are_not_complete_is_read_again() {
    let config = "[amqp]\nunfinished_messages_max = \"1MiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let old = broker.connect();
    old.channel(1).call(&declare("q"));
    let file = fs::read_to_string(broker.config_file()).unwrap();
    fs::write(broker.config_file(), file.replace("1MiB", "256KiB")).unwrap();
    broker.hang_up();
    broker.await_line("amqp.unfinished_messages_max");
    let new = broker.connect();
    for connection in [&old, &new] {
        for number in 11..=12 {
            begin(&connection.channel(number), 1 << 20, 128 * KIB);
        }
    }
    is_served(&old);
    assert_eq!(new.recv(), OWN_LIMIT);
}
