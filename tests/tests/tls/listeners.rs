//! What is served within TLS, and how it shows.

use std::io::{Read, Write};
use std::net::TcpStream;

use leveret_tests::codec::queue;
use leveret_tests::tls::{self, Authority, Wanted};
use leveret_tests::{Broker, Connection, Login, consume, declare, get as get_message, passive};
use serde_json::json;

use crate::{LOCALHOST, Served, get};

#[test]
fn amqp_works_within_tls() {
    let Some(served) = Served::with("") else { return };
    let channel = served.open(None).unwrap().channel(1);
    channel.call(&queue::Declare { exclusive: true, ..declare("q") });
    channel.call(&consume("q", "c"));
    for size in [1, 1000, 300_000] {
        let body = vec![7; size];
        channel.publish("", "q", &body);
        assert_eq!(channel.recv().body(), body);
    }
}

#[test]
fn operators_see_what_protects_a_connection() {
    let Some(served) = Served::with("") else { return };
    let _open = served.open(None).unwrap();
    let (status, connections) = served.get("/api/connections");
    assert_eq!(status, 200);
    let connection = &connections[0];
    assert_eq!(connection["ssl"], json!(true));
    assert_eq!(connection["ssl_protocol"], json!("tlsv1.3"));
    assert_eq!(connection["ssl_cipher"], json!("aes_256_gcm"));
    assert_eq!(connection["ssl_key_exchange"], json!("any"));
    assert_eq!(connection["peer_cert_subject"], json!(""));
    let (_, overview) = served.get("/api/overview");
    let listeners = overview["listeners"].as_array().unwrap();
    let shown: Vec<(&str, bool)> = listeners
        .iter()
        .map(|one| (one["protocol"].as_str().unwrap(), one["tls"].as_bool().unwrap()))
        .collect();
    let expected =
        [("amqp", false), ("amqp/ssl", true), ("https", true), ("https/prometheus", true)];
    assert_eq!(shown, expected);
    let (status, check) = served.get("/api/health/checks/protocol-listener/amqps");
    assert_eq!((status, &check["status"]), (200, &json!("ok")));
}

#[test]
fn the_log_tells_of_handshakes_over_http_that_fail() {
    let Some(served) = Served::with("") else { return };
    let address = served.broker.address_of("metrics over TLS");
    for _ in 0..3 {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        // It is closed, with or without an alert.
        let _ = client.read_to_end(&mut Vec::new());
    }
    served.broker.await_line("TLS handshake: ");
    let log = served.broker.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("TLS handshake: ")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("[warning] HTTP connection from 127.0.0.1:"), "{told:?}");
    assert!(told[0].ends_with("; 1 such since the start"), "{told:?}");
}

#[test]
fn metrics_are_served_within_tls() {
    let Some(served) = Served::with("") else { return };
    let client = tls::client(&served.authority.pem(), None);
    let address = served.broker.address_of("metrics over TLS");
    let stream = tls::connect(address, &client, "localhost").unwrap();
    assert_eq!(get(stream, "/metrics").0, 200);
}

#[test]
fn a_client_without_tls_is_not_served_where_tls_is_spoken() {
    let Some(served) = Served::with("") else { return };
    let address = served.broker.address_of("AMQP over TLS");
    let connection = Connection::dial(address);
    connection.send_bytes(&leveret_tests::codec::PROTOCOL_HEADER);
    served.broker.await_line("TLS handshake: received corrupt message");
    // What is served within TLS is as it was.
    served.open(None).unwrap();
}

#[test]
fn a_handshake_takes_no_longer_than_allowed() {
    let Some(served) = Served::with("handshake_timeout = \"100ms\"\n") else { return };
    let mut silent = TcpStream::connect(served.broker.address_of("AMQP over TLS")).unwrap();
    silent.write_all(&[22, 3, 1]).unwrap();
    served.broker.await_line("TLS handshake: timeout");
}

