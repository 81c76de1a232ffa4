//! Who gets in, and what they may, where others than the broker decide.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod cache;
mod chain;
mod directory;
mod guessed_tokens;
mod guesses;
mod http_api;
mod http_logins;
mod http_permissions;
mod https;
mod ldap;
mod oauth2;
mod service;

use leveret_tests::{Answer, Broker, Login};

const WHY: &str = "asks others about logins";
/// What RabbitMQ says to whom it doesn't let in.
const REFUSED: &str = "connection.close 403 0.0 ACCESS_REFUSED - Login was refused using \
                       authentication mechanism PLAIN. For details see the broker logfile.";

/// Logs in with a password and opens `/`, or says what came instead.
fn log_in(
    broker: &Broker,
    user: &str,
    password: &str,
) -> Result<leveret_tests::Connection, Answer> {
    let response = format!("\0{user}\0{password}");
    broker.connect_as(&Login { response: response.as_bytes(), ..Login::default() })
}
