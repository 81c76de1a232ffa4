//! Messages in the most frames there can be.

use leveret_tests::codec::{Properties, encode_body_frame, encode_content_header};
use leveret_tests::{confirm_select, publish};

use crate::scene::Attack;

/// Each in a frame of its own, and as many frames with nothing in them.
const BYTES: usize = 10_000;

#[test]
fn bodies_of_one_byte_a_frame() {
    let attack = Attack {
        name: "bodies of one byte a frame",
        config: "",
        rounds: 50,
        memory_max: 16.0,
        descriptors_max: 50.0,
    };
    let aftermath = attack.run(|target| {
        let mut properties = Vec::new();
        Properties::default().encode(&mut properties);
        let mut message = Vec::new();
        publish("amq.fanout", "").encode_frame(1, &mut message);
        encode_content_header(1, &properties, BYTES as u64, &mut message);
        for _ in 0..BYTES {
            encode_body_frame(1, b"", &mut message);
            encode_body_frame(1, b"x", &mut message);
        }
        let connection = target.connect();
        let channel = connection.channel(1);
        channel.call(&confirm_select());
        for round in target.rounds() {
            connection.send_bytes(&message);
            assert_eq!(channel.recv(), format!("basic.ack {}", round + 1));
        }
        connection
    });
    let Some(aftermath) = aftermath else { return };
    assert!(
        aftermath.metrics["rabbitmq_global_messages_received_total{protocol=\"amqp091\"}"] >= 50.0
    );
}
