//! The HTTP API of a broker whose users an HTTP service knows.

use leveret_tests::{Api, Broker};
use serde_json::json;

use crate::WHY;
use crate::service::{Asked, Reply, Service};

/// `admin` administers, `anna` manages, `bert` may only use AMQP; queues with `no` are denied.
fn decide(asked: &Asked) -> Reply {
    let user = asked.field("username");
    match asked.path.as_str() {
        "user" if user != asked.field("password") => Reply::Say("deny"),
        "user" => match user {
            "admin" => Reply::Say("allow administrator"),
            "anna" => Reply::Say("allow management"),
            _ => Reply::Say("allow"),
        },
        "vhost" if user == "anna" && asked.field("vhost") != "hers" => Reply::Say("deny"),
        _ if asked.field("name").contains("no") => Reply::Say("deny"),
        _ => Reply::Say("allow"),
    }
}

fn broker(service: &Service) -> Option<(Broker, Api)> {
    let settings = service.settings();
    let config = format!("management = \"127.0.0.1:0\"\n{settings}[auth]\nbackends = \"http\"\n");
    let broker = Broker::configured(&config, WHY)?;
    let api = Api::new(broker.management_address()).with_login(Some("admin:admin"));
    api.put("/vhosts/hers", &json!({}));
    api.put("/vhosts/others", &json!({}));
    Some((broker, api))
}

#[test]
fn its_tags_are_those_of_the_api() {
    let service = Service::start(decide);
    let Some((_broker, api)) = broker(&service) else { return };
    let expected = json!({ "name": "admin", "tags": ["administrator"], "is_internal_user": false });
    assert_eq!(api.get("/whoami"), expected);
    let status = |login: &str, path: &str| {
        api.with_login(Some(login)).call("GET", path, &json!(null)).status
    };
    assert_eq!(status("anna:anna", "/overview"), 200);
    assert_eq!(status("anna:anna", "/users"), 401);
    assert_eq!(status("anna:wrong", "/overview"), 401);
    assert_eq!(status("bert:bert", "/overview"), 401);
    assert_eq!(status("guest:guest", "/users"), 401, "nobody of the broker's own is asked");
}

#[test]
fn its_answers_are_what_the_api_shows_and_does() {
    let service = Service::start(decide);
    let Some((_broker, admin)) = broker(&service) else { return };
    let anna = admin.with_login(Some("anna:anna"));
    let vhosts = anna.get("/vhosts");
    let names: Vec<&str> =
        vhosts.as_array().unwrap().iter().map(|vhost| vhost["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hers"]);
    assert_eq!(anna.call("GET", "/queues/others", &json!(null)).status, 404);
    assert_eq!(anna.call("GET", "/queues/nowhere", &json!(null)).status, 404);
    assert_eq!(anna.call("PUT", "/queues/hers/q", &json!({})).status, 201);
    service.take();
    let refused = anna.call("PUT", "/queues/hers/no", &json!({}));
    assert_eq!(refused.status, 401, "{}", refused.text);
    assert!(service.take_lines().contains(&"resource configure queue no".to_owned()));
}

#[test]
fn the_web_interface_logs_in_by_it() {
    let service = Service::start(decide);
    let Some((_broker, api)) = broker(&service) else { return };
    let nobody = api.with_login(None);
    let own = ("x-leveret-session", "1");
    let body = json!({ "name": "anna", "password": "anna" }).to_string();
    let reply = nobody.send("POST", "/api/leveret/session", &[own], &body);
    assert_eq!(reply.status, 200, "{}", reply.text);
    let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
    service.take();
    let headers = [own, ("cookie", &*cookie)];
    assert_eq!(nobody.send("GET", "/api/whoami", &headers, "").json()["name"], "anna");
    assert_eq!(service.take_lines(), Vec::<String>::new(), "the session stands for the password");
    assert_eq!(nobody.send("GET", "/api/queues/others", &headers, "").status, 404);
    let body = json!({ "name": "anna", "password": "wrong" }).to_string();
    assert_eq!(nobody.send("POST", "/api/leveret/session", &[own], &body).status, 401);
}
