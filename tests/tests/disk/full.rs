//! A disk that is full: publishers wait, everything else goes on, and when there is space again so do
//! they.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use leveret_tests::codec::{Method, Properties, Value, basic, queue};
use leveret_tests::{
    Channel, ack, binary, bind, confirm_select, consume, declare, eventually, passive, publish,
    qos, table,
};

use crate::running::Running;
use crate::skipped::skip;

/// A small file system in memory, unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(at)
            .output();
        let why = match mount {
            Ok(output) if output.status.success() => return Some(Self(at.to_owned())),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        skip(&format!("cannot mount a tmpfs: {why}"), "LEVERET_REQUIRE_MOUNT");
        None
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A failed test has said what matters.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_holds_publishers_and_nobody_else_and_is_over_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    let Some(_disk) = Tmpfs::mount(&data, "12m") else { return };
    let config = home.path().join("leveret.toml");
    let settings = "store.segment_size = \"1MiB\"\nalarms.disk_free_limit = \"none\"\n";
    fs::write(&config, settings).unwrap();
    let running = Running::start(&[], &data, &config).expect("starts");

    let publisher = running.channel();
    publisher.call(&queue::Declare { durable: true, ..declare("q") });
    publisher.call(&confirm_select());
    // The tables of definitions are made before space is short.
    eventually(|| data.join("definitions.redb").exists());
    // What is sent while it is held waits in the sockets.
    let (sent, confirmed) = publish_until_blocked(&publisher, "q", 0);
    assert!(confirmed > 50 && confirmed < 130, "{confirmed} confirmed");

    // All that was confirmed can be had and acknowledged, and that makes room.
    acknowledge(&running, "q", confirmed);
    await_unblocked(&publisher, sent, confirmed);
}

/// Or it would stay full for the copy of which nobody has any use.
#[test]
fn a_backup_that_fills_its_disk_leaves_nothing_there() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let small = home.path().join("small");
    fs::create_dir(&small).unwrap();
    let Some(_disk) = Tmpfs::mount(&small, "1m") else { return };
    let config = home.path().join("leveret.toml");
    fs::write(&config, "").unwrap();
    let running = Running::start(&[], &data, &config).expect("starts");
    let publisher = running.channel();
    publisher.call(&queue::Declare { durable: true, ..declare("q") });
    publisher.call(&confirm_select());
    for number in 1..=20 {
        publisher.publish_with(&publish("", "q"), &persistent(), &BODY);
        assert_eq!(publisher.recv(), format!("basic.ack {number}"));
    }
    let own = small.join("own");
    fs::create_dir(&own).unwrap();
    for target in [small.join("backups/monday"), own.clone()] {
        let mut command = Command::new(binary());
        command.args(["ctl", "--data-dir"]).arg(&data).arg("backup").arg(&target);
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains("No space left on device"), "{told}");
        assert!(told.contains(target.to_str().unwrap()), "{told}");
        let left: Vec<_> = fs::read_dir(&small).unwrap().map(|one| one.unwrap().path()).collect();
        assert_eq!(left, [own.as_path()]);
        assert_eq!(fs::read_dir(&own).unwrap().count(), 0);
    }
}

/// Dead letters take space as well, and nobody can be asked to wait with them: they wait themselves.
#[test]
fn what_dies_on_a_full_disk_leaves_space_for_acknowledgements() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    let Some(_disk) = Tmpfs::mount(&data, "12m") else { return };
    let config = home.path().join("leveret.toml");
    let settings = "store.segment_size = \"1MiB\"\nalarms.disk_free_limit = \"none\"\n";
    fs::write(&config, settings).unwrap();
    let mut running = Running::start(&[], &data, &config).expect("starts");
    let log = running.log();
    let publisher = running.channel();
    for name in ["work", "dead"] {
        publisher.call(&queue::Declare { durable: true, ..declare(name) });
    }
    let arguments = table([
        ("x-message-ttl", Value::I32(1)),
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ]);
    let retry = declare("retry");
    let retry = queue::Declare { durable: true, arguments: arguments.as_table(), ..retry };
    publisher.call(&retry);
    publisher.call(&confirm_select());
    eventually(|| data.join("definitions.redb").exists());

    let mut sent = 0;
    let mut publish_one = |queue: &str, body: &[u8]| {
        publisher.publish_with(&publish("", queue), &persistent(), body);
        sent += 1;
        assert_eq!(publisher.recv(), format!("basic.ack {sent}"));
    };
    (0..40).for_each(|_| publish_one("work", &BODY));
    // More than the segment takes that is left. With a consumer they don't die before it has gone.
    let holder = running.channel();
    holder.send(&consume("retry", "c"));
    assert_eq!(holder.recv(), "basic.consume-ok c");
    let dying: Vec<Vec<u8>> = (0..30).map(|number| vec![number; BODY.len()]).collect();
    for body in &dying {
        publish_one("retry", body);
        assert_eq!(holder.recv().body(), body);
    }
    let (sent, confirmed) = publish_until_blocked(&publisher, "work", sent);
    eventually(|| log.lock().contains("no space for the next journal segment"));
    drop(holder);
    let other = running.channel();
    eventually(|| other.call(&passive("retry")) == "queue.declare-ok retry 0 0");

    acknowledge(&running, "work", confirmed - dying.len() as u64);
    await_unblocked(&publisher, sent, confirmed);
    let consumer = running.channel();
    consumer.send(&consume("dead", "c"));
    assert_eq!(consumer.recv(), "basic.consume-ok c");
    for body in &dying {
        let delivery = consumer.recv();
        assert!(delivery.body() == body, "{delivery}");
    }
    assert_eq!(other.call(&passive("dead")), "queue.declare-ok dead 0 1");
}

