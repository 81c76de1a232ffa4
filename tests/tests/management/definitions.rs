//! Definitions come in from RabbitMQ, and out again.

use leveret_tests::{Api, Broker, Login};
use serde_json::{Value, json};

use crate::managed;

const RABBITMQ_4: &str = include_str!("definitions/rabbitmq-4.3.6.json");
const RABBITMQ_3: &str = include_str!("definitions/rabbitmq-3.10.8.json");
const VHOST: &str = include_str!("definitions/rabbitmq-4.3.6-vhost.json");

/// The sections of definitions.
const SECTIONS: [&str; 10] = [
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

#[test]
fn exports_of_rabbitmq_import() {
    for export in [RABBITMQ_3, RABBITMQ_4] {
        let Some((mut broker, api)) = managed() else { return };
        let definitions: Value = serde_json::from_str(export).unwrap();
        import(&api, "/definitions", export);
        let ours = api.get("/definitions");
        for section in SECTIONS {
            for entry in definitions[section].as_array().unwrap() {
                let is_there = ours[section].as_array().unwrap().iter().any(|own| says(own, entry));
                assert!(
                    is_there || is_nothing(entry),
                    "{section}: {entry} not in {}",
                    ours[section]
                );
            }
        }
        // Users log in with the passwords they had there.
        let login = Login { response: b"\0anna\0secret", vhost: "shop", ..Login::default() };
        assert!(broker.connect_as(&login).is_ok());
        let anna = api.with_login(Some("anna:secret"));
        assert_eq!(anna.get("/whoami")["tags"], json!(["monitoring", "own"]));
        assert_eq!(api.get("/queues/shop/orders")["policy"], "ttl");
        assert_eq!(api.get("/queues/shop/orders")["operator_policy"], "cap");
        assert_eq!(api.get("/cluster-name")["name"], "old cluster");

        // Once more changes nothing, and all of it outlives a restart.
        import(&api, "/definitions", export);
        assert_eq!(api.get("/definitions"), ours);
        broker.terminate();
        broker.restart();
        let api = Api::new(broker.management_address());
        assert_eq!(api.get("/definitions"), ours);
    }
}

#[test]
fn what_is_exported_imports_back_to_the_same() {
    let Some((broker, api)) = managed() else { return };
    import(&api, "/definitions", RABBITMQ_4);
    // What belongs to a connection is not a definition.
    let connection = broker.connect();
    let channel = connection.channel(1);
    let mut exclusive = leveret_tests::declare("own");
    exclusive.exclusive = true;
    assert!(channel.call(&exclusive).starts_with("queue.declare-ok"));
    assert!(channel.call(&leveret_tests::bind("own", "amq.direct", "k")) == "queue.bind-ok");
    let exported = api.get("/definitions");
    assert!(!exported.to_string().contains("\"own\",\"type\""), "{exported}");
    assert!(exported["bindings"].as_array().unwrap().iter().all(|one| one["destination"] != "own"));

    let Some((_other, other)) = managed() else { return };
    import(&other, "/definitions", &exported.to_string());
    assert_eq!(other.get("/definitions"), exported);
}

#[test]
fn a_vhost_goes_into_another() {
    let Some((_broker, api)) = managed() else { return };
    api.put("/vhosts/copy", &Value::Null);
    import(&api, "/definitions/copy", VHOST);
    let exported = api.get("/definitions/copy");
    let definitions: Value = serde_json::from_str(VHOST).unwrap();
    for section in ["parameters", "policies", "queues", "exchanges", "bindings"] {
        for entry in definitions[section].as_array().unwrap() {
            let own = exported[section].as_array().unwrap();
            assert!(own.iter().any(|own| says(own, entry)), "{section}: {entry}");
        }
    }
    assert_eq!(exported["original_vhost_name"], "copy");
    assert_eq!(api.get("/queues/copy").as_array().unwrap().len(), 3);
}

#[test]
fn a_form_may_carry_the_file() {
    let Some((_broker, api)) = managed() else { return };
    let body = format!(
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n\r\n\
         {RABBITMQ_3}\r\n--B--\r\n"
    );
    let form = [("content-type", "multipart/form-data; boundary=B")];
    assert_eq!(api.send("POST", "/api/definitions", &form, &body).status, 204);
    assert_eq!(api.get("/queues/shop/orders")["name"], "orders");
    let reply = api.call("GET", "/definitions?download=mine.json", &Value::Null);
    assert_eq!(reply.header("content-disposition"), "attachment; filename=mine.json");
}

/// As those of a client are, here and in the file for the start.
#[test]
fn arguments_in_definitions_are_as_deep_as_they_may_be() {
    let nested = |depth| (1..depth).fold(json!({"k": 1}), |inner, _| json!({ "k": inner }));
    let definitions = |depth| {
        json!({"exchanges": [{
            "name": "deep", "vhost": "/", "type": "direct", "durable": true,
            "auto_delete": false, "internal": false, "arguments": nested(depth),
        }]})
    };
    let config = "management = \"127.0.0.1:0\"\namqp.table_depth_max = 5\n";
    let Some(broker) = Broker::configured(config, "limits the depth of tables") else { return };
    let api = Api::new(broker.management_address());
    let refused = api.call("POST", "/definitions", &definitions(6));
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("arguments nested too deep"), "{}", refused.text);
    import(&api, "/definitions", &definitions(5).to_string());
    assert_eq!(api.get("/exchanges/%2F/deep")["arguments"], nested(5));
}

