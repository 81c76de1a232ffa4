//! `rabbitmqadmin`, in the words of both its versions.

use std::fs;

use leveret_tests::Api;
use serde_json::{Value, json};

use crate::managed;
use crate::tools::{Outcome, Tools};

/// `rabbitmqadmin` for a broker.
struct Admin {
    tools: Tools,
    port: String,
}

impl Admin {
    fn run(&self, line: &str) -> Outcome {
        self.tools.run(&format!("rabbitmqadmin -P {} {line}", self.port))
    }

    fn print(&self, line: &str) -> String {
        let outcome = self.run(line);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{line}: {outcome:?}");
        outcome.stdout
    }
}

fn admin() -> Option<(leveret_tests::Broker, Api, Admin)> {
    let (broker, tools) = managed()?;
    let address = broker.management_address();
    let admin = Admin { tools, port: address.port().to_string() };
    Some((broker, Api::new(address), admin))
}

#[test]
fn version_1_declares_lists_and_deletes() {
    let Some((_broker, api, admin)) = admin() else { return };
    let declared =
        admin.print("declare queue name=q durable=true 'arguments={\"x-max-length\":10}'");
    assert_eq!(declared, "queue declared\n");
    assert_eq!(api.get("/queues/%2F/q")["arguments"]["x-max-length"], 10);
    assert_eq!(admin.print("declare queue name=qq queue_type=quorum"), "queue declared\n");
    assert_eq!(api.get("/queues/%2F/qq")["type"], "quorum");
    assert_eq!(admin.print("declare exchange name=x type=topic"), "exchange declared\n");
    let binding = "source=x destination=q routing_key=k";
    assert_eq!(admin.print(&format!("declare binding {binding}")), "binding declared\n");
    let table = "\
+------+----------+
| name | messages |
+------+----------+
| q    | 0        |
| qq   | 0        |
+------+----------+
";
    assert_eq!(admin.print("list queues"), table);
    assert_eq!(admin.print("list queues name type -f tsv"), "name\ttype\nq\tclassic\nqq\tquorum\n");
    assert_eq!(admin.print("-f bash list queues name"), "q qq\n");
    assert_eq!(admin.print("-f kvp -S name -R list queues name"), "name=\"qq\"\nname=\"q\"\n");
    let listed = admin.print("-f raw_json list queues name");
    assert_eq!(
        serde_json::from_str::<Value>(&listed).unwrap(),
        json!([{"name": "q"}, {"name": "qq"}])
    );
    let deleted = admin
        .print("delete binding source=x destination_type=queue destination=q properties_key=k");
    assert_eq!(deleted, "binding deleted\n");
    assert_eq!(admin.print("delete queue name=q"), "queue deleted\n");
    assert_eq!(admin.print("-q delete exchange name=x"), "");
    assert_eq!(api.get("/queues/%2F").as_array().unwrap().len(), 1);
}

#[test]
fn version_2_declares_lists_and_deletes() {
    let Some((_broker, api, admin)) = admin() else { return };
    admin.print("queues declare --name q --type quorum --durable true");
    assert_eq!(api.get("/queues/%2F/q")["type"], "quorum");
    admin.print("declare stream --name s --expiration 1h --max-length-bytes 1000000");
    assert_eq!(
        api.get("/queues/%2F/s")["arguments"],
        json!({ "x-max-age": "1h", "x-max-length-bytes": 1_000_000, "x-queue-type": "stream" })
    );
    admin.print("exchanges declare --name x --type fanout");
    admin.print(
        "bindings declare --source x --destination-type queue --destination q --routing-key ''",
    );
    admin.print("vhosts declare --name v1 --default-queue-type quorum");
    admin.print("users declare --name anna --password s3cret --tags management");
    admin.print("permissions declare --vhost v1 --user anna --configure .* --read .* --write .*");
    assert_eq!(api.get("/users/anna/permissions")[0]["vhost"], "v1");
    let policy = r#"policies declare --name p --pattern .* --apply-to queues --priority 3 --definition '{"max-length":10}'"#;
    admin.print(policy);
    assert_eq!(api.get("/policies/%2F/p")["priority"], 3);
    let listed = admin.print("--non-interactive queues list --columns name,type");
    assert_eq!(listed, "name\ttype\nq\tquorum\ns\tstream\n");
    admin.print("queues delete --name q");
    assert_eq!(admin.run("queues delete --name q").code, 1);
    admin.print("queues delete --name q --idempotently");
    let hash = admin.print("passwords salt_and_hash --password s3cret");
    assert_eq!(hash.trim().len(), 48);
    assert!(admin.print("health_check local_alarms").contains("ok"));
}

