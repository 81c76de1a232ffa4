//! Transactions that are never committed. RabbitMQ has no limit for what they hold.

use std::fs;

use leveret_tests::codec::{basic, connection, tx};
use leveret_tests::{Api, Broker, Channel, Connection, Login, ack, declare, get, passive};

const WHY: &str = "has a limit of what transactions hold";
const KIB: usize = 1 << 10;
const SELECT: tx::Select = tx::Select {};
const COMMIT: tx::Commit = tx::Commit {};
const ROLLBACK: tx::Rollback = tx::Rollback {};
const OWN_LIMIT: &str = "basic.publish RESOURCE_ERROR - transactions that are not committed take more than \
                         262144 bytes of this connection (amqp.uncommitted_max)";
const SHARE: &str = "RESOURCE_ERROR - transactions that are not committed take more of this connection than \
                     its share of amqp.uncommitted_max_per_node";

/// A channel in a transaction.
fn transaction(connection: &Connection, number: u16) -> Channel {
    let channel = connection.channel(number);
    assert_eq!(channel.call(&SELECT), "tx.select-ok");
    channel
}

/// Publishes so many messages of 50 KiB to the queue `q`.
fn publish(channel: &Channel, count: usize) {
    (0..count).for_each(|_| channel.publish("", "q", vec![b'x'; 50 * KIB]));
}

/// All that was sent before has arrived, and was taken; so many messages are in the queue.
fn is_served(connection: &Connection, messages: usize) {
    let channel = connection.channel(20);
    assert_eq!(channel.call(&passive("q")), format!("queue.declare-ok q {messages} 0"));
    channel.close();
}

fn is_refused(connection: &Connection, why: &str) {
    assert_eq!(connection.recv(), format!("connection.close 506 {why}"));
}

/// What the broker says all transactions hold, in whole messages of [`publish`].
fn uncommitted(broker: &Broker) -> usize {
    let reply = Api::new(broker.metrics_address()).send("GET", "/metrics", &[], "");
    let mut values = reply
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("leveret_uncommitted_bytes ")?.parse::<usize>().ok());
    let bytes = values.next().unwrap();
    let messages = bytes / (50 * KIB);
    assert!(bytes - messages * 50 * KIB <= messages * KIB, "{bytes}");
    messages
}

/// Of all its channels together. What is committed, rolled back or gone with its channel makes room.
#[test]
fn a_connection_has_a_limit_of_what_transactions_hold() {
    let config = "metrics = \"127.0.0.1:0\"\n[amqp]\nuncommitted_max = \"256KiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let others = broker.connect();
    let other = transaction(&others, 1);
    other.call(&declare("q"));
    publish(&other, 5);
    let connection = broker.connect();
    let [first, second] = [1, 2].map(|number| transaction(&connection, number));
    publish(&first, 3);
    publish(&second, 2);
    is_served(&connection, 0);
    assert_eq!(uncommitted(&broker), 10);
    assert_eq!(first.call(&COMMIT), "tx.commit-ok");
    assert_eq!(uncommitted(&broker), 7);
    publish(&first, 3);
    is_served(&connection, 3);
    assert_eq!(second.call(&ROLLBACK), "tx.rollback-ok");
    assert_eq!(uncommitted(&broker), 8);
    publish(&second, 2);
    is_served(&connection, 3);
    second.close();
    assert_eq!(uncommitted(&broker), 8);
    let third = transaction(&connection, 3);
    publish(&third, 2);
    is_served(&connection, 3);
    // And one more than there may be.
    publish(&first, 1);
    is_refused(&connection, OWN_LIMIT);
    broker.await_line("operation basic.publish caused a connection exception resource_error");
    // Its transactions are gone, and others have limits of their own.
    assert_eq!(uncommitted(&broker), 5);
    is_served(&others, 3);
    assert_eq!(other.call(&COMMIT), "tx.commit-ok");
    is_served(&others, 8);
    assert_eq!(uncommitted(&broker), 0);
}