#[test]
fn a_client_gets_the_certificate_of_the_host_it_names() {
    let home = tempfile::TempDir::with_prefix("leveret-tls-").unwrap();
    let other = Authority::new("another root");
    let wanted = Wanted { name: "other", hosts: &["*.example.org", "example.org"], ..LOCALHOST };
    let identity = other.sign(&wanted);
    let _ = identity.write(home.path(), "other");
    let other_files = home.path().display();
    let settings = format!(
        "cert_file = [\"{{home}}/server.pem\", \"{other_files}/other.pem\"]\n\
         key_file = [\"{{home}}/server.key\", \"{other_files}/other.key\"]\n"
    );
    let Some(served) = Served::without_files(&settings) else { return };
    let address = served.broker.address_of("AMQP over TLS");
    let shown = |host| {
        let client = tls::client(&(served.authority.pem() + &other.pem()), None);
        tls::connect(address, &client, host).map(|stream| tls::shown(&stream))
    };
    assert_eq!(shown("localhost").unwrap(), tls::der(&served.identity.certificate));
    assert_eq!(shown("mq.example.org").unwrap(), tls::der(&identity.certificate));
    assert_eq!(shown("example.org").unwrap(), tls::der(&identity.certificate));
    // A host that nobody knows gets the first one, which is not for it.
    assert!(shown("deep.mq.example.org").is_err());
}

#[test]
fn a_certificate_that_expires_soon_is_told_before() {
    let Some(served) = Served::with("") else { return };
    let check =
        |within: &str| served.get(&format!("/api/health/checks/certificate-expiration/{within}"));
    assert_eq!(check("14/weeks"), (200, json!({ "status": "ok" })));
    let (status, expiring) = check("15/weeks");
    assert_eq!((status, &expiring["reason"]), (503, &json!("Certificates expiring")));
    let expired = expiring["expired"].as_array().unwrap();
    assert_eq!(expired.len(), 3, "{expiring}");
    assert_eq!(expired[0]["protocol"], json!("amqp/ssl"));
    assert_eq!(expired[0]["certificates"][0]["subject"], json!("CN=localhost"));
    assert_eq!(check("1/fortnights").0, 400);
}

#[test]
fn a_proxy_speaks_before_the_handshake() {
    let Some(served) = Served::with("[amqp]\nproxies = \"127.0.0.1\"\n") else { return };
    let client = tls::client(&served.authority.pem(), None);
    let address = served.broker.address_of("AMQP over TLS");
    // From a loopback address: guest is let in.
    let header = b"PROXY TCP4 127.0.0.2 127.0.0.1 56324 5671\r\n";
    let stream = tls::connect_behind(header, address, &client, "localhost").unwrap();
    let connection = Connection::within(stream);
    connection.open(&Login::default()).unwrap();
    let (_, connections) = served.get("/api/connections");
    let shown = &connections[0];
    assert_eq!((&shown["peer_host"], &shown["peer_port"]), (&json!("127.0.0.2"), &json!(56324)));
    assert_eq!((&shown["port"], &shown["ssl"]), (&json!(5671), &json!(true)));
    assert_eq!(shown["name"], json!("127.0.0.2:56324 -> 127.0.0.1:5671"));
}

#[test]
fn a_migration_goes_through_tls_all_the_way() {
    let Some(served) = Served::with("") else { return };
    let Some(to) = Broker::own("is migrated to") else { return };
    assert_eq!(served.put("/api/queues/%2F/q", r#"{"durable":true}"#), 201);
    let channel = served.open(None).unwrap().channel(1);
    channel.publish("", "q", "secret");
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 1 0");
    let from = format!(
        "https://guest:guest@localhost:{}",
        served.broker.address_of("management over TLS").port()
    );
    let data = to.data_dir().display().to_string();
    let certificates = served.home.path().join("ca.pem").display().to_string();
    let migrate = |ca_file: &str| {
        Broker::run(&["migrate", "--from", &from, "--ca-file", ca_file, "--data-dir", &data])
    };
    let other = Authority::new("another root");
    let unknown = served.home.path().join("other.pem");
    std::fs::write(&unknown, other.pem()).unwrap();
    let (status, said) = migrate(&unknown.display().to_string());
    assert_eq!(status.code(), Some(69), "{said}");
    assert!(said.contains("invalid peer certificate"), "{said}");
    let (status, said) = migrate(&certificates);
    assert!(status.success() && said.contains("\n1 messages moved\n"), "{said}");
    let got = to.connect().channel(1).call(&get_message("q"));
    assert_eq!(got, "basic.get-ok 1 '' q 0: secret");
    let within_tls = served.broker.address_of("AMQP over TLS");
    served.broker.await_line(&format!("-> {within_tls} - leveret migrate)"));
}
