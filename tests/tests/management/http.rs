//! What goes for all endpoints.

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
    assert_eq!(api.send("PUT", "/api/vhosts/v", &[], &body).status, 413);
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
