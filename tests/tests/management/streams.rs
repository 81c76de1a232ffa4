//! Streams over HTTP: they are queues like others, until something is asked that they don't do.

use leveret_tests::codec::{Value as Field, basic};
use leveret_tests::{ack, consume, eventually, qos, table};
use serde_json::{Value, json};

use crate::managed;

#[test]
fn a_stream_is_a_queue_of_the_api() {
    let Some((broker, api)) = managed() else { return };
    let arguments = json!({
        "x-queue-type": "stream", "x-max-age": "7D", "x-stream-max-segment-size-bytes": 1_000_000,
    });
    let declaration = json!({ "durable": true, "arguments": arguments });
    assert_eq!(api.call("PUT", "/queues/%2F/s", &declaration).status, 201);
    assert_eq!(api.call("PUT", "/queues/%2F/s", &declaration).status, 204);
    for body in ["a", "b", "c"] {
        let message = json!({
            "properties": {}, "routing_key": "s", "payload": body, "payload_encoding": "string",
        });
        let reply = api.call("POST", "/exchanges/%2F/amq.default/publish", &message);
        assert_eq!(reply.json(), json!({ "routed": true }));
    }
    let reader = broker.connect().channel(1);
    reader.call(&qos(2));
    let first = table([("x-stream-offset", Field::text("first"))]);
    reader.call(&basic::Consume { arguments: first.as_table(), ..consume("s", "c") });
    reader.recv_many(2);
    reader.send(&ack(1));
    reader.recv();

    let stream = api.get("/queues/%2F/s");
    let node = api.get("/overview")["node"].clone();
    for (key, value) in [
        ("type", json!("stream")),
        ("arguments", arguments),
        ("durable", json!(true)),
        ("exclusive", json!(false)),
        ("consumers", json!(1)),
        ("leader", node.clone()),
        ("members", json!([node])),
        ("online", json!([node])),
        ("state", json!("running")),
        ("messages", json!(3)),
        ("messages_ready", json!(3)),
    ] {
        assert_eq!(stream[key], value, "{key} of {stream}");
    }
    assert_eq!(stream["consumer_details"][0]["prefetch_count"], 2);
    assert_eq!(stream["consumer_details"][0]["arguments"], json!({ "x-stream-offset": "first" }));
    assert_eq!(stream["consumer_details"][0]["next_offset"], 3);
    assert_eq!(stream["consumer_details"][0]["offset_lag"], 0);
    assert_eq!(stream["message_stats"]["publish"], 3);
    assert_eq!(stream["message_stats"]["deliver"], 3);
    assert_eq!(api.get("/queues")[0]["type"], "stream");
    // What its readers hold is ready all the same.
    assert_eq!(api.get("/channels")[0]["messages_unacknowledged"], 2);
    let totals = &api.get("/overview")["queue_totals"];
    assert_eq!((&totals["messages"], &totals["messages_unacknowledged"]), (&json!(3), &json!(0)));

    drop(reader);
    eventually(|| api.get("/queues/%2F/s")["consumers"] == 0);
    assert_eq!(api.call("DELETE", "/queues/%2F/s", &Value::Null).status, 204);
    assert_eq!(api.call("GET", "/queues/%2F/s", &Value::Null).status, 404);
}

/// Nor does anybody see the queues that aren't there: those of direct replies, and what delayed
/// exchanges keep.
#[test]
fn what_is_no_queue_is_not_listed() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    let replies = basic::Consume { no_ack: true, ..consume("amq.rabbitmq.reply-to", "c") };
    assert_eq!(channel.call(&replies), "basic.consume-ok c");
    let delayed = json!({
        "type": "x-delayed-message", "arguments": { "x-delayed-type": "direct" },
    });
    api.put("/exchanges/%2F/x", &delayed);
    let message = json!({
        "properties": { "headers": { "x-delay": 3_600_000 } }, "routing_key": "k", "payload": "x",
        "payload_encoding": "string",
    });
    assert_eq!(api.call("POST", "/exchanges/%2F/x/publish", &message).status, 200);
    assert_eq!(api.get("/queues"), json!([]));
    assert_eq!(api.get("/overview")["object_totals"]["queues"], 0);
}

#[test]
fn what_streams_do_not_do_is_a_bad_request() {
    let Some((_broker, api)) = managed() else { return };
    let stream =
        |more: Value| json!({ "durable": more, "arguments": { "x-queue-type": "stream" } });
    api.put("/queues/%2F/s", &stream(json!(true)));
    let get = json!({ "count": 1, "ackmode": "ack_requeue_true", "encoding": "auto" });
    for (method, path, body, reason) in [
        (
            "POST",
            "/queues/%2F/s/get",
            get,
            "540 basic.get not supported by stream queues queue 's' in vhost '/'",
        ),
        (
            "DELETE",
            "/queues/%2F/s/contents",
            Value::Null,
            "queue.purge not supported by stream queues queue 's' in vhost '/'",
        ),
        (
            "PUT",
            "/queues/%2F/t",
            stream(json!(false)),
            "invalid property 'non-durable' for queue 't' in vhost '/'",
        ),
        (
            "PUT",
            "/queues/%2F/s",
            json!({ "durable": true }),
            "inequivalent arg 'x-queue-type' for queue 's' in vhost '/': \
             received 'classic' but current is 'stream'",
        ),
    ] {
        let reply = api.call(method, path, &body);
        assert_eq!((reply.status, reply.json()["reason"].as_str()), (400, Some(reason)), "{path}");
    }
}
