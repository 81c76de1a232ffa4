//! A full disk is waited out, and what is settled meanwhile ends the wait.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use leveret_store::{
    Batch, Definition, Disk, Lsn, Store, StoreOptions, Table,
    simulation::{Operation, SimDisk},
};

const SEGMENT: u64 = 64 << 10;
const BODY: usize = 1000;

/// With a disk on which only so many segments have room.
fn open(segments: u64) -> (Store, SimDisk) {
    let disk = SimDisk::new(1);
    let options = StoreOptions {
        segment_bytes: SEGMENT,
        first_segment_bytes: SEGMENT,
        lazy_sync: Duration::from_millis(1),
        full_disk_retry: Duration::from_millis(5),
        on_fatal: Arc::new(|_| {}),
        ..StoreOptions::default()
    };
    let (store, _) =
        Store::open(Arc::new(disk.clone()), Path::new("/data"), options).expect("opens");
    disk.set_capacity(Some(segments * SEGMENT + SEGMENT / 2));
    (store, disk)
}

fn publish(store: &Store, queue: u64, size: usize) -> Lsn {
    let mut batch = Batch::new();
    batch.message(&[queue], &[&vec![7; size]]);
    let lsn = store.append(&mut batch).last;
    wait(store, || store.durable_lsn() >= lsn);
    lsn
}

fn acknowledge(store: &Store, queue: u64, lsns: &[Lsn]) {
    let mut batch = Batch::new();
    batch.ack(queue, lsns);
    store.append(&mut batch);
}

/// Fills the disk, as far as publishers would that stop when it is said to be full.
fn fill(store: &Store, queue: u64) -> Vec<Lsn> {
    let mut filled = Vec::new();
    while !store.stats().no_space {
        filled.push(publish(store, queue, BODY));
    }
    filled
}

fn wait_for_space(store: &Store) {
    wait(store, || !store.stats().no_space);
}

fn wait(store: &Store, is_over: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_over() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", store.stats());
        thread::yield_now();
    }
}

/// A folder may need space for a name, the one for the first definitions as well.
#[test]
fn names_for_which_there_is_no_space_are_waited_for() {
    let mut refused = 0;
    for count in 0.. {
        let disk = SimDisk::new(count);
        let options = StoreOptions {
            segment_bytes: SEGMENT,
            first_segment_bytes: SEGMENT,
            apply_definitions: Duration::from_millis(1),
            full_disk_retry: Duration::from_millis(5),
            on_fatal: Arc::new(|_| {}),
            ..StoreOptions::default()
        };
        let dir = Path::new("/data");
        let (store, _) = Store::open(Arc::new(disk.clone()), dir, options).expect("opens");
        disk.refuse_after(Operation::Name, count);
        let mut batch = Batch::new();
        batch.define(&[Definition::Put { table: Table::Users, key: vec![1], value: vec![2] }]);
        let lsn = store.append(&mut batch).last;
        wait(&store, || store.durable_lsn() >= lsn);
        let definitions = dir.join("definitions.redb");
        wait(&store, || disk.open(&definitions).is_ok() && !store.is_full());
        publish(&store, 1, BODY);
        store.close();
        if !disk.has_failed() {
            break;
        }
        refused += 1;
    }
    assert!(refused >= 2, "{refused}");
}

/// Nobody need write anything for that.
#[test]
fn a_segment_goes_once_its_definitions_are_in_the_tables() {
    let disk = SimDisk::new(1);
    let options = StoreOptions {
        segment_bytes: SEGMENT,
        first_segment_bytes: SEGMENT,
        apply_definitions: Duration::from_millis(1),
        full_disk_retry: Duration::from_millis(5),
        on_fatal: Arc::new(|_| {}),
        ..StoreOptions::default()
    };
    let (store, _) =
        Store::open(Arc::new(disk.clone()), Path::new("/data"), options).expect("opens");
    let mut backlog = Vec::new();
    while disk.used() < 3 * SEGMENT {
        backlog.push(publish(&store, 1, BODY));
    }
    // There is no space for tables.
    disk.set_capacity(Some(disk.used()));
    let mut batch = Batch::new();
    batch.define(&[Definition::Put { table: Table::Users, key: vec![1], value: vec![2] }]);
    let defined = store.append(&mut batch).last;
    wait(&store, || store.durable_lsn() >= defined);
    let before = store.stats().segments;
    while store.stats().segments == before {
        backlog.push(publish(&store, 1, BODY));
    }
    batch.ack(1, &backlog);
    batch.set_durable();
    let last = store.append(&mut batch).last;
    wait(&store, || store.durable_lsn() >= last && store.is_full());
    wait(&store, || store.stats().live_places == 0);
    assert!(store.stats().segments > 1, "{:?}", store.stats());
    disk.set_capacity(None);
    wait(&store, || store.stats().segments == 1);
}

