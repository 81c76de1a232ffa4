//! What Prometheus scrapes.

use std::collections::{BTreeMap, BTreeSet};

use leveret_tests::codec::{Properties, Value, basic, exchange, queue};
use leveret_tests::{
    Api, Broker, ack, confirm_select, consume, declare, declare_exchange, delete, delete_exchange,
    eventually, get, passive, publish, qos, table,
};

use crate::managed;

/// Names every dashboard of RabbitMQ's asks for.
const OF_DASHBOARDS: &[&str] = &[
    "rabbitmq_identity_info",
    "rabbitmq_build_info",
    "rabbitmq_connections",
    "rabbitmq_channels",
    "rabbitmq_queues",
    "rabbitmq_consumers",
    "rabbitmq_queue_messages_ready",
    "rabbitmq_queue_messages_unacked",
    "rabbitmq_global_consumers",
    "rabbitmq_global_publishers",
    "rabbitmq_erlang_uptime_seconds",
    "rabbitmq_resident_memory_limit_bytes",
    "rabbitmq_process_resident_memory_bytes",
    "rabbitmq_disk_space_available_bytes",
    "rabbitmq_disk_space_available_limit_bytes",
    "rabbitmq_process_open_fds",
    "rabbitmq_process_max_fds",
    "rabbitmq_connections_opened_total",
    "rabbitmq_connections_closed_total",
    "rabbitmq_channels_opened_total",
    "rabbitmq_channels_closed_total",
    "rabbitmq_queues_declared_total",
    "rabbitmq_queues_created_total",
    "rabbitmq_queues_deleted_total",
    "rabbitmq_global_messages_received_total",
    "rabbitmq_global_messages_received_confirm_total",
    "rabbitmq_global_messages_confirmed_total",
    "rabbitmq_global_messages_routed_total",
    "rabbitmq_global_messages_unroutable_dropped_total",
    "rabbitmq_global_messages_unroutable_returned_total",
    "rabbitmq_global_messages_delivered_total",
    "rabbitmq_global_messages_delivered_consume_auto_ack_total",
    "rabbitmq_global_messages_delivered_consume_manual_ack_total",
    "rabbitmq_global_messages_delivered_get_auto_ack_total",
    "rabbitmq_global_messages_delivered_get_manual_ack_total",
    "rabbitmq_global_messages_get_empty_total",
    "rabbitmq_global_messages_redelivered_total",
    "rabbitmq_global_messages_acknowledged_total",
    "rabbitmq_message_size_bytes_bucket",
    "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_auth_attempts_total",
    "rabbitmq_unreachable_cluster_peers_count",
];