static BODY: [u8; 100_000] = [7; 100_000];

fn persistent() -> Properties<'static> {
    Properties { delivery_mode: Some(2), ..Properties::default() }
}

/// Publishes more than fits, to a queue that is given nothing else. Answers how many messages have been
/// sent, so many of them before, and up to which they are confirmed.
fn publish_until_blocked(publisher: &Channel, queue: &str, before: u64) -> (u64, u64) {
    let (mut sent, mut confirmed) = (before, before);
    loop {
        publisher.publish_with(&publish("", queue), &persistent(), &BODY);
        sent += 1;
        let (channel, answer) = publisher.connection().recv_any();
        if channel == 0 {
            assert_eq!(answer, "connection.blocked low on disk");
            return (sent, confirmed);
        }
        let Method::BasicAck(confirm) = answer.method() else { panic!("{answer}") };
        confirmed = confirm.delivery_tag;
    }
}

/// Consumes and acknowledges so many messages.
fn acknowledge(running: &Running, queue: &str, messages: u64) {
    let consumer = running.channel();
    consumer.call(&qos(10));
    consumer.send(&consume(queue, "c"));
    assert_eq!(consumer.recv(), "basic.consume-ok c");
    for _ in 0..messages {
        let delivery = consumer.recv();
        let Method::BasicDeliver(delivered) = delivery.method() else { panic!("{delivery}") };
        assert_eq!(delivery.body(), BODY);
        let tag = delivered.delivery_tag;
        consumer.send(&ack(tag));
    }
}

/// Waits until the publisher is held no more and has all its confirms.
fn await_unblocked(publisher: &Channel, sent: u64, mut confirmed: u64) {
    let mut is_unblocked = false;
    while !is_unblocked || confirmed < sent {
        let (channel, answer) = publisher.connection().recv_any();
        if channel == 0 {
            assert_eq!(answer, "connection.unblocked");
            is_unblocked = true;
        } else {
            let Method::BasicAck(confirm) = answer.method() else { panic!("{answer}") };
            confirmed = confirm.delivery_tag;
        }
    }
}

#[test]
fn definitions_that_a_full_disk_has_no_room_for_wait_in_the_journal() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    let Some(_disk) = Tmpfs::mount(&data, "24m") else { return };
    let config = home.path().join("leveret.toml");
    let settings = "store.segment_size = \"4MiB\"\nalarms.disk_free_limit = \"none\"\n";
    fs::write(&config, settings).unwrap();
    let mut running = Running::start(&[], &data, &config).expect("starts");
    let log = running.log();
    let channel = running.channel();
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    // The tables and the next segments are made before space is short.
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    channel.publish_with(&publish("", "q"), &properties, &vec![7; 600_000]);
    assert_eq!(channel.recv(), "basic.ack 1");
    eventually(|| data.join("definitions.redb").exists());
    let is_segment = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".seg");
    let segments = || fs::read_dir(data.join("journal")).unwrap().flatten();
    eventually(|| segments().filter(|entry| is_segment(&entry.file_name())).count() == 3);
    let filler = data.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);

    // More than the tables have room for.
    let long = "x".repeat(4000);
    for number in 0..600 {
        let key = format!("{number:04}{}", "k".repeat(200));
        let arguments = table([("why", Value::LongStr(long.as_bytes()))]);
        let bind = queue::Bind { arguments: arguments.as_table(), ..bind("q", "amq.topic", &key) };
        channel.send(&queue::Bind { nowait: true, ..bind });
    }
    eventually(|| log.lock().contains("no space for the definitions in "));
    // Meanwhile the broker goes on.
    assert_eq!(running.channel().call(&passive("q")), "queue.declare-ok q 1 0");
    fs::remove_file(&filler).unwrap();
    eventually(|| log.lock().contains("the definitions have space again"));
    channel.publish_with(&publish("", "q"), &properties, b"body");
    assert_eq!(channel.recv(), "basic.ack 2");
    drop(running);

    let running = Running::start(&[], &data, &config).expect("starts");
    let channel = running.channel();
    channel.call(&confirm_select());
    let key = format!("{:04}{}", 599, "k".repeat(200));
    let mandatory = basic::Publish { mandatory: true, ..publish("amq.topic", &key) };
    channel.publish_with(&mandatory, &properties, b"body");
    assert_eq!(channel.recv(), "basic.ack 1");
}
