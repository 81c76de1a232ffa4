//! Where a message would go.

use serde_json::{Value, json};

use crate::managed;

#[test]
fn the_way_of_a_message_is_told_and_nothing_is_published() {
    let Some((_broker, api)) = managed() else { return };
    for queue in ["orders", "rest"] {
        api.put(&format!("/queues/%2F/{queue}"), &json!({}));
    }
    api.put("/exchanges/%2F/lost", &json!({ "type": "fanout" }));
    let arguments = json!({ "alternate-exchange": "lost" });
    api.put("/exchanges/%2F/events", &json!({ "type": "topic", "arguments": arguments }));
    let bind = |path: &str, key: &str| {
        let reply = api.call("POST", path, &json!({ "routing_key": key }));
        assert_eq!(reply.status, 201, "{}", reply.text);
    };
    bind("/bindings/%2F/e/events/q/orders", "order.*");
    bind("/bindings/%2F/e/lost/q/rest", "");
    let explain = |exchange: &str, body: &Value| {
        api.call("POST", &format!("/leveret/route/%2F/{exchange}"), body)
    };

    let found = explain("events", &json!({ "routing_key": "order.new" })).json();
    let binding = |matches: bool| {
        json!({
            "destination": "orders", "destination_type": "queue", "routing_key": "order.*",
            "arguments": {}, "matches": matches,
        })
    };
    let visit = json!({
        "name": "events", "type": "topic", "by_chance": false, "bindings": [binding(true)],
        "bindings_total": 1, "alternate": null, "delayed": false,
    });
    assert_eq!(found, json!({ "queues": ["orders"], "exchanges": [visit] }));

    let found = explain("events", &json!({ "routing_key": "stock" })).json();
    assert_eq!(found["queues"], json!(["rest"]));
    assert_eq!(found["exchanges"][0]["bindings"], json!([binding(false)]));
    assert_eq!(found["exchanges"][0]["alternate"], "lost");
    assert_eq!(found["exchanges"][1]["name"], "lost");

    let copied = json!({ "headers": { "CC": ["order.old"] } });
    let found = explain("events", &json!({ "routing_key": "stock", "properties": copied })).json();
    assert_eq!(found["queues"], json!(["orders"]));
    let found = explain("amq.default", &json!({ "routing_key": "rest" })).json();
    assert_eq!(found, json!({ "queues": ["rest"], "exchanges": [] }));

    for queue in ["orders", "rest"] {
        assert_eq!(api.get(&format!("/queues/%2F/{queue}"))["messages"], 0);
    }
    assert_eq!(explain("nope", &json!({ "routing_key": "" })).status, 404);
    assert_eq!(explain("events", &json!({})).status, 400);
    let login = api.with_login(None);
    assert_eq!(login.call("POST", "/leveret/route/%2F/events", &Value::Null).status, 401);
}
