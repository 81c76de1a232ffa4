//! Where a message would go.

use leveret_tests::codec::{exchange, queue};
use leveret_tests::{bind, bind_exchange, declare, declare_exchange};
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
    assert_eq!(found, json!({ "queues": ["orders"], "exchanges": [visit], "exchanges_total": 1 }));

    let found = explain("events", &json!({ "routing_key": "stock" })).json();
    assert_eq!(found["queues"], json!(["rest"]));
    assert_eq!(found["exchanges"][0]["bindings"], json!([binding(false)]));
    assert_eq!(found["exchanges"][0]["alternate"], "lost");
    assert_eq!(found["exchanges"][1]["name"], "lost");

    let copied = json!({ "headers": { "CC": ["order.old"] } });
    let found = explain("events", &json!({ "routing_key": "stock", "properties": copied })).json();
    assert_eq!(found["queues"], json!(["orders"]));
    let found = explain("amq.default", &json!({ "routing_key": "rest" })).json();
    assert_eq!(found, json!({ "queues": ["rest"], "exchanges": [], "exchanges_total": 0 }));

    for queue in ["orders", "rest"] {
        assert_eq!(api.get(&format!("/queues/%2F/{queue}"))["messages"], 0);
    }
    assert_eq!(explain("nope", &json!({ "routing_key": "" })).status, 404);
    assert_eq!(explain("events", &json!({})).status, 400);
    let login = api.with_login(None);
    assert_eq!(login.call("POST", "/leveret/route/%2F/events", &Value::Null).status, 401);
}

/// A way may lead through very much: what is told of it has bounds, and is counted in full.
#[test]
fn of_a_long_way_a_part_is_told() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    let names: Vec<String> = (0..20).map(|number| format!("x{number}")).collect();
    // Each of them takes the message to the next, and has many bindings that don't match.
    for (name, next) in names.iter().zip(names.iter().skip(1).chain(names.first())) {
        for name in [name, next] {
            channel.call(&declare_exchange(name, "direct"));
        }
        for key in 0..1100 {
            channel.send(&queue::Bind { nowait: true, ..bind("q", name, &format!("no-{key}")) });
        }
        let next = exchange::Bind { nowait: true, ..bind_exchange(next, name, "k") };
        channel.send(&next);
    }
    channel.call(&declare("q"));
    let body = json!({ "routing_key": "k" });
    let found = api.call("POST", "/leveret/route/%2F/x0", &body).json();
    let exchanges = found["exchanges"].as_array().unwrap();
    assert_eq!(
        exchanges.iter().map(|one| &one["name"]).collect::<Vec<_>>(),
        names.iter().collect::<Vec<_>>()
    );
    assert!(exchanges.iter().all(|one| one["bindings_total"] == 1101));
    let told: Vec<usize> =
        exchanges.iter().map(|one| one["bindings"].as_array().unwrap().len()).collect();
    assert_eq!(told[0], 1000, "of one exchange");
    assert!(told.iter().sum::<usize>() < 15_000, "of all: {told:?}");
    assert_eq!(exchanges[0]["bindings"][0]["matches"], true, "those it takes come first");
    assert_eq!(found["exchanges_total"], 20);
}
