//! A disk that is full: publishers wait, everything else goes on, and when there is space again so do
//! they.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use leveret_tests::codec::{Method, Properties, queue};
use leveret_tests::{ack, confirm_select, consume, declare, eventually, publish, qos};

use crate::running::Running;

/// A small file system in memory, unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(at)
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                println!("skipped: cannot mount a tmpfs: {why}");
                None
            }
            Err(error) => {
                println!("skipped: cannot mount a tmpfs: {error}");
                None
            }
        }
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
