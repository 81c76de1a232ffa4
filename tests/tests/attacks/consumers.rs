//! Consumers that come and go as fast as the broker lets them.

use leveret_tests::codec::{Value, basic, channel, queue};
use leveret_tests::{cancel, consume, declare, eventually, passive, table};

use crate::scene::{Attack, metrics};

/// Of a round; every tenth stays.
const CONSUMERS: usize = 500;
/// On one channel.
const CROWD: i32 = 50_000;

/// Messages that wait are offered to each of them, and come back.
#[test]
fn a_flood_of_consumers() {
    let attack = Attack {
        name: "consumes and cancels",
        config: "",
        rounds: 20,
        memory_max: 48.0,
        descriptors_max: 50.0,
    };
    let aftermath = attack.run(|target| {
        let connection = target.connect();
        let channel = connection.channel(1);
        channel.call(&queue::Declare { exclusive: true, ..declare("fought-over") });
        for round in target.rounds() {
            let mut requests = Vec::new();
            for number in 0..CONSUMERS {
                let tag = format!("{}-{number}", round % 20);
                if round >= 20 && number % 10 == 0 {
                    cancel(&tag).encode_frame(1, &mut requests);
                }
                consume("fought-over", &tag).encode_frame(1, &mut requests);
                if number % 10 != 0 {
                    cancel(&tag).encode_frame(1, &mut requests);
                }
            }
            connection.send_bytes(&requests);
            let cancels = if round >= 20 { CONSUMERS } else { CONSUMERS - CONSUMERS / 10 };
            for answer in channel.recv_many(CONSUMERS + cancels) {
                assert!(answer.starts_with("basic.c"), "{answer}");
            }
        }
        connection
    });
    let Some(aftermath) = aftermath else { return };
    assert!(aftermath.metrics["rabbitmq_consumers"] >= 1000.0);
    eventually(|| metrics(&aftermath.broker)["rabbitmq_consumers"] == 0.0);
}

/// Each costs what one does, however many there are, and so does its end. A queue with a single active consumer
/// finds the next, and one with priorities the highest.
#[test]
fn a_crowd_of_consumers() {
    let attack = Attack {
        name: "consumers by the ten thousand on one channel",
        config: "",
        rounds: 2,
        memory_max: 160.0,
        descriptors_max: 50.0,
    };
    attack.run(|target| {
        let connection = target.connect();
        let channel = connection.channel(1);
        for round in target.rounds() {
            let single = table([("x-single-active-consumer", Value::Bool(round % 2 == 1))]);
            let name = format!("crowded-{round}");
            channel.call(&queue::Declare {
                exclusive: true,
                arguments: single.as_table(),
                ..declare(&name)
            });
            let mut requests = Vec::new();
            for number in 0..CROWD {
                let tag = number.to_string();
                let priority = table([("x-priority", Value::I32(number / 2))]);
                let arguments = priority.as_table();
                basic::Consume { nowait: true, arguments, ..consume(&name, &tag) }
                    .encode_frame(1, &mut requests);
            }
            connection.send_bytes(&requests);
            assert_eq!(channel.call(&passive(&name)), format!("queue.declare-ok {name} 0 {CROWD}"));
            channel.close();
            assert_eq!(channel.call(&channel::Open {}), "channel.open-ok");
        }
        connection
    });
}
