//! Channels that are opened as fast as the broker opens them.

use std::collections::VecDeque;

use leveret_tests::codec::channel;

use crate::scene::Attack;

/// As many as a connection may have.
const CHANNELS: u16 = 2047;
/// So many connections have all of theirs.
const CONNECTIONS: usize = 10;

/// They are opened, closed and opened again; connections that are full are left behind.
#[test]
fn a_flood_of_channels() {
    let attack = Attack {
        name: "channels",
        config: "",
        rounds: 15,
        // A channel takes some 2 KiB.
        memory_max: 64.0,
        descriptors_max: 50.0,
    };
    let aftermath = attack.run(|target| {
        let close =
            channel::Close { reply_code: 200, reply_text: "again", class_id: 0, method_id: 0 };
        let mut held = VecDeque::new();
        for _ in target.rounds() {
            let connection = target.connect();
            let mut requests = Vec::new();
            for number in 1..=CHANNELS {
                channel::Open {}.encode_frame(number, &mut requests);
                close.encode_frame(number, &mut requests);
                channel::Open {}.encode_frame(number, &mut requests);
            }
            connection.send_bytes(&requests);
            for _ in 0..3 * usize::from(CHANNELS) {
                let (_, answer) = connection.recv_any();
                assert!(answer.starts_with("channel."), "{answer}");
            }
            held.push_back(connection);
            if held.len() > CONNECTIONS {
                held.pop_front();
            }
        }
        held
    });
    let Some(aftermath) = aftermath else { return };
    let channels = aftermath.metrics["rabbitmq_channels"];
    assert!(channels >= f64::from(CHANNELS) * CONNECTIONS as f64, "{channels}");
}
