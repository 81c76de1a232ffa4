//! Each call that changes what is in a vhost, or takes from it, with each kind of permission, none
//! left out.

use std::collections::BTreeSet;

use leveret_tests::{Api, Broker, Reply};
use serde_json::{Value, json};

/// Users of the API by what they may, in every way with all names or with none; the last may not
/// even enter the vhost.
const USERS: [(&str, Option<[&str; 3]>); 6] = [
    ("entry", Some([NO, NO, NO])),
    ("configure", Some([ALL, NO, NO])),
    ("write", Some([NO, ALL, NO])),
    ("read", Some([NO, NO, ALL])),
    ("all", Some([ALL, ALL, ALL])),
    ("out", None),
];
const ALL: &str = ".*";
const NO: &str = "^$";
const KINDS: [&str; 3] = ["configure", "write", "read"];

/// How RabbitMQ 4 says that a permission is missing: by what it carries a call out with.
enum Says {
    /// 401 without what is missing.
    Little,
    /// 401 with what would have closed the channel.
    Why,
    /// 400 with that and its code.
    CodeAndWhy,
}

use Says::{CodeAndWhy, Little, Why};

struct Row {
    method: &'static str,
    /// As the API's table of endpoints has it.
    route: &'static str,
    path: &'static str,
    body: fn() -> Value,
    done: u16,
    /// All of these, looked at in this order.
    needs: &'static [(&'static str, &'static str)],
    says: Says,
}

const QUEUE: &str = "/api/queues/{vhost}/{queue}";
const EXCHANGE: &str = "/api/exchanges/{vhost}/{exchange}";
const TO_QUEUE: &str = "/api/bindings/{vhost}/e/{exchange}/q/{queue}";
const TO_EXCHANGE: &str = "/api/bindings/{vhost}/e/{exchange}/e/{destination}";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("PUT", QUEUE, "/queues/v/new", || json!({}), 201, &[("configure", "queue 'new'")]),
    row("PUT", QUEUE, "/queues/v/q", || json!({ "durable": true }), 204, &[("configure", "queue 'q'")]),
    row(
        "PUT", QUEUE, "/queues/v/with-letters",
        || json!({ "arguments": { "x-dead-letter-exchange": "x" } }), 201,
        &[("configure", "queue 'with-letters'"), ("read", "queue 'with-letters'"), ("write", "exchange 'x'")],
    ),
    row("DELETE", QUEUE, "/queues/v/q", none, 204, &[("configure", "queue 'q'")]),
    Row {
        route: "/api/queues/{vhost}/{queue}/contents",
        ..row("DELETE", "", "/queues/v/q/contents", none, 204, &[("read", "queue 'q'")])
    },
    Row {
        route: "/api/queues/{vhost}/{queue}/get",
        says: Why,
        ..row(
            "POST", "", "/queues/v/q/get",
            || json!({ "count": 1, "ackmode": "ack_requeue_false", "encoding": "auto" }), 200,
            &[("read", "queue 'q'")],
        )
    },
    row("PUT", EXCHANGE, "/exchanges/v/new", || json!({ "type": "topic" }), 201, &[("configure", "exchange 'new'")]),
    row("PUT", EXCHANGE, "/exchanges/v/x", || json!({ "type": "direct", "durable": true }), 204, &[("configure", "exchange 'x'")]),
    row(
        "PUT", EXCHANGE, "/exchanges/v/with-alternate",
        || json!({ "type": "direct", "arguments": { "alternate-exchange": "y" } }), 201,
        &[("configure", "exchange 'with-alternate'"), ("read", "exchange 'with-alternate'"), ("write", "exchange 'y'")],
    ),
    row("DELETE", EXCHANGE, "/exchanges/v/x", none, 204, &[("configure", "exchange 'x'")]),
    Row {
        route: "/api/exchanges/{vhost}/{exchange}/publish",
        says: CodeAndWhy,
        ..row("POST", "", "/exchanges/v/x/publish", message, 200, &[("write", "exchange 'x'")])
    },
    Row {
        route: "/api/exchanges/{vhost}/{exchange}/publish",
        says: CodeAndWhy,
        ..row("POST", "", "/exchanges/v/amq.default/publish", message, 200, &[("write", "exchange 'amq.default'")])
    },
    row("POST", TO_QUEUE, "/bindings/v/e/x/q/q", || json!({ "routing_key": "new" }), 201, &[("write", "queue 'q'"), ("read", "exchange 'x'")]),
    row("POST", TO_EXCHANGE, "/bindings/v/e/x/e/y", || json!({ "routing_key": "new" }), 201, &[("write", "exchange 'y'"), ("read", "exchange 'x'")]),
    Row {
        route: "/api/bindings/{vhost}/e/{exchange}/q/{queue}/{key}",
        ..row("DELETE", "", "/bindings/v/e/x/q/q/k", none, 204, &[("write", "queue 'q'"), ("read", "exchange 'x'")])
    },
    Row {
        route: "/api/bindings/{vhost}/e/{exchange}/e/{destination}/{key}",
        ..row("DELETE", "", "/bindings/v/e/x/e/y/k", none, 204, &[("write", "exchange 'y'"), ("read", "exchange 'x'")])
    },
];

