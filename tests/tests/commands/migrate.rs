//! `leveret migrate`, from one broker of ours to another: both speak the same API.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use leveret_tests::codec::{ArrayBuilder, Properties, TableBuf, TableBuilder, Value, basic, queue};
use leveret_tests::{
    Api, Broker, Channel, ack, bind, confirm_select, consume, declare, declare_exchange, get,
    passive, qos, reject, table,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::managed;
use crate::tools::{Outcome, Tools, outcome};

/// `leveret migrate` from a broker to that of a data directory; it knows the password.
fn migrate(from: &Broker, to: &Broker, more: &[&str]) -> Command {
    let mut command = Command::new(leveret_tests::binary());
    command
        .arg("migrate")
        .arg(format!("--from=http://guest@{}", from.management_address()))
        .arg("--data-dir")
        .arg(to.data_dir())
        .args(more)
        .env_clear()
        .env("LEVERET_MIGRATE_PASSWORD", "guest")
        .stdin(Stdio::null());
    command
}

fn migrated(from: &Broker, to: &Broker) -> String {
    let Outcome { code, stdout, stderr } = outcome(&mut migrate(from, to, &[]));
    assert_eq!(code, 0, "{stdout}{stderr}");
    stdout
}

/// One that waits for the broker it migrates to, whose publishers wait; its standard error so far.
fn waiting(from: &Broker, to: &Broker) -> (Child, String) {
    let mut child =
        migrate(from, to, &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("publishers wait here") {
        assert_ne!(lines.read_line(&mut said).unwrap(), 0, "{said}");
    }
    (child, said)
}

/// A confirming channel.
fn publisher(broker: &Broker) -> Channel {
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    channel
}

fn publish(channel: &Channel, exchange: &str, key: &str, properties: &Properties<'_>, body: &str) {
    let request = basic::Publish { exchange, routing_key: key, mandatory: false, immediate: false };
    channel.publish_with(&request, properties, body.as_bytes());
    assert!(channel.recv().starts_with("basic.ack"));
}

fn counts(broker: &Broker, queues: &[&str]) -> Vec<String> {
    let channel = broker.connect().channel(1);
    queues.iter().map(|name| channel.call(&passive(name)).to_string()).collect()
}

#[test]
fn messages_come_over_as_they_were() {
    let Some((from, _)) = managed() else { return };
    let Some((to, _)) = managed() else { return };
    let channel = publisher(&from);
    let declared = |name, arguments: &TableBuf| {
        let arguments = arguments.as_table();
        let declared = channel.call(&queue::Declare { durable: true, arguments, ..declare(name) });
        assert!(declared.starts_with("queue.declare-ok"), "{declared}");
    };
    declared("plain", &table([]));
    declared("copy", &table([]));
    declared("priority", &table([("x-max-priority", Value::I32(5))]));
    declared("quorum", &table([("x-queue-type", Value::text("quorum"))]));
    // What is full there has to be taken here.
    declared(
        "full",
        &table([("x-max-length", Value::I32(2)), ("x-overflow", Value::text("reject-publish"))]),
    );
    let passing = queue::Declare { auto_delete: true, ..declare("passing") };
    assert!(channel.call(&passing).starts_with("queue.declare-ok"));
    channel.call(&declare_exchange("x", "topic"));
    assert_eq!(channel.call(&bind("plain", "x", "a.#")), "queue.bind-ok");
    assert_eq!(channel.call(&bind("copy", "x", "copy")), "queue.bind-ok");
    let copies = ArrayBuilder::new().push(Value::text("copy")).build();
    let headers = TableBuilder::new()
        .put("CC", Value::Array(copies.as_array()))
        .put("byte", Value::U8(7))
        .put("void", Value::Void)
        .build();
    let full = Properties {
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        user_id: Some(b"guest"),
        expiration: Some(b"3600000"),
        message_id: Some(b"id"),
        timestamp: Some(5),
        ..Properties::default()
    };
    publish(&channel, "x", "a.b", &full, "first");
    let large = "x".repeat(300_000);
    publish(&channel, "x", "a.c", &Properties::default(), &large);
    for priority in [1, 5, 3] {
        let properties = Properties { priority: Some(priority), ..Properties::default() };
        publish(&channel, "", "priority", &properties, &priority.to_string());
    }
    let channel = from.connect().channel(1);
    for number in 0..2500 {
        channel.publish_persistent("quorum", number.to_string());
    }
    for body in ["1", "2"] {
        channel.publish("", "full", body);
        channel.publish("", "passing", body);
    }
    // Comes behind them.
    let seen_there = channel.call(&get("plain"));
    // Back it goes, as one that was delivered.
    channel.send(&reject(seen_there.delivery_tag()));

    let queues = ["copy", "full", "passing", "plain", "priority", "quorum"];
    let dry = outcome(&mut migrate(&from, &to, &["--dry-run"]));
    assert_eq!((dry.code, dry.stderr.as_str()), (0, ""), "{dry:?}");
    assert!(dry.stdout.contains("2510 messages would be moved\n"), "{}", dry.stdout);
    let nothing = Tools::of(&to.data_dir()).print("rabbitmqctl -q list_queues name");
    assert_eq!(nothing, "");
    let before = counts(&from, &queues);

    let said = migrated(&from, &to);
    assert!(said.contains("\n2510 messages moved\n"), "{said}");
    assert_eq!(counts(&to, &queues), before);
    assert!(counts(&from, &queues).iter().all(|count| count.ends_with(" 0 0")));

    let channel = to.connect().channel(1);
    let first = channel.call(&get("plain"));
    assert_eq!(first, "basic.get-ok 1 redelivered x a.b 1: first");
    assert_eq!(first.raw_properties(), seen_there.raw_properties());
    let second = channel.call(&get("plain"));
    assert_eq!(second.body(), large.as_bytes());
    let copied = channel.call(&get("copy"));
    assert_eq!(copied, "basic.get-ok 3 x a.b 0: first");
    let order: Vec<Vec<u8>> =
        (0..3).map(|_| channel.call(&get("priority")).body().to_vec()).collect();
    assert_eq!(order, [b"5", b"3", b"1"]);
    assert!(channel.call(&get("passing")).starts_with("basic.get-ok"));
    // Not one by one: with other tests beside it each question takes its time.
    assert!(channel.call(&consume("quorum", "c")).starts_with("basic.consume-ok"));
    for (number, got) in channel.recv_many(2500).into_iter().enumerate() {
        assert_eq!(got.body(), number.to_string().as_bytes());
        assert!(got.properties().headers.is_none(), "{got:?}");
    }
}

#[test]
fn a_stream_keeps_its_offsets_and_goes_on_where_it_was() {
    let Some((from, _)) = managed() else { return };
    let Some((mut to, _)) = managed() else { return };
    let channel = publisher(&from);
    let arguments = table([
        ("x-queue-type", Value::text("stream")),
        ("x-max-length-bytes", Value::I32(2000)),
        ("x-stream-max-segment-size-bytes", Value::I32(500)),
    ]);
    let arguments = arguments.as_table();
    channel.call(&queue::Declare { durable: true, arguments, ..declare("log") });
    let send = |numbers: std::ops::Range<u64>| {
        let channel = from.connect().channel(1);
        numbers.for_each(|number| channel.publish("", "log", number.to_string()));
        // Comes behind them.
        channel.call(&passive("log"));
    };
    // More than it keeps: its first offset is another one now.
    send(0..200);
    let read = |broker: &Broker, until: u64| {
        let channel = broker.connect().channel(1);
        channel.call(&qos(100));
        let first = table([("x-stream-offset", Value::text("first"))]);
        let request = basic::Consume { arguments: first.as_table(), ..consume("log", "r") };
        assert!(channel.call(&request).starts_with("basic.consume-ok"));
        let mut offsets = Vec::new();
        while offsets.last().is_none_or(|last| *last < until) {
            let got = channel.recv();
            channel.send(&ack(got.delivery_tag()));
            let headers = got.properties().headers.unwrap();
            let offset = headers.get("x-stream-offset").and_then(|it| it.as_integer()).unwrap();
            let offset = u64::try_from(offset).unwrap();
            assert_eq!(got.body(), offset.to_string().as_bytes());
            offsets.push(offset);
        }
        offsets
    };
    migrated(&from, &to);
    let there = read(&from, 199);
    assert!(there[0] > 0);
    assert_eq!(read(&to, 199), there);
    to.kill9();
    to.restart();
    send(200..210);
    let said = migrated(&from, &to);
    assert!(said.contains("\n10 messages moved\n"), "{said}");
    assert_eq!(read(&to, 209).last(), Some(&209));

    assert!(migrated(&from, &to).contains("\n0 messages moved\n"));

    // With another writer here the offsets no longer fit.
    publish(&publisher(&to), "", "log", &Properties::default(), "another");
    send(210..212);
    let Outcome { code, stdout, stderr } = outcome(&mut migrate(&from, &to, &[]));
    assert_eq!(code, 1);
    assert!(stdout.contains("here: stream 'log' in vhost '/' has another message at offset 210"));
    assert!(stderr.contains("1 queues have messages that stayed"), "{stderr}");
}

#[test]
fn what_was_interrupted_goes_on() {
    let Some((from, _)) = managed() else { return };
    let Some((to, tools)) = managed() else { return };
    let channel = publisher(&from);
    for name in ["a", "b"] {
        channel.call(&queue::Declare { durable: true, ..declare(name) });
        for number in 0..3 {
            let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
            publish(&channel, "", name, &persistent, &number.to_string());
        }
    }
    // Here nothing is taken.
    tools.print("rabbitmqctl -q set_disk_free_limit 100000GB");
    for (signal, code) in [(Signal::INT, Some(1)), (Signal::TERM, Some(1)), (Signal::KILL, None)] {
        let (mut child, _) = waiting(&from, &to);
        let pid = Pid::from_child(&child);
        kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), code);
        // What was on its way is back.
        leveret_tests::eventually(|| {
            counts(&from, &["a", "b"]) == ["queue.declare-ok a 3 0", "queue.declare-ok b 3 0"]
        });
    }
    let (mut child, _) = waiting(&from, &to);
    tools.print("rabbitmqctl -q set_disk_free_limit 1");
    assert!(child.wait().unwrap().success());
    assert_eq!(counts(&to, &["a", "b"]), ["queue.declare-ok a 3 0", "queue.declare-ok b 3 0"]);
    assert_eq!(counts(&from, &["a", "b"]), ["queue.declare-ok a 0 0", "queue.declare-ok b 0 0"]);
    let channel = to.connect().channel(1);
    for number in 0..3 {
        // Three times it was on its way, and came back.
        let expected =
            format!("basic.get-ok {} redelivered '' a {}: {number}", number + 1, 2 - number);
        assert_eq!(channel.call(&get("a")), expected);
    }
}

