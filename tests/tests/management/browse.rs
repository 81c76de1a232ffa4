//! What is in a queue, without taking it.

use leveret_tests::codec::{Method, Properties, TableBuf, TableBuilder, Value as Field, queue};
use leveret_tests::{
    Api, Broker, Channel, Connection, Unconfirmed, ack, confirm_select, declare, eventually, get,
    nack, publish, qos, table,
};
use serde_json::{Value, json};

use crate::managed;

fn browse(api: &Api, queue: &str, query: &str) -> Value {
    api.get(&format!("/leveret/messages/%2F/{queue}?{query}"))
}

fn payloads(found: &Value) -> Vec<&str> {
    let messages = found["messages"].as_array().unwrap();
    messages.iter().map(|message| message["payload"].as_str().unwrap()).collect()
}

fn declare_with(channel: &Channel, name: &str, arguments: &TableBuf) {
    let arguments = arguments.as_table();
    let queue = queue::Declare { durable: true, arguments, ..declare(name) };
    assert_eq!(channel.call(&queue), format!("queue.declare-ok {name} 0 0"));
}

/// Publishes a persistent message and waits until it is in its queue.
fn put(channel: &Channel, queue: &str, body: &str, properties: &Properties<'_>) {
    let properties = Properties { delivery_mode: Some(2), ..*properties };
    channel.publish_with(&publish("", queue), &properties, body.as_bytes());
    assert!(channel.recv().starts_with("basic.ack"));
}

fn publisher(broker: &Broker) -> Channel {
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&confirm_select()), "confirm.select-ok");
    channel
}

/// Gets everything; none of it is marked as redelivered.
fn all_fresh(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let answer = channel.call(&get(queue));
        let Method::BasicGetOk(got) = answer.method() else { return bodies };
        assert!(!got.redelivered, "{answer}");
        bodies.push(String::from_utf8_lossy(answer.body()).into_owned());
        channel.send(&ack(got.delivery_tag));
    }
}

/// How long the body of an answer is, which is not read.
fn length_of_answer(broker: &Broker, request: &str, body: &str) -> usize {
    let connection = Connection::dial(broker.management_address());
    let head = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send_bytes(head.as_bytes());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push_str(&String::from_utf8(connection.recv_bytes(1)).unwrap());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.unwrap().parse().unwrap()
}

/// A header may be as large as a body, and many may be.
#[test]
fn headers_count_in_what_one_request_shows_gets_or_looks_at() {
    const MIB: usize = 1 << 20;
    const MESSAGES: u64 = 700;
    let Some((broker, api)) = managed() else { return };
    let channel = publisher(&broker);
    declare_with(&channel, "q", &TableBuf::default());
    let text = "x".repeat(100_000);
    let headers = TableBuilder::new().put("text", Field::text(&text)).build();
    let headers = Some(headers.as_table());
    let properties = Properties { headers, ..Properties::default() };
    for _ in 0..MESSAGES {
        put(&channel, "q", "", &properties);
    }
    let path = "GET /api/leveret/messages/%2F/q?count=1000";
    let shown = length_of_answer(&broker, path, "");
    assert!((15 * MIB..17 * MIB).contains(&shown), "{shown}");
    let plan = api.call("POST", "/leveret/replays/%2F/q", &json!({ "dry_run": true })).json();
    let looked_at = plan["looked_at"].as_u64().unwrap();
    assert!((600..MESSAGES).contains(&looked_at) && plan["is_whole"] == false, "{plan}");
    let order = json!({ "ackmode": "ack_requeue_false", "count": u32::MAX, "encoding": "auto" });
    let path = "POST /api/queues/%2F/q/get";
    let got = length_of_answer(&broker, path, &order.to_string());
    assert!((63 * MIB..65 * MIB).contains(&got), "{got}");
    // The others are still there.
    assert!(length_of_answer(&broker, path, &order.to_string()) > MIB);
    assert_eq!(length_of_answer(&broker, path, &order.to_string()), "[]".len());
}

