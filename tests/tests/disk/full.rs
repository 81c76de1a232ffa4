//! A disk that is full: publishers wait, everything else goes on, and when there is space again so do
//! they.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use leveret_tests::codec::{Method, Properties, Value, basic, queue};
use leveret_tests::{
    ack, bind, confirm_select, consume, declare, eventually, passive, publish, qos, table,
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
    let body = vec![7; 100_000];
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    // More than fits. What is sent while it is held waits in the sockets.
    let mut confirmed = 0;
    let mut sent = 0;
    let is_blocked = loop {
        publisher.publish_with(&publish("", "q"), &properties, &body);
        sent += 1;
        let (channel, answer) = publisher.connection().recv_any();
        if channel == 0 {
            break answer == "connection.blocked low on disk";
        }
        let Method::BasicAck(confirm) = answer.method() else { panic!("{answer}") };
        confirmed = confirm.delivery_tag;
    };
    assert!(is_blocked && confirmed > 50 && confirmed < 130, "{confirmed} confirmed");

    // All that was confirmed can be had and acknowledged, and that makes room.
    let consumer = running.channel();
    consumer.call(&qos(10));
    consumer.send(&consume("q", "c"));
    assert_eq!(consumer.recv(), "basic.consume-ok c");
    for _ in 0..confirmed {
        let delivery = consumer.recv();
        let Method::BasicDeliver(delivered) = delivery.method() else { panic!("{delivery}") };
        assert_eq!(delivery.body(), body);
        let tag = delivered.delivery_tag;
        consumer.send(&ack(tag));
    }
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
