//! Each call that changes what is in a vhost, takes from it or shows its messages, with each kind of
//! permission, none left out.

use std::collections::BTreeSet;

use leveret_tests::{Api, Broker, Reply, eventually};
use serde_json::{Value, json};

/// A user by permissions, and those for keys of a topic exchange: writing and reading.
type User = (&'static str, Option<[&'static str; 3]>, Option<[&'static str; 2]>);

/// Users of the API by what they may, in every way with all names or with none, and with all keys or
/// with none; the last may not even enter the vhost.
const USERS: [User; 9] = [
    ("entry", Some([NO, NO, NO]), None),
    ("configure", Some([ALL, NO, NO]), None),
    ("write", Some([NO, ALL, NO]), None),
    ("read", Some([NO, NO, ALL]), None),
    ("all", Some([ALL, ALL, ALL]), None),
    ("entry-with-keys", Some([NO, NO, NO]), Some([ALL, ALL])),
    ("all-but-reading-keys", Some([ALL, ALL, ALL]), Some([ALL, NO])),
    ("all-but-writing-keys", Some([ALL, ALL, ALL]), Some([NO, ALL])),
    ("out", None, None),
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
const TAIL_OF_EXCHANGE: &str = "/api/leveret/tail/{vhost}/exchange/{exchange}";
const REPLAYS: &str = "/api/leveret/replays/{vhost}/{queue}";

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
    Row {
        route: "/api/exchanges/{vhost}/{exchange}/publish",
        says: CodeAndWhy,
        ..row(
            "POST", "", "/exchanges/v/amq.topic/publish", message, 200,
            &[("write", "exchange 'amq.topic'"), ("write", "topic 'k' in exchange 'amq.topic'")],
        )
    },
    row("POST", TO_QUEUE, "/bindings/v/e/x/q/q", || json!({ "routing_key": "new" }), 201, &[("write", "queue 'q'"), ("read", "exchange 'x'")]),
    row("POST", TO_EXCHANGE, "/bindings/v/e/x/e/y", || json!({ "routing_key": "new" }), 201, &[("write", "exchange 'y'"), ("read", "exchange 'x'")]),
    row(
        "POST", TO_QUEUE, "/bindings/v/e/amq.topic/q/q", || json!({ "routing_key": "new" }), 201,
        &[("write", "queue 'q'"), ("read", "exchange 'amq.topic'"), ("read", "topic 'new' in exchange 'amq.topic'")],
    ),
    row(
        "POST", TO_EXCHANGE, "/bindings/v/e/amq.topic/e/y", || json!({ "routing_key": "new" }), 201,
        &[("write", "exchange 'y'"), ("read", "exchange 'amq.topic'"), ("read", "topic 'new' in exchange 'amq.topic'")],
    ),
    Row {
        route: "/api/bindings/{vhost}/e/{exchange}/q/{queue}/{key}",
        ..row("DELETE", "", "/bindings/v/e/x/q/q/k", none, 204, &[("write", "queue 'q'"), ("read", "exchange 'x'")])
    },
    Row {
        route: "/api/bindings/{vhost}/e/{exchange}/e/{destination}/{key}",
        ..row("DELETE", "", "/bindings/v/e/x/e/y/k", none, 204, &[("write", "exchange 'y'"), ("read", "exchange 'x'")])
    },
    Row {
        route: "/api/bindings/{vhost}/e/{exchange}/q/{queue}/{key}",
        ..row(
            "DELETE", "", "/bindings/v/e/amq.topic/q/q/k", none, 204,
            &[("write", "queue 'q'"), ("read", "exchange 'amq.topic'"), ("read", "topic 'k' in exchange 'amq.topic'")],
        )
    },
    Row {
        route: "/api/bindings/{vhost}/e/{exchange}/e/{destination}/{key}",
        ..row(
            "DELETE", "", "/bindings/v/e/amq.topic/e/y/k", none, 204,
            &[("write", "exchange 'y'"), ("read", "exchange 'amq.topic'"), ("read", "topic 'k' in exchange 'amq.topic'")],
        )
    },
    Row {
        route: "/api/leveret/messages/{vhost}/{queue}",
        ..row("GET", "", "/leveret/messages/v/q", none, 200, &[("read", "queue 'q'")])
    },
    Row {
        route: "/api/leveret/tail/{vhost}/queue/{queue}",
        ..row("GET", "", "/leveret/tail/v/queue/q", none, 200, &[("read", "queue 'q'")])
    },
    // Which keys are seen is looked at message by message.
    Row {
        route: TAIL_OF_EXCHANGE,
        ..row("GET", "", "/leveret/tail/v/exchange/amq.topic", none, 200, &[("read", "exchange 'amq.topic'")])
    },
    // And where they may be written to.
    Row {
        route: REPLAYS,
        ..row("POST", "", "/leveret/replays/v/q", || json!({ "dry_run": true }), 200, &[("read", "queue 'q'")])
    },
    Row {
        route: REPLAYS,
        ..row("POST", "", "/leveret/replays/v/q", || json!({}), 201, &[("read", "queue 'q'")])
    },
];

/// What administrators may, whatever their permissions.
const OF_ADMINISTRATORS: [&str; 1] = ["POST /api/queues/{vhost}/{queue}/actions"];

/// What is answered without what the user may not read.
const LISTS: [&str; 2] = ["GET /api/leveret/dead-letters", "GET /api/leveret/dead-letters/{vhost}"];

/// What is about users' own.
const OF_OWNERS: [&str; 3] = [
    "GET /api/leveret/replays",
    "GET /api/leveret/replays/{id}",
    "DELETE /api/leveret/replays/{id}",
];

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
    let Some((_broker, admin)) = with_users() else { return };
    for row in ROWS {
        // Those who are refused come first: what they had done the others could not do.
        let mut users = USERS.map(|user| (user, expected(row, user)));
        users.sort_by_key(|(_, expected)| expected.0 == row.done);
        restore(&admin);
        for ((name, ..), expected) in users {
            let reply = call(&admin.with_login(Some(&format!("{name}:p"))), row);
            let got = (reply.status, told(&reply));
            assert_eq!(got, expected, "{} {} by {name}", row.method, row.path);
            if reply.status == row.done {
                restore(&admin);
            }
        }
    }
}

