//! `leveret store` on the data of a real broker.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/process.rs"]
mod process;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use leveret_store::{Batch, RealDisk, Store, StoreOptions};
use process::{Running, run};
use rustix::process::Signal;
use tempfile::TempDir;

/// Does something with a channel to a broker on these data, and stops the broker.
fn with_broker<T>(data: &Path, work: impl AsyncFnOnce(&Channel) -> lapin::Result<T>) -> T {
    let running = Running::start(data, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("amqp://{}", running.address());
    let done = runtime.block_on(async {
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let done = work(&channel).await?;
        connection.close(200, "".into()).await?;
        Ok::<_, lapin::Error>(done)
    });
    assert!(running.end(Signal::TERM).0.success());
    done.unwrap()
}

async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> lapin::Result<()> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await?;
    Ok(())
}

/// Data with ten messages in `orders`, two of them acknowledged, and one in `mail`.
fn data() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    with_broker(data.path(), async |channel| {
        for queue in ["orders", "mail"] {
            let options = QueueDeclareOptions::durable();
            channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        }
        for number in 0..10 {
            publish(channel, "orders", format!("order {number}").as_bytes()).await?;
        }
        publish(channel, "mail", b"letter").await?;
        for _ in 0..2 {
            let got = channel.basic_get("orders".into(), BasicGetOptions::default()).await?;
            got.unwrap().ack(BasicAckOptions::default()).await?;
        }
        Ok(())
    });
    data
}

/// The bodies in `orders`, in order, with what says they may have been delivered before.
fn orders(data: &Path) -> Vec<(String, bool)> {
    with_broker(data, async |channel| {
        let mut bodies = Vec::new();
        while let Some(got) = channel.basic_get("orders".into(), BasicGetOptions::default()).await?
        {
            bodies.push((String::from_utf8(got.data.clone()).unwrap(), got.redelivered));
        }
        Ok(bodies)
    })
}

fn store(tool: &str, data: &Path) -> (Option<i32>, String, String) {
    run(&["store", tool, "--data-dir", data.to_str().unwrap()])
}

fn first_segment(data: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> =
        fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().next().unwrap()
}

/// Writes over a message's body in the journal.
fn damage(data: &Path, body: &str) -> PathBuf {
    let path = first_segment(data);
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(body.len()).position(|window| window == body.as_bytes());
    let at = at.unwrap_or_else(|| panic!("{body} is not in {}", path.display()));
    File::options().write(true).open(&path).unwrap().write_all_at(b"0", at as u64).unwrap();
    path
}

#[test]
fn stats_name_the_queues_and_what_keeps_a_segment() {
    let data = data();
    let (code, stdout, stderr) = store("stats", data.path());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let row = |name: &str| -> Vec<String> {
        let line = stdout.lines().find(|line| line.starts_with(name)).unwrap();
        line.trim_start_matches(name).split_whitespace().map(str::to_owned).collect()
    };
    let orders = row("queue 'orders' in vhost '/'");
    assert_eq!((orders[0].as_str(), orders[2].as_str()), ("8", "2"), "{stdout}");
    assert_eq!(row("queue 'mail' in vhost '/'")[0], "1", "{stdout}");
    let segment = row("0000000000000001.seg").join(" ");
    let oldest = &orders[4];
    assert!(segment.contains(&format!("LSN {oldest} in queue 'orders' in vhost '/'")), "{stdout}");
}

#[test]
fn a_sound_journal_passes_the_check_and_is_not_repaired() {
    let data = data();
    let (code, stdout, stderr) = store("check", data.path());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.ends_with("nothing is damaged\n"), "{stdout}");
    let (code, stdout, _) = store("repair", data.path());
    assert_eq!((code, stdout.as_str()), (Some(0), "nothing is damaged, nothing was changed\n"));
    let orders = orders(data.path());
    assert_eq!(orders.len(), 8);
    assert!(orders.iter().all(|(_, redelivered)| !redelivered));
}

