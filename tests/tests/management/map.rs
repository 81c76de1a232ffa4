//! The map of a vhost, and bindings page by page.

use leveret_tests::{Api, bind, bind_exchange, declare, declare_exchange};
use serde_json::{Value, json};

use crate::managed;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

fn ends(map: &Value) -> Vec<String> {
    let ends = map["links"].as_array().unwrap().iter().map(|link| {
        let part = |key: &str| link[key].as_str().unwrap();
        format!("{}>{} {}", part("source"), part("destination_type"), part("destination"))
    });
    ends.collect()
}

#[test]
fn the_map_shows_what_leads_to_queues() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    for queue in ["bills", "parcels", "alone"] {
        channel.call(&declare(queue));
    }
    for exchange in ["shop", "behind", "elsewhere"] {
        channel.call(&declare_exchange(exchange, "topic"));
    }
    for number in 0..12 {
        channel.call(&bind("bills", "shop", &format!("order.{number:02}")));
    }
    channel.call(&bind("parcels", "amq.fanout", ""));
    channel.call(&bind_exchange("amq.fanout", "shop", "#"));
    channel.call(&bind_exchange("shop", "behind", "#"));
    // In a circle.
    channel.call(&bind_exchange("behind", "shop", "again"));
    channel.call(&bind_exchange("elsewhere", "shop", "#"));

    let map = api.get("/leveret/map/%2F");
    assert_eq!(names(&map["queues"]), ["alone", "bills", "parcels"]);
    assert_eq!(names(&map["exchanges"]), ["amq.fanout", "behind", "shop"]);
    assert_eq!((&map["queues_total"], &map["exchanges_total"]), (&json!(3), &json!(10)));
    assert_eq!(
        ends(&map),
        [
            "amq.fanout>queue parcels",
            "behind>exchange shop",
            "shop>exchange amq.fanout",
            "shop>exchange behind",
            "shop>queue bills",
        ]
    );
    let bills = &map["links"][4];
    assert_eq!(bills["bindings_total"], 12);
    assert_eq!(bills["bindings"].as_array().unwrap().len(), 10);
    assert_eq!(bills["bindings"][0], json!({ "routing_key": "order.00", "arguments": {} }));
    assert_eq!(map["queues"][0]["messages"], 0);
    assert_eq!(map["queues"][0]["type"], "classic");

    let some = api.get("/leveret/map/%2F?name=PARC");
    assert_eq!(names(&some["queues"]), ["parcels"]);
    assert_eq!(some["queues_total"], 3);
    assert_eq!(names(&some["exchanges"]), ["amq.fanout", "behind", "shop"]);
    assert_eq!(api.call("GET", "/leveret/map/nope", &Value::Null).status, 404);
}

/// Of many it shows the first hundred queues, and as many exchanges.
#[test]
fn the_map_has_an_edge() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("000"));
    for number in (0..120).rev() {
        let name = format!("{number:03}");
        channel.call(&declare(&name));
        channel.call(&declare_exchange(&name, "direct"));
        channel.call(&bind(&name, &name, ""));
        channel.call(&bind("000", &name, ""));
    }
    let map = api.get("/leveret/map/%2F");
    assert_eq!(names(&map["queues"]).len(), 100);
    assert_eq!(names(&map["queues"])[99], "099");
    assert_eq!(names(&map["exchanges"]).len(), 100);
    assert_eq!(map["queues_total"], 120);
    // Of each shown exchange one to the first queue, of all but the first another to their own.
    let shown = names(&map["exchanges"]);
    assert!(ends(&map).iter().all(|one| shown.contains(&one.split('>').next().unwrap())));
}

fn page(api: &Api, path: &str) -> (Value, Vec<String>) {
    let page = api.get(&format!("/leveret/bindings/%2F/{path}"));
    let items = page["items"].as_array().unwrap().iter().map(|one| {
        let part = |key: &str| one[key].as_str().unwrap();
        format!("{}>{}", part("source"), part("destination"))
    });
    (page["total_count"].clone(), items.collect())
}

#[test]
fn bindings_come_page_by_page() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    for queue in ["c", "a", "b"] {
        channel.call(&declare(queue));
        channel.call(&bind(queue, "amq.direct", "k"));
    }
    channel.call(&bind("a", "amq.fanout", ""));
    channel.call(&bind_exchange("amq.fanout", "amq.direct", "z"));

    let first = page(&api, "from/amq.direct?page=1&page_size=3");
    assert_eq!(
        first,
        (json!(4), ["a", "amq.fanout", "b"].map(|to| format!("amq.direct>{to}")).into())
    );
    let second = page(&api, "from/amq.direct?page=2&page_size=3");
    assert_eq!(second, (json!(4), vec!["amq.direct>c".into()]));
    let found = page(&api, "from/amq.direct?page=1&name=FAN");
    assert_eq!(found, (json!(4), vec!["amq.direct>amq.fanout".into()]));
    let last = page(&api, "from/amq.direct?page=1&page_size=1&sort=destination&sort_reverse=true");
    assert_eq!(last, (json!(4), vec!["amq.direct>c".into()]));
    let to_queue = page(&api, "to-queue/a?page=1");
    assert_eq!(to_queue, (json!(2), vec!["amq.direct>a".into(), "amq.fanout>a".into()]));
    let to_exchange = page(&api, "to-exchange/amq.fanout?page=1");
    assert_eq!(to_exchange, (json!(1), vec!["amq.direct>amq.fanout".into()]));
    // Each can be found again under its path.
    let whole = api.get("/leveret/bindings/%2F/from/amq.direct?page=1");
    assert_eq!(whole["items"][0]["properties_key"], "k");
}

#[test]
fn queues_are_sorted_by_their_numbers() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    for (name, messages) in [("one", 1), ("none", 0), ("three", 3)] {
        channel.call(&declare(name));
        for _ in 0..messages {
            let message = json!({
                "properties": {}, "routing_key": name, "payload": "x", "payload_encoding": "string",
            });
            api.call("POST", "/exchanges/%2F/amq.default/publish", &message);
        }
    }
    for (by, expected) in [
        ("messages", ["none", "one", "three"]),
        ("messages_ready", ["none", "one", "three"]),
        ("messages_unacknowledged", ["none", "one", "three"]),
        ("consumers", ["none", "one", "three"]),
        ("message_bytes", ["none", "one", "three"]),
        ("message_stats.publish", ["none", "one", "three"]),
        ("message_stats.publish_details.rate", ["none", "one", "three"]),
        ("message_stats.deliver_get", ["none", "one", "three"]),
    ] {
        let sorted = api.get(&format!("/queues?sort={by}"));
        assert_eq!(names(&sorted), expected, "{by}");
        let reversed = api.get(&format!("/queues?page=1&page_size=1&sort={by}&sort_reverse=true"));
        assert_eq!(names(&reversed["items"]), ["three"], "{by}");
    }
}