#[test]
fn dead_letters_are_listed_of_queues_one_may_read() {
    let Some((_broker, admin)) = with_users() else { return };
    let brief = json!({ "arguments": {
        "x-message-ttl": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead",
    } });
    admin.put("/queues/v/brief", &brief);
    admin.put("/queues/v/dead", &json!({}));
    let message = json!({
        "routing_key": "brief", "payload": "m", "payload_encoding": "string", "properties": {},
    });
    assert_eq!(admin.call("POST", "/exchanges/v/amq.default/publish", &message).status, 200);
    let queues = |api: &Api, path: &str| {
        let reply = api.call("GET", path, &Value::Null);
        let found = reply.json();
        let names = found.as_array()?.iter().map(|one| one["queue"].as_str().unwrap().to_owned());
        Some(names.collect::<Vec<_>>())
    };
    eventually(|| queues(&admin, "/leveret/dead-letters/v") == Some(vec!["dead".to_owned()]));
    for (name, permissions, _) in USERS {
        let may_read = permissions.is_some_and(|[.., read]| read == ALL);
        let theirs = if may_read { vec!["dead".to_owned()] } else { Vec::new() };
        let api = admin.with_login(Some(&format!("{name}:p")));
        assert_eq!(queues(&api, "/leveret/dead-letters"), Some(theirs.clone()), "{name}");
        // The vhost might as well not be there.
        let there = permissions.map(|_| theirs);
        assert_eq!(queues(&api, "/leveret/dead-letters/v"), there, "{name}");
    }
}

