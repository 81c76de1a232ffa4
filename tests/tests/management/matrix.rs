//! Each endpoint with each kind of user, with and without access to the vhost, none left out.

use std::collections::BTreeSet;

use leveret_tests::{Api, Broker, Reply};
use serde_json::{Value, json};

/// Tags of users; the first two mean nothing to the API.
const TAGS: [&str; 6] =
    ["", "impersonator", "management", "policymaker", "monitoring", "administrator"];
/// A vhost they may enter, and one they may not.
const VHOSTS: [(&str, bool); 2] = [("hers", true), ("others", false)];
const OWN: (&str, &str) = ("x-leveret-session", "1");

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nobody has logged in.
    Login,
    /// The user's tags are not enough.
    Tags,
    /// The vhost is not theirs: it might as well not be there.
    Vhost,
    /// There is no such endpoint here.
    Nowhere,
    /// It got to who answers it.
    In,
}

struct Row<'a> {
    listener: &'a str,
    method: &'a str,
    path: &'a str,
    who: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let lines = include_str!("matrix.tsv").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [listener, method, path, who] = columns[..] else { panic!("{line}") };
        Row { listener, method, path, who }
    };
    lines.map(row).collect()
}

#[test]
fn each_endpoint_lets_in_whom_it_is_meant_for() {
    let listeners = "management = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n";
    let Some(broker) = Broker::configured(listeners, "drives the HTTP API") else { return };
    let api = Api::new(broker.management_address());
    let metrics = Api::new(broker.metrics_address()).with_login(None);
    for (vhost, _) in VHOSTS {
        api.put(&format!("/vhosts/{vhost}"), &json!({}));
    }
    let users = TAGS.map(|tag| (tag, cookie(&api, tag)));
    let nobody = api.with_login(None);
    let mut failures = Vec::new();
    for row in rows() {
        let client = if row.listener == "metrics" { &metrics } else { &nobody };
        let mut check = |who: &str, cookie: Option<&str>, vhost, expected| {
            let got = verdict(&row, &send(client, &row, cookie, vhost));
            if got != expected {
                let Row { method, path, .. } = row;
                failures.push(format!(
                    "{method} {path} in {vhost} by {who}: {got:?}, not {expected:?}"
                ));
            }
        };
        let of_nobody = match (row.listener, row.who) {
            ("control", _) => Verdict::Nowhere,
            (_, "open") => Verdict::In,
            _ => Verdict::Login,
        };
        check("nobody", None, "hers", of_nobody);
        if row.who == "open" {
            // Whoever they are: nobody looks. (One of them ends sessions.)
            continue;
        }
        let is_about_vhost = row.path.contains("{vhost}");
        for (tag, cookie) in &users {
            for (vhost, enters) in &VHOSTS[..if is_about_vhost { 2 } else { 1 }] {
                let expected = match row.listener {
                    "control" => Verdict::Nowhere,
                    _ => expected(row.who, tag, *enters),
                };
                check(tag, Some(cookie), vhost, expected);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The table has each endpoint of the source, and no other.
#[test]
fn no_endpoint_is_left_out() {
    let source = include_str!("../../../crates/management/src/routes.rs");
    let tables = [("ROUTES", "api"), ("METRICS_ROUTES", "metrics"), ("CONTROL_ROUTES", "control")];
    let mut there = BTreeSet::new();
    for (table, listener) in tables {
        let (_, table) = source.split_once(&format!("static {table}: ")).unwrap();
        let (table, _) = table.split_once("\n];").unwrap();
        for route in table.split("route(").skip(1) {
            let (_, route) = route.split_once('"').unwrap();
            let (path, endpoints) = route.split_once('"').unwrap();
            let methods = [
                ("get(", "GET"),
                ("put(", "PUT"),
                ("post(", "POST"),
                ("ask(", "POST"),
                ("delete(", "DELETE"),
            ];
            for (call, method) in methods {
                let is_there = endpoints.match_indices(call).any(|(at, _)| {
                    !endpoints[..at].ends_with(|before: char| before.is_alphanumeric())
                });
                if is_there {
                    there.insert(format!("{listener} {method} {path}"));
                }
            }
        }
    }
    let named =
        rows().into_iter().map(|row| format!("{} {} {}", row.listener, row.method, row.path));
    let named: BTreeSet<String> = named.collect();
    assert!(there.len() > 150, "the source is not read as it is written: {there:?}");
    assert_eq!(named, there);
}

fn expected(who: &str, tag: &str, enters: bool) -> Verdict {
    let is = |tags: &[&str]| tags.contains(&tag) || tag == "administrator";
    if !is(&["management", "policymaker", "monitoring"]) {
        return Verdict::Tags;
    }
    let (has_tag, is_theirs) = match who {
        "management" => (true, true),
        "vhost" => (true, enters || is(&[])),
        "visible" => (true, enters || is(&["monitoring"])),
        "policymaker" => (is(&["policymaker"]), true),
        "policymaker-vhost" => (is(&["policymaker"]), enters || is(&[])),
        "monitoring" => (is(&["monitoring"]), true),
        "administrator" => (is(&[]), true),
        other => panic!("who is {other}?"),
    };
    match (has_tag, is_theirs) {
        (false, _) => Verdict::Tags,
        (true, false) => Verdict::Vhost,
        (true, true) => Verdict::In,
    }
}

/// Asks about things that are not there, with a body that is none: what gets in does nothing.
fn send(api: &Api, row: &Row<'_>, cookie: Option<&str>, vhost: &str) -> Reply {
    let parts = row.path.split('/').map(|part| match part {
        "{vhost}" => vhost,
        "{unit}" => "days",
        "{within}" | "{port}" => "1",
        part if part.starts_with('{') => "nothing",
        part => part,
    });
    let path = parts.collect::<Vec<_>>().join("/");
    let mut headers = vec![("content-type", "application/json")];
    if let Some(cookie) = cookie {
        headers.extend([OWN, ("cookie", cookie)]);
    }
    let body = if ["PUT", "POST"].contains(&row.method) { "[]" } else { "" };
    api.send(row.method, &path, &headers, body)
}

fn verdict(row: &Row<'_>, reply: &Reply) -> Verdict {
    assert!(![405, 500].contains(&reply.status), "{reply:?}");
    let text = serde_json::from_str(&reply.text).unwrap_or(Value::Null);
    match (reply.status, text["error"].as_str(), text["reason"].as_str()) {
        (401, None, _) => Verdict::Login,
        // What the handler asks of the session it opens.
        (401, _, Some("Access refused.")) => Verdict::In,
        (401, ..) => Verdict::Tags,
        (404, Some("not_found"), Some("Not Found")) => Verdict::Vhost,
        // Nobody was asked who they are, or there would be 401 for those without a tag.
        (404, Some("Object Not Found"), _) if row.listener == "control" => Verdict::Nowhere,
        _ => Verdict::In,
    }
}

/// Makes a user who may do everything in the first vhost; the cookie of a session.
fn cookie(api: &Api, tag: &str) -> String {
    let name = format!("u-{tag}");
    api.put(&format!("/users/{name}"), &json!({ "password": "p", "tags": tag }));
    let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    api.put(&format!("/permissions/hers/{name}"), &everything);
    let login = json!({ "name": name, "password": "p" }).to_string();
    let reply = api.with_login(None).send("POST", "/api/leveret/session", &[OWN], &login);
    reply.header("set-cookie").split(';').next().unwrap().to_owned()
}
