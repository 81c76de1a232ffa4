//! Many clients at once: nothing lost, nothing doubled, nobody stuck.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{array, thread};

use leveret_tests::codec::{Properties, channel, exchange, queue};
use leveret_tests::{
    Broker, Channel, Connection, Login, Request, SetOnDrop, Unconfirmed, ack, bind, confirm_select,
    consume, declare, declare_exchange, delete, delete_exchange, get, passive, publish, qos,
    unbind,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const QUEUES: [&str; 3] = ["busy.0", "busy.1", "busy.2"];
const PUBLISHERS: usize = 6;
const CONSUMERS: usize = 6;
const REBUILDERS: usize = 2;
const MESSAGES: usize = 400;

/// Who gets from a queue that others delete and declare again finds a message, none, or no queue.
#[test]
fn a_get_may_race_a_deletion() {
    let broker = Broker::start();
    let address = broker.address();
    let is_over = Arc::new(AtomicBool::new(false));
    let rebuilder = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            let _rebuilt = SetOnDrop(&is_over);
            let connection = Connection::dial(address);
            connection.open(&Login::default()).unwrap();
            let channel = connection.channel(1);
            for _ in 0..300 {
                assert_eq!(channel.call(&declare("q")), "queue.declare-ok q 0 0");
                channel.publish("", "q", "x");
                let answer = channel.call(&delete("q"));
                assert!(answer.starts_with("queue.delete-ok "), "{answer}");
            }
        }
    });
    let channel = broker.connect().channel(1);
    while !is_over.load(Ordering::Relaxed) {
        let answer = channel.call(&get("q"));
        if answer == "channel.close 404 basic.get NOT_FOUND - no queue 'q' in vhost '/'" {
            channel.reopen();
        } else if answer.starts_with("basic.get-ok ") {
            // Also if its queue has gone since.
            channel.send(&ack(answer.delivery_tag()));
        } else {
            assert_eq!(answer, "basic.get-empty");
        }
    }
    rebuilder.join().unwrap();
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
}

/// Publishers with confirms, consumers that come and go with deliveries in hand, and others that
/// rebuild exchanges, queues and bindings all the while.
#[test]
fn every_message_is_settled_once() {
    let broker = Broker::start();
    let admin = broker.connect().channel(1);
    admin.call(&declare_exchange("busy", "topic"));
    for queue in QUEUES {
        admin.call(&queue::Declare { durable: true, ..declare(queue) });
        admin.call(&bind(queue, "busy", &format!("to.{queue}")));
    }
    let address = broker.address();
    let open = Arc::new(AtomicUsize::new(PUBLISHERS * MESSAGES));
    let publishers: [_; PUBLISHERS] =
        array::from_fn(|number| thread::spawn(move || publish_all(address, number)));
    let consumers: [_; CONSUMERS] = array::from_fn(|number| {
        let open = Arc::clone(&open);
        thread::spawn(move || consume_until_none_is_open(address, number, &open))
    });
    let rebuilding = Arc::new(AtomicBool::new(true));
    let rebuilders: [_; REBUILDERS] = array::from_fn(|number| {
        let rebuilding = Arc::clone(&rebuilding);
        thread::spawn(move || rebuild(address, number, &rebuilding))
    });

    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    let mut settled = BTreeSet::new();
    for consumer in consumers {
        for message in consumer.join().unwrap() {
            assert!(settled.insert(message.clone()), "{message} was settled twice");
        }
    }
    rebuilding.store(false, Ordering::Relaxed);
    rebuilders.into_iter().for_each(|rebuilder| rebuilder.join().unwrap());

    let expected: BTreeSet<_> = (0..PUBLISHERS)
        .flat_map(|publisher| (0..MESSAGES).map(move |number| body(publisher, number)))
        .collect();
    assert_eq!(settled, expected);
    for queue in QUEUES {
        assert_eq!(admin.call(&passive(queue)), format!("queue.declare-ok {queue} 0 0"));
        admin.call(&delete(queue));
    }
    admin.call(&delete_exchange("busy"));
}

fn body(publisher: usize, number: usize) -> String {
    format!("{publisher} {number}")
}

fn publish_all(address: SocketAddr, publisher: usize) {
    let channel = connect(address);
    channel.call(&confirm_select());
    let mut unconfirmed = Unconfirmed::default();
    for number in 0..MESSAGES {
        let queue = QUEUES[number % QUEUES.len()];
        let delivery_mode = Some(if number.is_multiple_of(2) { 2 } else { 1 });
        let properties = Properties { delivery_mode, ..Properties::default() };
        let key = format!("to.{queue}");
        let route =
            if publisher.is_multiple_of(2) { publish("", queue) } else { publish("busy", &key) };
        channel.publish_with(&route, &properties, body(publisher, number).as_bytes());
        unconfirmed.add();
        while unconfirmed.len() > 20 {
            unconfirmed.confirm(&channel.recv());
        }
    }
    while !unconfirmed.is_empty() {
        unconfirmed.confirm(&channel.recv());
    }
}

/// Takes and acknowledges messages; leaves now and then with some in hand. Gives those settled.
fn consume_until_none_is_open(
    address: SocketAddr,
    number: usize,
    open: &AtomicUsize,
) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(number as u64);
    let queue = QUEUES[number % QUEUES.len()];
    let mut settled = Vec::new();
    while open.load(Ordering::Relaxed) > 0 {
        let channel = connect(address);
        channel.call(&qos(random.random_range(1..10)));
        assert_eq!(channel.call(&consume(queue, "c")), "basic.consume-ok c");
        for _ in 0..random.random_range(1..60) {
            // An answer comes also when no message is left.
            channel.send(&qos(0));
            let answer = channel.recv();
            if answer.starts_with("basic.deliver ") && random.random_bool(0.9) {
                channel.send(&ack(answer.delivery_tag()));
                settled.push(String::from_utf8(answer.body().to_vec()).unwrap());
                open.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // Closed in order, so that the acknowledgements sent are known to count.
        leave(&channel);
    }
    settled
}

/// Closes the channel, whatever else is on its way to it.
fn leave(channel: &Channel) {
    channel.send(&channel::Close {
        reply_code: 200,
        reply_text: "done",
        class_id: 0,
        method_id: 0,
    });
    while channel.recv() != "channel.close-ok" {}
}

/// Declares, binds, unbinds and deletes, some of it shared with the other rebuilder.
fn rebuild(address: SocketAddr, number: usize, rebuilding: &AtomicBool) {
    let mut random = StdRng::seed_from_u64(100 + number as u64);
    let channel = connect(address);
    while rebuilding.load(Ordering::Relaxed) {
        let exchange = format!("rebuilt.{}", random.random_range(0..2));
        let queue = format!("rebuilt.{}", random.random_range(0..2));
        let auto = exchange::Declare { auto_delete: true, ..declare_exchange(&exchange, "fanout") };
        let requests: [&dyn Request; 6] = [
            &auto,
            &declare(&queue),
            &bind(&queue, &exchange, ""),
            &bind(&queue, "busy", "rebuilt.#"),
            &unbind(&queue, &exchange, ""),
            &delete(&queue),
        ];
        for request in requests {
            let answer = channel.call(request);
            if answer.starts_with("channel.close ") {
                // The other was faster.
                assert!(answer.starts_with("channel.close 404 "), "{answer}");
                channel.reopen();
            }
        }
    }
}

fn connect(address: SocketAddr) -> Channel {
    let connection = Connection::dial(address);
    connection.open(&Login::default()).unwrap();
    connection.channel(1)
}
