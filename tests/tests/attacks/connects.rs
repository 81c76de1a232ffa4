//! Connections that open and close without end.

use leveret_tests::codec::PROTOCOL_HEADER;
use leveret_tests::eventually;

use crate::scene::{Attack, metrics};

/// Each comes as far as another part of the handshake, or all the way, and leaves in a hurry.
#[test]
fn connects_and_opens() {
    let attack = Attack {
        name: "connects and opens",
        config: "",
        rounds: 600,
        memory_max: 16.0,
        // They are gone as soon as they have been seen to go.
        descriptors_max: 200.0,
    };
    let aftermath = attack.run(|target| {
        for round in target.rounds() {
            match round % 4 {
                0 => drop(target.dial()),
                1 => target.dial().send_bytes(&PROTOCOL_HEADER),
                2 => drop(target.connect()),
                _ => target.connect().close(),
            }
        }
    });
    let Some(aftermath) = aftermath else { return };
    eventually(|| {
        let metrics = metrics(&aftermath.broker);
        metrics["rabbitmq_connections"] == 0.0
            && metrics["leveret_connections_in_handshake"] == 0.0
            && metrics["rabbitmq_connections_opened_total"] >= 300.0
    });
}