/// More than by default, if they may; and what is there stays when they may no more.
#[test]
fn arguments_in_definitions_are_as_many_as_they_may_be() {
    let arguments = |count: usize| {
        let all = (0..count).map(|number| (format!("x-{number}"), json!(true)));
        Value::Object(all.collect())
    };
    let definitions = |count| {
        json!({
            "queues": [{"name": "q", "vhost": "/", "durable": true, "auto_delete": false,
                "arguments": {}}],
            "bindings": [{"source": "amq.headers", "vhost": "/", "destination": "q",
                "destination_type": "queue", "routing_key": "", "arguments": arguments(count)}],
        })
    };
    let limited = "management = \"127.0.0.1:0\"\n";
    let config = format!("{limited}amqp.table_field_max = 5000\n");
    let Some(mut broker) = Broker::configured(&config, "limits the size of tables") else { return };
    let api = Api::new(broker.management_address());
    let refused = api.call("POST", "/definitions", &definitions(5001));
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("table with more than 5000 fields"), "{}", refused.text);
    import(&api, "/definitions", &definitions(5000).to_string());
    let file = std::fs::read_to_string(broker.config_file()).unwrap();
    let file = file.replace("amqp.table_field_max = 5000\n", "");
    std::fs::write(broker.config_file(), file).unwrap();
    broker.terminate();
    broker.restart();
    let api = Api::new(broker.management_address());
    let bindings = api.get("/definitions")["bindings"].take();
    let found: Vec<&Value> = bindings.as_array().unwrap().iter().collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["arguments"], arguments(5000));
    let refused = api.call("POST", "/definitions", &definitions(5000));
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("table with more than 4096 fields"), "{}", refused.text);
}

#[test]
fn definitions_are_loaded_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.json"), RABBITMQ_4.replace("guest", "boss")).unwrap();
    std::fs::write(folder.path().join("2.json"), r#"{"queues":[{"name":"late","vhost":"shop"}]}"#)
        .unwrap();
    let path = folder.path().display();
    let config = format!("management = \"127.0.0.1:0\"\nload_definitions = \"{path}\"\n");
    let Some(broker) = Broker::configured(&config, "starts with definitions") else { return };
    let api = Api::new(broker.management_address());
    // Who isn't in them isn't there.
    assert_eq!(api.call("GET", "/whoami", &Value::Null).status, 401);
    let anna = api.with_login(Some("anna:secret"));
    let mut names: Vec<Value> = Vec::new();
    for queue in anna.get("/queues/shop").as_array().unwrap() {
        names.push(queue["name"].clone());
    }
    assert_eq!(names, ["late", "orders", "other", "quorum"]);
}

#[test]
fn a_broker_that_cannot_load_its_definitions_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    let path = file.display().to_string();
    let cases = [
        (None, "No such file"),
        (Some("{"), "EOF while parsing"),
        (Some("[]"), "no JSON object"),
        (Some(r#"{"users":[{"name":"x"}]}"#), "tags_not_present"),
        (
            Some(r#"{"queues":[{"name":"q","vhost":"none"}]}"#),
            "Please create virtual host \"none\" prior to importing definitions.",
        ),
    ];
    for (content, reason) in cases {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let data = folder.path().join("data");
        let config = folder.path().join("leveret.toml");
        std::fs::write(&config, format!("load_definitions = \"{path}\"\n")).unwrap();
        let (config, data) = (config.display().to_string(), data.display().to_string());
        let (status, printed) = Broker::run(&[
            "--config",
            &config,
            "--data-dir",
            &data,
            "--listen",
            "127.0.0.1:0",
            "--management=none",
            "--metrics=none",
        ]);
        assert!(!status.success(), "{printed}");
        assert!(printed.contains(&format!("cannot load definitions from {path}")), "{printed}");
        assert!(printed.contains(reason), "{printed}");
    }
}

fn import(api: &Api, path: &str, definitions: &str) {
    let json = [("content-type", "application/json")];
    let reply = api.send("POST", &format!("/api{path}"), &json, definitions);
    assert_eq!(reply.status, 204, "{}", reply.text);
}

/// Whether our entry says what RabbitMQ's says; ours may say more.
fn says(own: &Value, entry: &Value) -> bool {
    match (own, entry) {
        (Value::Object(own), Value::Object(entry)) => {
            entry.iter().all(|(key, value)| own.get(key).is_some_and(|own| says(own, value)))
        }
        _ => own == entry,
    }
}

/// Limits that limit nothing are not kept.
fn is_nothing(entry: &Value) -> bool {
    entry["component"] == "vhost-limits" && entry["value"] == json!([])
}
