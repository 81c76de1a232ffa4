//! Watching messages as they pass, over HTTP.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use leveret_tests::codec::{Method, Value as Field, queue};
use leveret_tests::{Api, Broker, confirm_select, declare, declare_exchange, get, table};
use serde_json::{Value, json};

use crate::managed;

/// Longest wait for an event that surely comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that reads the events of one request.
struct Watcher(BufReader<TcpStream>);

impl Watcher {
    /// Watches as guest. Returns when what passes from then on is seen.
    fn of(address: SocketAddr, path: &str) -> Self {
        Self::with_login("Z3Vlc3Q6Z3Vlc3Q=", address, path)
    }

    /// Watches as somebody whose name and password these are, in the form of a header.
    fn with_login(login: &str, address: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!(
            "GET /api/leveret/tail{path} HTTP/1.1\r\nhost: localhost\r\n\
             authorization: Basic {login}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut watcher = Self(BufReader::new(stream));
        let mut status = String::new();
        watcher.0.read_line(&mut status).expect("a status");
        assert_eq!(status, "HTTP/1.1 200 OK\r\n");
        assert_eq!(watcher.next(), ("open".to_owned(), json!({})));
        watcher
    }

    /// The next event and its data. Each is whole within a chunk of the answer.
    fn next(&mut self) -> (String, Value) {
        let (name, data) = self.next_text();
        (name, serde_json::from_str(&data).expect("JSON"))
    }

    fn next_text(&mut self) -> (String, String) {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).expect("a line"), 0, "it has ended");
            if let Some(own) = line.strip_prefix("event: ") {
                name = own.trim_end().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, data.to_owned());
            }
        }
    }
}

fn body_of(broker: &Broker, name: &str) -> Option<(Vec<u8>, bool)> {
    let answer = broker.connect().channel(1).call(&get(name));
    let Method::BasicGetOk(got) = answer.method() else { return None };
    Some((answer.body().to_vec(), got.redelivered))
}

#[test]
fn what_a_queue_gets_is_seen_and_stays() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "before");
    channel.call(&declare("q"));
    let mut watcher = Watcher::of(broker.management_address(), "/%2F/queue/q?truncate=4");
    channel.publish("", "q", "first one");
    channel.publish("", "q", [0xff, 0xfe]);
    let (name, first) = watcher.next();
    assert_eq!(name, "message");
    assert_eq!((&first["exchange"], &first["routing_key"]), (&json!(""), &json!("q")));
    assert_eq!((&first["payload"], &first["payload_bytes"]), (&json!("firs"), &json!(9)));
    assert_eq!(first["properties"], json!([]));
    let (_, second) = watcher.next();
    assert_eq!(
        (&second["payload_encoding"], &second["payload"]),
        (&json!("base64"), &json!("//4="))
    );
    assert_eq!(body_of(&broker, "q"), Some((b"before".to_vec(), false)));
    drop(watcher);
    assert_eq!(api.get("/queues/%2F/q")["name"], "q");
}

