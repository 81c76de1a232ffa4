//! TLS as clients meet it: certificates, versions, listeners, and files that change.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod clients;
mod configuration;
mod external;
mod listeners;
mod openssl;
mod reload;
mod rotation;
mod scanner;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;

use leveret_tests::codec::PROTOCOL_HEADER;
use leveret_tests::tls::{self, Authority, Identity, Stream, Wanted};
use leveret_tests::{Broker, Connection, Login};
use serde_json::Value;
use tempfile::TempDir;

const WHY: &str = "serves TLS";
const CLIENT: Wanted<'static> = Wanted { name: "client", hosts: &[], days: 100 };
const LOCALHOST: Wanted<'static> = Wanted { name: "localhost", hosts: &["localhost"], days: 100 };

/// What the broker calls what it serves within TLS.
const LISTENERS: [&str; 3] = ["AMQP", "management", "metrics"];

/// A broker with TLS on all listeners, and who has signed its certificate.
struct Served {
    broker: Broker,
    authority: Authority,
    identity: Identity,
    /// Where its files are.
    home: TempDir,
}

impl Served {
    /// With more settings of `[tls]`, in which `{home}` is where the files are.
    fn with(settings: &str) -> Option<Self> {
        let files = "cert_file = \"{home}/server.pem\"\nkey_file = \"{home}/server.key\"\n";
        Self::without_files(&format!("{files}{settings}"))
    }

    /// With these settings of `[tls]` only.
    fn without_files(settings: &str) -> Option<Self> {
        let home = TempDir::with_prefix("leveret-tls-").unwrap();
        let authority = Authority::new("root");
        std::fs::write(home.path().join("ca.pem"), authority.pem()).unwrap();
        let identity = authority.sign(&LOCALHOST);
        let _ = identity.write(home.path(), "server");
        let broker = Broker::configured(&configuration(home.path(), settings), WHY)?;
        Some(Self { broker, authority, identity, home })
    }

    /// A client that trusts it, shaken hands with.
    fn connect(&self, identity: Option<&Identity>) -> std::io::Result<Stream> {
        self.connect_to("AMQP", identity)
    }

    /// The same at one of the listeners.
    fn connect_to(&self, listener: &str, identity: Option<&Identity>) -> std::io::Result<Stream> {
        let client = tls::client(&self.authority.pem(), identity);
        let address = self.broker.address_of(&format!("{listener} over TLS"));
        tls::connect(address, &client, "localhost")
    }

    /// What an AMQP client meets.
    fn open(&self, identity: Option<&Identity>) -> Result<Connection, String> {
        self.answers("AMQP", identity)?;
        self.log_in(identity, &Login::default())
    }

    /// Whether a client gets an answer, not only a handshake: with TLS 1.3 a refusal comes after the
    /// client's last word of it.
    fn answers(&self, listener: &str, identity: Option<&Identity>) -> Result<(), String> {
        let mut stream = self.connect_to(listener, identity).map_err(|error| error.to_string())?;
        let (asked, answered): (&[u8], &[u8]) = match listener {
            "AMQP" => (&PROTOCOL_HEADER, &[1, 0, 0]),
            _ => (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200"),
        };
        stream.write_all(asked).map_err(|error| error.to_string())?;
        let mut start = vec![0; answered.len()];
        stream.read_exact(&mut start).map_err(|error| error.to_string())?;
        assert_eq!(start, answered, "{listener}");
        Ok(())
    }

    /// The same for a client that doesn't log in as usual.
    fn log_in(&self, identity: Option<&Identity>, login: &Login<'_>) -> Result<Connection, String> {
        let connection = Connection::within(self.connect(identity).unwrap());
        connection.open(login).map_err(|answer| answer.to_string())?;
        Ok(connection)
    }

    /// What a GET of the API answers, over TLS.
    fn get(&self, path: &str) -> (u16, Value) {
        self.request("GET", path, "")
    }

    /// What a PUT answers.
    fn put(&self, path: &str, body: &str) -> u16 {
        self.request("PUT", path, body).0
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let client = tls::client(&self.authority.pem(), None);
        let address = self.broker.address_of("management over TLS");
        let stream = tls::connect(address, &client, "localhost").unwrap();
        request(stream, method, path, body)
    }
}

fn configuration(home: &Path, settings: &str) -> String {
    let mut text = String::new();
    for listener in ["listen", "management", "metrics"] {
        let plain = if listener == "listen" { "127.0.0.1:0" } else { "none" };
        writeln!(text, "{listener} = \"{plain}\"\n{listener}_tls = \"127.0.0.1:0\"").unwrap();
    }
    text + &format!("[tls]\n{settings}").replace("{home}", &home.display().to_string())
}

fn get(stream: Stream, path: &str) -> (u16, Value) {
    request(stream, "GET", path, "")
}

fn request(mut stream: Stream, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {}\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}