#[test]
fn counters_count_what_clients_did() {
    let Some((broker, _)) = managed() else { return };
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    channel.call(&confirm_select());
    for body in ["one", "two", "three"] {
        channel.publish("", "q", body);
        assert!(channel.recv().starts_with("basic.ack"));
    }
    channel.publish("", "nowhere", "lost");
    assert!(channel.recv().starts_with("basic.ack"));
    assert!(channel.call(&get("q")).starts_with("basic.get-ok"));
    channel.send(&ack(1));
    let consumer = connection.channel(2);
    consumer.call(&consume("q", "c"));
    consumer.recv_many(2);
    assert!(consumer.call(&get("q")).starts_with("basic.get-empty"));

    let metrics = scrape(&broker, "/metrics");
    for name in OF_DASHBOARDS {
        assert!(metrics.keys().any(|key| key.split('{').next() == Some(name)), "{name}");
    }
    let type_of = "protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"";
    let global = |name: &str| format!("rabbitmq_global_messages_{name}_total");
    let expected = [
        ("rabbitmq_connections".to_owned(), 1.0),
        ("rabbitmq_channels".to_owned(), 2.0),
        ("rabbitmq_queues".to_owned(), 1.0),
        ("rabbitmq_consumers".to_owned(), 1.0),
        ("rabbitmq_queue_messages_ready".to_owned(), 0.0),
        ("rabbitmq_queue_messages_unacked".to_owned(), 2.0),
        ("rabbitmq_queue_messages_unacked_bytes".to_owned(), 8.0),
        ("rabbitmq_channel_messages_unacked".to_owned(), 2.0),
        ("rabbitmq_queue_messages_published_total".to_owned(), 3.0),
        ("rabbitmq_exchange_messages_published_total".to_owned(), 4.0),
        (format!("{}{{protocol=\"amqp091\"}}", global("received")), 4.0),
        (format!("{}{{protocol=\"amqp091\"}}", global("received_confirm")), 4.0),
        (format!("{}{{protocol=\"amqp091\"}}", global("confirmed")), 4.0),
        (format!("{}{{protocol=\"amqp091\"}}", global("routed")), 3.0),
        (format!("{}{{protocol=\"amqp091\"}}", global("unroutable_dropped")), 1.0),
        (format!("{}{{{type_of}}}", global("delivered")), 3.0),
        (format!("{}{{{type_of}}}", global("delivered_consume_manual_ack")), 2.0),
        (format!("{}{{{type_of}}}", global("delivered_get_manual_ack")), 1.0),
        (format!("{}{{{type_of}}}", global("get_empty")), 1.0),
        (format!("{}{{{type_of}}}", global("acknowledged")), 1.0),
        ("rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100\"}".to_owned(), 4.0),
        ("rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"+Inf\"}".to_owned(), 4.0),
        ("rabbitmq_message_size_bytes_sum{protocol=\"amqp091\"}".to_owned(), 15.0),
    ];
    for (name, value) in &expected {
        assert_eq!(metrics.get(name), Some(value), "{name}");
    }

    // Counters of the node outlive what they counted.
    channel.call(&delete("q"));
    drop((channel, consumer, connection));
    eventually(|| {
        let metrics = scrape(&broker, "/metrics");
        metrics.get("rabbitmq_connections") == Some(&0.0)
    });
    let later = scrape(&broker, "/metrics");
    for (name, _) in expected.iter().filter(|(name, _)| name.contains("_global_")) {
        assert_eq!(later[name], metrics[name], "{name}");
    }
    assert_eq!(later["rabbitmq_message_size_bytes_count{protocol=\"amqp091\"}"], 4.0);
    assert_eq!(later["rabbitmq_queues_deleted_total"], 1.0);
    assert_eq!(later["rabbitmq_connections_closed_total"], 1.0);
}

#[test]
fn what_is_read_of_a_stream_counts_for_streams() {
    let Some((broker, _)) = managed() else { return };
    let channel = broker.connect().channel(1);
    let arguments = table([("x-queue-type", Value::text("stream"))]);
    let stream = queue::Declare { durable: true, arguments: arguments.as_table(), ..declare("s") };
    channel.call(&stream);
    channel.call(&confirm_select());
    for body in ["one", "two"] {
        channel.publish("", "s", body);
        assert!(channel.recv().starts_with("basic.ack"));
    }
    channel.call(&qos(10));
    let first = table([("x-stream-offset", Value::text("first"))]);
    for tag in ["a", "b"] {
        channel.call(&basic::Consume { arguments: first.as_table(), ..consume("s", tag) });
        channel.recv_many(2);
    }
    channel.call(&delete("s"));

    let metrics = scrape(&broker, "/metrics");
    let delivered = |queue_type: &str| {
        let name = "rabbitmq_global_messages_delivered_total";
        metrics[&format!("{name}{{protocol=\"amqp091\",queue_type=\"rabbit_{queue_type}_queue\"}}")]
    };
    assert_eq!(["stream", "quorum", "classic"].map(delivered), [4.0, 0.0, 0.0]);
}

#[test]
fn objects_are_told_apart() {
    let Some((broker, api)) = managed() else { return };
    api.put("/vhosts/other", &serde_json::Value::Null);
    let quoted = serde_json::json!({ "durable": true });
    api.put("/queues/other/a%22b%5Cc", &quoted);
    api.put("/queues/%2F/q", &quoted);

    let metrics = scrape(&broker, "/metrics/per-object");
    assert_eq!(metrics["rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"q\"}"], 0.0);
    let odd = "rabbitmq_queue_messages_ready{vhost=\"other\",queue=\"a\\\"b\\\\c\"}";
    assert_eq!(metrics[odd], 0.0);

    let family = "/metrics/detailed?family=queue_coarse_metrics&family=vhost_status&vhost=other";
    let metrics = scrape(&broker, family);
    let mut names: Vec<&str> = metrics.keys().map(|key| key.split('{').next().unwrap()).collect();
    names.sort_unstable();
    let expected = [
        "rabbitmq_build_info",
        "rabbitmq_cluster_vhost_status",
        "rabbitmq_detailed_queue_messages",
        "rabbitmq_detailed_queue_messages_ready",
        "rabbitmq_detailed_queue_messages_unacked",
        "rabbitmq_identity_info",
    ];
    assert_eq!(names, expected);
    assert!(metrics.keys().all(|key| !key.contains("queue=\"q\"")));
}