#[test]
fn a_damaged_message_costs_itself_alone() {
    let data = data();
    let path = damage(data.path(), "order 5");
    let place = data.path().to_str().unwrap();
    let start = ["--listen=127.0.0.1:0", "--management=none", "--metrics=none", "--log=none"];
    let (code, _, refusal) = run(&[&start[..], &["--data-dir", place]].concat());
    assert_eq!(code, Some(1));
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    for part in [
        &format!("leveret: {} is damaged at byte ", path.display()) as &str,
        "`leveret store check` shows what is lost",
        "`leveret store repair` keeps the rest",
    ] {
        assert!(refusal.contains(part), "{refusal}");
    }

    let (code, found, stderr) = store("check", data.path());
    assert_eq!((code, stderr.as_str()), (Some(3), ""), "{found}");
    let first = found.lines().next().unwrap();
    assert!(first.starts_with(&format!("{}: byte ", path.display())), "{found}");
    assert!(first.contains("the record with LSN "), "{found}");
    assert!(found.contains("1 place is damaged"), "{found}");
    assert_eq!(store("check", data.path()).1, found, "a check changes nothing");

    let (code, repaired, stderr) = store("repair", data.path());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{repaired}");
    assert!(repaired.starts_with(first), "{repaired}");
    let aside = path.with_extension("seg.damaged");
    assert!(repaired.contains(&format!("the damaged file is {}", aside.display())), "{repaired}");
    assert!(aside.exists());
    assert_eq!(store("check", data.path()).0, Some(0));

    let expected = [2, 3, 4, 6, 7, 8, 9].map(|number| (format!("order {number}"), true));
    assert_eq!(orders(data.path()), expected);
}

#[test]
fn damaged_definitions_are_dropped_only_if_told() {
    let data = data();
    let path = data.path().join("definitions.redb");
    let file = File::options().write(true).open(&path).unwrap();
    for at in (0..file.metadata().unwrap().len()).step_by(1024) {
        file.write_all_at(&[0x55; 100], at).unwrap();
    }
    let (code, stdout, _) = store("check", data.path());
    assert_eq!(code, Some(3), "{stdout}");
    let (code, _, stderr) = store("repair", data.path());
    assert_eq!(code, Some(1));
    assert!(stderr.contains("put it back from a backup"), "{stderr}");
    assert!(path.exists());
    let place = data.path().to_str().unwrap();
    let (code, stdout, stderr) =
        run(&["store", "repair", "--drop-definitions", "--data-dir", place]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("the damaged file is"), "{stdout}");
    Running::start(data.path(), &[]).end(Signal::TERM);
}

#[test]
fn a_start_tells_of_messages_whose_queues_nothing_defines() {
    let data = data();
    let disk = Arc::new(RealDisk::new());
    let (store, _) = Store::open(disk, data.path(), StoreOptions::default()).unwrap();
    let mut batch = Batch::new();
    for queue in [800, 900, 900] {
        batch.message(&[queue], &[b"of no queue"]);
    }
    store.append(&mut batch);
    store.close();
    drop(store);
    let (_, log, _) = Running::start(data.path(), &[]).end(Signal::TERM);
    let told = "dropped 3 messages of 2 queues that nothing defines any more, numbers 800, 900";
    assert!(log.contains(told), "{log}");
    let (_, log, _) = Running::start(data.path(), &[]).end(Signal::TERM);
    assert!(!log.contains("dropped"), "{log}");
}

#[test]
fn a_dump_is_a_line_of_json_for_each_record() {
    let data = data();
    let (code, stdout, stderr) =
        run(&["store", "dump", "--bodies", "--data-dir", data.path().to_str().unwrap()]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let records: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| records.iter().filter(|record| record["record"] == kind).count();
    assert_eq!((of("message"), of("ack")), (11, 2), "{stdout}");
    let message = records.iter().find(|record| record["record"] == "message").unwrap();
    assert_eq!(
        (&message["routing_key"], &message["body"]),
        (&"orders".into(), &"b3JkZXIgMA==".into())
    );
    assert!(
        records
            .iter()
            .any(|record| { record["changes"][0]["key"] == serde_json::json!(["/", "orders"]) })
    );
    assert!(
        !run(&["store", "dump", "--data-dir", data.path().to_str().unwrap()]).1.contains("body")
    );
}

#[test]
fn tools_want_data_that_nobody_uses() {
    let data = tempfile::tempdir().unwrap();
    for tool in ["stats", "check", "repair", "dump"] {
        let (code, _, stderr) = store(tool, data.path());
        let expected = format!("leveret: {} holds no data of a broker\n", data.path().display());
        assert_eq!((code, stderr), (Some(1), expected), "{tool}");
    }
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0, "they leave nothing behind");
    let running = Running::start(data.path(), &[]);
    for tool in ["stats", "check", "repair", "dump"] {
        let (code, _, stderr) = store(tool, data.path());
        assert_eq!(code, Some(1), "{tool}");
        assert!(stderr.contains("is in use by another process (pid "), "{stderr}");
    }
    running.end(Signal::TERM);
}
