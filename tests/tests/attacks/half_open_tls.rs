//! Sockets where TLS is spoken that say nothing, or a part of what they should.

use leveret_tests::{eventually, tls};

use crate::scene::{Attack, metrics};

/// So many may wait, the well-behaved clients among them.
const WAITING: f64 = 200.0;
/// A `ClientHello` of as many bytes is as long as rustls waits for.
const LARGE: usize = 65_000;
/// What a record of TLS holds at most.
const RECORD: usize = 16_384;

/// However many come, so many wait, and hold what counts for them; who shakes hands finds a place.
#[test]
fn half_open_tls() {
    let attack = Attack {
        name: "half-open TLS",
        config: "[amqp]\nhandshake_max = 200\n",
        rounds: 1000,
        // 112 KiB each, which is what they count for.
        memory_max: 22.0,
        // Those that are turned away may not have been closed yet.
        descriptors_max: WAITING + 50.0,
    };
    let aftermath = attack.run(|target| {
        let mut held = Vec::new();
        let hello = tls::hello(&target.trusting, "localhost");
        let endless = endless_hello();
        for round in target.rounds() {
            let connection = target.dial_at(target.tls);
            // Whoever was turned away gets a reset for it.
            let _ = connection.try_send_bytes(match round % 8 {
                0 => b"",
                1 => &hello[..hello.len() / 2],
                // The broker has shown its certificate, and waits.
                2 => &hello,
                _ => &endless,
            });
            held.push(connection);
            if held.len() > 1000 {
                held.remove(0);
            }
            if round % 100 == 99 {
                target.connect_within_tls().close();
            }
        }
        held
    });
    let Some(aftermath) = aftermath else { return };
    let metrics_of = &aftermath.metrics;
    assert!(metrics_of["leveret_connections_in_handshake"] <= WAITING);
    let refused = metrics_of["leveret_connections_refused_total{limit=\"handshake_max\"}"];
    assert!(refused >= 400.0, "{refused}");
    eventually(|| metrics(&aftermath.broker)["leveret_connections_in_handshake"] == 0.0);
    aftermath.broker.connect().close();
}

/// All of a large `ClientHello` but its last byte.
pub(crate) fn endless_hello() -> Vec<u8> {
    let mut message = vec![0; LARGE];
    let body = u32::try_from(LARGE - 4).unwrap().to_be_bytes();
    message[..4].copy_from_slice(&[1, body[1], body[2], body[3]]);
    let records = message[..LARGE - 1].chunks(RECORD).flat_map(|part| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1], &length[..], part].concat()
    });
    records.collect()
}