#[test]
fn messages_that_were_looked_at_come_later_as_if_nobody_had() {
    let Some((broker, api)) = managed() else { return };
    let channel = publisher(&broker);
    for (name, kind) in [("c", "classic"), ("q", "quorum")] {
        declare_with(&channel, name, &table([("x-queue-type", Field::text(kind))]));
        for body in ["a", "b", "c", "d"] {
            put(&channel, name, body, &Properties::default());
        }
        let found = browse(&api, name, "offset=1&count=2");
        assert_eq!(payloads(&found), ["b", "c"]);
        for (key, value) in [("first", 0), ("next", 3), ("end", 4), ("looked_at", 2)] {
            assert_eq!(found[key], value, "{key} of {found}");
        }
        assert_eq!(payloads(&browse(&api, name, "offset=-1")), ["d"]);
        assert_eq!(payloads(&browse(&api, name, "offset=-9")), ["a", "b", "c", "d"]);
        assert_eq!(payloads(&browse(&api, name, "offset=9")), [""; 0]);
        let queue = api.get(&format!("/queues/%2F/{name}"));
        assert_eq!((&queue["messages_ready"], &queue["messages"]), (&json!(4), &json!(4)));
        for counter in ["get", "deliver_get", "redeliver"] {
            assert_eq!(queue["message_stats"][counter], 0, "{counter}");
        }
        assert_eq!(all_fresh(&channel, name), ["a", "b", "c", "d"]);
        assert_eq!(payloads(&browse(&api, name, "")), [""; 0]);
    }
}

#[test]
fn a_message_is_shown_with_all_it_has() {
    let Some((broker, api)) = managed() else { return };
    let channel = publisher(&broker);
    declare_with(&channel, "q", &table([("x-queue-type", Field::text("quorum"))]));
    let headers = TableBuilder::new().put("tenant", "acme").build();
    let properties = Properties {
        content_type: Some(b"text/plain"),
        headers: Some(headers.as_table()),
        expiration: Some(b"3600000"),
        ..Properties::default()
    };
    put(&channel, "q", "body", &properties);
    channel.publish("", "q", b"\xff\x00");
    assert!(channel.recv().starts_with("basic.ack"));
    let got = channel.call(&get("q"));
    channel.send(&nack(got.delivery_tag()));
    channel.call(&qos(0));

    let found = browse(&api, "q", "truncate=3");
    let [first, second] = found["messages"].as_array().unwrap().as_slice() else { panic!() };
    let mut first = first.as_object().unwrap().clone();
    let arrived = first.remove("arrived_at").unwrap().as_u64().unwrap();
    assert_eq!(first.remove("expires_at").unwrap().as_u64().unwrap() / 1000, arrived / 1000 + 3600);
    assert!(first.remove("id").unwrap().is_u64());
    let properties = json!({
        "content_type": "text/plain", "delivery_mode": 2, "expiration": "3600000",
        "headers": { "tenant": "acme" },
    });
    let expected = json!({
        "position": 0, "exchange": "", "routing_key": "q", "redelivered": true,
        "delivery_count": 1, "properties": properties, "payload_bytes": 4, "payload": "bod",
        "payload_encoding": "string",
    });
    assert_eq!(Value::Object(first), expected);
    assert_eq!(second["payload"], "/wA=");
    assert_eq!(second["payload_encoding"], "base64");
    assert_eq!(second["expires_at"], Value::Null);
    let found = browse(&api, "q", "encoding=base64&count=1");
    assert_eq!(found["messages"][0]["payload"], "Ym9keQ==");
}

#[test]
fn messages_are_found_by_what_is_in_them() {
    let Some((broker, api)) = managed() else { return };
    let channel = publisher(&broker);
    declare_with(&channel, "q", &TableBuf::default());
    for number in 0..600 {
        let headers = TableBuilder::new().put("tenant", format!("t{}", number % 7).as_str());
        let headers = headers.build();
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        put(&channel, "q", &format!("order {number}."), &properties);
    }
    assert_eq!(payloads(&browse(&api, "q", "contains=ORDER%20577.")), ["order 577."]);
    let found = browse(&api, "q", "contains=T3&count=2&offset=300");
    assert_eq!(payloads(&found), ["order 304.", "order 311."]);
    assert_eq!((&found["next"], &found["looked_at"]), (&json!(312), &json!(12)));
    let found = browse(&api, "q", "contains=nowhere");
    assert_eq!(payloads(&found), [""; 0]);
    assert_eq!((&found["next"], &found["looked_at"]), (&json!(600), &json!(600)));
}

