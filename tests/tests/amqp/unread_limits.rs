//! How much of what it is sent a client may leave unread: settings, by what the broker says it holds.

use std::ops::RangeInclusive;

use leveret_tests::codec::{Properties, basic, queue};
use leveret_tests::{
    Api, Broker, Channel, bind, confirm_select, consume, declare, eventually, get, publish, qos,
};

const WHY: &str = "has limits of what clients may leave unread";
const KIB: usize = 1 << 10;
/// A message, and how many are far more than fits into the buffers of a socket.
const SIZE: usize = 32 * KIB;
const COUNT: usize = 500;
/// What one message takes on its way, and what the broker may not yet know of.
const SLACK: usize = SIZE + 9 * KIB;

fn configured(limits: &str) -> Option<Broker> {
    Broker::configured(&configuration(limits), WHY)
}

fn configuration(limits: &str) -> String {
    format!("metrics = \"127.0.0.1:0\"\n[amqp]\n{limits}\n")
}

/// Has these limits taken over while it runs; the log names them.
fn reload(broker: &Broker, limits: &str, changed: &str) {
    std::fs::write(broker.config_file(), configuration(limits)).unwrap();
    broker.hang_up();
    broker.await_line(&format!("the configuration was read again: {changed}"));
}

/// What clients have not read.
fn unread(broker: &Broker) -> usize {
    let reply = Api::new(broker.metrics_address()).send("GET", "/metrics", &[], "");
    let mut values = reply
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("leveret_unread_bytes ")?.parse::<usize>().ok());
    values.next().unwrap()
}

/// It comes to be so much, and never more than that.
fn comes_to(broker: &Broker, expected: RangeInclusive<usize>) {
    eventually(|| unread(broker) >= *expected.start());
    for _ in 0..50 {
        let left = unread(broker);
        assert!(left <= *expected.end(), "{left}");
    }
}

/// A consumer that does not read, of a queue of its own that gets all of `amq.fanout`.
fn slow_consumer(broker: &Broker, name: &str) -> Channel {
    let channel = broker.connect().channel(1);
    channel.call(&queue::Declare { exclusive: true, ..declare(name) });
    channel.call(&bind(name, "amq.fanout", ""));
    channel.call(&basic::Consume { no_ack: true, ..consume(name, "c") });
    channel
}

/// Publishes all there is to read; it is in the queues when this returns.
fn publish_all(broker: &Broker) {
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    let mut body = vec![b'x'; SIZE];
    for number in 0..COUNT {
        body[..8].copy_from_slice(&number.to_be_bytes());
        channel.publish("amq.fanout", "", &body);
        assert_eq!(channel.recv(), format!("basic.ack {}", number + 1));
    }
}

/// All of it comes, in order.
fn read_all(channel: &Channel) {
    for number in 0..COUNT {
        let delivery = channel.recv();
        assert_eq!(delivery.body()[..8], number.to_be_bytes());
    }
}

#[test]
fn a_consumer_that_does_not_read_is_delivered_so_much_only() {
    let Some(broker) = configured("unread_deliveries_max = \"64KiB\"") else { return };
    let slow = slow_consumer(&broker, "slow");
    publish_all(&broker);
    comes_to(&broker, 64 * KIB - SLACK..=64 * KIB + SLACK);
    read_all(&slow);
    eventually(|| unread(&broker) == 0);
}

#[test]
fn a_client_that_does_not_read_is_answered_so_much_only() {
    let Some(broker) = configured("unread_answers_max = \"64KiB\"") else { return };
    let greedy = broker.connect().channel(1);
    greedy.call(&declare("q"));
    greedy.publish("", "q", vec![b'x'; SIZE]);
    let mut requests = Vec::new();
    for _ in 0..COUNT {
        get("q").encode_frame(1, &mut requests);
        basic::Recover { requeue: true }.encode_frame(1, &mut requests);
    }
    greedy.connection().send_bytes(&requests);
    let other = broker.connect().channel(1);
    assert_eq!(other.call(&qos(1)), "basic.qos-ok");
    comes_to(&broker, 64 * KIB - SLACK..=64 * KIB + SLACK);
    for _ in 0..COUNT {
        assert_eq!(greedy.recv().body().len(), SIZE);
        assert_eq!(greedy.recv(), "basic.recover-ok");
    }
}

/// Direct replies come at most once: nobody waits for a requester that does not read.
#[test]
fn replies_to_a_requester_that_does_not_read_are_lost() {
    let Some(broker) = configured("unread_replies_max = \"64KiB\"") else { return };
    let [requester, server] = [(); 2].map(|()| broker.connect().channel(1));
    server.call(&declare("rpc"));
    requester.call(&basic::Consume { no_ack: true, ..consume("amq.rabbitmq.reply-to", "c") });
    let asks = Properties { reply_to: Some(b"amq.rabbitmq.reply-to"), ..Properties::default() };
    requester.publish_with(&publish("", "rpc"), &asks, b"?");
    let mut asked = server.call(&get("rpc"));
    while asked == "basic.get-empty" {
        asked = server.call(&get("rpc"));
    }
    let address = String::from_utf8(asked.properties().reply_to.unwrap().to_vec()).unwrap();
    server.call(&confirm_select());
    for number in 0..COUNT {
        server.publish("", &address, vec![b'x'; SIZE]);
        assert_eq!(server.recv(), format!("basic.ack {}", number + 1));
    }
    comes_to(&broker, 64 * KIB - SLACK..=64 * KIB + SLACK);
    // What was not lost is read, and then replies come again.
    let mut read = 0;
    while unread(&broker) > 0 {
        assert_eq!(requester.recv().body().len(), SIZE);
        read += 1;
    }
    server.publish("", &address, "the last");
    while requester.recv().body() != b"the last" {
        read += 1;
    }
    assert!(read < COUNT, "{read}");
}