/// A message has a limit of its own.
#[test]
fn one_message_alone_may_be_larger_than_what_transactions_may_hold() {
    let config = "[amqp]\nuncommitted_max = \"256KiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let connection = broker.connect();
    let channel = transaction(&connection, 1);
    channel.call(&declare("q"));
    channel.publish("", "q", vec![b'x'; 600 * KIB]);
    assert_eq!(channel.call(&COMMIT), "tx.commit-ok");
    assert_eq!(channel.call(&get("q")).body().len(), 600 * KIB);
}

/// What is acknowledged and not committed stays in memory, and comes back with the connection's end.
#[test]
fn acknowledgements_that_are_not_committed_count() {
    let config = "[amqp]\nuncommitted_max = \"256KiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let plain = broker.connect().channel(1);
    plain.call(&declare("q"));
    publish(&plain, 6);
    is_served(plain.connection(), 6);
    let connection = broker.connect();
    let channel = transaction(&connection, 1);
    for tag in 1..=6 {
        assert!(channel.call(&get("q")).starts_with("basic.get-ok"));
        channel.send(&ack(tag));
    }
    let refused = OWN_LIMIT.replace("basic.publish", "basic.ack");
    is_refused(&connection, &refused);
    for _ in 0..6 {
        let got = plain.call(&basic::Get { no_ack: true, ..get("q") });
        assert!(
            got.starts_with("basic.get-ok") && got.to_string().contains("redelivered"),
            "{got}"
        );
    }
    assert_eq!(plain.call(&get("q")), "basic.get-empty");
}

#[test]
fn all_connections_have_a_limit_of_what_transactions_hold() {
    let config = "metrics = \"127.0.0.1:0\"\n[amqp]\nuncommitted_max_per_node = \"1MiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let [greedy, modest] = [(); 2].map(|()| broker.connect());
    let [large, small] = [&greedy, &modest].map(|connection| transaction(connection, 1));
    large.call(&declare("q"));
    publish(&large, 14);
    is_served(&greedy, 0);
    // Now it is more than all may have, of which this is less than half.
    publish(&small, 8);
    is_served(&modest, 0);
    assert_eq!(uncommitted(&broker), 22);
    publish(&large, 1);
    is_refused(&greedy, &format!("basic.publish {SHARE}"));
    assert_eq!(uncommitted(&broker), 8);
    assert_eq!(small.call(&COMMIT), "tx.commit-ok");
    is_served(&modest, 8);
    assert_eq!(uncommitted(&broker), 0);
}

/// Also a client that sends nothing any more: it is looked at with its heartbeats.
#[test]
fn who_leaves_transactions_uncommitted_gives_them_up_for_others() {
    let config = "metrics = \"127.0.0.1:0\"\n[amqp]\nuncommitted_max_per_node = \"1MiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let tune = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 4 };
    let login = Login { tune: Some(tune), ..Login::default() };
    let greedy = broker.connect_as(&login).unwrap();
    let large = transaction(&greedy, 1);
    large.call(&declare("q"));
    publish(&large, 14);
    is_served(&greedy, 0);
    let modest = broker.connect();
    let small = transaction(&modest, 1);
    publish(&small, 8);
    is_served(&modest, 0);
    let mut told = greedy.recv();
    while told == "heartbeat" {
        told = greedy.recv();
    }
    assert_eq!(told, format!("connection.close 506 0.0 {SHARE}"));
    assert_eq!(uncommitted(&broker), 8);
    assert_eq!(small.call(&COMMIT), "tx.commit-ok");
}

/// New connections have the new limit, and open ones theirs.
#[test]
fn a_limit_of_what_transactions_hold_is_read_again() {
    let config = "[amqp]\nuncommitted_max = \"1MiB\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let old = broker.connect();
    old.channel(19).call(&declare("q"));
    let file = fs::read_to_string(broker.config_file()).unwrap();
    fs::write(broker.config_file(), file.replace("1MiB", "256KiB")).unwrap();
    broker.hang_up();
    broker.await_line("amqp.uncommitted_max");
    let new = broker.connect();
    for connection in [&old, &new] {
        publish(&transaction(connection, 1), 6);
    }
    is_served(&old, 0);
    is_refused(&new, OWN_LIMIT);
}