/// Exchanges and queues that drop what was seen before hold it in memory until they go.
#[test]
fn what_is_remembered_of_messages_is_measured() {
    let Some((broker, _)) = managed() else { return };
    let remembered = || scrape(&broker, "/metrics")["leveret_deduplication_bytes"];
    assert_eq!(remembered(), 0.0);
    let channel = broker.connect().channel(1);
    let arguments = table([
        ("x-message-deduplication", Value::Bool(true)),
        ("x-cache-size", Value::I32(10_000)),
        ("x-deduplication-header", Value::text("id")),
    ]);
    let arguments = arguments.as_table();
    channel.call(&queue::Declare { arguments, ..declare("q") });
    channel
        .call(&exchange::Declare { arguments, ..declare_exchange("x", "x-message-deduplication") });
    for id in 0..2000 {
        let headers = table([("id", Value::I32(id))]);
        let headers = Some(headers.as_table());
        let properties = Properties { headers, ..Properties::default() };
        for (exchange, key) in [("", "q"), ("x", "nowhere")] {
            channel.publish_with(&publish(exchange, key), &properties, b"");
        }
    }
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 2000 0");
    let of_both = remembered();
    // What stands for a value has 16 bytes.
    assert!(of_both > 2.0 * 2000.0 * 16.0, "{of_both}");
    channel.call(&delete("q"));
    let of_one = remembered();
    assert!(of_one > 2000.0 * 16.0 && of_one < of_both, "{of_one} of {of_both}");
    channel.call(&delete_exchange("x"));
    assert_eq!(remembered(), 0.0);
}

/// Dashboards join everything with the identity, and scrape without a login.
#[test]
fn without_a_login_no_name_is_told_but_the_nodes_and_the_clusters() {
    let Some((broker, api)) = managed() else { return };
    let named = |what: &str| format!("named-by-somebody-{what}");
    api.put("/cluster-name", &serde_json::json!({ "name": named("cluster") }));
    api.put(&format!("/vhosts/{}", named("vhost")), &serde_json::Value::Null);
    let user = serde_json::json!({ "password": "p", "tags": named("tag") });
    api.put(&format!("/users/{}", named("user")), &user);
    api.put(&format!("/queues/%2F/{}", named("queue")), &serde_json::json!({}));
    let node = api.get("/overview")["node"].as_str().unwrap().to_owned();
    let identity = format!("rabbitmq_node=\"{node}\",rabbitmq_cluster=\"{}\"", named("cluster"));
    let nobody = Api::new(broker.metrics_address()).with_login(None);
    for path in ["/metrics", "/metrics/memory-breakdown"] {
        let text = nobody.send("GET", path, &[], "").text;
        assert_eq!(text.matches(&identity).count(), 1, "{path}: {text}");
        assert_eq!(text.matches(&named("")).count(), 1, "{path}: {text}");
    }
    for path in ["/health/live", "/health/ready", "/health/alarms", "/api/version"] {
        let reply = api.with_login(None).send("GET", path, &[], "");
        assert_eq!(reply.status, 200, "{path}");
        assert!(!reply.text.contains(&named("")) && !reply.text.contains(&node), "{path}");
    }
}

