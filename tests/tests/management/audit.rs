//! What operators do is recorded: who, from where, what, before and after.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use leveret_tests::{Api, Broker};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A broker with an audit log.
struct Audited {
    broker: Broker,
    api: Api,
    folder: TempDir,
}

fn audited(more: &str) -> Option<Audited> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("audit.jsonl");
    let config = format!(
        "management = \"127.0.0.1:0\"\nmetrics = \"none\"\n{more}[audit]\nfile = {:?}\n",
        file.display().to_string()
    );
    let broker = Broker::configured(&config, "reads its audit log")?;
    let api = Api::new(broker.management_address());
    Some(Audited { broker, api, folder })
}

impl Audited {
    fn file(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    fn lines(&self) -> Vec<Value> {
        lines(&self.file())
    }

    /// What is recorded of a request: name, object, before, after of each action.
    fn of(&self, method: &str, path: &str, body: Value) -> Vec<Value> {
        let before = self.lines().len();
        let reply = self.api.call(method, path, &body);
        assert!((200..300).contains(&reply.status), "{method} {path}: {}", reply.text);
        let mut lines = self.lines().split_off(before);
        for line in &mut lines {
            assert_eq!((&line["who"], &line["from"]), (&json!("guest"), &json!("127.0.0.1")));
            *line = json!([line["action"], line["object"], line["before"], line["after"]]);
        }
        lines
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_change_of_definitions_is_recorded_with_before_and_after() {
    let Some(audited) = audited("") else { return };
    let metadata = |description: &str| {
        json!({
            "description": description, "tags": [], "default_queue_type": null,
            "protected_from_deletion": false,
        })
    };
    let of_vhost = json!({ "vhost": "v" });
    let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    let key = |user: &str| json!({ "user": user, "vhost": "v" });
    let user = |tags: Value, password: &str| {
        let limits = json!({ "max_connections": null, "max_channels": null });
        json!({ "tags": tags, "limits": limits, "password": password })
    };
    let limits = |connections: Value| json!({ "max_connections": connections, "max_queues": null });
    let of_user =
        |connections: Value| json!({ "max_connections": connections, "max_channels": null });
    let anna = json!({ "user": "anna" });
    let policy = |pattern: &str| json!({ "pattern": pattern, "apply-to": "all", "definition": { "max-length": 5 }, "priority": 0 });
    let topic = json!({ "exchange": "amq.topic", "write": "^a", "read": "^b" });
    let queue = json!({
        "type": "classic", "durable": true, "auto_delete": false, "exclusive": false,
        "arguments": { "x-max-length": 3 },
    });
    let exchange = json!({
        "type": "topic", "durable": true, "auto_delete": false, "internal": false, "arguments": {},
    });
    let binding = json!({
        "vhost": "v", "source": "x", "destination": "q", "destination_type": "queue",
    });
    let bound = json!({ "routing_key": "k", "arguments": {} });
    let none = Value::Null;
    let steps: Vec<(&str, &str, Value, Vec<Value>)> = vec![
        (
            "PUT",
            "/vhosts/v",
            json!({ "description": "one" }),
            vec![
                json!(["vhost.created", of_vhost, none, metadata("one")]),
                json!(["permission.created", key("guest"), none, everything]),
            ],
        ),
        (
            "PUT",
            "/vhosts/v",
            json!({ "description": "two", "tracing": true }),
            vec![
                json!(["vhost.updated", of_vhost, metadata("one"), metadata("two")]),
                json!(["vhost.tracing.set", of_vhost, false, true]),
            ],
        ),
        ("PUT", "/vhosts/v", json!({ "description": "two" }), vec![]),
        (
            "PUT",
            "/vhost-limits/v/max-connections",
            json!({ "value": 7 }),
            vec![json!(["vhost.limits.set", of_vhost, limits(none.clone()), limits(7.into())])],
        ),
        (
            "PUT",
            "/users/anna",
            json!({ "password": "hunter2", "tags": "" }),
            vec![json!(["user.created", anna, none, user(json!([]), "set")])],
        ),
        (
            "PUT",
            "/users/anna",
            json!({ "password": "hunter3", "tags": "monitoring" }),
            vec![json!([
                "user.updated",
                anna,
                user(json!([]), "set"),
                user(json!(["monitoring"]), "changed")
            ])],
        ),
        (
            "PUT",
            "/user-limits/anna/max-connections",
            json!({ "value": 2 }),
            vec![json!(["user.limits.set", anna, of_user(none.clone()), of_user(2.into())])],
        ),
        (
            "DELETE",
            "/user-limits/anna/max-connections",
            none.clone(),
            vec![json!(["user.limits.set", anna, of_user(2.into()), of_user(none.clone())])],
        ),
        (
            "PUT",
            "/permissions/v/anna",
            everything.clone(),
            vec![json!(["permission.created", key("anna"), none, everything])],
        ),
        (
            "DELETE",
            "/permissions/v/anna",
            none.clone(),
            vec![json!(["permission.deleted", key("anna"), everything, none])],
        ),
        (
            "PUT",
            "/topic-permissions/v/anna",
            topic.clone(),
            vec![json!(["topic.permission.created", key("anna"), none, [topic]])],
        ),
        (
            "DELETE",
            "/topic-permissions/v/anna",
            none.clone(),
            vec![json!(["topic.permission.deleted", key("anna"), [topic], none])],
        ),
        (
            "PUT",
            "/policies/v/p",
            json!({ "pattern": "^a", "definition": { "max-length": 5 } }),
            vec![json!(["policy.set", { "vhost": "v", "policy": "p" }, none, policy("^a")])],
        ),
        (
            "PUT",
            "/policies/v/p",
            json!({ "pattern": "^b", "definition": { "max-length": 5 } }),
            vec![
                json!(["policy.set", { "vhost": "v", "policy": "p" }, policy("^a"), policy("^b")]),
            ],
        ),
        (
            "DELETE",
            "/policies/v/p",
            none.clone(),
            vec![json!(["policy.cleared", { "vhost": "v", "policy": "p" }, policy("^b"), none])],
        ),
        (
            "PUT",
            "/operator-policies/v/o",
            json!({ "pattern": "^a", "definition": { "max-length": 5 } }),
            vec![json!(["operator.policy.set", { "vhost": "v", "policy": "o" }, none,
                { "pattern": "^a", "apply-to": "all", "definition": { "max-length": 5 }, "priority": 0 }])],
        ),
        (
            "PUT",
            "/global-parameters/g",
            json!({ "value": { "a": 1 } }),
            vec![json!(["global.parameter.set", { "name": "g" }, none, { "a": 1 }])],
        ),
        (
            "DELETE",
            "/global-parameters/g",
            none.clone(),
            vec![json!(["global.parameter.cleared", { "name": "g" }, { "a": 1 }, none])],
        ),
        (
            "PUT",
            "/queues/v/q",
            json!({ "durable": true, "arguments": { "x-max-length": 3 } }),
            vec![json!(["queue.created", { "vhost": "v", "queue": "q" }, none, queue])],
        ),
        (
            "PUT",
            "/exchanges/v/x",
            json!({ "type": "topic", "durable": true }),
            vec![json!(["exchange.created", { "vhost": "v", "exchange": "x" }, none, exchange])],
        ),
        (
            "POST",
            "/bindings/v/e/x/q/q",
            json!({ "routing_key": "k" }),
            vec![json!(["binding.created", binding, none, bound])],
        ),
        (
            "DELETE",
            "/bindings/v/e/x/q/q/k",
            none.clone(),
            vec![json!(["binding.deleted", binding, bound, none])],
        ),
        (
            "POST",
            "/exchanges/v/amq.default/publish",
            json!({ "routing_key": "q", "payload": "m", "payload_encoding": "string", "properties": {} }),
            vec![],
        ),
        (
            "DELETE",
            "/queues/v/q/contents",
            none.clone(),
            vec![
                json!(["queue.purged", { "vhost": "v", "queue": "q" }, { "messages": 1 }, { "messages": 0 }]),
            ],
        ),
        (
            "DELETE",
            "/exchanges/v/x",
            none.clone(),
            vec![json!(["exchange.deleted", { "vhost": "v", "exchange": "x" }, exchange, none])],
        ),
        (
            "POST",
            "/users/bulk-delete",
            json!({ "users": ["anna"] }),
            vec![json!(["user.deleted", anna, user(json!(["monitoring"]), "set"), none])],
        ),
        (
            "DELETE",
            "/vhosts/v",
            none.clone(),
            vec![json!(["vhost.deleted", of_vhost, metadata("two"), none])],
        ),
    ];
    for (method, path, body, expected) in steps {
        assert_eq!(audited.of(method, path, body), expected, "{method} {path}");
    }
    let text = fs::read_to_string(audited.file()).unwrap();
    for secret in ["hunter", "password_hash"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn an_import_is_recorded_by_what_it_changes() {
    let Some(audited) = audited("") else { return };
    let definitions = json!({
        "users": [{ "name": "anna", "password": "hunter2", "tags": "management" }],
        "vhosts": [{ "name": "v" }],
        "permissions": [
            { "user": "anna", "vhost": "v", "configure": "", "write": "", "read": ".*" },
        ],
        "global_parameters": [{ "name": "g", "value": 1 }],
        "parameters": [
            { "vhost": "v", "component": "vhost-limits", "name": "limits", "value": { "max-queues": 9 } },
        ],
        "policies": [{ "vhost": "v", "name": "p", "pattern": "", "definition": { "max-length": 1 } }],
        "exchanges": [{ "name": "x", "vhost": "v", "type": "fanout", "durable": true,
            "auto_delete": false, "internal": false, "arguments": {} }],
        "queues": [{ "name": "q", "vhost": "v", "durable": true, "auto_delete": false,
            "arguments": {} }],
        "bindings": [{ "source": "x", "vhost": "v", "destination": "q", "destination_type": "queue",
            "routing_key": "", "arguments": {} }],
    });
    let recorded = audited.of("POST", "/definitions", definitions);
    let names: Vec<&str> = recorded.iter().map(|line| line[0].as_str().unwrap()).collect();
    let expected = [
        "user.created",
        "vhost.created",
        "permission.created",
        "global.parameter.set",
        "vhost.limits.set",
        "policy.set",
        "exchange.created",
        "queue.created",
        "binding.created",
    ];
    assert_eq!(names, expected);
    assert!(!fs::read_to_string(audited.file()).unwrap().contains("hunter"));
}

#[test]
fn whatever_else_is_done_is_recorded_as_it_was_asked() {
    let Some(audited) = audited("") else { return };
    let connection = audited.broker.connect();
    let name = connection.local_address().to_string();
    let all = audited.api.get("/connections");
    let full = all[0]["name"].as_str().unwrap();
    assert!(full.starts_with(&name), "{full}");
    let path = format!("/connections/{}", full.replace(' ', "%20").replace('>', "%3E"));
    let recorded = audited.of("DELETE", &path, Value::Null);
    let expected =
        json!(["DELETE /api/connections/{connection}", { "connection": full }, null, null]);
    assert_eq!(recorded, [expected]);
    let recorded = audited.of("DELETE", "/reset", Value::Null);
    assert_eq!(recorded, [json!(["DELETE /api/reset", {}, null, null])]);
    // What is refused or only looked at is not.
    let before = audited.lines().len();
    assert_eq!(audited.api.call("DELETE", "/users/nope", &Value::Null).status, 404);
    assert_eq!(audited.api.with_login(None).call("DELETE", "/reset", &Value::Null).status, 401);
    assert!(audited.api.get("/overview").is_object());
    assert_eq!(audited.lines().len(), before);
}

#[test]
fn the_command_line_and_the_start_are_recorded_too() {
    let Some(audited) = audited("") else { return };
    let first = audited.lines();
    let names: Vec<&str> = first.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert!(names.contains(&"user.created") && names.contains(&"vhost.created"), "{names:?}");
    assert!(first.iter().all(|line| line["who"].is_null() && line["from"] == "broker"));
    let done = Command::new(leveret_tests::binary())
        .args(["ctl", "add_user", "anna", "hunter2"])
        .env("LEVERET_DATA_DIR", audited.broker.data_dir())
        .status();
    assert!(done.unwrap().success());
    let line = audited.lines().pop().unwrap();
    assert_eq!((&line["who"], &line["from"]), (&json!("rmq-cli"), &json!("control socket")));
    assert_eq!(
        (&line["action"], &line["object"]),
        (&json!("user.created"), &json!({ "user": "anna" }))
    );
}

#[test]
fn a_moved_file_is_begun_anew_on_a_signal() {
    let Some(audited) = audited("") else { return };
    let moved = audited.folder.path().join("moved");
    fs::rename(audited.file(), &moved).unwrap();
    audited.of("DELETE", "/reset", Value::Null);
    assert!(!audited.file().exists());
    let before = lines(&moved).len();
    audited.broker.hang_up();
    audited.broker.await_line("the configuration was read again");
    audited.api.put("/vhosts/v", &Value::Null);
    assert_eq!(lines(&moved).len(), before);
    assert_eq!(audited.lines()[0]["action"], "vhost.created");
}

#[test]
fn a_log_that_cannot_be_written_is_told_of_once_and_keeps_nobody_waiting() {
    let folder = TempDir::new().unwrap();
    let below = folder.path().join("missing");
    let config = format!(
        "management = \"127.0.0.1:0\"\nmetrics = \"none\"\n[audit]\nfile = {:?}\n",
        below.join("audit.jsonl").display().to_string()
    );
    let Some(broker) = Broker::configured(&config, "has no audit log") else { return };
    let api = Api::new(broker.management_address());
    let line = broker.await_line("cannot write the audit log");
    assert!(line.contains("make room, or let the broker's user write there"), "{line}");
    for name in ["a", "b", "c"] {
        api.put(&format!("/vhosts/{name}"), &Value::Null);
    }
    fs::create_dir(&below).unwrap();
    api.put("/vhosts/d", &Value::Null);
    let lines = lines(&below.join("audit.jsonl"));
    assert_eq!(lines[0]["action"], "audit.lost");
    assert_eq!(lines[1]["object"], json!({ "vhost": "d" }));
    let told = broker.log().matches("cannot write the audit log").count();
    assert_eq!(told, 1);
}