#[test]
fn messages_are_published_and_fetched() {
    let Some((broker, api, admin)) = admin() else { return };
    api.put("/queues/%2F/q", &json!({ "durable": true }));
    assert_eq!(admin.print("publish routing_key=q payload=hello"), "Message published\n");
    let lost = admin.print("publish exchange=amq.direct routing_key=nowhere payload=hello");
    assert_eq!(lost, "Message published but NOT routed\n");
    admin.print("publish message --exchange amq.default --routing-key q --payload second");
    let got = admin.print("-f kvp get queue=q count=2");
    assert!(got.contains("payload=\"hello\"") && got.contains("payload=\"second\""), "{got}");
    assert!(got.contains("redelivered=\"False\""), "{got}");
    let file = broker.data_dir().join("payload");
    let line = format!("get queue=q ackmode=ack_requeue_false payload_file={}", file.display());
    admin.print(&line);
    assert_eq!(fs::read_to_string(&file).unwrap(), "hello");
    assert_eq!(admin.print("purge queue name=q"), "queue purged\n");
    assert_eq!(
        admin.print("get messages --queue q --count 1 --ack-mode ack_requeue_true"),
        "No items\n"
    );
}

#[test]
fn definitions_go_out_and_come_in_again() {
    let Some((broker, api, admin)) = admin() else { return };
    api.put("/queues/%2F/kept", &json!({ "durable": true }));
    let file = broker.data_dir().join("definitions.json");
    let file = file.to_str().unwrap();
    let exported = admin.print(&format!("export {file}"));
    assert_eq!(exported, format!("Exported definitions for localhost to \"{file}\"\n"));
    admin.print("delete queue name=kept");
    admin.print(&format!("import {file}"));
    assert_eq!(admin.print("-f bash list queues name"), "kept\n");
    admin.print("delete queue name=kept");
    admin.print(&format!("definitions import --file {file}"));
    assert_eq!(admin.print("-f bash list queues name"), "kept\n");
}

#[test]
fn it_asks_with_a_login_and_says_what_is_wrong() {
    let Some((broker, _, admin)) = admin() else { return };
    let outcome = admin.run("-u guest -p wrong list queues");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    assert!(outcome.stderr.starts_with("*** Access refused: /api/queues"), "{}", outcome.stderr);
    let outcome = admin.run("list nonsense");
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("Don't know how to list nonsense"), "{}", outcome.stderr);
    let outcome = admin.run("declare queue durable=true");
    assert!(
        outcome.stderr.contains("mandatory argument \"name\" is required"),
        "{}",
        outcome.stderr
    );
    let outcome = admin.run("declare queue name=q nonsense=1");
    assert!(outcome.stderr.contains("\"nonsense\" is not recognised"), "{}", outcome.stderr);
    admin.print("declare queue name=q durable=true");
    let outcome = admin.run("declare queue name=q durable=false");
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.starts_with("*** inequivalent arg 'durable' for queue 'q'"));
    let config = broker.data_dir().join("admin.conf");
    let text = format!("[here]\nhostname = 127.0.0.1\nport = {}\nusername = guest\n", admin.port);
    fs::write(&config, text).unwrap();
    let line = format!("rabbitmqadmin -c {} -N here -f bash list queues name", config.display());
    assert_eq!(admin.tools.print(&line), "q\n");
}