#[test]
fn a_replay_is_its_users_and_administrators() {
    let Some((_broker, admin)) = with_users() else { return };
    admin.put("/queues/v/q", &json!({}));
    let owner = admin.with_login(Some("all:p"));
    let begun = owner.call("POST", "/leveret/replays/v/q", &json!({}));
    assert_eq!(begun.status, 201);
    let path = begun.header("location").trim_start_matches("/api").to_owned();
    let seen = |api: &Api| {
        let listed = api.get("/leveret/replays").as_array().unwrap().len();
        let statuses = ["GET", "DELETE"].map(|method| api.call(method, &path, &Value::Null).status);
        (listed, statuses)
    };
    for (name, ..) in USERS {
        let expected = if name == "all" { (1, [200, 204]) } else { (0, [404, 404]) };
        assert_eq!(seen(&admin.with_login(Some(&format!("{name}:p")))), expected, "{name}");
    }
    assert_eq!(seen(&admin), (1, [200, 204]));
}

/// There is a row for each endpoint of queues, exchanges and bindings that is no GET, and for each that
/// is about messages.
#[test]
fn no_call_is_left_out() {
    let lines = include_str!("matrix.tsv").lines().filter(|line| !line.starts_with('#'));
    let there = lines.filter_map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [_, method, path, _] = columns[..] else { panic!("{line}") };
        let starts = |all: &[&str]| all.iter().any(|start| path.starts_with(start));
        let changes =
            method != "GET" && starts(&["/api/queues/", "/api/exchanges/", "/api/bindings/"]);
        let is_about_messages = starts(&[
            "/api/leveret/messages/",
            "/api/leveret/dead-letters",
            "/api/leveret/replays",
            "/api/leveret/tail/",
        ]);
        (changes || is_about_messages).then(|| format!("{method} {path}"))
    });
    let named = ROWS.iter().map(|row| format!("{} {}", row.method, row.route));
    let others = OF_ADMINISTRATORS.iter().chain(&LISTS).chain(&OF_OWNERS);
    let named: BTreeSet<String> = named.chain(others.map(ToString::to_string)).collect();
    assert_eq!(named, there.collect());
}

/// A broker with a vhost and all users, and its administrator.
fn with_users() -> Option<(Broker, Api)> {
    let listener = "management = \"127.0.0.1:0\"\n";
    let broker = Broker::configured(listener, "drives the HTTP API")?;
    let admin = Api::new(broker.management_address());
    admin.put("/vhosts/v", &Value::Null);
    for (name, permissions, keys) in USERS {
        // A tag that is enough for each of these calls.
        admin.put(&format!("/users/{name}"), &json!({ "password": "p", "tags": "monitoring" }));
        if let Some([configure, write, read]) = permissions {
            let all = json!({ "configure": configure, "write": write, "read": read });
            admin.put(&format!("/permissions/v/{name}"), &all);
        }
        if let Some([write, read]) = keys {
            let keys = json!({ "exchange": "amq.topic", "write": write, "read": read });
            admin.put(&format!("/topic-permissions/v/{name}"), &keys);
        }
    }
    Some((broker, admin))
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
    for way in ["x/q/q", "x/e/y", "amq.topic/q/q", "amq.topic/e/y"] {
        let key = json!({ "routing_key": "k" });
        assert_eq!(admin.call("POST", &format!("/bindings/v/e/{way}"), &key).status, 201);
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

fn expected(row: &Row, (user, permissions, keys): User) -> Expected {
    let refused = |status: u16, error: &str, reason: &str| {
        (status, Some((error.to_owned(), reason.to_owned())))
    };
    let Some(permissions) = permissions else {
        return match row.route {
            // Who monitors knows of every vhost.
            TAIL_OF_EXCHANGE => refused(401, "not_authorised", "Access refused."),
            // It might as well not be there.
            _ => refused(404, "not_found", "Not Found"),
        };
    };
    // Who has no permission for keys of an exchange may use all.
    let keys = keys.map_or([ALL; 3], |[write, read]| [NO, write, read]);
    let may = |access: &str, what: &str| {
        let patterns = if what.starts_with("topic ") { keys } else { permissions };
        KINDS.iter().zip(patterns).any(|(kind, pattern)| *kind == access && pattern == ALL)
    };
    let Some((access, what)) = row.needs.iter().find(|(access, what)| !may(access, what)) else {
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
