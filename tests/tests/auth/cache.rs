//! Answers that are remembered.

use leveret_tests::{Api, Broker, declare};
use serde_json::{Value, json};

use crate::service::{Asked, Reply, Service};
use crate::{REFUSED, WHY, log_in};

fn decide(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "user" if asked.field("password") == "right" => Reply::Say("allow management"),
        "user" => Reply::Say("deny"),
        _ => Reply::Say("allow"),
    }
}

fn broker(service: &Service, more: &str) -> Option<Broker> {
    let settings = service.settings();
    let config = format!(
        "{settings}[auth_cache]\ncached_backend = \"http\"\ncache_ttl = \"1h\"\n{more}\
         [auth]\nbackends = \"cache\"\n"
    );
    Broker::configured(&config, WHY)
}

#[test]
fn what_was_allowed_is_not_asked_twice() {
    let service = Service::start(decide);
    let Some(broker) = broker(&service, "") else { return };
    for round in 0..2 {
        let channel = log_in(&broker, "anna", "right").unwrap().channel(1);
        assert_eq!(channel.call(&declare("q")), "queue.declare-ok q 0 0");
        let asked = service.take_lines();
        match round {
            0 => assert_eq!(asked, ["user anna", "vhost / of anna", "resource configure queue q"]),
            _ => assert_eq!(asked, Vec::<String>::new()),
        }
    }
    for _ in 0..2 {
        assert_eq!(log_in(&broker, "anna", "wrong").err().unwrap(), REFUSED);
        assert_eq!(service.take_lines(), ["user anna"]);
    }
}

#[test]
fn refusals_are_remembered_if_that_is_configured() {
    let service = Service::start(decide);
    let Some(broker) = broker(&service, "cache_refusals = true\n") else { return };
    for _ in 0..2 {
        assert_eq!(log_in(&broker, "anna", "wrong").err().unwrap(), REFUSED);
    }
    assert_eq!(service.take_lines(), ["user anna"]);
    log_in(&broker, "anna", "right").unwrap();
}

/// Over HTTP each request logs in.
#[test]
fn a_user_of_the_brokers_own_is_who_they_are_now() {
    let config = "management = \"127.0.0.1:0\"\n[auth]\nbackends = \"cache\"\n[auth_cache]\n\
                  cached_backend = \"internal\"\ncache_ttl = \"1h\"\n";
    let Some(broker) = Broker::configured(config, WHY) else { return };
    let api = Api::new(broker.management_address());
    let put = |password: &str, tags: &str| {
        api.put("/users/anna", &json!({ "password": password, "tags": tags }));
    };
    let status = |password: &str| {
        let anna = api.with_login(Some(&format!("anna:{password}")));
        anna.call("GET", "/nodes", &Value::Null).status
    };
    put("one", "monitoring");
    assert_eq!(status("one"), 200);
    put("one", "management");
    assert_eq!(status("one"), 401, "a tag was taken");
    put("two", "monitoring");
    assert_eq!([status("one"), status("two")], [401, 200]);
    assert_eq!(api.call("DELETE", "/users/anna", &Value::Null).status, 204);
    assert_eq!(status("two"), 401);
}
