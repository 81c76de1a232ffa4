//! `kill -9` again and again under load, with clients that write down what they see.
//!
//! Three publishers with confirms (one to a queue, one through an exchange to two, one to a queue
//! where messages expire or are rejected and so become dead letters in another) and a consumer a
//! queue run until the process is gone; it starts again on the same data. Messages nobody takes lie
//! between all these, so that segments can go only when they are moved. In the end: nothing
//! confirmed is lost, dead letters are in one queue or the other and never in both, nothing
//! acknowledged before a clean stop comes back, publishers' order is kept, `redelivered` is never
//! missing, nothing appears that was not published.
//!
//! `LEVERET_CRASH_ROUNDS` and `LEVERET_CRASH_SEED` make longer and other runs.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod departed;
mod ledger;
mod transactions;

use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use leveret_tests::codec::{Method, Properties, Value, basic, exchange, queue};
use leveret_tests::{
    Answer, Broker, Channel, Connection, Login, PATIENCE, Unconfirmed, ack, bind, confirm_select,
    consume, declare, declare_exchange, eventually, get, nack, passive, publish, qos, table,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::ledger::{Consumed, Ledger, Message, Order, Published};

const QUEUES: [&str; 3] = ["q0", "q1", "dead"];
/// The consumer of the second queue puts messages back, and so does that of the queue before the
/// third.
const ORDERS: [Order; 3] = [Order::Kept, Order::AtFirst, Order::Any];
/// Which queues each publisher reaches in the end: the first the default exchange's way, the second
/// by fanout, the third by way of [`EXPIRING`].
const PUBLISHERS: [&[usize]; 3] = [&[0], &[0, 1], &[2]];
/// Where messages stay for some milliseconds, or until they are rejected.
const EXPIRING: &str = "expiring";
const MESSAGE_TTL: i32 = 5;
/// Where messages stay to the end, and how many.
const OLD: &str = "old";
const OLD_MESSAGES: usize = 50;
/// Segments are small, so that they are filled, emptied and used again.
const SETTINGS: &str = "store.segment_size = \"1MiB\"\n";
const PREFETCH: u16 = 30;
/// Messages a publisher has on the way at most.
const WINDOW: usize = 100;

#[test]
fn nothing_confirmed_is_lost() {
    let Some(mut broker) = Broker::configured(SETTINGS, "kills the broker") else { return };
    let rounds = from_environment("LEVERET_CRASH_ROUNDS", 100);
    let seed = from_environment("LEVERET_CRASH_SEED", 1);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut ledger = Ledger::new(&PUBLISHERS, &ORDERS);
    define(&broker);
    let first_segment = broker.data_dir().join("journal").join("0000000000000001.seg");
    assert!(first_segment.exists());
    let begun = Instant::now();
    for round in 0..rounds {
        let is_clean = round % 7 == 6;
        live(&mut broker, &mut ledger, is_clean, &mut random);
        broker.restart();
    }
    let (confirmed, delivered) = (ledger.confirmed_count(), ledger.delivered_count());
    println!("{rounds} lives, {:?}: {confirmed} confirmed, {delivered} delivered", begun.elapsed());

    // What is left, after a clean stop.
    broker.terminate();
    broker.restart();
    let channel = broker.connect().channel(1);
    eventually(|| channel.call(&passive(EXPIRING)) == "queue.declare-ok expiring 0 0");
    for queue in 0..QUEUES.len() {
        ledger.add_consumed(drain(&channel, queue));
    }
    ledger.check();
    channel.send(&basic::Ack { delivery_tag: 0, multiple: true });
    for number in 0..OLD_MESSAGES {
        let answer = channel.call(&get(OLD));
        assert_eq!(answer.body(), number.to_string().as_bytes(), "{answer}");
    }
    // A few lives don't fill segments. In more there may be so much that nobody took that none was worth emptying
    // until now.
    if rounds >= 50 {
        eventually(|| !first_segment.exists());
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn define(broker: &Broker) {
    let channel = broker.connect().channel(1);
    channel.call(&exchange::Declare { durable: true, ..declare_exchange("x", "fanout") });
    for queue in QUEUES {
        channel.call(&queue::Declare { durable: true, ..declare(queue) });
    }
    for queue in ["q0", "q1"] {
        assert_eq!(channel.call(&bind(queue, "x", "")), "queue.bind-ok");
    }
    let arguments = table([
        ("x-message-ttl", Value::I32(MESSAGE_TTL)),
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ]);
    let arguments = arguments.as_table();
    channel.call(&queue::Declare { durable: true, arguments, ..declare(EXPIRING) });
    channel.call(&queue::Declare { durable: true, ..declare(OLD) });
    channel.call(&confirm_select());
    for number in 0..OLD_MESSAGES {
        channel.publish_persistent(OLD, number.to_string());
        assert!(channel.recv().starts_with("basic.ack"));
    }
}

/// One life of the broker under load, until it is stopped cleanly or killed.
fn live(broker: &mut Broker, ledger: &mut Ledger, is_clean: bool, random: &mut StdRng) {
    let address = broker.address();
    // Room for every client to say once that it has come far enough.
    let (ready, readied) = sync_channel(PUBLISHERS.len() + QUEUES.len());
    let publishers: Vec<_> = (0..PUBLISHERS.len())
        .map(|publisher| {
            let first = ledger.next_number(publisher);
            let goal = random.random_range(1..400);
            let ready = ready.clone();
            thread::spawn(move || publish_on(address, publisher, first, goal, &ready))
        })
        .collect();
    let consumers: Vec<_> = (0..QUEUES.len())
        .map(|queue| {
            let goal = random.random_range(1..300);
            let random = StdRng::seed_from_u64(random.random());
            let ready = ready.clone();
            thread::spawn(move || consume_on(address, queue, goal, random, &ready))
        })
        .collect();

    let random_choice = StdRng::seed_from_u64(random.random());
    let rejecter = thread::spawn(move || reject_on(address, random_choice));

    // A kill comes when any one of them has come far enough, amid the work of the others; a stop
    // when all have, so that what was settled is known to have arrived.
    let awaited = if is_clean { PUBLISHERS.len() + QUEUES.len() } else { 1 };
    for _ in 0..awaited {
        readied.recv_timeout(PATIENCE).expect("clients are served");
    }
    if is_clean {
        assert!(broker.terminate().status.success());
    } else {
        broker.kill9();
    }
    rejecter.join().expect("no surprise for who rejects");
    for publisher in publishers {
        ledger.add_published(publisher.join().expect("no surprise for a publisher"));
    }
    for consumer in consumers {
        let consumed = consumer.join().expect("no surprise for a consumer");
        ledger.add_consumed(Consumed { is_over: is_clean, ..consumed });
    }
}

fn publish_on(
    address: SocketAddr,
    publisher: usize,
    first: u64,
    goal: usize,
    ready: &SyncSender<()>,
) -> Published {
    let mut log = Published { publisher, end: first, confirmed: Vec::new() };
    let Some(channel) = connect(address) else { return log };
    if channel.call(&confirm_select()).ends_connection() {
        return log;
    }
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let route = [publish("", QUEUES[0]), publish("x", ""), publish("", EXPIRING)][publisher];
    let mut unconfirmed = Unconfirmed::default();
    let mut is_ready = false;
    loop {
        while unconfirmed.len() < WINDOW {
            unconfirmed.add();
            let message = Message { publisher, number: log.end };
            channel.publish_with(&route, &properties, &message.to_body());
            log.end += 1;
        }
        let answer = channel.recv();
        if answer.ends_connection() {
            return log;
        }
        // The broker counts the publishes of the channel from one.
        let tags = unconfirmed.confirm(&answer);
        log.confirmed.extend(tags.into_iter().map(|tag| first + tag - 1));
        if !is_ready && log.confirmed.len() >= goal {
            is_ready = true;
            ready.send(()).expect("the test waits");
        }
    }
}

fn consume_on(
    address: SocketAddr,
    queue: usize,
    goal: usize,
    random: StdRng,
    ready: &SyncSender<()>,
) -> Consumed {
    let log = Consumed { queue, ..Consumed::default() };
    let Some(channel) = connect(address) else { return log };
    channel.send(&qos(PREFETCH));
    channel.send(&consume(QUEUES[queue], "c"));
    let mut consumer = Consumer { channel, random, log, open: Vec::new() };
    while consumer.log.deliveries.len() < goal {
        let answer = consumer.channel.recv();
        if answer.ends_connection() {
            return consumer.log;
        }
        consumer.take(&answer);
        consumer.settle_some();
    }
    // The broker answers after it has dealt with all that was settled.
    consumer.channel.send(&qos(PREFETCH));
    let mut is_ready = false;
    loop {
        let answer = consumer.channel.recv();
        if answer.ends_connection() {
            return consumer.log;
        }
        consumer.take(&answer);
        if !is_ready && answer == "basic.qos-ok" {
            is_ready = true;
            ready.send(()).expect("the test waits");
        }
    }
}

/// Rejects what it gets from the queue where messages expire, or puts it back, or keeps it, until the
/// broker ends.
fn reject_on(address: SocketAddr, mut random: StdRng) {
    let Some(channel) = connect(address) else { return };
    channel.send(&qos(PREFETCH));
    channel.send(&consume(EXPIRING, "r"));
    let mut kept = Vec::new();
    loop {
        let answer = channel.recv();
        if answer.ends_connection() {
            return;
        }
        let Method::BasicDeliver(delivery) = answer.method() else { continue };
        kept.push(delivery.delivery_tag);
        if kept.len() > usize::from(PREFETCH) / 2 {
            let delivery_tag = kept.swap_remove(random.random_range(0..kept.len()));
            let requeue = random.random_range(0..3) == 0;
            channel.send(&basic::Reject { delivery_tag, requeue });
        }
    }
}

struct Consumer {
    channel: Channel,
    random: StdRng,
    log: Consumed,
    /// Delivered and not settled.
    open: Vec<(u64, Message)>,
}

impl Consumer {
    fn take(&mut self, answer: &Answer) {
        let Method::BasicDeliver(delivery) = answer.method() else { return };
        let message = Message::from_body(answer.body());
        self.log.deliveries.push((message, delivery.redelivered));
        self.open.push((delivery.delivery_tag, message));
    }

    /// Settles nothing, one or all, in any of the ways there are; all when nothing else would come.
    fn settle_some(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let is_stuck = self.open.len() >= usize::from(PREFETCH);
        let chosen = self.random.random_range(0..self.open.len());
        match self.random.random_range(0..10) {
            0..=3 if !is_stuck => {}
            4 | 5 if !is_stuck => {
                let (tag, message) = self.open.remove(chosen);
                self.channel.send(&ack(tag));
                self.log.settled.insert(message);
            }
            6 if !is_stuck => {
                let (delivery_tag, message) = self.open.remove(chosen);
                self.channel.send(&basic::Reject { delivery_tag, requeue: false });
                self.log.settled.insert(message);
            }
            7 if !is_stuck && ORDERS[self.log.queue] != Order::Kept => {
                let (tag, _) = self.open.remove(chosen);
                self.channel.send(&nack(tag));
            }
            _ => {
                let (delivery_tag, _) = self.open[self.open.len() - 1];
                self.channel.send(&basic::Ack { delivery_tag, multiple: true });
                self.log.settled.extend(self.open.drain(..).map(|(_, message)| message));
            }
        }
    }
}

/// A channel, unless the broker is killed meanwhile.
fn connect(address: SocketAddr) -> Option<Channel> {
    let connection = Connection::try_dial(address).ok()?;
    connection.open(&Login::default()).ok()?;
    let channel = connection.unopened(1);
    let answer = channel.call(&leveret_tests::codec::channel::Open {});
    (!answer.ends_connection()).then_some(channel)
}

/// Takes all that is left in a queue.
fn drain(channel: &Channel, queue: usize) -> Consumed {
    let mut log = Consumed { queue, ..Consumed::default() };
    loop {
        let answer = channel.call(&get(QUEUES[queue]));
        let Method::BasicGetOk(taken) = answer.method() else { break };
        log.deliveries.push((Message::from_body(answer.body()), taken.redelivered));
    }
    log
}