#[test]
fn what_differs_and_what_stays_is_said() {
    let Some((from, _)) = managed() else { return };
    let Some((to, _)) = managed() else { return };
    let (there, here) = (Api::new(from.management_address()), Api::new(to.management_address()));
    for name in ["held", "other"] {
        there.put(&format!("/queues/%2F/{name}"), &json!({ "durable": true }));
    }
    here.put("/queues/%2F/other", &json!({ "durable": true, "arguments": { "x-max-length": 1 } }));
    let ha = json!({ "pattern": "x", "definition": { "ha-mode": "all" } });
    there.put("/policies/%2F/ha", &ha);
    let channel = publisher(&from);
    publish(&channel, "", "held", &Properties::default(), "1");
    publish(&channel, "", "held", &Properties::default(), "2");
    let held = channel.call(&get("held"));
    channel.call(&queue::Declare { exclusive: true, ..declare("own") });
    let said = migrated(&from, &to);
    for line in [
        "- queue 'other' in vhost '/' is here already and stays as it is, with another arguments\n",
        "- policy 'ha' in vhost '/': ha-mode has no effect here\n",
        "- 'own': exclusive, so only its own connection has it, and it stays there\n",
        "held            1           1           0\n",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert_eq!(counts(&to, &["held"]), ["queue.declare-ok held 1 0"]);
    channel.send(&reject(held.delivery_tag()));
    migrated(&from, &to);
    assert_eq!(counts(&to, &["held"]), ["queue.declare-ok held 2 0"]);
}

#[test]
fn a_wrong_login_is_refused_and_not_shown() {
    let Some((from, _)) = managed() else { return };
    let Some((to, _)) = managed() else { return };
    let mut wrong = migrate(&from, &to, &[]);
    let outcome = outcome(wrong.env("LEVERET_MIGRATE_PASSWORD", "n0tthis"));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (69, ""), "{outcome:?}");
    assert!(outcome.stderr.contains("the login is refused"), "{outcome:?}");
    assert!(!outcome.stderr.contains("n0tthis"), "{outcome:?}");

    let mut none = migrate(&from, &to, &[]);
    let mut stdout = String::new();
    let mut child = none
        .env_remove("LEVERET_MIGRATE_PASSWORD")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!((child.wait().unwrap().code(), stdout.as_str()), (Some(64), ""));
}
