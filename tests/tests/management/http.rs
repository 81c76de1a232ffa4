//! What goes for all endpoints.

use std::io::{Read, Write};
use std::net::TcpStream;

use leveret_tests::{Api, Broker, Connection, PATIENCE, declare, eventually, passive};
use serde_json::{Value, json};

use crate::managed;

#[test]
fn heads_options_and_wrong_methods_are_answered() {
    let Some((_broker, api)) = managed() else { return };
    let reply = api.send("HEAD", "/api/whoami", &[], "");
    assert_eq!((reply.status, reply.text.as_str()), (200, ""));
    assert_eq!(reply.header("content-type"), "application/json");

    let reply = api.with_login(None).send("OPTIONS", "/api/queues/%2F/q", &[], "");
    assert_eq!((reply.status, reply.text.as_str()), (200, ""));
    assert_eq!(reply.header("allow"), "HEAD, GET, PUT, DELETE, OPTIONS");

    let reply = api.send("POST", "/api/whoami", &[], "");
    assert_eq!((reply.status, reply.text.as_str()), (405, ""));
    assert_eq!(reply.header("allow"), "HEAD, GET, OPTIONS");
    assert_eq!(api.send("PATCH", "/api/whoami", &[], "").status, 405);

    let reply = api.send("GET", "/nope", &[], "");
    assert_eq!(reply.text, r#"{"error":"Object Not Found","reason":"Not Found"}"#);
    assert_eq!(reply.status, 404);
    assert_eq!(api.get("/queues/"), Value::Array(vec![]));
}

#[test]
fn logins_are_refused_in_rabbitmqs_words() {
    let Some((_broker, api)) = managed() else { return };
    let reply = api.with_login(None).call("GET", "/overview", &Value::Null);
    assert_eq!((reply.status, reply.text.as_str()), (401, ""));
    assert_eq!(reply.header("www-authenticate"), "Basic realm=\"RabbitMQ Management\"");

    let reply = api.with_login(Some("guest:bad")).call("GET", "/overview", &Value::Null);
    assert_eq!(reply.status, 401);
    assert_eq!(reply.text, r#"{"error":"not_authorized","reason":"Not_Authorized"}"#);
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let Some((_broker, api)) = managed() else { return };
    let body = "x".repeat(20_000_001);
    assert_eq!(api.send("PUT", "/api/vhosts/v", &[], &body).status, 400);
    assert_eq!(api.get("/whoami")["name"], "guest");
}

#[test]
fn memory_has_the_categories_that_rabbitmqs_clients_insist_on() {
    let Some((_broker, api)) = managed() else { return };
    let node = api.get("/overview")["node"].as_str().unwrap().to_owned();
    let memory = api.get(&format!("/nodes/{node}/memory"))["memory"].clone();
    for name in ["connection_readers", "queue_procs", "metadata_store", "binary", "other_ets"] {
        assert_eq!(memory[name], 0, "{name}");
    }
    assert!(memory["other_system"].as_u64().unwrap() > 0);
    assert_eq!(memory["total"]["rss"], memory["other_system"]);
}

/// As a RabbitMQ without the plugins refuses them.
#[test]
fn settings_of_plugins_that_are_not_there_are_refused() {
    let Some((_broker, api)) = managed() else { return };
    for (definition, terms) in [
        (json!({ "federation-upstream": "u" }), r#"{<<"federation-upstream">>,<<"u">>}"#),
        (
            json!({ "federation-upstream-set": "all" }),
            r#"{<<"federation-upstream-set">>,<<"all">>}"#,
        ),
        (json!({ "shards-per-node": 2 }), r#"{<<"shards-per-node">>,2}"#),
        (json!({ "routing-key": "1234" }), r#"{<<"routing-key">>,<<"1234">>}"#),
        (json!({ "delayed-message": true }), r#"{<<"delayed-message">>,true}"#),
    ] {
        let policy = json!({ "pattern": ".*", "definition": definition });
        let reply = api.call("PUT", "/policies/%2F/p", &policy);
        let text = format!("Validation failed\n\n[{terms}] are not recognised policy settings\n");
        assert_eq!((reply.status, &reply.json()["reason"]), (400, &json!(text)));
    }
    assert_eq!(api.get("/policies"), json!([]));
}

#[test]
fn a_body_is_no_longer_than_it_may_be() {
    let config = "management = \"127.0.0.1:0\"\n[web]\nbody_max = \"1KiB\"\n";
    let Some(broker) = Broker::configured(config, "needs a limit of bodies") else { return };
    let api = Api::new(broker.management_address());
    let metadata = |length| json!({ "description": "x".repeat(length) });
    assert_eq!(api.call("PUT", "/vhosts/small", &metadata(900)).status, 201);
    let refused = api.call("PUT", "/vhosts/large", &metadata(1024));
    assert_eq!(refused.status, 400);
    let why = "Exceeded HTTP request body size limit";
    assert_eq!(refused.json(), json!({ "error": "bad_request", "reason": why }));
    assert_eq!(api.call("GET", "/vhosts/large", &Value::Null).status, 404);
}

/// Nor is what comes of it kept.
#[test]
fn a_body_that_nobody_looks_at_may_not_be_long() {
    let listeners = "management = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n";
    let Some(broker) = Broker::configured(listeners, "sends large bodies") else { return };
    const LOGIN: &str = "authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";
    let (api, metrics) = (broker.management_address(), broker.metrics_address());
    for (address, request, header) in [
        (api, "GET /health/live", ""),
        (api, "GET /api/version", ""),
        (api, "GET /api/overview", LOGIN),
        (api, "DELETE /api/queues/%2F/q", LOGIN),
        (metrics, "GET /health/live", ""),
        (metrics, "GET /metrics", ""),
    ] {
        for (length, is_refused) in [(64 << 10, false), ((64 << 10) + 1, true)] {
            let connection = Connection::dial(address);
            let head = format!(
                "{request} HTTP/1.1\r\nhost: localhost\r\n{header}content-length: {length}\r\n\r\n"
            );
            connection.send_bytes(head.as_bytes());
            connection.send_bytes(&vec![b' '; length]);
            let status = String::from_utf8(connection.recv_bytes("HTTP/1.1 400".len())).unwrap();
            assert_eq!(status == "HTTP/1.1 400", is_refused, "{request} {length}: {status}");
        }
    }
}

/// A broker, and its metrics.
fn counting() -> Option<(Broker, Api)> {
    let listeners = "management = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n";
    let broker = Broker::configured(listeners, "counts what requests take")?;
    let metrics = Api::new(broker.metrics_address());
    Some((broker, metrics))
}

fn request_bytes(metrics: &Api) -> usize {
    let reply = metrics.send("GET", "/metrics", &[], "");
    let mut lines = reply.text.lines();
    let value = lines.find_map(|line| line.strip_prefix("leveret_http_request_bytes "));
    value.unwrap().parse().unwrap()
}

#[test]
fn bodies_of_those_who_have_logged_in_count_while_they_are_there() {
    let Some((broker, metrics)) = counting() else { return };
    let bytes = || request_bytes(&metrics);
    assert_eq!(bytes(), 0);
    let connection = Connection::dial(broker.management_address());
    connection.send_bytes(
        b"PUT /api/vhosts/v HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
          content-length: 1000000\r\n\r\n",
    );
    connection.send_bytes(&[b' '; 900_000]);
    eventually(|| bytes() >= 900_000);
    drop(connection);
    eventually(|| bytes() == 0);
}

/// The client may take its time to read it.
#[test]
fn an_answer_counts_until_it_is_read() {
    let Some((broker, metrics)) = counting() else { return };
    let bytes = || request_bytes(&metrics);
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for _ in 0..30 {
        channel.publish("", "q", vec![b'x'; 1 << 20]);
    }
    channel.call(&passive("q"));
    let connection = Connection::dial(broker.management_address());
    let order = r#"{"ackmode":"ack_requeue_false","count":30,"encoding":"auto"}"#;
    let head = format!(
        "POST /api/queues/%2F/q/get HTTP/1.1\r\nhost: localhost\r\n\
         authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\ncontent-length: {}\r\n\r\n{order}",
        order.len()
    );
    connection.send_bytes(head.as_bytes());
    assert_eq!(connection.recv_bytes(15), b"HTTP/1.1 200 OK");
    assert!(bytes() > 30 << 20);
    connection.recv_bytes(30 << 20);
    drop(connection);
    eventually(|| bytes() == 0);
}

/// Also without a login, which is what floods come without. Others are not held up.
#[test]
fn an_address_makes_no_more_requests_than_it_may() {
    let config = "management = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n[web]\n\
                  request_rate = 1\n";
    let Some(broker) = Broker::configured(config, "needs a limit of requests") else { return };
    let api = Api::new(broker.management_address());
    assert_eq!(api.call("GET", "/overview", &Value::Null).status, 200);
    let mut requests =
        std::iter::repeat_with(|| api.with_login(None).call("GET", "/overview", &Value::Null));
    let refused = requests.find(|reply| reply.status != 401).unwrap();
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(
        refused.text,
        "{\"error\":\"too_many_requests\",\"reason\":\"more requests than this address may make \
         in a second\"}"
    );
}

#[test]
fn a_head_is_no_longer_than_it_may_be() {
    let config = "management = \"127.0.0.1:0\"\n[web]\n";
    let Some(broker) = Broker::configured(config, "needs a limit of heads") else { return };
    // On a connection of its own: those that are open keep their limit.
    let api = || Api::new(broker.management_address());
    let long = "x".repeat(20 << 10);
    let status = || api().send("GET", "/api/whoami", &[("x-long", &long)], "").status;
    assert_eq!(status(), 200);
    std::fs::write(broker.config_file(), format!("{config}head_max = \"16KiB\"\n")).unwrap();
    broker.hang_up();
    broker.await_line("the configuration was read again: web.head_max");
    assert_eq!(status(), 431);
    assert_eq!(api().get("/whoami")["name"], "guest");
}

/// Neither do silent clients keep a connection, nor those that never end what they have begun.
#[test]
fn a_request_takes_no_longer_than_it_may() {
    let config = "management = \"127.0.0.1:0\"\n[web]\nhead_timeout = \"200ms\"\n\
                  body_timeout = \"300ms\"\n";
    let Some(broker) = Broker::configured(config, "needs limits of time") else { return };
    let answered = |begun: &str| {
        let mut client = TcpStream::connect(broker.management_address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(begun.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("the connection ends");
        answer
    };
    assert_eq!(answered(""), "");
    let head = "PUT /api/vhosts/v HTTP/1.1\r\nHost: localhost\r\n";
    let cut = answered(head);
    assert!(cut.is_empty() || cut.starts_with("HTTP/1.1 408"), "{cut}");
    let login = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Length: 10\r\n\r\n{";
    let slow = answered(&format!("{head}{login}"));
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
}
