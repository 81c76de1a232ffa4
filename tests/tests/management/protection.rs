//! What browsers are told with every answer, and what those without a login are not.

use leveret_tests::{Api, Broker};
use serde_json::{Value, json};

use crate::managed;

const CONFIG: &str = "\
management = \"127.0.0.1:0\"
metrics = \"127.0.0.1:0\"

[web]
content_security_policy = \"default-src 'none'\"
strict_transport_security = \"max-age=60\"
allowed_origins = [\"https://console.example\"]
preflight_max_age = \"1m\"
proxies = \"127.0.0.1\"
metrics_login = \"always\"
";

#[test]
fn every_answer_has_the_headers_that_protect() {
    let Some((broker, api)) = managed() else { return };
    let metrics = Api::new(broker.metrics_address()).with_login(None);
    let nobody = api.with_login(None);
    let replies = [
        api.call("GET", "/overview", &Value::Null),
        api.call("GET", "/nope", &Value::Null),
        nobody.call("GET", "/overview", &Value::Null),
        nobody.send("GET", "/", &[], ""),
        metrics.send("GET", "/metrics", &[], ""),
    ];
    for reply in replies {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(reply.header(name), value, "{name} of {}", reply.text);
        }
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'self'; "), "{policy}");
        assert_eq!(reply.header("strict-transport-security"), "");
        assert_eq!(reply.header("access-control-allow-origin"), "");
    }
}

#[test]
fn what_is_configured_is_sent() {
    let Some(broker) = Broker::configured(CONFIG, "configures headers") else { return };
    let api = Api::new(broker.management_address());
    let reply = api.call("GET", "/overview", &Value::Null);
    assert_eq!(reply.header("content-security-policy"), "default-src 'none'");
    assert_eq!(reply.header("strict-transport-security"), "", "not without TLS");
    // The proxy at 127.0.0.1 has it.
    let over_tls = [("x-forwarded-proto", "https"), ("x-leveret-session", "1")];
    let login = json!({ "name": "guest", "password": "guest" }).to_string();
    let reply = api.with_login(None).send("POST", "/api/leveret/session", &over_tls, &login);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("strict-transport-security"), "max-age=60");
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("__Host-leveret-session="), "{cookie}");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    // guest comes from this machine only, which is where its proxy is and not the client.
    let elsewhere = [("x-forwarded-for", "198.51.100.7")];
    assert_eq!(api.send("GET", "/api/whoami", &elsewhere, "").status, 401);
    let line = broker.await_line("HTTP login refused");
    assert!(line.contains("user 'guest' from 198.51.100.7"), "{line}");
}

#[test]
fn pages_of_an_allowed_origin_may_use_the_api() {
    let Some(broker) = Broker::configured(CONFIG, "allows origins") else { return };
    let api = Api::new(broker.management_address());
    let console = ("origin", "https://console.example");
    let ask = [console, ("access-control-request-method", "PUT")];
    let reply = api.with_login(None).send("OPTIONS", "/api/queues/%2F/q", &ask, "");
    assert_eq!(reply.status, 200);
    for (name, value) in [
        ("access-control-allow-origin", "https://console.example"),
        ("access-control-allow-methods", "HEAD, GET, PUT, DELETE, OPTIONS"),
        ("access-control-allow-headers", "authorization, content-type, accept, x-reason"),
        ("access-control-max-age", "60"),
        ("access-control-allow-credentials", ""),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    let reply = api.send("PUT", "/api/queues/%2F/q", &[console], "");
    assert_eq!(reply.status, 201);
    assert_eq!(reply.header("access-control-allow-origin"), "https://console.example");
    assert_eq!(reply.header("access-control-expose-headers"), "location");

    let other = ("origin", "https://other.example");
    let ask = [other, ("access-control-request-method", "PUT")];
    let reply = api.with_login(None).send("OPTIONS", "/api/queues/%2F/q", &ask, "");
    assert_eq!(reply.header("access-control-allow-origin"), "");
    assert_eq!(api.send("DELETE", "/api/queues/%2F/q", &[other], "").status, 403);
    // Not with a session, which is for the broker's own pages.
    let own = [console, ("x-leveret-session", "1")];
    let login = json!({ "name": "guest", "password": "guest" }).to_string();
    let reply = api.with_login(None).send("POST", "/api/leveret/session", &own, &login);
    assert_eq!(reply.status, 403);
}

#[test]
fn metrics_with_names_need_a_login() {
    let Some((broker, api)) = managed() else { return };
    for name in ["management", "monitoring"] {
        api.put(&format!("/users/{name}"), &json!({ "password": "p", "tags": name }));
    }
    api.put("/vhosts/secret-vhost", &Value::Null);
    api.put("/queues/%2F/secret-queue", &json!({}));
    let metrics = Api::new(broker.metrics_address());
    let status =
        |login: Option<&str>, path| metrics.with_login(login).send("GET", path, &[], "").status;
    for path in ["/metrics/per-object", "/metrics/detailed?family=queue_metrics"] {
        assert_eq!(status(None, path), 401, "{path}");
        assert_eq!(status(Some("management:p"), path), 401, "{path}");
        assert_eq!(status(Some("monitoring:p"), path), 200, "{path}");
        assert_eq!(status(Some("guest:guest"), path), 200, "{path}");
    }
    for path in ["/metrics", "/metrics/memory-breakdown", "/health/live", "/health/alarms"] {
        let reply = metrics.with_login(None).send("GET", path, &[], "");
        assert_eq!(reply.status, 200, "{path}");
        for name in ["secret", "guest", "amq."] {
            assert!(!reply.text.contains(name), "{path}: {}", reply.text);
        }
    }

    let Some(broker) = Broker::configured(CONFIG, "has all metrics ask") else { return };
    let metrics = Api::new(broker.metrics_address());
    assert_eq!(metrics.with_login(None).send("GET", "/metrics", &[], "").status, 401);
    assert_eq!(metrics.send("GET", "/metrics", &[], "").status, 200);
    assert_eq!(metrics.with_login(None).send("GET", "/health/live", &[], "").status, 200);
}

#[test]
fn an_alarm_is_told_without_the_nodes_name() {
    let config = "\
        management = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n\
        [alarms]\nvm_memory_high_watermark = 0.0\n";
    let Some(broker) = Broker::configured(config, "raises an alarm") else { return };
    let (api, metrics) =
        (Api::new(broker.management_address()), Api::new(broker.metrics_address()));
    for path in ["/health/alarms", "/health/ready"] {
        let reply = metrics.with_login(None).send("GET", path, &[], "");
        assert_eq!(reply.status, 503, "{path}");
        assert_eq!(reply.json()["alarms"], json!([{ "resource": "memory" }]), "{path}");
    }
    let reply = api.call("GET", "/health/checks/alarms", &Value::Null);
    assert!(reply.json()["alarms"][0]["node"].is_string(), "{}", reply.text);
}