#[test]
fn those_of_higher_priority_are_shown_first() {
    let Some((broker, api)) = managed() else { return };
    let channel = publisher(&broker);
    declare_with(&channel, "q", &table([("x-max-priority", Field::I32(5))]));
    for (body, priority) in [("a", 0), ("b", 5), ("c", 1), ("d", 5)] {
        put(&channel, "q", body, &Properties { priority: Some(priority), ..Properties::default() });
    }
    assert_eq!(payloads(&browse(&api, "q", "")), ["b", "d", "c", "a"]);
    assert_eq!(payloads(&browse(&api, "q", "offset=1&count=2")), ["d", "c"]);
    assert_eq!(all_fresh(&channel, "q"), ["b", "d", "c", "a"]);
}

#[test]
fn a_stream_is_shown_by_offset() {
    let Some((broker, api)) = managed() else { return };
    let channel = publisher(&broker);
    declare_with(&channel, "s", &table([("x-queue-type", Field::text("stream"))]));
    for body in ["a", "b", "c"] {
        put(&channel, "s", body, &Properties::default());
    }
    // A confirm may leave before the stream has heard that its messages are on disk.
    eventually(|| browse(&api, "s", "count=0")["end"] == 3);
    let found = browse(&api, "s", "offset=1");
    assert_eq!(payloads(&found), ["b", "c"]);
    assert_eq!(found["messages"][0]["position"], 1);
    assert_eq!((&found["first"], &found["end"]), (&json!(0), &json!(3)));
    assert_eq!(payloads(&browse(&api, "s", "contains=c")), ["c"]);
}

#[test]
fn messages_on_disk_are_shown_as_well() {
    let settings = "management = \"127.0.0.1:0\"\nstore.message_memory = \"1MiB\"\nstore.transient_memory = \"4MiB\"\n";
    let because = "needs little memory for messages";
    let Some(broker) = Broker::configured(settings, because) else { return };
    let api = Api::new(broker.management_address());
    let channel = publisher(&broker);
    declare_with(&channel, "q", &TableBuf::default());
    let body = |number: usize| format!("{number:4}{}", ".".repeat(4092));
    let mut unconfirmed = Unconfirmed::default();
    for number in 0..1000 {
        unconfirmed.add();
        channel.publish_persistent("q", body(number));
        while unconfirmed.len() > 200 {
            unconfirmed.confirm(&channel.recv());
        }
    }
    while !unconfirmed.is_empty() {
        unconfirmed.confirm(&channel.recv());
    }
    eventually(|| {
        let queue = api.get("/queues/%2F/q");
        queue["messages_ram"].as_u64().unwrap() < 500
    });
    let found = browse(&api, "q", "offset=3&count=1000&truncate=4");
    let expected: Vec<String> = (3..1000).map(|number| format!("{number:4}")).collect();
    assert_eq!(payloads(&found), expected);
    assert_eq!(found["messages"][500]["payload_bytes"], 4096);
    assert_eq!(payloads(&browse(&api, "q", "contains=%20777..&truncate=4")), [" 777"]);
    let all: Vec<String> = (0..1000).map(body).collect();
    assert!(all_fresh(&channel, "q") == all);
}

#[test]
fn who_may_not_read_a_queue_is_shown_nothing() {
    let Some((_broker, api)) = managed() else { return };
    api.put("/queues/%2F/q", &json!({}));
    for (name, tags, read) in
        [("reader", "management", "q"), ("other", "management", "x"), ("app", "", "q")]
    {
        api.put(&format!("/users/{name}"), &json!({ "password": "p", "tags": tags }));
        let permission = json!({ "configure": "", "write": "", "read": read });
        api.put(&format!("/permissions/%2F/{name}"), &permission);
    }
    let status = |login: Option<&str>, path: &str| {
        let path = format!("/leveret/messages/%2F/{path}");
        api.with_login(login).call("GET", &path, &Value::Null).status
    };
    assert_eq!(status(Some("reader:p"), "q"), 200);
    assert_eq!(status(Some("other:p"), "q"), 401);
    assert_eq!(status(Some("app:p"), "q"), 401);
    assert_eq!(status(None, "q"), 401);
    assert_eq!(status(Some("reader:p"), "nope"), 404);
    assert_eq!(status(Some("guest:guest"), "q?offset=x"), 400);
    assert_eq!(status(Some("guest:guest"), "q?count=-1"), 400);
    assert_eq!(status(Some("guest:guest"), "q?encoding=hex"), 400);
}
