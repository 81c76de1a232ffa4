//! The file of definitions is not there any more, and the journal does not have them all.

use std::fs;
use std::process::{Command, Output};

use leveret_tests::codec::{basic, queue};
use leveret_tests::{binary, confirm_select, declare, eventually, get, passive};

use crate::running::Running;

/// Without them the broker would take its queues for deleted, and what is in them for nobody's.
#[test]
fn a_broker_does_not_start_without_its_definitions_unless_told() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let config = home.path().join("leveret.toml");
    fs::write(&config, "store.segment_size = \"1MiB\"\n").unwrap();
    let running = Running::start(&[], &data, &config).expect("starts");
    let channel = running.channel();
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&confirm_select());
    let first = data.join("journal/0000000000000001.seg");
    let get = basic::Get { no_ack: true, ..get("q") };
    let mut published = 0;
    eventually(|| {
        for _ in 0..20 {
            channel.publish_persistent("q", vec![b'x'; 100_000]);
            published += 1;
            assert_eq!(channel.recv(), format!("basic.ack {published}"));
            assert!(channel.call(&get).starts_with("basic.get-ok"));
        }
        !first.exists()
    });
    channel.publish_persistent("q", "stays");
    assert_eq!(channel.recv(), format!("basic.ack {}", published + 1));
    drop(running);
    let definitions = data.join("definitions.redb");
    let aside = home.path().join("definitions.redb");
    fs::rename(&definitions, &aside).unwrap();

    let leveret = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--config").arg(&config).arg("--data-dir").arg(&data);
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    };
    for _ in 0..2 {
        let (code, text) = leveret(&[]);
        assert!(code.is_some_and(|code| code != 0), "{code:?} {text}");
        let told = ["definitions.redb is missing: put it back", "repair --drop-definitions"];
        assert!(told.iter().all(|told| text.contains(told)), "{text}");
    }
    let (code, text) = leveret(&["store", "check"]);
    assert!(code == Some(3) && text.contains("definitions.redb is missing"), "{code:?} {text}");
    let (code, text) = leveret(&["store", "repair"]);
    assert!(code == Some(1) && text.contains("definitions.redb is missing"), "{code:?} {text}");
    assert!(text.contains("repair --drop-definitions"), "{text}");
    // Nothing is lost as long as nobody says so.
    fs::copy(&aside, &definitions).unwrap();
    let running = Running::start(&[], &data, &config).expect("starts");
    assert_eq!(running.channel().call(&passive("q")), "queue.declare-ok q 1 0");
    drop(running);

    fs::remove_file(&definitions).unwrap();
    let (code, text) = leveret(&["store", "repair", "--drop-definitions"]);
    assert!(code == Some(0) && text.contains("made anew, it was missing"), "{code:?} {text}");
    let running = Running::start(&[], &data, &config).expect("starts");
    assert!(running.channel().call(&passive("q")).starts_with("channel.close 404"));
}
