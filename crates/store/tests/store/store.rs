//! The store through its public surface, on real files and in memory.

use std::{collections::BTreeMap, path::Path, sync::Arc, thread, time::Duration};

use leveret_store::{
    Batch, Definition, Disk, Lsn, MemDisk, OpenError, Outline, Pen, RealDisk, Recovered,
    RecoveredMessage, Store, StoreOptions, Table,
};

use crate::support::{block_on::block_on, messages::messages};

fn small() -> StoreOptions {
    StoreOptions {
        segment_bytes: 16 << 10,
        first_segment_bytes: 4 << 10,
        ..StoreOptions::default()
    }
}

fn open_real(dir: &Path) -> (Store, Recovered) {
    Store::open(Arc::new(RealDisk::new()), dir, small()).expect("opens")
}

fn publish(store: &Store, queues: &[u64], payload: &[u8]) -> Lsn {
    let mut batch = Batch::new();
    batch.message(queues, &[payload]);
    store.append(&mut batch).last
}

fn put(key: &str, value: &str) -> Definition {
    Definition::Put { table: Table::Queues, key: key.into(), value: value.into() }
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, recovered) = open_real(dir.path());
    assert!(recovered.report.fresh);
    assert!(recovered.backlogs.is_empty() && recovered.definitions.is_empty());

    let mut batch = Batch::new();
    batch.define(&[put("q", "durable")]);
    batch.message(&[1, 2], &[b"he", b"llo"]);
    let appended = store.append(&mut batch);
    assert_eq!((appended.first, appended.last), (Lsn(1), Lsn(2)));
    assert!(batch.is_empty());
    let second = publish(&store, &[1], b"second");
    assert_eq!(store.reserve(10), Lsn(4));
    let third = publish(&store, &[1], b"third");
    assert_eq!(third, Lsn(14));
    block_on(store.durable(third));
    assert!(store.durable_lsn() >= third);

    batch.ack(1, &[Lsn(2)]);
    batch.ack(1, &[third]);
    batch.returned(1, &[(second, 0)]);
    // A delay ends with the next return.
    batch.returned(2, &[(Lsn(2), 2)]);
    batch.delayed(2, &[(Lsn(2), 500)]);
    batch.delayed(1, &[(second, 400)]);
    batch.returned(2, &[(Lsn(2), 3)]);
    store.append(&mut batch);
    store.close();
    store.close();

    let (store, recovered) = open_real(dir.path());
    assert!(recovered.report.clean_stop && !recovered.report.fresh);
    assert_eq!(recovered.report.torn_bytes, 0);
    let definitions = vec![(Table::Queues, b"q".to_vec(), b"durable".to_vec())];
    assert_eq!(recovered.definitions, definitions);
    assert_eq!(recovered.report.folded_definitions, 0, "close brings the tables up to date");
    let found = messages(&store, &recovered).expect("reads");
    let [first, second] = found.as_slice() else { panic!("{recovered:?}") };
    assert_eq!((first.lsn, &first.payload[..]), (Lsn(2), &b"hello"[..]));
    let place = |lsn, bytes, deliveries, delayed_until| RecoveredMessage {
        lsn,
        outline: Outline { bytes, payload: 8, ..Outline::default() },
        deliveries,
        redelivered: true,
        delayed_until,
    };
    assert_eq!(first.places, [(2, place(Lsn(2), 5, 3, 0))].into());
    assert_eq!((second.lsn, &second.payload[..]), (Lsn(3), &b"second"[..]));
    assert_eq!(second.places, [(1, place(Lsn(3), 6, 0, 400))].into());
    assert!(publish(&store, &[1], b"next") > third);

    store.forget_queues(&[1, 2]);
    drop(store);
    let (_, recovered) = open_real(dir.path());
    assert!(recovered.backlogs.is_empty());
}

#[test]
fn a_second_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open_real(dir.path());
    let second = Store::open(Arc::new(RealDisk::new()), dir.path(), small()).err();
    let expected = format!(
        "data directory {} is in use by another process (pid {})",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(second.expect("refused").to_string(), expected);
    store.close();
    open_real(dir.path());
}

#[test]
fn a_data_directory_that_is_a_file_is_refused_in_one_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error =
        Store::open(Arc::new(RealDisk::new()), file.path(), small()).err().expect("refused");
    assert!(matches!(error, OpenError::Io { .. }));
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn segments_are_used_again_when_all_in_them_is_settled() {
    let disk = MemDisk::new();
    let dir = Path::new("/data");
    let (store, _) = Store::open(Arc::new(disk.clone()), dir, small()).unwrap();
    let mut batch = Batch::new();
    for round in 0..2000_u32 {
        let lsn = publish(&store, &[1], &[7; 500]);
        batch.ack(1, &[lsn]);
        if round % 50 == 0 {
            batch.set_durable();
            block_on(store.durable(store.append(&mut batch).last));
        }
    }
    batch.set_durable();
    block_on(store.durable(store.append(&mut batch).last));
    // Settling is counted after it is durable; another sync makes sure it was.
    block_on(store.durable(publish(&store, &[2], b"last")));
    store.close();
    let files = disk.list(&dir.join("journal")).unwrap();
    assert!(files.len() <= 6, "{files:?}");
    assert!(store.stats().segment_bytes <= 64 << 10, "{:?}", store.stats());
    drop(store);
    let (store, recovered) = Store::open(Arc::new(disk), dir, small()).unwrap();
    assert_eq!(messages(&store, &recovered).expect("reads").len(), 1);
    assert_eq!(store.stats().live_places, 1);
}