#[test]
fn every_line_is_one_of_the_text_format() {
    let Some((broker, _)) = managed() else { return };
    let _connection = broker.connect().channel(1);
    let both = "/metrics/detailed?family=queue_consumer_count&family=queue_metrics";
    for path in ["/metrics", "/metrics/per-object", "/metrics/memory-breakdown", both] {
        let mut seen = BTreeSet::new();
        let reply = Api::new(broker.metrics_address()).send("GET", path, &[], "");
        assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4");
        let mut declared = "";
        for line in reply.text.lines() {
            if let Some(name) = line.strip_prefix("# TYPE ") {
                declared = name.split(' ').next().unwrap();
                assert!(seen.insert(declared), "{declared} is there twice");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                assert!(rest.starts_with(&format!("{declared} ")), "{line}");
            } else {
                assert!(line.starts_with(declared), "{line} under {declared}");
                let value = line.rsplit(' ').next().unwrap();
                assert!(value == "NaN" || value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
    assert_eq!(Api::new(broker.metrics_address()).send("GET", "/", &[], "").status, 404);
}

/// How long syncs take and what they gather, and how long messages wait.
#[test]
fn the_journal_and_waiting_messages_are_measured() {
    let Some((broker, _)) = managed() else { return };
    let channel = broker.connect().channel(1);
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&queue::Declare { durable: true, ..declare("empty") });
    channel.call(&confirm_select());
    channel.publish_persistent("q", "one");
    assert!(channel.recv().starts_with("basic.ack"));
    let metrics = scrape(&broker, "/metrics");
    for name in ["leveret_journal_sync_seconds", "leveret_journal_sync_records"] {
        let all = metrics[&format!("{name}_bucket{{le=\"+Inf\"}}")];
        assert!(all >= 1.0 && metrics[&format!("{name}_count")] >= all);
        assert!(metrics[&format!("{name}_sum")] > 0.0);
    }
    let metrics = scrape(&broker, "/metrics/per-object");
    let age = |queue| {
        metrics.get(&format!("leveret_queue_head_age_seconds{{vhost=\"/\",queue=\"{queue}\"}}"))
    };
    assert!(age("q").is_some_and(|age| (0.0..60.0).contains(age)), "{:?}", age("q"));
    assert_eq!(age("empty"), None);
}

#[test]
fn how_long_consumers_hold_messages_is_measured() {
    let Some((broker, _)) = managed() else { return };
    let channel = broker.connect().channel(1);
    for queue in ["held", "ready"] {
        channel.call(&declare(queue));
        channel.publish("", queue, "body");
        channel.publish("", queue, "body");
    }
    let got = channel.call(&get("held"));
    let age = |queue: &str| {
        let metrics = scrape(&broker, "/metrics/per-object");
        let labels = format!("{{vhost=\"/\",queue=\"{queue}\"}}");
        metrics.get(&format!("leveret_queue_unacked_age_seconds{labels}")).copied()
    };
    assert!(age("held").is_some());
    assert_eq!(age("ready"), None);
    eventually(|| age("held").is_some_and(|age| age > 0.0));
    let second = channel.call(&get("held"));
    channel.send(&ack(got.delivery_tag()));
    channel.call(&passive("held"));
    assert!(age("held").is_some());
    channel.send(&ack(second.delivery_tag()));
    channel.call(&passive("held"));
    assert_eq!(age("held"), None);
}

#[test]
fn alert_rules_use_metrics_that_there_are() {
    let Some((broker, _)) = managed() else { return };
    let metrics = scrape(&broker, "/metrics");
    let rules = include_str!("../../../packaging/monitoring/alerts.yaml");
    let expressions: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(expressions.len(), rules.matches("- alert: ").count());
    assert_are_there(expressions, &metrics);
}

#[test]
fn the_dashboard_uses_metrics_that_there_are() {
    let Some((broker, _)) = managed() else { return };
    let metrics = scrape(&broker, "/metrics");
    let dashboard = include_str!("../../../packaging/monitoring/dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: Vec<&str> = targets.map(|one| one["expr"].as_str().unwrap()).collect();
    assert!(expressions.len() > panels.len());
    assert_are_there(expressions, &metrics);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let query = variables.iter().find_map(|one| one["query"]["query"].as_str()).unwrap();
    assert_are_there(vec![query], &metrics);
}

/// Each of these expressions names metrics, and all of them are scraped.
fn assert_are_there(expressions: Vec<&str>, metrics: &BTreeMap<String, f64>) {
    for expression in expressions {
        let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let names: Vec<&str> =
            words.filter(|w| w.starts_with("rabbitmq_") || w.starts_with("leveret_")).collect();
        assert!(!names.is_empty() || expression.starts_with("up{"), "{expression}");
        for name in names {
            assert!(metrics.keys().any(|key| key.split('{').next() == Some(name)), "{name}");
        }
    }
}

/// Samples by name and labels.
fn scrape(broker: &Broker, path: &str) -> BTreeMap<String, f64> {
    // Those with names are told to who has a login; the others to anybody.
    let login = if path.starts_with("/metrics/") { Some("guest:guest") } else { None };
    let api = Api::new(broker.metrics_address()).with_login(login);
    let reply = api.send("GET", path, &[], "");
    assert_eq!(reply.status, 200);
    let samples = reply.text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap_or(f64::NAN))
        })
        .collect()
}
