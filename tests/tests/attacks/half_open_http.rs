//! Sockets that say nothing, or half of a request, where HTTP is spoken.

use leveret_tests::{Api, Connection, eventually};

use crate::scene::{Attack, metrics};

/// So many connections a listener may have.
const PLACES: f64 = 50.0;
const LISTENERS: f64 = 2.0;
/// The attackers hold three times as many.
const HELD: usize = 300;
/// So many of them were turned away.
const REFUSED: &str = "leveret_http_connections_refused_total";
const REFUSED_MIN: f64 = 1800.0;
/// Of the newest of them, some send a byte more with each round.
const TRICKLING: usize = 50;

const UNFINISHED: &[u8] = b"GET /api/overview HTTP/1.1\r\nhost: broker\r\n";
const BODY_TO_COME: &[u8] =
    b"PUT /api/vhosts/v HTTP/1.1\r\nhost: broker\r\ncontent-length: 100\r\n\r\n{";
const LARGE_BODY_TO_COME: &str =
    "GET /health/live HTTP/1.1\r\nhost: broker\r\ncontent-length: 20000000\r\n\r\n";
/// What comes of that.
const LARGE_PART: usize = 1 << 20;

/// However many come, probes are answered, and so is who has logged in.
#[test]
fn half_open_http_connections() {
    let attack = Attack {
        name: "half-open HTTP connections",
        config: "[web]\nconnection_max = 50\n",
        rounds: 2600,
        memory_max: 16.0,
        // A few that made room may not have been closed yet.
        descriptors_max: LISTENERS * PLACES + 50.0,
    };
    let aftermath = attack.run(|target| {
        let listeners = [target.management, target.metrics];
        let listeners = listeners.map(|address| (address, Api::new(address)));
        let mut held: Vec<(Connection, &[u8])> = Vec::new();
        let mut large = LARGE_BODY_TO_COME.as_bytes().to_vec();
        large.resize(large.len() + LARGE_PART, b'x');
        for round in target.rounds() {
            let (address, somebody) = &listeners[usize::from(round % 2 == 1)];
            let (at_once, later): (&[u8], &[u8]) = match round / 2 % 4 {
                0 => (b"", UNFINISHED),
                1 => (UNFINISHED, b""),
                2 => (&large, b""),
                _ => (BODY_TO_COME, b""),
            };
            let connection = target.dial_at(*address);
            // Whoever has to make room at once gets a reset for it.
            let _ = connection.try_send_bytes(at_once);
            held.push((connection, later));
            if held.len() > HELD {
                held.remove(0);
            }
            // And a byte more of some heads of the newest.
            for (connection, later) in held.iter_mut().rev().take(TRICKLING) {
                if let Some((byte, rest)) = later.split_first() {
                    let _ = connection.try_send_bytes(&[*byte]);
                    *later = rest;
                }
            }
            if round % 100 < 2 {
                let answer = somebody.send("GET", "/health/live", &[], "");
                assert_eq!(answer.status, 200, "{answer:?}");
                assert!(target.api().get("/overview")["node"].is_string());
            }
        }
        target.await_count(REFUSED, REFUSED_MIN);
        held
    });
    let Some(aftermath) = aftermath else { return };
    assert!(aftermath.metrics[REFUSED] >= REFUSED_MIN);
    let log = aftermath.broker.log();
    assert!(log.contains("50 HTTP connections of a listener are open"), "{log}");
    let name = "rabbitmq_process_open_fds";
    let left = aftermath.metrics[name] - PLACES;
    eventually(|| metrics(&aftermath.broker)[name] < left);
}
