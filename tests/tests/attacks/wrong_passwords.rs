//! Guessing passwords whose hashes cost 19 MiB and two passes to be compared with.

use std::collections::VecDeque;

use leveret_tests::codec::{TableBuf, Value, connection};
use leveret_tests::{Answer, Connection, table};
use serde_json::json;

use crate::scene::Attack;

/// Guesses that wait for an answer at a time.
const AT_ONCE: usize = 64;
const ROUNDS: u64 = 120;
/// So many connections may wait for an answer, or for having had one: as many as come unless it is measured.
const WAITING: f64 = 128.0;

/// For somebody who is there, and soon not looked at any more, and for those who are not, who always are.
#[test]
fn wrong_passwords() {
    let attack = Attack {
        name: "wrong passwords",
        // Whoever was wrong keeps a place for three seconds.
        config: "[amqp]\nhandshake_max = 128\n",
        rounds: ROUNDS,
        // Four are looked at at a time, however many processors there are.
        memory_max: 100.0,
        descriptors_max: 200.0,
    };
    let aftermath = attack.run(|target| {
        let api = target.api();
        api.put("/users/anna", &json!({ "password": "s3cret", "tags": "management" }));
        let anna = api.with_login(Some("anna:s3cret"));
        let hashing = &api.get("/users/anna")["hashing_algorithm"];
        assert_eq!(hashing, "leveret_password_hashing_argon2id");
        // Known from now on, so that it need not wait for what is looked at.
        assert_eq!(anna.get("/whoami")["name"], "anna");
        let mut guessers = VecDeque::new();
        for round in target.rounds() {
            let user = if round % 2 == 0 { "anna".to_owned() } else { format!("nobody-{round}") };
            let guesser = guess(target.dial(), &user, round);
            let is_admitted = guesser.is_some();
            guessers.extend(guesser);
            if !is_admitted || guessers.len() > AT_ONCE {
                guessers.pop_front().iter().for_each(is_refused);
            }
            if guessers.len() % 16 == 0 {
                assert_eq!(anna.get("/whoami")["name"], "anna");
            }
        }
        guessers.iter().for_each(is_refused);
    });
    let Some(aftermath) = aftermath else { return };
    let name = "rabbitmq_auth_attempts_failed_total{protocol=\"amqp091\"}";
    assert!(aftermath.metrics[name] >= ROUNDS as f64);
    assert!(aftermath.metrics["leveret_connections_in_handshake"] <= WAITING);
}

/// Tries a password, and waits for no answer; `None` if there was no place for that.
fn guess(guesser: Connection, user: &str, round: u64) -> Option<Connection> {
    let response = format!("\0{user}\0guess-{round}");
    let told: TableBuf = table([("authentication_failure_close", Value::Bool(true))]);
    let properties = table([("capabilities", Value::Table(told.as_table()))]);
    let greeting = guesser.greet();
    if is_turned_away(&greeting) {
        return None;
    }
    assert!(greeting.starts_with("connection.start "), "{greeting}");
    guesser.send(&connection::StartOk {
        client_properties: properties.as_table(),
        mechanism: "PLAIN",
        response: response.as_bytes(),
        locale: "en_US",
    });
    Some(guesser)
}

/// Or has lost its place to a newcomer of another address.
fn is_refused(guesser: &Connection) {
    let answer = guesser.recv();
    assert!(answer.starts_with("connection.close 403 ") || is_turned_away(&answer), "{answer}");
}

fn is_turned_away(answer: &Answer) -> bool {
    *answer == "eof" || *answer == "reset"
}
