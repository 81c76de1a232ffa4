//! What a restart and a crash leave of a stream.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use leveret_tests::codec::Value;
use leveret_tests::{Connection, Login, Unconfirmed, eventually};

use super::*;

#[test]
fn offsets_outlive_a_restart_and_retention() {
    let Some(mut broker) = Broker::own("restarts the broker") else { return };
    let arguments = [
        ("x-max-length-bytes", Value::I32(20_000)),
        ("x-stream-max-segment-size-bytes", Value::I32(5000)),
    ];
    let channel = with_stream(&broker, &arguments);
    fill(&broker, (0..100).map(|number| format!("{number:01000}")));
    let count = |channel: &Channel| channel.call(&passive("s")).to_string();
    eventually(|| count(&channel).split(' ').nth(2).unwrap().parse::<u32>().unwrap() <= 20);
    from_first(&channel, "c");
    let first = offset(&channel.recv());
    for end in [Broker::terminate, Broker::kill9, Broker::terminate] {
        end(&mut broker);
        broker.restart();
        let channel = reader(&broker);
        from_first(&channel, "c");
        for number in first..100 {
            let delivery = channel.recv();
            assert!(!delivery.to_string().contains("redelivered"));
            assert_eq!(offset(&delivery), number);
            assert_eq!(delivery.body(), format!("{number:01000}").as_bytes());
        }
        assert_quiet(&channel);
    }
    fill(&broker, ["100"]);
    let channel = reader(&broker);
    let last = table([("x-stream-offset", Value::text("last"))]);
    channel.call(&from("c", &last));
    assert_eq!(offsets(&channel, 1), [100]);
}

#[test]
fn messages_are_kept_without_a_word_about_persistence() {
    let Some(mut broker) = Broker::own("restarts the broker") else { return };
    with_stream(&broker, &[]);
    let publisher = broker.connect().channel(1);
    publisher.call(&confirm_select());
    for delivery_mode in [None, Some(1), Some(2)] {
        let properties = Properties { delivery_mode, ..Properties::default() };
        publisher.publish_with(&publish("", "s"), &properties, b"x");
    }
    let mut confirmed = 0;
    while confirmed < 3 {
        confirmed = publisher.recv().delivery_tag();
    }
    broker.kill9();
    broker.restart();
    let channel = reader(&broker);
    from_first(&channel, "c");
    assert_eq!(offsets(&channel, 3), [0, 1, 2]);
}

/// What a reader saw: bodies by offset. Whether it is contradicted is for whoever compares.
type Seen = BTreeMap<i64, Vec<u8>>;

/// Publishers and readers run until the broker is killed, again and again. Whatever was seen under
/// an offset is there for ever, and nothing confirmed is lost or out of its publisher's order.
#[test]
fn a_killed_broker_takes_nothing_back() {
    let Some(mut broker) = Broker::own("kills the broker") else { return };
    let arguments = stream(&[]);
    broker.connect().channel(1).call(&declare_stream("s", &arguments));
    let mut seen = Seen::new();
    let mut confirmed: Vec<Vec<u8>> = Vec::new();
    for life in 0..8 {
        let address = broker.address();
        let (progress, news) = sync_channel(1000);
        let publishers: Vec<_> = (0..2)
            .map(|publisher| {
                let progress = progress.clone();
                thread::spawn(move || publish_until_killed(address, life, publisher, &progress))
            })
            .collect();
        let reading = thread::spawn(move || read_until_killed(address));
        // Each life is a little longer than the last.
        for _ in 0..50 * (life + 1) {
            news.recv().unwrap();
        }
        broker.kill9();
        for publisher in publishers {
            confirmed.extend(publisher.join().unwrap());
        }
        for (offset, body) in reading.join().unwrap() {
            let before = seen.insert(offset, body.clone());
            assert!(before.is_none_or(|before| before == body), "offset {offset} changed hands");
        }
        broker.restart();
    }
    let channel = reader(&broker);
    from_first(&channel, "c");
    let end = channel.connection().channel(2).call(&passive("s")).to_string();
    let end: i64 = end.split(' ').nth(2).unwrap().parse().unwrap();
    let mut found = Vec::new();
    for number in 0..end {
        let delivery = channel.recv();
        assert_eq!(offset(&delivery), number);
        found.push(delivery.body().to_vec());
        let delivery_tag = delivery.delivery_tag();
        channel.send(&basic::Ack { delivery_tag, multiple: true });
    }
    for (offset, body) in &seen {
        let at = found.get(usize::try_from(*offset).unwrap());
        assert_eq!(at, Some(body), "offset {offset} was seen");
    }
    let mut places: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (place, body) in found.iter().enumerate() {
        assert_eq!(places.insert(body, place), None, "{body:?} is there twice");
    }
    let mut last: BTreeMap<&[u8], usize> = BTreeMap::new();
    for body in &confirmed {
        let place = *places.get(&**body).unwrap_or_else(|| panic!("{body:?} is lost"));
        let publisher = &body[..body.iter().rposition(|byte| *byte == b' ').unwrap()];
        assert!(last.insert(publisher, place).is_none_or(|before| before < place));
    }
    println!("{end} messages, {} confirmed, {} seen before the end", confirmed.len(), seen.len());
}

/// Publishes with confirms; the bodies that were confirmed, in order.
fn publish_until_killed(
    address: SocketAddr,
    life: u32,
    publisher: u32,
    progress: &SyncSender<()>,
) -> Vec<Vec<u8>> {
    let channel = connect(address);
    let mut unconfirmed = Unconfirmed::default();
    let mut confirmed = Vec::new();
    channel.call(&confirm_select());
    loop {
        while unconfirmed.len() < 20 {
            let number = unconfirmed.add();
            channel.publish("", "s", body(life, publisher, number));
        }
        let answer = channel.recv();
        if answer.ends_connection() {
            return confirmed;
        }
        let numbers = unconfirmed.confirm(&answer).into_iter();
        confirmed.extend(numbers.map(|number| body(life, publisher, number)));
        // Nobody may be waiting any more.
        let _ = progress.try_send(());
    }
}

fn body(life: u32, publisher: u32, number: u64) -> Vec<u8> {
    format!("{life} {publisher} {number}").into_bytes()
}

/// Reads from the first message on.
fn read_until_killed(address: SocketAddr) -> Seen {
    let channel = connect(address);
    channel.call(&qos(1000));
    from_first(&channel, "c");
    let mut seen = Seen::new();
    loop {
        let delivery = channel.recv();
        if delivery.ends_connection() {
            return seen;
        }
        seen.insert(offset(&delivery), delivery.body().to_vec());
        let delivery_tag = delivery.delivery_tag();
        if delivery_tag.is_multiple_of(500) {
            channel.send(&basic::Ack { delivery_tag, multiple: true });
        }
    }
}

fn connect(address: SocketAddr) -> Channel {
    let connection = Connection::dial(address);
    connection.open(&Login::default()).unwrap();
    connection.channel(1)
}
