//! Backups of a broker that runs.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;

use leveret_tests::codec::queue;
use leveret_tests::{Broker, binary, confirm_select, declare, get};

use crate::tools::Tools;

#[test]
fn a_broker_starts_from_a_backup_taken_while_messages_came() {
    let Some(mut broker) = Broker::own("replaces the data directory") else { return };
    let tools = Tools::of(&broker.data_dir());
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("monday");
    let path = backup.to_str().unwrap();
    let connection = broker.connect();
    let channel = connection.channel(1);
    let durable = queue::Declare { durable: true, ..declare("q") };
    assert_eq!(channel.call(&durable).to_string(), "queue.declare-ok q 0 0");
    channel.call(&confirm_select());

    let mut confirmed = 0_u64;
    let mut publish = || {
        confirmed += 1;
        channel.publish_persistent("q", confirmed.to_string());
        assert!(channel.recv().starts_with("basic.ack"));
        confirmed
    };
    let before = (0..50).map(|_| publish()).max().unwrap();
    let (printed, after) = std::thread::scope(|scope| {
        let tool = scope.spawn(|| tools.run_with("rabbitmqctl", &["backup", path]));
        while !tool.is_finished() {
            publish();
        }
        (tool.join().unwrap(), publish())
    });
    let _ = (0..50).map(|_| publish()).count();
    assert_eq!(printed.code, 0, "{printed:?}");
    assert!(printed.stdout.starts_with("Backing up node rabbit@"), "{printed:?}");
    assert!(printed.stdout.contains(" of the journal in "), "{printed:?}");

    // Nothing is written over.
    let again = tools.run_with("rabbitmqctl", &["-q", "backup", path]);
    assert_eq!(again.code, 69, "{again:?}");
    assert!(again.stderr.contains("is not empty"), "{again:?}");

    broker.kill9();
    fs::remove_dir_all(broker.data_dir()).unwrap();
    fs::rename(&backup, broker.data_dir()).unwrap();
    broker.restart();
    let channel = broker.connect().channel(1);
    let mut last = 0;
    loop {
        let answer = channel.call(&get("q"));
        if answer.starts_with("basic.get-empty") {
            break;
        }
        last += 1;
        assert_eq!(answer.body(), last.to_string().as_bytes(), "each once, in order");
    }
    assert!((before..=after).contains(&last), "{before} {last} {after}");
}

#[test]
fn a_backup_of_what_the_disk_has_damaged_says_so_and_can_be_repaired() {
    let Some(broker) = Broker::own("damages the data directory") else { return };
    let tools = Tools::of(&broker.data_dir());
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("monday");
    let path = backup.to_str().unwrap();
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    for number in 0..9 {
        channel.publish_persistent("q", format!("message {number}"));
        assert!(channel.recv().starts_with("basic.ack"));
    }
    let segment = broker.data_dir().join("journal/0000000000000001.seg");
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(9).position(|window| window == b"message 4").unwrap();
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_at(b"M", at as u64).unwrap();

    let printed = tools.run_with("rabbitmqctl", &["-q", "backup", path]);
    assert_eq!(printed.code, 70, "{printed:?}");
    let damaged = format!("the copy is not whole: {} is damaged at byte ", segment.display());
    for part in [
        damaged,
        format!("leveret store check --data-dir {path}"),
        "leveret store repair".to_owned(),
    ] {
        assert!(printed.stderr.contains(&part), "{part}: {printed:?}");
    }
    for (tool, code) in [("check", 3), ("repair", 0), ("check", 0)] {
        let mut command = Command::new(binary());
        let output = command.args(["store", tool, "--data-dir", path]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{tool}: {output:?}");
    }
}

#[test]
fn a_broker_does_not_start_from_an_unfinished_backup() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("backup.unfinished"), "").unwrap();
    let data = folder.path().to_str().unwrap();
    let none = ["--listen", "127.0.0.1:0", "--management", "none", "--metrics", "none"];
    let arguments: Vec<&str> = ["--data-dir", data].into_iter().chain(none).collect();
    let (status, printed) = Broker::run(&arguments);
    assert_eq!(status.code(), Some(1));
    assert!(printed.contains(&format!("{data} is a backup that was not finished")), "{printed}");
}
