//! Busy clients leave the others their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, available_parallelism};

use leveret_tests::codec::{basic, encode_content, queue};
use leveret_tests::{
    Broker, Connection, Login, bind, confirm_select, consume, declare, get, publish, table,
};

/// As many as the broker has threads, each of them with work for a while in every read: one message
/// costs as much as it has queues. They don't end before the newcomer is done.
#[test]
fn a_client_gets_in_while_others_publish_to_many_queues_without_end() {
    const QUEUES: usize = 300;
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let length = table([("x-max-length", 1.into())]);
    for number in 0..QUEUES {
        let name = format!("q{number}");
        let arguments = length.as_table();
        channel.call(&queue::Declare { exclusive: true, arguments, ..declare(&name) });
        channel.call(&bind(&name, "amq.fanout", ""));
    }
    channel.call(&declare("begun"));
    channel.call(&basic::Consume { no_ack: true, ..consume("begun", "c") });

    let is_over = Arc::new(AtomicBool::new(false));
    let count = available_parallelism().map_or(1, Into::into);
    let publishers: Vec<_> = (0..count).map(|_| publisher(&broker, &is_over)).collect();
    for _ in 0..count {
        assert_eq!(channel.recv().body(), b"begun");
    }

    let newcomer = broker.connect().channel(1);
    newcomer.call(&confirm_select());
    newcomer.call(&queue::Declare { exclusive: true, ..declare("own") });
    newcomer.publish("", "own", "m");
    assert_eq!(newcomer.recv(), "basic.ack 1");
    assert_eq!(newcomer.call(&get("own")), "basic.get-ok 1 '' own 0: m");
    is_over.store(true, Ordering::Relaxed);
    // What it has not read of them nobody waits for.
    drop(broker);
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
}

/// A client that publishes to the fanout exchange until it is over.
fn publisher(broker: &Broker, is_over: &Arc<AtomicBool>) -> JoinHandle<()> {
    const AT_ONCE: usize = 100;
    let (address, is_over) = (broker.address(), Arc::clone(is_over));
    thread::spawn(move || {
        let connection = Connection::dial(address);
        connection.open(&Login::default()).unwrap();
        let channel = connection.channel(1);
        let mut burst = Vec::new();
        for _ in 0..AT_ONCE {
            publish("amq.fanout", "").encode_frame(1, &mut burst);
            encode_content(1, &[0, 0], b"", 4096, &mut burst);
        }
        connection.send_bytes(&burst);
        channel.publish("", "begun", "begun");
        while !is_over.load(Ordering::Relaxed) {
            connection.send_bytes(&burst);
        }
    })
}
