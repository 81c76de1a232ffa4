//! Sockets that say nothing, or half of what they should.

use leveret_tests::codec::PROTOCOL_HEADER;
use leveret_tests::eventually;

use crate::scene::{Attack, metrics};

/// So many may wait, the well-behaved client's among them.
const WAITING: f64 = 50.0;
/// How many were turned away for that.
const REFUSED: &str = "leveret_connections_refused_total{limit=\"handshake_max\"}";
const REFUSED_MIN: f64 = 400.0;

/// However many come, so many wait; the well-behaved client finds a place among them, and again.
#[test]
fn half_open_sockets() {
    let attack = Attack {
        name: "half-open sockets",
        config: "[amqp]\nhandshake_max = 50\n",
        rounds: 500,
        memory_max: 16.0,
        // Those that are turned away may not have been closed yet.
        descriptors_max: WAITING + 50.0,
    };
    let aftermath = attack.run(|target| {
        let mut held = Vec::new();
        for round in target.rounds() {
            let connection = target.dial();
            // Whoever was turned away gets a reset for it.
            let _ = match round % 3 {
                0 => Ok(()),
                1 => connection.try_send_bytes(b"AMQP"),
                _ => connection.try_send_bytes(&PROTOCOL_HEADER),
            };
            held.push(connection);
            if held.len() > 500 {
                held.remove(0);
            }
        }
        target.await_count(REFUSED, REFUSED_MIN);
        held
    });
    let Some(aftermath) = aftermath else { return };
    let metrics_of = &aftermath.metrics;
    assert!(metrics_of["leveret_connections_in_handshake"] <= WAITING);
    assert!(metrics_of[REFUSED] >= REFUSED_MIN);
    // It has been said once what is up.
    let log = aftermath.broker.log();
    assert_eq!(log.matches("turning AMQP connections away: 50 have not opened yet").count(), 1);
    eventually(|| metrics(&aftermath.broker)["leveret_connections_in_handshake"] == 0.0);
    aftermath.broker.connect().close();
}
