//! What is set for a vhost, as its clients meet it.

use leveret_tests::codec::{Value as Field, queue};
use leveret_tests::{Api, Broker, Login, declare, table};
use serde_json::{Value, json};

use crate::managed;

/// Only those that can be: the others stay classic, and so does who says so.
#[test]
fn queues_have_their_vhosts_default_type() {
    let Some((broker, api)) = managed() else { return };
    api.put("/vhosts/v", &json!({ "default_queue_type": "quorum" }));
    let login = Login { vhost: "v", ..Login::default() };
    let channel = broker.connect_as(&login).unwrap().channel(1);
    let classic = table([("x-queue-type", Field::text("classic"))]);
    let quorum = table([("x-queue-type", Field::text("quorum"))]);
    let durable = |name| queue::Declare { durable: true, ..declare(name) };
    for (request, name, kind) in [
        (durable("durable"), "durable", "quorum"),
        (declare("transient"), "transient", "classic"),
        (queue::Declare { exclusive: true, ..durable("exclusive") }, "exclusive", "classic"),
        (
            queue::Declare { arguments: classic.as_table(), ..durable("by argument") },
            "by argument",
            "classic",
        ),
    ] {
        assert_eq!(channel.call(&request), format!("queue.declare-ok {name} 0 0"));
        // The same again is the same.
        assert_eq!(channel.call(&request), format!("queue.declare-ok {name} 0 0"));
        let path = format!("/queues/v/{}", name.replace(' ', "%20"));
        assert_eq!(api.get(&path)["type"], kind, "{name}");
    }
    // It is as if the type had been given.
    let explicit = queue::Declare { arguments: quorum.as_table(), ..durable("durable") };
    assert_eq!(channel.call(&explicit), "queue.declare-ok durable 0 0");
    assert_eq!(
        channel.call(&durable("by argument")),
        "channel.close 406 queue.declare PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for \
         queue 'by argument' in vhost 'v': received 'quorum' but current is 'classic'"
    );
}

/// The first pattern that fits says what a new one may hold; those that are there keep what they have.
#[test]
fn there_are_so_many_vhosts_and_new_ones_have_limits() {
    let config = "management = \"127.0.0.1:0\"\n[amqp]\nvhost_max = 4\n\
                  default_vhost_limits = [\"^shop- max_queues=1\", \"shop max_connections=7\"]\n";
    let Some(broker) = Broker::configured(config, "needs limits of vhosts") else { return };
    let api = Api::new(broker.management_address());
    for name in ["shop-a", "my-shop", "other"] {
        api.put(&format!("/vhosts/{name}"), &Value::Null);
    }
    assert_eq!(api.get("/vhost-limits/shop-a")[0]["value"], json!({ "max-queues": 1 }));
    assert_eq!(api.get("/vhost-limits/my-shop")[0]["value"], json!({ "max-connections": 7 }));
    assert_eq!(api.get("/vhost-limits/other"), json!([]));
    let login = Login { vhost: "shop-a", ..Login::default() };
    let channel = broker.connect_as(&login).unwrap().channel(1);
    assert_eq!(channel.call(&declare("one")), "queue.declare-ok one 0 0");
    let refused = channel.call(&declare("two"));
    assert!(
        refused.starts_with("channel.close 406 queue.declare PRECONDITION_FAILED"),
        "{refused}"
    );
    let refused = api.call("PUT", "/vhosts/fifth", &Value::Null);
    assert_eq!(refused.status, 400);
    let why = "cannot create vhost 'fifth': vhost limit of 4 is reached";
    assert_eq!(refused.json()["reason"], why);
    let definitions = json!({ "vhosts": [{ "name": "fifth" }] });
    assert_eq!(api.call("POST", "/definitions", &definitions).status, 400);
    // What is there can be changed, and makes room when it goes.
    api.put("/vhosts/shop-a", &json!({ "description": "changed" }));
    assert_eq!(api.call("DELETE", "/vhosts/other", &Value::Null).status, 204);
    api.put("/vhosts/fifth", &Value::Null);
}

/// An administrator sees it all the same.
#[test]
fn nobody_enters_without_a_permission() {
    let Some((_broker, api)) = managed() else { return };
    api.put("/vhosts/others", &json!({}));
    let may_enter = || api.get("/leveret/entry/others")["may_enter"].clone();
    // Who makes one may enter it.
    assert_eq!(may_enter(), true);
    assert_eq!(api.call("DELETE", "/permissions/others/guest", &Value::Null).status, 204);
    assert_eq!(may_enter(), false);
}