#[test]
fn what_is_published_to_an_exchange_is_seen_also_without_a_route_and_again_and_again() {
    let Some((broker, _api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare_exchange("shop", "topic"));
    channel.call(&declare("q"));
    channel.call(&leveret_tests::bind("q", "shop", "order.*"));
    // Those that are alike take a short way, on which they are to be seen as well.
    for _ in 0..3 {
        channel.publish("shop", "order.new", "before");
    }
    channel.call(&declare("q"));
    let mut watcher = Watcher::of(broker.management_address(), "/%2F/exchange/shop");
    for body in ["a", "b", "c"] {
        channel.publish("shop", "order.new", body);
    }
    channel.publish("", "q", "elsewhere");
    channel.publish("shop", "nowhere", "d");
    let seen: Vec<_> = (0..4).map(|_| watcher.next().1["payload"].clone()).collect();
    assert_eq!(seen, ["a", "b", "c", "d"]);
}

#[test]
fn a_stream_is_watched_as_well() {
    let Some((broker, _api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    let arguments = table([("x-queue-type", Field::text("stream"))]);
    let stream = queue::Declare { durable: true, arguments: arguments.as_table(), ..declare("s") };
    assert!(channel.call(&stream).starts_with("queue.declare-ok"));
    let mut watcher = Watcher::of(broker.management_address(), "/%2F/queue/s");
    channel.publish("", "s", "new");
    assert_eq!(watcher.next().1["payload"], "new");
}

#[test]
fn who_reads_too_slowly_loses_copies_and_is_told_how_many() {
    const MESSAGES: u64 = 1500;
    let Some((broker, _api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    let arguments = table([("x-max-length", Field::I32(1))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    assert_eq!(channel.call(&confirm_select()), "confirm.select-ok");
    let mut watcher = Watcher::of(broker.management_address(), "/%2F/queue/q?truncate=65536");
    // More than all buffers on the way hold, with nobody reading.
    let body = vec![b'x'; 65536];
    for _ in 0..MESSAGES {
        channel.publish("", "q", &body);
    }
    let mut confirmed = 0;
    while confirmed < MESSAGES {
        let answer = channel.recv();
        let Method::BasicAck(ack) = answer.method() else { panic!("{answer:?}") };
        confirmed = ack.delivery_tag;
    }
    let (mut seen, mut lost) = (0, 0);
    while seen + lost < MESSAGES {
        let (name, data) = watcher.next_text();
        match name.as_str() {
            "message" => seen += 1,
            "lost" => {
                let data: Value = serde_json::from_str(&data).expect("JSON");
                lost += data["messages"].as_u64().expect("a number");
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(seen + lost, MESSAGES);
    assert!(lost > 0 && seen > 0, "{seen} seen, {lost} lost");
}

#[test]
fn watching_needs_the_permission_to_read() {
    let Some((broker, api)) = managed() else { return };
    broker.connect().channel(1).call(&declare("q"));
    for (name, tags, read) in [("reader", "management", "^q$"), ("writer", "monitoring", "^$")] {
        api.put(&format!("/users/{name}"), &json!({ "password": "p", "tags": tags }));
        let permission = json!({ "configure": "", "write": ".*", "read": read });
        api.put(&format!("/permissions/%2F/{name}"), &permission);
    }
    let status = |login: &str, path: &str| {
        let path = format!("/api/leveret/tail/%2F/{path}");
        api.with_login(Some(login)).send("GET", &path, &[], "").status
    };
    assert_eq!(status("writer:p", "queue/q"), 401);
    assert_eq!(status("writer:p", "exchange/amq.topic"), 401);
    // An exchange has what goes to queues of others: that takes who monitors.
    assert_eq!(status("reader:p", "exchange/amq.topic"), 401);
    assert_eq!(status("reader:p", "queue/nope"), 404);
    assert_eq!(status("guest:guest", "exchange/nope"), 404);
    assert_eq!(status("guest:guest", "queue/q?truncate=x"), 400);
}

/// Of `eve:p`.
const EVE: &str = "ZXZlOnA=";

fn eve(api: &Api, tags: &str, read: &str) {
    api.put("/users/eve", &json!({ "password": "p", "tags": tags }));
    let permission = json!({ "configure": "", "write": "", "read": read });
    api.put("/permissions/%2F/eve", &permission);
}

/// As if it were by a queue of the watcher's own.
#[test]
fn of_an_exchange_who_may_read_only_some_sees_only_those() {
    let Some((broker, api)) = managed() else { return };
    eve(&api, "monitoring", "^(amq\\.topic|amq\\.direct|amq\\.default|hers)$");
    let topic = json!({ "exchange": "amq.topic", "write": "", "read": "^public" });
    api.put("/topic-permissions/%2F/eve", &topic);
    let channel = broker.connect().channel(1);
    for (exchange, path, keys) in [
        ("amq.topic", "amq.topic", ["secret", "public.a", "x.public", "public.b"]),
        ("", "amq.default", ["others", "hers", "nobodys", "hers"]),
    ] {
        let path = format!("/%2F/exchange/{path}");
        let mut watcher = Watcher::with_login(EVE, broker.management_address(), &path);
        let mut guest = Watcher::of(broker.management_address(), &path);
        for key in keys {
            channel.publish(exchange, key, "");
        }
        let mut next = || watcher.next().1["routing_key"].clone();
        assert_eq!([next(), next()], [keys[1], keys[3]], "{path}");
        let all = [(); 4].map(|()| guest.next().1["routing_key"].clone());
        assert_eq!(all, keys, "{path}");
    }
    let mut watcher =
        Watcher::with_login(EVE, broker.management_address(), "/%2F/exchange/amq.direct");
    channel.publish("amq.direct", "secret", "");
    assert_eq!(watcher.next().1["routing_key"], "secret");
}

#[test]
fn watching_ends_with_the_tag_it_takes() {
    let Some((broker, api)) = managed() else { return };
    broker.connect().channel(1).call(&declare("q"));
    eve(&api, "monitoring", ".*");
    let watch = |path| Watcher::with_login(EVE, broker.management_address(), path);
    let mut of_exchange = watch("/%2F/exchange/amq.topic");
    api.put("/users/eve", &json!({ "password": "p", "tags": "management" }));
    let mut of_queue = watch("/%2F/queue/q");
    assert_eq!(of_exchange.next(), ("end".to_owned(), json!({})));
    api.put("/users/eve", &json!({ "password": "p", "tags": "" }));
    assert_eq!(of_queue.next(), ("end".to_owned(), json!({})));
}

#[test]
fn nothing_is_seen_that_passes_once_the_permission_is_gone() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    eve(&api, "management", ".*");
    let mut watcher = Watcher::with_login(EVE, broker.management_address(), "/%2F/queue/q");
    channel.publish("", "q", "hers to see");
    assert_eq!(watcher.next().1["payload"], "hers to see");
    eve(&api, "management", "^$");
    channel.publish("", "q", "secret");
    assert_eq!(watcher.next(), ("end".to_owned(), json!({})));
}
