//! Clients that begin frames and take their time, and some that never finish one.

use std::collections::VecDeque;

use leveret_tests::codec::{Properties, encode_content};
use leveret_tests::publish;

use crate::scene::Attack;

/// So many are there at a time.
const WRITERS: usize = 100;
/// Each has sent this much of a frame, and then sends one byte at a time.
const HALF_A_FRAME: usize = 64 << 10;

#[test]
fn slow_writers() {
    let attack = Attack {
        name: "slow writers",
        config: "",
        rounds: 2000,
        // What each has sent, in a buffer that may be twice as large, and what a connection takes.
        memory_max: WRITERS as f64 * 0.2 + 16.0,
        descriptors_max: 200.0,
    };
    let aftermath = attack.run(|target| {
        let frame = frame();
        let mut held = VecDeque::new();
        for _ in target.rounds() {
            if held.len() < WRITERS {
                let connection = target.connect();
                let _ = connection.channel(1);
                connection.send_bytes(&frame[..HALF_A_FRAME]);
                held.push_back((connection, HALF_A_FRAME));
                continue;
            }
            let Some((connection, sent)) = held.pop_front() else { break };
            connection.send_bytes(&frame[sent..=sent]);
            if sent + 2 < frame.len() {
                held.push_back((connection, sent + 1));
            }
        }
        held
    });
    let Some(aftermath) = aftermath else { return };
    assert!(aftermath.metrics["rabbitmq_connections"] >= WRITERS as f64);
}

/// A publish in as large a frame as there is room for.
fn frame() -> Vec<u8> {
    let mut frame = Vec::new();
    publish("amq.fanout", "").encode_frame(1, &mut frame);
    let mut properties = Vec::new();
    Properties::default().encode(&mut properties);
    encode_content(1, &properties, &vec![b'x'; 100 << 10], 131_072, &mut frame);
    frame
}