/// A program that puts the same again and again knows nothing of it, and definitions may be older.
#[test]
fn a_protected_vhost_stays_so_until_that_is_taken_back() {
    let Some((_broker, api)) = managed() else { return };
    api.put("/vhosts/v", &json!({ "description": "first" }));
    assert_eq!(api.call("POST", "/vhosts/v/deletion/protection", &Value::Null).status, 204);
    api.put("/vhosts/v", &json!({ "description": "second" }));
    let again = json!({ "vhosts": [{ "name": "v", "metadata": { "description": "third" } }] });
    assert_eq!(api.call("POST", "/definitions", &again).status, 204);
    assert_eq!(api.get("/vhosts/v")["description"], "third");
    assert_eq!(api.get("/vhosts/v")["protected_from_deletion"], true);
    assert_eq!(api.call("DELETE", "/vhosts/v", &Value::Null).status, 412);
    api.put("/vhosts/v", &json!({ "protected_from_deletion": false }));
    assert_eq!(api.call("DELETE", "/vhosts/v", &Value::Null).status, 204);
}

/// Who may make policies could fill the memory with them.
#[test]
fn there_are_so_many_policies_and_global_parameters() {
    let config = "management = \"127.0.0.1:0\"\n[amqp]\npolicy_max_per_vhost = 2\n\
                  global_parameter_max = 4\n";
    let Some(broker) = Broker::configured(config, "needs limits of policies") else { return };
    let api = Api::new(broker.management_address());
    api.put("/vhosts/other", &Value::Null);
    let policy = |length: u64| json!({ "pattern": "^q", "definition": { "max-length": length } });
    for (path, what, section) in [
        ("/policies", "policy", "policies"),
        ("/operator-policies", "operator policy", "parameters"),
    ] {
        for one in ["%2F/a", "%2F/b", "other/a", "other/b"] {
            api.put(&format!("{path}/{one}"), &policy(10));
        }
        let refused = api.call("PUT", &format!("{path}/%2F/c"), &policy(10));
        assert_eq!(refused.status, 400);
        let why = format!("cannot set {what} 'c' in vhost '/': policy limit of 2 is reached");
        assert_eq!(refused.json()["reason"], why);
        let mut entry = json!({ "vhost": "/", "name": "c" });
        match section {
            "policies" => {
                entry["pattern"] = "^q".into();
                entry["definition"] = policy(10)["definition"].clone();
            }
            _ => {
                entry["component"] = "operator_policy".into();
                entry["value"] = policy(10);
            }
        }
        let definitions = json!({ section: [entry] });
        assert_eq!(api.call("POST", "/definitions", &definitions).status, 400);
        // What is there can be changed, and makes room when it goes.
        api.put(&format!("{path}/%2F/a"), &policy(20));
        assert_eq!(api.get(&format!("{path}/%2F/a"))["definition"]["max-length"], 20);
        assert_eq!(api.call("DELETE", &format!("{path}/%2F/b"), &Value::Null).status, 204);
        api.put(&format!("{path}/%2F/c"), &policy(10));
    }
    let long =
        json!({ "pattern": "^q", "definition": { "dead-letter-exchange": "x".repeat(70_000) } });
    let refused = api.call("PUT", "/policies/%2F/a", &long);
    assert_eq!(refused.status, 400);
    let why = "Validation failed\n\ndefinition must not exceed 65536 bytes\n";
    assert_eq!(refused.json()["reason"], why);

    // The cluster's own identity is one of them.
    let value = json!({ "value": "x" });
    let there = api.get("/global-parameters").as_array().unwrap().len();
    for number in there..4 {
        api.put(&format!("/global-parameters/p{number}"), &value);
    }
    let refused = api.call("PUT", "/global-parameters/more", &value);
    assert_eq!(refused.status, 400);
    let why = "cannot set global parameter 'more': global parameter limit of 4 is reached";
    assert_eq!(refused.json()["reason"], why);
    let definitions = json!({ "global_parameters": [{ "name": "more", "value": "x" }] });
    assert_eq!(api.call("POST", "/definitions", &definitions).status, 400);
    api.put("/global-parameters/p3", &json!({ "value": "y" }));
    let long = json!({ "value": "x".repeat(1024 * 1024) });
    let refused = api.call("PUT", "/global-parameters/p3", &long);
    assert_eq!(refused.status, 400);
    let why = "cannot set global parameter 'p3': its value must not exceed 1048576 bytes";
    assert_eq!(refused.json()["reason"], why);
    assert_eq!(api.get("/global-parameters/p3")["value"], "y");
    // What the broker itself keeps in one has its room.
    api.put("/cluster-name", &json!({ "name": "warehouse" }));
    assert_eq!(api.call("DELETE", "/global-parameters/p3", &Value::Null).status, 204);
    assert_eq!(api.get("/cluster-name")["name"], "warehouse");
}
