//! Damage of what was acknowledged, in a part of the journal that a start does not read: the broker starts,
//! delivers all other messages, and says what is wrong and what to do.

use std::fs;
use std::path::Path;
use std::process::Command;

use leveret_tests::codec::{Method, Properties, Table, Value, basic, exchange, queue};
use leveret_tests::{
    Channel, binary, bind, confirm_select, consume, declare, declare_exchange, eventually, get,
    passive, publish, qos, table,
};

use crate::running::Running;

/// More than fits the first segment, of which the last is in the second.
const MESSAGES: u8 = 20;
const DAMAGED: u8 = 3;

fn body(number: u8) -> Vec<u8> {
    vec![b'A' + number; 100_000]
}

/// Publishes messages to a queue, ends the broker, and changes a byte of one of them.
fn damage(data: &Path, config: &Path, arguments: Table<'_>) {
    damage_after(data, config, &publish("", "q"), Value::Void, |channel| {
        channel.call(&queue::Declare { durable: true, arguments, ..declare("q") });
    });
}

/// As [`damage`], of messages that go where `publish` says, once `declare` has been asked.
fn damage_after(
    data: &Path,
    config: &Path,
    publish: &basic::Publish<'_>,
    delay: Value<'_>,
    declare: impl FnOnce(&Channel),
) {
    let running = Running::start(&[], data, config).expect("starts");
    let channel = running.channel();
    declare(&channel);
    channel.call(&confirm_select());
    let headers = table([("x-delay", delay)]);
    let headers = Some(headers.as_table());
    let properties = Properties { delivery_mode: Some(2), headers, ..Properties::default() };
    for number in 0..MESSAGES {
        channel.publish_with(publish, &properties, &body(number));
        assert_eq!(channel.recv(), format!("basic.ack {}", number + 1));
    }
    drop(running);
    let segment = data.join("journal/0000000000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let content = body(DAMAGED);
    let at = bytes.windows(content.len()).position(|window| window == content).unwrap();
    bytes[at + 50_000] ^= 1;
    fs::write(&segment, bytes).unwrap();
}

fn tool(data: &Path, name: &str) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    let output = command.args(["store", name, "--data-dir"]).arg(data).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_damaged_message_is_left_out_named_and_repaired() {
    // Read at the start, and when it is its turn.
    for memory in ["64MiB", "1MiB"] {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let config = home.path().join("leveret.toml");
        fs::write(&config, format!("store.message_memory = \"{memory}\"\n")).unwrap();
        damage(&data, &config, Table::EMPTY);

        let mut running = Running::start(&[], &data, &config).expect("starts all the same");
        let log = running.log();
        let channel = running.channel();
        for number in (0..MESSAGES).filter(|number| *number != DAMAGED) {
            let answer = channel.call(&get("q"));
            let Method::BasicGetOk(_) = answer.method() else { panic!("{number}: {answer}") };
            assert!(answer.body() == body(number), "{number}");
        }
        assert!(channel.call(&get("q")).starts_with("basic.get-empty"));
        let told = "0000000000000001.seg is damaged after byte ";
        eventually(|| log.lock().contains("queue 'q' in vhost '/' has lost 1 messages"));
        for part in [told, "the message at LSN", "leveret store check", "leveret store repair"] {
            assert!(log.lock().contains(part), "{part}\n{}", log.lock());
        }
        drop(running);

        let (code, report) = tool(&data, "check");
        assert!(code == Some(3) && report.contains("0000000000000001.seg"), "{code:?} {report}");
        assert_eq!(tool(&data, "repair").0, Some(0));
        assert_eq!(tool(&data, "check").0, Some(0));
        // The power goes before the last thing it does.
        let names = "journal/0000000000000001.seg journal/0000000000000001.seg.damaged\n";
        fs::write(data.join("repair.unfinished"), names).unwrap();
        let (code, report) = tool(&data, "repair");
        assert!(code == Some(0) && !report.contains("nothing was changed"), "{code:?} {report}");
        assert!(report.contains("replaced by the repair that was cut off"), "{report}");
        let (code, report) = tool(&data, "repair");
        assert!(code == Some(0) && report.contains("nothing was changed"), "{code:?} {report}");
        let running = Running::start(&[], &data, &config).expect("starts");
        let left = running.channel().call(&passive("q"));
        assert_eq!(left, format!("queue.declare-ok q {} 0", MESSAGES - 1));
    }
}

/// Offsets are places in the journal, which a start knows without reading any message.
#[test]
fn a_damaged_message_of_a_stream_leaves_the_others_their_offsets() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let config = home.path().join("leveret.toml");
    fs::write(&config, "").unwrap();
    let stream = table([("x-queue-type", Value::text("stream"))]);
    damage(&data, &config, stream.as_table());

    let mut running = Running::start(&[], &data, &config).expect("starts all the same");
    let log = running.log();
    let channel = running.channel();
    channel.call(&qos(100));
    let first = table([("x-stream-offset", Value::text("first"))]);
    let consume = basic::Consume { arguments: first.as_table(), ..consume("q", "c") };
    assert_eq!(channel.call(&consume), "basic.consume-ok c");
    for number in (0..MESSAGES).filter(|number| *number != DAMAGED) {
        let delivery = channel.recv();
        assert!(delivery.body() == body(number), "{number}");
        let headers = delivery.properties().headers.unwrap();
        assert_eq!(headers.get("x-stream-offset"), Some(Value::I64(number.into())));
    }
    eventually(|| log.lock().contains("queue 'q' in vhost '/' has lost 1 messages"));
    drop(running);

    // Nor does a repair take their numbers: readers remember them.
    for (name, code) in [("repair", 0), ("check", 0)] {
        assert_eq!(tool(&data, name).0, Some(code), "{name}");
    }
    let running = Running::start(&[], &data, &config).expect("starts");
    let channel = running.channel();
    channel.call(&confirm_select());
    channel.publish_persistent("q", body(MESSAGES));
    assert_eq!(channel.recv(), "basic.ack 1");
    channel.call(&qos(100));
    assert_eq!(channel.call(&consume), "basic.consume-ok c");
    for number in (0..=MESSAGES).filter(|number| *number != DAMAGED) {
        let delivery = channel.recv();
        assert!(delivery.body() == body(number), "{number}");
        let headers = delivery.properties().headers.unwrap();
        assert_eq!(headers.get("x-stream-offset"), Some(Value::I64(number.into())));
    }
}

/// The delay is known in outline, too: only who takes the message finds that it can't be read.
#[test]
fn a_start_does_not_read_what_a_delayed_exchange_keeps() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let config = home.path().join("leveret.toml");
    fs::write(&config, "store.message_memory = \"1MiB\"\n").unwrap();
    let (hour, soon) = (Value::I32(3_600_000), Value::I32(1));
    let kind = table([("x-delayed-type", Value::text("fanout"))]);
    damage_after(&data, &config, &publish("later", ""), hour, |channel| {
        let later = exchange::Declare {
            durable: true,
            arguments: kind.as_table(),
            ..declare_exchange("later", "x-delayed-message")
        };
        channel.call(&later);
        channel.call(&queue::Declare { durable: true, ..declare("q") });
        channel.call(&bind("q", "later", ""));
    });

    let mut running = Running::start(&[], &data, &config).expect("starts");
    let log = running.log();
    let channel = running.channel();
    let headers = table([("x-delay", soon)]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    channel.publish_with(&publish("later", ""), &properties, b"after the others");
    eventually(|| channel.call(&passive("q")) == "queue.declare-ok q 1 0");
    let log = log.lock();
    assert!(!log.contains("has lost") && !log.contains("is damaged"), "{log}");
}