#[test]
fn a_message_larger_than_a_segment_gets_its_room() {
    let disk = MemDisk::new();
    let dir = Path::new("/data");
    let (store, _) = Store::open(Arc::new(disk.clone()), dir, small()).unwrap();
    let sizes = [100_000, 10, 40_000, 0, 200_000];
    let mut last = Lsn::ZERO;
    for size in sizes {
        last = publish(&store, &[1], &vec![1; size]);
    }
    block_on(store.durable(last));
    store.close();
    let (store, recovered) = Store::open(Arc::new(disk), dir, small()).unwrap();
    let found = messages(&store, &recovered).expect("reads");
    let found: Vec<usize> = found.iter().map(|message| message.payload.len()).collect();
    assert_eq!(found, sizes);
}

#[test]
fn lazy_records_are_synced_in_their_time() {
    let disk = Arc::new(MemDisk::new());
    let options = StoreOptions { lazy_sync: Duration::from_millis(5), ..small() };
    let (store, _) = Store::open(disk, Path::new("/data"), options).unwrap();
    let mut batch = Batch::new();
    batch.ack(1, &[Lsn(77)]);
    block_on(store.durable(store.append(&mut batch).last));
    assert!(store.stats().syncs >= 1);
    assert_eq!(store.buffered_bytes(), 0);
    block_on(store.writable(1));
}

#[test]
fn definitions_are_the_sum_of_tables_and_journal() {
    let disk = MemDisk::new();
    let dir = Path::new("/data");
    let options = || StoreOptions { apply_definitions: Duration::from_millis(1), ..small() };
    let (store, _) = Store::open(Arc::new(disk.clone()), dir, options()).unwrap();
    let mut model = BTreeMap::new();
    let mut batch = Batch::new();
    for round in 0..50_u64 {
        let key = format!("q{}", round % 7).into_bytes();
        let value = round.to_string().into_bytes();
        model.insert(key.clone(), value.clone());
        batch.define(&[Definition::Put { table: Table::Queues, key, value }]);
        if round % 5 == 0 {
            let key = format!("q{}", round % 3).into_bytes();
            model.remove(&key);
            batch.define(&[Definition::Delete { table: Table::Queues, key }]);
        }
        block_on(store.durable(store.append(&mut batch).last));
        thread::sleep(Duration::from_millis(round % 3));
    }
    store.close();
    let (_, recovered) = Store::open(Arc::new(disk), dir, options()).unwrap();
    let model: Vec<_> = model.into_iter().map(|(key, value)| (Table::Queues, key, value)).collect();
    assert_eq!(recovered.definitions, model);
}

#[test]
fn segments_go_also_under_a_flood_of_what_can_wait() {
    let options = StoreOptions {
        // Every unit is written at once and fills a segment, and nothing is synced for its age.
        max_lazy_bytes: 1,
        lazy_sync: Duration::from_secs(3600),
        ..small()
    };
    let (store, _) = Store::open(Arc::new(MemDisk::new()), Path::new("/data"), options).unwrap();
    let mut batch = Batch::new();
    let mut last = Lsn(0);
    for _ in 0..20 {
        for queue in 0..1000 {
            batch.drop_queue(queue);
        }
        last = store.append(&mut batch).last;
        block_on(store.writable(1));
    }
    while store.readable_lsn() < last {
        thread::yield_now();
    }
    let stats = store.stats();
    // The one being written, and one or two that were not let go of a moment ago.
    assert!(stats.segments <= 3, "{stats:?}");
}

/// A store whose writer lends its pen: it has synced once, and sleeps.
fn lending() -> Store {
    let options = StoreOptions { idle_mark: Duration::ZERO, ..small() };
    let (store, _) =
        Store::open(Arc::new(MemDisk::default()), Path::new("/"), options).expect("opens");
    block_on(store.durable(publish(&store, &[1], b"first")));
    store
}

/// The pen, as soon as the writer sleeps.
fn pen(store: &Store) -> Pen<'_> {
    loop {
        if let Some(pen) = store.pen() {
            return pen;
        }
        thread::yield_now();
    }
}

#[test]
fn whoever_has_the_pen_makes_an_append_durable() {
    let store = lending();
    let mut pen = pen(&store);
    let last = publish(&store, &[1], b"second");
    assert!(store.durable_lsn() < last, "nobody was woken");
    assert!(store.pen().is_none(), "there is one pen");
    pen.write();
    assert_eq!(store.durable_lsn(), last);
    assert_eq!(store.read(&[last]).unwrap(), [(last, "second".into())]);
}

#[test]
fn what_the_pen_did_not_write_is_left_to_the_writer() {
    let store = lending();
    let unused = pen(&store);
    let last = publish(&store, &[1], b"second");
    drop(unused);
    block_on(store.durable(last));

    let mut used = pen(&store);
    let large = publish(&store, &[1], &[0; 32 << 10]);
    used.write();
    assert!(store.durable_lsn() < large, "it needs another segment");
    drop(used);
    block_on(store.durable(large));
}

#[test]
fn after_the_pen_the_writer_keeps_its_times() {
    let store = lending();
    let mut used = pen(&store);
    let last = publish(&store, &[1], b"second");
    used.write();
    let mut batch = Batch::new();
    batch.ack(1, &[last]);
    let settled = store.append(&mut batch).last;
    drop(used);
    // Nothing else is appended: the writer wakes for what can wait.
    block_on(store.durable(settled));
}
