//! Queues that are declared as fast as the broker declares them.

use std::collections::VecDeque;

use leveret_tests::codec::queue;
use leveret_tests::{declare, eventually};

use crate::scene::{Attack, metrics};

/// Of a connection; they are its own, and go with it.
const QUEUES: usize = 1000;
const CONNECTIONS: usize = 10;

#[test]
fn a_flood_of_queues() {
    let attack = Attack {
        name: "queue declares",
        config: "",
        rounds: 15,
        // A queue takes some 2 KiB.
        memory_max: 64.0,
        descriptors_max: 50.0,
    };
    let aftermath = attack.run(|target| {
        let mut held = VecDeque::new();
        for _ in target.rounds() {
            let connection = target.connect();
            let channel = connection.channel(1);
            let mut requests = Vec::new();
            for _ in 0..QUEUES {
                queue::Declare { exclusive: true, ..declare("") }.encode_frame(1, &mut requests);
            }
            connection.send_bytes(&requests);
            for _ in 0..QUEUES {
                let answer = channel.recv();
                assert!(answer.starts_with("queue.declare-ok amq.gen-"), "{answer}");
            }
            held.push_back(connection);
            if held.len() > CONNECTIONS {
                held.pop_front();
            }
        }
        held
    });
    let Some(aftermath) = aftermath else { return };
    assert!(aftermath.metrics["rabbitmq_queues"] >= (QUEUES * CONNECTIONS) as f64);
    eventually(|| metrics(&aftermath.broker)["rabbitmq_queues"] == 0.0);
}

/// Each of them is on disk before the answer.
#[test]
fn a_flood_of_durable_queues() {
    let attack = Attack {
        name: "durable queues, deleted again",
        config: "",
        rounds: 15,
        memory_max: 48.0,
        descriptors_max: 50.0,
    };
    let aftermath = attack.run(|target| {
        let channel = target.connect().channel(1);
        for _ in target.rounds() {
            let names: Vec<_> = (0..QUEUES / 5).map(|number| format!("flood-{number}")).collect();
            let mut requests = Vec::new();
            for name in &names {
                queue::Declare { durable: true, ..declare(name) }.encode_frame(1, &mut requests);
            }
            for name in &names {
                leveret_tests::delete(name).encode_frame(1, &mut requests);
            }
            channel.connection().send_bytes(&requests);
            for answer in channel.recv_many(names.len() * 2) {
                assert!(answer.starts_with("queue.de"), "{answer}");
            }
        }
    });
    let Some(aftermath) = aftermath else { return };
    eventually(|| metrics(&aftermath.broker)["rabbitmq_queues"] == 0.0);
}
