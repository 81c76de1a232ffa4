//! Clients of the HTTP API that ask for much and read nothing.

use std::collections::VecDeque;

use leveret_tests::eventually;
use serde_json::json;

use crate::scene::Attack;

/// So many are there at a time.
const HELD: usize = 32;
/// What each asks for: far more than fits into the buffers of its socket.
const PARTS: usize = 4;
const PART: usize = 1_000_000;
/// With the login `guest:guest`.
const ASKING: &[u8] = b"GET /api/global-parameters HTTP/1.1\r\nhost: broker\r\n\
                        authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n";

/// All that is asked for would be 128 MiB. Some are owed that much, and who comes behind them is refused,
/// but not who asks for little.
#[test]
fn unread_http_answers() {
    let attack = Attack {
        name: "unread HTTP answers",
        config: "[web]\nmemory_max = \"8MiB\"\n",
        rounds: HELD as u64,
        memory_max: 64.0,
        descriptors_max: HELD as f64 + 50.0,
    };
    let aftermath = attack.run(|target| {
        let api = target.api();
        for part in 0..PARTS {
            let (path, value) = (format!("/global-parameters/{part}"), "x".repeat(PART));
            // Where others use the machine that may take too long as well.
            eventually(|| {
                matches!(api.call("PUT", &path, &json!({ "value": value })).status, 201 | 204)
            });
        }
        let mut held = VecDeque::new();
        for _ in target.rounds() {
            let connection = target.dial_at(target.management);
            connection.send_bytes(ASKING);
            // It is there, and they read no more of it than that.
            let status = connection.recv_bytes(12);
            let is_status = status == b"HTTP/1.1 200" || status == b"HTTP/1.1 503";
            assert!(is_status, "{}", String::from_utf8_lossy(&status));
            held.push_back(connection);
            if held.len() > HELD {
                held.pop_front();
            }
            assert_eq!(api.get("/whoami")["name"], "guest");
        }
        held
    });
    let Some(aftermath) = aftermath else { return };
    let unread = aftermath.metrics["leveret_http_request_bytes"];
    let (least, most) = ((PARTS * PART) as f64, f64::from(16 << 20));
    assert!((least..=most).contains(&unread), "{unread}");
}
