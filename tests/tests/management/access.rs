//! Who may do what: each endpoint with each kind of user.

use leveret_tests::Api;
use serde_json::{Value, json};

use crate::managed;

/// The kinds of user, in the order of the recorded statuses; the first two are no users.
const USERS: [&str; 5] = ["none", "management", "policymaker", "monitoring", "administrator"];

/// Requests to which Leveret is meant to answer something else than RabbitMQ 4.3.6 did, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("GET /connections/nope", "RabbitMQ crashes (500) for a missing connection of others"),
    ("DELETE /connections/nope", "as above"),
    ("GET /channels/nope", "as above"),
    ("PUT /parameters/vhost-limits/%2F/", "policymakers may do there what they may not elsewhere"),
    ("DELETE /parameters/vhost-limits/%2F/", "as above"),
];

#[test]
fn every_endpoint_asks_who_is_there() {
    let Some((_broker, api)) = managed() else { return };
    let node = api.get("/overview")["node"].as_str().unwrap().to_owned();
    api.put("/vhosts/other", &Value::Null);
    for name in USERS {
        let tags = if name == "none" { "" } else { name };
        api.put(&format!("/users/u-{name}"), &json!({ "password": "p", "tags": tags }));
        api.put(&format!("/permissions/%2F/u-{name}"), &everything());
    }
    let mut failures = Vec::new();
    for row in include_str!("access.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [method, path, body, statuses @ ..] = columns.as_slice() else { panic!("{row}") };
        let request = format!("{method} {path}");
        if DIFFERENT.iter().any(|(start, _)| request.starts_with(start)) {
            continue;
        }
        let path = path.replace("$NODE", &node);
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() };
        let logins = USERS.map(|name| format!("u-{name}:p"));
        let mut all = vec![None, Some("guest:bad")];
        all.extend(logins.iter().map(|login| Some(login.as_str())));
        let mut answers = Vec::new();
        restore(&api);
        for login in all {
            if *method != "GET" {
                restore(&api);
            }
            let reply = api.with_login(login).call(method, &path, &body);
            answers.push(reply.status.to_string());
        }
        if answers != *statuses {
            failures
                .push(format!("{method} {path}\n  RabbitMQ {statuses:?}\n  Leveret  {answers:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_binds_policymakers_is_not_theirs_to_change() {
    let Some((_broker, api)) = managed() else { return };
    api.put("/users/maker", &json!({ "password": "p", "tags": "policymaker" }));
    api.put("/permissions/%2F/maker", &everything());
    let maker = api.with_login(Some("maker:p"));
    let definition = json!({ "max-length": 5 });
    let policy =
        json!({ "pattern": "", "definition": definition, "priority": 0, "apply-to": "all" });
    api.put("/policies/%2F/p", &policy);
    for (own, path, value) in [
        ("/operator-policies/%2F/p", "/parameters/operator_policy/%2F/p", policy),
        ("", "/parameters/vhost-limits/%2F/limits", json!({ "max-queues": 5 })),
    ] {
        let body = json!({ "value": value });
        let mut refused = vec![maker.call("PUT", path, &body)];
        api.put(path, &body);
        refused.push(maker.call("PUT", path, &body));
        refused.push(maker.call("DELETE", path, &Value::Null));
        if !own.is_empty() {
            refused.push(maker.call("DELETE", own, &Value::Null));
        }
        for reply in refused {
            let why = json!({ "error": "not_authorised", "reason": "Not administrator user" });
            assert_eq!((reply.status, reply.json()), (401, why), "{path}");
        }
        assert_eq!(maker.get(path)["value"], value);
        assert_eq!(api.call("DELETE", path, &Value::Null).status, 204);
    }
    // Nor whether somebody is told of alerts.
    let silence = json!({ "seconds": 3600, "queue": "q" });
    assert_eq!(api.call("POST", "/leveret/silences", &silence).status, 201);
    let path = "/global-parameters/leveret_silences";
    let kept = api.get(path);
    for refused in [maker.call("PUT", path, &kept), maker.call("DELETE", path, &Value::Null)] {
        assert_eq!(
            (refused.status, &refused.json()["reason"]),
            (401, &json!("Not administrator user"))
        );
    }
    assert_eq!(maker.get(path), kept);
    maker.put("/global-parameters/other", &json!({ "value": 1 }));
}

/// What requests refer to, in the state they were recorded in.
fn restore(api: &Api) {
    api.put("/vhosts/other", &Value::Null);
    api.put("/vhosts/gone", &Value::Null);
    api.put("/permissions/other/guest", &everything());
    for vhost in ["%2F", "other"] {
        api.put(&format!("/queues/{vhost}/q"), &json!({ "durable": true }));
        api.put(&format!("/exchanges/{vhost}/x"), &json!({ "type": "fanout" }));
        let policy = json!({ "pattern": "^zz", "definition": { "max-length": 5 } });
        api.put(&format!("/policies/{vhost}/p"), &policy);
        api.put(&format!("/operator-policies/{vhost}/op"), &policy);
    }
    api.put("/global-parameters/gp", &json!({ "value": { "a": 1 } }));
    api.put("/users/victim", &json!({ "password": "p", "tags": "" }));
    api.put("/permissions/%2F/victim", &everything());
}

fn everything() -> Value {
    json!({ "configure": ".*", "write": ".*", "read": ".*" })
}
