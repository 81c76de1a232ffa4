//! Pages that have their own name lead to this machine.

use leveret_tests::{Api, Broker};
use serde_json::{Value, json};

const CONFIG: &str = "management = \"127.0.0.1:0\"\n[web]\nhosts = [\"broker.example\"]\n";
const EVIL: &str = "evil.example:15672";

#[test]
fn who_comes_from_this_machine_only_calls_it_by_its_name() {
    let Some(broker) = Broker::configured(CONFIG, "says what this machine is called") else {
        return;
    };
    let api = Api::new(broker.management_address());
    let status = |api: &Api, host: &str| {
        // What a browser says of a page that comes from there.
        let headers = [("host", host), ("sec-fetch-site", "same-origin")];
        api.send("GET", "/api/whoami", &headers, "").status
    };
    let own = [
        "localhost:15672",
        "127.0.0.1:15672",
        "[::1]:15672",
        "localhost",
        "rabbit",
        "broker.example",
    ];
    for host in own {
        assert_eq!(status(&api, host), 200, "{host}");
    }
    for host in [EVIL, "localhost.evil.example", "broker.example.evil.example"] {
        assert_eq!(status(&api, host), 401, "{host}");
    }
    let line = broker.await_line("HTTP login refused: user 'guest' from 127.0.0.1");
    assert!(line.contains("web.hosts"), "{line}");
    // Whoever may come from anywhere may call it as they like.
    let anna = json!({ "password": "secret", "tags": "management" });
    api.put("/users/anna", &anna);
    assert_eq!(status(&api.with_login(Some("anna:secret")), EVIL), 200);
}

#[test]
fn a_session_counts_for_such_a_page_as_little_as_a_password() {
    let Some(broker) = Broker::configured(CONFIG, "says what this machine is called") else {
        return;
    };
    let api = Api::new(broker.management_address()).with_login(None);
    let login = json!({ "name": "guest", "password": "guest" }).to_string();
    let own = ("x-leveret-session", "1");
    let begin =
        |host: &str| api.send("POST", "/api/leveret/session", &[own, ("host", host)], &login);
    assert_eq!(begin(EVIL).status, 401);
    let reply = begin("localhost");
    assert_eq!(reply.status, 200);
    let (cookie, _) = reply.header("set-cookie").split_once(';').unwrap();
    for (host, status) in [("localhost", 200), (EVIL, 401)] {
        let headers = [own, ("cookie", cookie), ("host", host)];
        assert_eq!(api.send("GET", "/api/whoami", &headers, "").status, status, "{host}");
    }
    let shown =
        api.send("GET", "/api/leveret/session", &[own, ("cookie", cookie), ("host", EVIL)], "");
    assert_eq!(shown.json(), Value::Null);
}
