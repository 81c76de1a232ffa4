//! A process killed while it writes to real files: what it said was durable is there, in order.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use leveret_store::{Batch, RealDisk, Recovered, Store, StoreOptions};

use crate::support::{block_on::block_on, messages::messages};

const DIR: &str = "LEVERET_TEST_KILL_DIR";

fn open(dir: &Path) -> (Store, Recovered) {
    let options = StoreOptions { segment_bytes: 256 << 10, ..StoreOptions::default() };
    Store::open(Arc::new(RealDisk::new()), dir, options).expect("opens")
}

/// The process to be killed: publishes numbered messages, acknowledges all but each tenth, prints the
/// number of messages known to be durable.
#[test]
#[ignore = "run by the other test"]
fn child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let (store, recovered) = open(&PathBuf::from(dir));
    let number = |payload: &[u8]| payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let found = messages(&store, &recovered).expect("reads");
    let next = found.last().and_then(|last| number(&last.payload)).map_or(0, |n| n + 1);
    let mut batch = Batch::new();
    for n in next.. {
        batch.message(&[1], &[&n.to_le_bytes(), &[7; 700]]);
        let lsn = store.append(&mut batch).last;
        if n % 10 != 0 {
            batch.ack(1, &[lsn]);
        }
        if n % 5 == 0 {
            block_on(store.durable(lsn));
            println!("durable {n}");
        }
    }
}

#[test]
fn a_killed_process_keeps_its_promises() {
    let dir = tempfile::tempdir().expect("a folder");
    for round in 0..5 {
        let mut child = Command::new(env::current_exe().expect("this file"))
            .args(["kill::child", "--exact", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let lines = lines.map_while(Result::ok);
        let mut durable = lines.filter_map(|line| line.strip_prefix("durable ")?.parse().ok());
        let first: u64 = durable.nth(40 * round).expect("promises something");
        child.kill().expect("kills");
        child.wait().expect("ends");
        // What it said before it heard of that counts as well.
        let durable = durable.last().unwrap_or(first);

        let (store, recovered) = open(dir.path());
        assert!(!recovered.report.clean_stop);
        let found: Vec<u64> = messages(&store, &recovered)
            .expect("reads")
            .iter()
            .filter_map(|message| message.payload.first_chunk().map(|n| u64::from_le_bytes(*n)))
            .collect();
        assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
        let tenths: Vec<u64> = found.iter().copied().filter(|n| n % 10 == 0).collect();
        let promised = durable / 10 + 1;
        assert!(tenths.len() as u64 >= promised, "{durable} is durable, found {tenths:?}");
        assert!(tenths.iter().copied().eq((0..tenths.len() as u64).map(|n| n * 10)));
        store.close();
    }
}
