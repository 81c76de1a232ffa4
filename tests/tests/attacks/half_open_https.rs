//! Sockets where HTTP is spoken within TLS that never come as far as a request.

use std::any::Any;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use leveret_tests::{PATIENCE, tls};

use crate::half_open_tls::endless_hello;
use crate::scene::{ATTACKER, Attack};

/// So many connections a listener may have.
const PLACES: f64 = 50.0;
/// The attackers hold many times as many.
const HELD: usize = 1000;
const REFUSED: &str = "leveret_http_connections_refused_total";

const HALF_A_HEAD: &[u8] = b"GET /api/overview HTTP/1.1\r\nhost: broker\r\n";

/// However many come, so many are there, and hold what counts for them; who asks is answered. Those who still
/// say nothing are closed.
#[test]
fn half_open_https_connections() {
    let attack = Attack {
        name: "half-open HTTPS connections",
        config: "[web]\nconnection_max = 50\nhead_timeout = \"1s\"\n",
        rounds: 1000,
        // 304 KiB each.
        memory_max: 20.0,
        // Those that made room may not have been closed yet.
        descriptors_max: PLACES + 50.0,
    };
    let aftermath = attack.run(|target| {
        let mut held: VecDeque<Box<dyn Any>> = VecDeque::new();
        let hello = tls::hello(&target.trusting, "localhost");
        let endless = endless_hello();
        for round in target.rounds() {
            let (at, trusting) = (target.management_tls, &target.trusting);
            // Whoever has to make room at once gets a reset for it.
            if let kind @ (3 | 4) = round % 8 {
                if let Ok(mut stream) = tls::connect_from(ATTACKER, at, trusting, "localhost") {
                    let _ = stream.write_all(if kind == 3 { b"" } else { HALF_A_HEAD });
                    held.push_back(Box::new(stream));
                }
            } else {
                let connection = target.dial_at(at);
                let _ = connection.try_send_bytes(match round % 8 {
                    0 => b"",
                    1 => &hello[..hello.len() / 2],
                    // The broker has shown its certificate, and waits.
                    2 => &hello,
                    _ => &endless,
                });
                held.push_back(Box::new(connection));
            }
            if held.len() > HELD {
                held.pop_front();
            }
            if round % 100 == 99 {
                assert_eq!(ask(at, trusting), "HTTP/1.1 200");
            }
        }
        target.await_count(REFUSED, 1.0);
        held
    });
    let Some(aftermath) = aftermath else { return };
    let broker = &aftermath.broker;
    let log = broker.log();
    assert!(log.contains("50 HTTP connections of a listener are open"), "{log}");

    let (at, trusting) = (broker.address_of("management over TLS"), &aftermath.trusting);
    let waiting = || TcpStream::connect(at).unwrap();
    let (silent, mut halting) = (waiting(), waiting());
    halting.write_all(&endless_hello()).unwrap();
    let [quiet, mut hesitating] =
        [(); 2].map(|()| tls::connect(at, trusting, "localhost").unwrap());
    hesitating.write_all(HALF_A_HEAD).unwrap();
    for socket in [&silent, &halting] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    await_end(silent);
    await_end(halting);
    await_end(quiet);
    await_end(hesitating);
    assert_eq!(ask(at, trusting), "HTTP/1.1 200");
}

/// How a request within TLS is answered, of one who means well.
fn ask(address: SocketAddr, trusting: &Arc<tls::ClientConfig>) -> String {
    let mut stream = tls::connect(address, trusting, "localhost").expect("a handshake");
    let request = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).expect("a broker that reads");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("an answer");
    String::from_utf8_lossy(&status).into_owned()
}

/// Waits until the broker has closed a connection, with or without a word.
fn await_end(mut stream: impl Read) {
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        let is_open = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!is_open, "the broker keeps it");
    }
}