/// What administrators may, whatever their permissions.
const OF_ADMINISTRATORS: &str = "POST /api/queues/{vhost}/{queue}/actions";

const fn row(
    method: &'static str,
    route: &'static str,
    path: &'static str,
    body: fn() -> Value,
    done: u16,
    needs: &'static [(&'static str, &'static str)],
) -> Row {
    Row { method, route, path, body, done, needs, says: Little }
}

fn none() -> Value {
    Value::Null
}

fn message() -> Value {
    json!({ "routing_key": "k", "payload": "m", "payload_encoding": "string", "properties": {} })
}

#[test]
fn each_call_needs_what_clients_need_for_it() {
    let listener = "management = \"127.0.0.1:0\"\n";
    let Some(broker) = Broker::configured(listener, "drives the HTTP API") else { return };
    let admin = Api::new(broker.management_address());
    for (name, permissions) in USERS {
        admin.put(&format!("/users/{name}"), &json!({ "password": "p", "tags": "management" }));
        admin.put("/vhosts/v", &Value::Null);
        if let Some([configure, write, read]) = permissions {
            let all = json!({ "configure": configure, "write": write, "read": read });
            admin.put(&format!("/permissions/v/{name}"), &all);
        }
    }
    let mut failures = Vec::new();
    for row in ROWS {
        for (name, permissions) in USERS {
            restore(&admin);
            let reply = call(&admin.with_login(Some(&format!("{name}:p"))), row);
            let expected = expected(row, name, permissions);
            let got = (reply.status, told(&reply));
            if got != expected {
                failures.push(format!(
                    "{} {} by {name}: {got:?}, not {expected:?}",
                    row.method, row.path
                ));
            }
            // Who was refused has changed nothing.
            let is_untouched = row.done == expected.0 || call(&admin, row).status == row.done;
            if !is_untouched {
                failures.push(format!("{} {} by {name} was done", row.method, row.path));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// There is a row for each endpoint of queues, exchanges and bindings that is no GET.
#[test]
fn no_call_is_left_out() {
    let lines = include_str!("matrix.tsv").lines().filter(|line| !line.starts_with('#'));
    let there = lines.filter_map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [_, method, path, _] = columns[..] else { panic!("{line}") };
        let is_of_vhosts = ["/api/queues/", "/api/exchanges/", "/api/bindings/"]
            .iter()
            .any(|start| path.starts_with(start));
        (is_of_vhosts && method != "GET").then(|| format!("{method} {path}"))
    });
    let named = ROWS.iter().map(|row| format!("{} {}", row.method, row.route));
    let named: BTreeSet<String> = named.chain([OF_ADMINISTRATORS.to_owned()]).collect();
    assert_eq!(named, there.collect());
}

/// What the calls are about, as it is before any of them: a queue with a message, two exchanges, and
/// how they are bound.
fn restore(admin: &Api) {
    for gone in ["/queues/v/new", "/queues/v/with-letters", "/queues/v/q"] {
        admin.call("DELETE", gone, &Value::Null);
    }
    for gone in ["new", "with-alternate", "x", "y"] {
        admin.call("DELETE", &format!("/exchanges/v/{gone}"), &Value::Null);
    }
    admin.put("/queues/v/q", &json!({ "durable": true }));
    for name in ["x", "y"] {
        let exchange = json!({ "type": "direct", "durable": true });
        admin.put(&format!("/exchanges/v/{name}"), &exchange);
    }
    for end in ["q/q", "e/y"] {
        let key = json!({ "routing_key": "k" });
        assert_eq!(admin.call("POST", &format!("/bindings/v/e/x/{end}"), &key).status, 201);
    }
    let published = admin.call("POST", "/exchanges/v/x/publish", &message());
    assert_eq!(published.json(), json!({ "routed": true }));
}

fn call(api: &Api, row: &Row) -> Reply {
    api.call(row.method, row.path, &(row.body)())
}

/// The error and the reason of an answer, if it is one that has them.
fn told(reply: &Reply) -> Option<(String, String)> {
    let body: Value = serde_json::from_str(&reply.text).ok()?;
    let text = |key: &str| body.get(key)?.as_str().map(str::to_owned);
    Some((text("error")?, text("reason")?))
}

type Expected = (u16, Option<(String, String)>);

fn expected(row: &Row, user: &str, permissions: Option<[&str; 3]>) -> Expected {
    let refused = |status: u16, error: &str, reason: &str| {
        (status, Some((error.to_owned(), reason.to_owned())))
    };
    let Some(permissions) = permissions else {
        // It might as well not be there.
        return refused(404, "not_found", "Not Found");
    };
    let may = |access: &str| {
        KINDS.iter().zip(permissions).any(|(kind, pattern)| *kind == access && pattern == ALL)
    };
    let Some((access, what)) = row.needs.iter().find(|(access, _)| !may(access)) else {
        return (row.done, None);
    };
    let why = format!(
        "ACCESS_REFUSED - {access} access to {what} in vhost 'v' refused for user '{user}'"
    );
    match row.says {
        Little => refused(401, "not_authorised", "Access refused."),
        Why => refused(401, "not_authorised", &why),
        CodeAndWhy => refused(400, "bad_request", &format!("403 {why}")),
    }
}
