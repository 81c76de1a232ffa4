//! Backups of a broker that runs.

use std::fs;

use leveret_tests::codec::queue;
use leveret_tests::{Broker, confirm_select, declare, get};

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
