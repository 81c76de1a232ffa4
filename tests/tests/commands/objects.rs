//! Commands for what a transcript can't hold: connections, definitions, files.

use std::io::{Read, Write};
use std::process::Stdio;

use leveret_tests::{Api, Connection, consume, declare, eventually};
use serde_json::{Value, json};

use crate::managed;

#[test]
fn connections_and_channels_have_pids_by_which_they_are_closed() {
    let Some((broker, tools)) = managed() else { return };
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    channel.call(&consume("q", "tag"));
    eventually(|| !tools.print("rabbitmqctl -q list_consumers").is_empty());
    let listed = tools.print("rabbitmqctl -s list_connections pid name user state");
    let columns: Vec<&str> = listed.trim_end().split('\t').collect();
    let [pid, name, "guest", "running"] = columns.as_slice() else { panic!("{listed}") };
    assert!(pid.starts_with("<rabbit@") && pid.ends_with(".0>"), "{pid}");
    let channel_pid = format!("{}.1>", pid.strip_suffix(".0>").unwrap());
    let listed = tools.print("rabbitmqctl -s list_channels pid connection name consumer_count");
    assert_eq!(listed, format!("{channel_pid}\t{pid}\t{name} (1)\t1\n"));
    let listed = tools.print("rabbitmqctl -s list_consumers");
    assert_eq!(listed, format!("q\t{channel_pid}\ttag\ttrue\t0\ttrue\t[]\n"));
    let closing = tools.run_with("rabbitmqctl", &["-q", "close_connection", pid, "go away"]);
    assert_eq!(closing.code, 0, "{closing:?}");
    assert_eq!(connection.recv(), "connection.close 320 0.0 CONNECTION_FORCED - go away");
    eventually(|| tools.print("rabbitmqctl -s list_connections").is_empty());
}

/// As RabbitMQ's does; besides, the look leaves no trace.
#[test]
fn a_message_of_a_quorum_queue_is_peeked_at() {
    let Some((broker, tools)) = managed() else { return };
    let api = Api::new(broker.management_address());
    let quorum = json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
    api.put("/queues/%2F/orders", &quorum);
    api.put("/queues/%2F/classic", &json!({ "durable": true }));
    for body in ["first".to_owned(), "long ".repeat(20)] {
        let properties = json!({ "content_type": "text/plain", "headers": { "tenant": 1 } });
        let message = json!({
            "properties": properties, "routing_key": "orders", "payload": body,
            "payload_encoding": "string",
        });
        api.call("POST", "/exchanges/%2F/amq.default/publish", &message);
    }
    let printed = tools.print("rabbitmq-queues -q peek orders 1");
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "keys\tvalues");
    for line in [
        "content_type\ttext/plain",
        "header.tenant\t1",
        "routing_keys\torders",
        "payload (max 64 bytes)\tfirst",
    ] {
        assert!(lines.contains(&line), "{line} in {printed}");
    }
    let printed = tools.print("rabbitmq-queues peek orders 2 --formatter json");
    let peeked: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(peeked["result"], "ok");
    assert_eq!(peeked["message"]["routing_keys"], json!(["orders"]));
    assert_eq!(peeked["message"]["payload (max 64 bytes)"], "long ".repeat(20)[..64]);
    for (arguments, code, expected) in [
        ("orders 3", 69, "Target queue does not have a message at that position"),
        ("classic 1", 69, "Target queue was not found in virtual host '/'"),
        ("orders 0", 64, "position value must be a positive integer"),
        ("orders x", 64, "position value must be a positive integer"),
    ] {
        let refused = tools.run(&format!("rabbitmq-queues peek {arguments}"));
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.stderr.contains(expected), "{refused:?}");
    }
    assert_eq!(api.get("/queues/%2F/orders")["message_stats"]["redeliver"], 0);
}

#[test]
fn all_connections_of_a_vhost_are_closed() {
    let Some((broker, tools)) = managed() else { return };
    let connections: Vec<Connection> = (0..3).map(|_| broker.connect()).collect();
    tools.print("rabbitmqctl add_vhost other");
    let none = tools.print("rabbitmqctl -q close_all_connections -p other bye");
    assert_eq!(none, "Closed 0 connections\n");
    assert_eq!(
        tools.print("rabbitmqctl -q close_all_connections --limit 1 bye"),
        "Closed 1 connections\n"
    );
    eventually(|| tools.print("rabbitmqctl -s list_connections").lines().count() == 2);
    tools.print("rabbitmqctl close_all_user_connections guest bye");
    for connection in &connections {
        assert_eq!(connection.recv(), "connection.close 320 0.0 CONNECTION_FORCED - bye");
    }
}