/// Twice that is all there ever is; beyond it each has an even share, and all of it comes once it is read, also while others don't.
#[test]
fn all_clients_have_a_limit_of_what_they_leave_unread() {
    const CLIENTS: usize = 20;
    let Some(broker) = configured("unread_max_per_node = \"1MiB\"") else { return };
    let names = (0..CLIENTS).map(|number| format!("slow {number}"));
    let slow: Vec<Channel> = names.map(|name| slow_consumer(&broker, &name)).collect();
    publish_all(&broker);
    comes_to(&broker, 1024 * KIB - CLIENTS * SLACK..=2 * 1024 * KIB + CLIENTS * SLACK);
    slow.iter().for_each(read_all);
    eventually(|| unread(&broker) == 0);
}

/// Answers and deliveries are of one budget: who has its share of it is not listened to.
#[test]
fn clients_that_ask_have_no_more_than_their_share() {
    const CLIENTS: usize = 20;
    let Some(broker) = configured("unread_max_per_node = \"1MiB\"") else { return };
    let greedy: Vec<Channel> = (0..CLIENTS)
        .map(|number| {
            let channel = broker.connect().channel(1);
            let name = format!("greedy {number}");
            channel.call(&queue::Declare { exclusive: true, ..declare(&name) });
            channel.publish("", &name, vec![b'x'; SIZE]);
            let mut requests = Vec::new();
            for _ in 0..COUNT {
                get(&name).encode_frame(1, &mut requests);
                basic::Recover { requeue: true }.encode_frame(1, &mut requests);
            }
            channel.connection().send_bytes(&requests);
            channel
        })
        .collect();
    let other = broker.connect().channel(1);
    comes_to(&broker, 1024 * KIB - CLIENTS * SLACK..=2 * 1024 * KIB + CLIENTS * SLACK);
    assert_eq!(other.call(&qos(1)), "basic.qos-ok");
    for channel in &greedy {
        for _ in 0..COUNT {
            assert_eq!(channel.recv().body().len(), SIZE);
            assert_eq!(channel.recv(), "basic.recover-ok");
        }
    }
}

/// What one client may leave unread holds for whoever connects from then on.
#[test]
fn limits_of_a_client_change_on_reload_for_new_connections() {
    let Some(broker) = configured("unread_deliveries_max = \"1MiB\"") else { return };
    let old = slow_consumer(&broker, "old");
    let limits = "unread_deliveries_max = \"64KiB\"\nunread_answers_max = \"128KiB\"\n\
                  unread_replies_max = \"8MiB\"";
    let changed = "amqp.unread_deliveries_max, amqp.unread_answers_max, amqp.unread_replies_max";
    reload(&broker, limits, changed);
    let new = slow_consumer(&broker, "new");
    publish_all(&broker);
    comes_to(&broker, 1088 * KIB - 2 * SLACK..=1088 * KIB + 2 * SLACK);
    read_all(&old);
    comes_to(&broker, 64 * KIB - SLACK..=64 * KIB + SLACK);
    read_all(&new);
    eventually(|| unread(&broker) == 0);
}

/// What all may leave unread holds at once, also for those who were there before.
#[test]
fn the_limit_of_all_clients_changes_on_reload() {
    const CLIENTS: usize = 20;
    let Some(broker) = configured("unread_max_per_node = \"1GiB\"") else { return };
    let names = (0..CLIENTS).map(|number| format!("slow {number}"));
    let slow: Vec<Channel> = names.map(|name| slow_consumer(&broker, &name)).collect();
    reload(&broker, "unread_max_per_node = \"1MiB\"", "amqp.unread_max_per_node");
    publish_all(&broker);
    comes_to(&broker, 1024 * KIB - CLIENTS * SLACK..=2 * 1024 * KIB + CLIENTS * SLACK);
    slow.iter().for_each(read_all);
    // And back: now each has its own limit only.
    let limits = "unread_answers_max = \"2MiB\"\nunread_max_per_node = \"2GiB\"";
    reload(&broker, limits, "amqp.unread_answers_max, amqp.unread_max_per_node");
    publish_all(&broker);
    let own = CLIENTS * 256 * KIB;
    comes_to(&broker, own - CLIENTS * SLACK..=own + CLIENTS * SLACK);
    slow.iter().for_each(read_all);
    eventually(|| unread(&broker) == 0);
}
