//! Several who are asked, one after the other or each about something else.

use leveret_tests::{Api, Broker, declare};
use serde_json::{Value, json};

use crate::service::{Asked, Reply, Service};
use crate::{REFUSED, WHY, log_in};

fn decide(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "user" if asked.field("username") != asked.field("password") => Reply::Say("deny"),
        "user" => Reply::Say("allow management"),
        _ if asked.field("name") == "no" => Reply::Say("deny"),
        _ => Reply::Say("allow"),
    }
}

fn broker(service: &Service, backends: &str) -> Option<(Broker, Api)> {
    let settings = service.settings();
    let config = format!("management = \"127.0.0.1:0\"\n{settings}[auth]\nbackends = {backends}\n");
    let broker = Broker::configured(&config, WHY)?;
    let api = Api::new(broker.management_address());
    Some((broker, api))
}

#[test]
fn the_next_is_asked_where_one_refuses() {
    let service = Service::start(decide);
    let Some((broker, api)) = broker(&service, "[\"internal\", \"http\"]") else { return };
    api.put("/users/bert", &json!({ "password": "secret", "tags": "" }));
    log_in(&broker, "guest", "guest").unwrap();
    assert_eq!(service.take_lines(), Vec::<String>::new(), "the first has let it in");
    log_in(&broker, "anna", "anna").unwrap();
    assert_eq!(service.take_lines(), ["user anna", "vhost / of anna"]);
    assert_eq!(log_in(&broker, "anna", "wrong").err().unwrap(), REFUSED);
    // Known to both: each has its own password for it.
    log_in(&broker, "bert", "bert").unwrap();
    let refused = log_in(&broker, "bert", "secret").err().unwrap();
    assert_eq!(
        refused,
        "connection.close 530 connection.open NOT_ALLOWED - access to vhost '/' refused for user \
         'bert'"
    );
}

#[test]
fn one_may_say_who_it_is_and_another_what_they_may() {
    let service = Service::start(decide);
    let Some((broker, api)) = broker(&service, "[\"http:internal\", \"internal\"]") else { return };
    assert_eq!(log_in(&broker, "anna", "anna").err().unwrap(), REFUSED, "nobody knows her rights");
    api.put("/users/anna", &json!({ "password": "other", "tags": "monitoring" }));
    api.put("/permissions/%2F/anna", &json!({ "configure": "^a", "write": "", "read": "" }));
    service.take();
    let channel = log_in(&broker, "anna", "anna").unwrap().channel(1);
    assert_eq!(channel.call(&declare("a")), "queue.declare-ok a 0 0");
    assert_eq!(
        channel.call(&declare("b")),
        "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue 'b' in vhost \
         '/' refused for user 'anna'"
    );
    assert_eq!(service.take_lines(), ["user anna"]);
    let whoami = api.with_login(Some("anna:anna")).get("/whoami");
    assert_eq!(whoami["tags"], json!(["management", "monitoring"]));
}

#[test]
fn users_of_the_brokers_own_may_have_their_rights_elsewhere() {
    let service = Service::start(decide);
    let Some((broker, api)) = broker(&service, "\"internal:http\"") else { return };
    api.put("/users/anna", &json!({ "password": "anna", "tags": "" }));
    service.take();
    let channel = log_in(&broker, "anna", "anna").unwrap().channel(1);
    assert_eq!(channel.call(&declare("yes")), "queue.declare-ok yes 0 0");
    assert!(channel.call(&declare("no")).starts_with("channel.close 403"));
    let asked = service.take_lines();
    let expected = [
        "user anna",
        "vhost / of anna",
        "resource configure queue yes",
        "resource configure queue no",
    ];
    assert_eq!(asked, expected);
}

/// A session of the web interface, by its cookie.
fn session(api: &Api, name: &str, password: &str) -> impl Fn(&str) -> u16 {
    const OWN: (&str, &str) = ("x-leveret-session", "1");
    let api = api.with_login(None);
    let login = json!({ "name": name, "password": password }).to_string();
    let reply = api.send("POST", "/api/leveret/session", &[OWN], &login);
    assert_eq!(reply.status, 200, "{}", reply.text);
    let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
    move |path| api.send("GET", path, &[OWN, ("cookie", &cookie)], "").status
}

#[test]
fn a_session_ends_with_the_part_that_the_brokers_own_user_had_in_it() {
    for backends in ["[\"http:internal\", \"internal\"]", "[\"internal:http\", \"internal\"]"] {
        let service = Service::start(decide);
        let Some((_broker, api)) = broker(&service, backends) else { return };
        api.put("/users/anna", &json!({ "password": "anna", "tags": "administrator" }));
        let anna = session(&api, "anna", "anna");
        assert_eq!(anna("/api/users"), 200, "{backends}");
        let mut user = api.get("/users/anna");
        user["tags"] = json!("management");
        api.put("/users/anna", &user);
        assert_eq!(anna("/api/users"), 401, "{backends}: the tag is gone");
        assert_eq!(anna("/api/whoami"), 401, "{backends}: and the session with it");
        let anna = session(&api, "anna", "anna");
        assert_eq!(anna("/api/users"), 401, "{backends}");
        assert_eq!(anna("/api/whoami"), 200, "{backends}");
        assert_eq!(api.call("DELETE", "/users/anna", &Value::Null).status, 204);
        assert_eq!(anna("/api/whoami"), 401, "{backends}: the user is gone");
    }
}