#[test]
fn definitions_go_out_and_come_in_again() {
    let Some((broker, tools)) = managed() else { return };
    let api = Api::new(broker.management_address());
    api.put("/queues/%2F/kept", &json!({ "durable": true }));
    let file = broker.data_dir().join("definitions.json");
    let file = file.to_str().unwrap();
    let printed = tools.print(&format!("rabbitmqctl export_definitions {file}"));
    assert_eq!(printed, format!("Exporting definitions in JSON to a file at \"{file}\" ...\n"));
    let exported: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(exported["queues"][0]["name"], "kept");
    let piped = tools.print("rabbitmqctl export_definitions -");
    assert_eq!(serde_json::from_str::<Value>(&piped).unwrap(), exported);
    tools.print("rabbitmqctl delete_queue kept");
    tools.print(&format!("rabbitmqctl import_definitions {file}"));
    assert_eq!(tools.print("rabbitmqctl -s list_queues name"), "kept\n");
    let wrong = tools.run("rabbitmqctl import_definitions /nowhere.json");
    assert_eq!(wrong.code, 65);
    assert!(wrong.stderr.contains("Bad argument: File /nowhere.json does not exist"));
}

/// What stands on a command line all users of the machine can read.
#[test]
fn a_password_from_standard_input_is_in_no_process_list() {
    let Some((_broker, tools)) = managed() else { return };
    let mut child = tools
        .command("rabbitmqctl")
        .args(["add_user", "anna"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut said = Vec::new();
    while !said.ends_with(b"Password: ") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
    // It waits for the rest of the line.
    stdin.write_all(b"s3cret").unwrap();
    let line = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    assert!(line.ends_with(b"\0add_user\0anna\0"), "{}", String::from_utf8_lossy(&line));
    stdin.write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(tools.print("rabbitmqctl -q authenticate_user anna s3cret"), "Success\n");
}

/// Made and changed by a command it is hashed as by the API.
#[test]
fn a_password_of_the_command_line_is_hashed_with_argon2id() {
    let Some((broker, tools)) = managed() else { return };
    let api = Api::new(broker.management_address());
    let hash_of_anna = || {
        let anna = api.get("/users/anna");
        assert_eq!(anna["hashing_algorithm"], "leveret_password_hashing_argon2id");
        anna["password_hash"].clone()
    };
    tools.print("rabbitmqctl add_user anna s3cret");
    let first = hash_of_anna();
    assert_eq!(tools.print("rabbitmqctl -q authenticate_user anna s3cret"), "Success\n");
    tools.print("rabbitmqctl change_password anna other");
    assert_ne!(hash_of_anna(), first);
    assert_eq!(tools.print("rabbitmqctl -q authenticate_user anna other"), "Success\n");
}

#[test]
fn a_hashed_password_lets_its_user_in() {
    let Some((_broker, tools)) = managed() else { return };
    let hash = tools.print("rabbitmqctl -q hash_password s3cret");
    tools.print(&format!("rabbitmqctl add_user --pre-hashed-password anna {}", hash.trim()));
    assert_eq!(tools.print("rabbitmqctl -q authenticate_user anna s3cret"), "Success\n");
}

#[test]
fn the_status_says_what_scripts_look_for() {
    let Some((broker, tools)) = managed() else { return };
    let status = tools.print("rabbitmqctl status");
    for line in [
        "RabbitMQ version: 4.2.1".to_owned(),
        format!("OS PID: {}", broker.pid()),
        "Connection count: 0".to_owned(),
        format!(
            "Interface: 127.0.0.1, port: {}, protocol: amqp, purpose: AMQP 0-9-1",
            broker.address().port()
        ),
    ] {
        assert!(status.lines().any(|one| one == line), "{line} in {status}");
    }
    let json = tools.print("rabbitmqctl status --formatter json");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["rabbitmq_version"], "4.2.1");
    assert_eq!(json["totals"]["virtual_host_count"], 1);
    assert_eq!(json["alarms"], json!([]));
    let cluster = tools.print("rabbitmqctl cluster_status --formatter json");
    let cluster: Value = serde_json::from_str(&cluster).unwrap();
    assert_eq!(cluster["running_nodes"].as_array().unwrap().len(), 1);
}

#[test]
fn listeners_are_checked_by_connecting_to_them() {
    let Some((broker, tools)) = managed() else { return };
    let ports = tools.print("rabbitmq-diagnostics -q check_port_connectivity");
    assert!(ports.starts_with("Successfully connected to ports "), "{ports}");
    let port = broker.address().port();
    let found = tools.print(&format!("rabbitmq-diagnostics -q check_port_listener {port}"));
    assert!(found.starts_with(&format!("A listener for port {port} is running on node rabbit@")));
    let missing = tools.run("rabbitmq-diagnostics check_port_listener 1");
    assert_eq!(missing.code, 69);
    assert!(missing.stderr.starts_with("No listener for port 1 is active on node rabbit@"));
}

#[test]
fn deprecated_features_in_use_are_found() {
    let Some((broker, tools)) = managed() else { return };
    let check = "rabbitmq-diagnostics -q check_if_any_deprecated_features_are_used";
    assert_eq!(tools.print(check), "Cluster reported no deprecated features in use\n");
    broker.connect().channel(1).call(&declare("transient"));
    let found = tools.run(check);
    assert_eq!((found.code, found.stdout.as_str()), (69, ""));
    let why = "Cluster reported deprecated features in use: transient_nonexcl_queues";
    assert_eq!(found.stderr, format!("Error:\n{why}\n"));
    let listed = tools.print("rabbitmqctl -s list_deprecated_features --used name");
    assert_eq!(listed, "transient_nonexcl_queues\n");
}