/// Who is held publishes nothing, so what is needed of the oldest segment has to leave it without.
#[test]
fn one_old_message_does_not_keep_the_disk_full() {
    let (store, _disk) = open(8);
    let old = [publish(&store, 1, BODY), publish(&store, 1, BODY)];
    let backlog = fill(&store, 2);
    assert!(backlog.len() > 300);
    acknowledge(&store, 2, &backlog);
    wait_for_space(&store);
    assert_eq!(store.stats().live_places, old.len() as u64);
    publish(&store, 2, BODY);
}

/// A unit for each would take several times the space of the message.
#[test]
fn acknowledgements_one_by_one_of_small_messages_in_many_queues_end_it() {
    let (store, _disk) = open(8);
    let queues: Vec<u64> = (1..=8).collect();
    let mut batch = Batch::new();
    let mut filled = Vec::new();
    while !store.stats().no_space {
        batch.message(&queues, &[&[7; 100]]);
        let lsn = store.append(&mut batch).last;
        wait(&store, || store.durable_lsn() >= lsn);
        filled.push(lsn);
    }
    for (index, lsn) in filled.iter().enumerate() {
        // Some are given back before.
        for queue in &queues {
            batch.returned(*queue, &[(*lsn, 1)]);
            store.append(&mut batch);
            batch.ack(*queue, &[*lsn]);
            store.append(&mut batch);
        }
        if index % 20 == 0 {
            batch.nothing();
            batch.set_durable();
            let last = store.append(&mut batch).last;
            wait(&store, || store.durable_lsn() >= last);
        }
    }
    wait_for_space(&store);
    wait(&store, || store.stats().live_places == 0);
    publish(&store, 2, BODY);
}

/// What little a slow queue among many keeps of messages for all of them counts whole once it is moved.
#[test]
fn half_of_the_last_segment_is_left_for_settlements() {
    let (store, _disk) = open(8);
    let mut batch = Batch::new();
    let queues: Vec<u64> = (1..=20).collect();
    let shared: Vec<Lsn> = (0..40)
        .map(|_| {
            batch.message(&queues, &[&[7; BODY]]);
            store.append(&mut batch).last
        })
        .collect();
    let mut backlog = fill(&store, 99);
    while store.stats().segments < 8 {
        backlog.push(publish(&store, 99, BODY));
    }
    queues.iter().skip(1).for_each(|queue| batch.ack(*queue, &shared));
    batch.set_durable();
    let last = store.append(&mut batch).last;
    wait(&store, || store.durable_lsn() >= last);
    // Nothing leaves by them: the oldest segment is still needed.
    for lsn in &backlog[100..350] {
        batch.ack(99, &[*lsn]);
        batch.set_durable();
        let last = store.append(&mut batch).last;
        wait(&store, || store.durable_lsn() >= last);
    }
    acknowledge(&store, 1, &shared);
    acknowledge(&store, 99, &backlog);
    wait_for_space(&store);
}

/// All that was settled before it, though what is settled behind it has to wait for it.
#[test]
fn a_message_larger_than_a_segment_takes_the_space_of_what_was_settled() {
    let (store, _disk) = open(8);
    let backlog = fill(&store, 2);
    acknowledge(&store, 2, &backlog);
    let large = usize::try_from(3 * SEGMENT).expect("small");
    publish(&store, 2, large);
    wait_for_space(&store);
    publish(&store, 2, BODY);
}
