//! Reading messages back while the store is open.

use std::{collections::BTreeMap, path::Path, sync::Arc, thread, time::Duration};

use leveret_store::{
    Batch, Definition, Disk, Lsn, Store, StoreOptions, Table,
    offline::{self, Damage, Definitions, Lost},
    simulation::{Operation, SimDisk},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::support::block_on::block_on;

const SEGMENT: u64 = 256 << 10;

fn open(disk: &SimDisk) -> Store {
    open_with(disk, StoreOptions::default().read_patience)
}

fn open_with(disk: &SimDisk, read_patience: Duration) -> Store {
    let options = StoreOptions {
        segment_bytes: SEGMENT,
        first_segment_bytes: SEGMENT,
        lazy_sync: Duration::from_millis(1),
        read_patience,
        ..StoreOptions::default()
    };
    Store::open(Arc::new(disk.clone()), Path::new("/data"), options).expect("opens").0
}

fn payload(number: u64, size: usize) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(size.max(8), u8::try_from(number % 251).unwrap_or_default());
    payload
}

/// Appends units of messages of these sizes and waits until they can be read.
fn fill(store: &Store, units: &[Vec<usize>], messages: &mut BTreeMap<Lsn, Vec<u8>>) {
    let mut batch = Batch::new();
    let mut last = Lsn::ZERO;
    for sizes in units {
        let mut payloads = Vec::new();
        for (index, size) in sizes.iter().enumerate() {
            let payload = payload(messages.len() as u64 + index as u64, *size);
            batch.message(&[1], &[&payload]);
            payloads.push(payload);
        }
        let appended = store.append(&mut batch);
        messages.extend((appended.first.0..).map(Lsn).zip(payloads));
        // Numbers that no record has.
        store.reserve(3);
        last = appended.last;
    }
    readable(store, last);
}

fn readable(store: &Store, lsn: Lsn) {
    block_on(store.durable(lsn));
    while store.readable_lsn() < lsn {
        thread::yield_now();
    }
}

fn read(store: &Store, lsns: &[Lsn]) -> Vec<(Lsn, Vec<u8>)> {
    let read = store.read(lsns).expect("reads");
    read.into_iter().map(|(lsn, payload)| (lsn, payload.to_vec())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn any_messages_come_back_from_any_segment_also_after_a_restart(
        units in vec(vec(prop_oneof![6 => 0..600_usize, 1 => 10_000..90_000_usize], 1..40), 1..40),
        picked in vec(any::<Index>(), 0..60),
    ) {
        let disk = SimDisk::new(1);
        let mut store = open(&disk);
        let mut messages = BTreeMap::new();
        fill(&store, &units, &mut messages);
        let all: Vec<(Lsn, Vec<u8>)> =
            messages.iter().map(|(lsn, payload)| (*lsn, payload.clone())).collect();
        let every: Vec<Lsn> = messages.keys().copied().collect();
        for is_restarted in [false, true] {
            if is_restarted {
                store.close();
                store = open(&disk);
            }
            prop_assert!(read(&store, &every) == all);
            let mut some: Vec<Lsn> = picked.iter().map(|index| *index.get(&every)).collect();
            // In any order, and with numbers that are no message's.
            some.extend([Lsn(0), Lsn(every[0].0 + 1_000_000)]);
            some.extend(picked.first().map(|index| Lsn(index.get(&every).0 + 1)));
            let expected: BTreeMap<Lsn, Vec<u8>> = some
                .iter()
                .filter_map(|lsn| Some((*lsn, messages.get(lsn)?.clone())))
                .collect();
            prop_assert!(read(&store, &some) == expected.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_damaged_message_costs_no_other() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let mut messages = BTreeMap::new();
    fill(&store, &vec![vec![1000]; 100], &mut messages);
    let every: Vec<Lsn> = messages.keys().copied().collect();
    // A header, a unit's header, a record's, 16 bytes of places, a message: in the middle of the
    // sixth message's body.
    let unit = 64 + 16 + 16 + 1000;
    let path = Path::new("/data/journal/0000000000000001.seg");
    assert!(disk.flip_bit(path, 64 + 5 * unit + 500, 3));
    let found = read(&store, &every);
    messages.remove(&every[5]);
    assert!(found == messages.into_iter().collect::<Vec<_>>());
}

/// Nor of a unit that has a mark in its middle, by its last record or by a length, which leads nowhere then.
#[test]
fn what_is_damaged_of_a_unit_hides_nothing_behind_it() {
    let path = Path::new("/data/journal/0000000000000001.seg");
    let record = 16 + 16 + 1000;
    for (large, damaged) in [(40, 39), (40, 36), (10, 9), (10, 4)] {
        // In the body, and in either end of the length.
        for (byte, bit) in [(500, 3), (8, 4), (13, 6)] {
            let disk = SimDisk::new(1);
            let store = open(&disk);
            let mut messages = BTreeMap::new();
            let units = [vec![vec![1000; large]], vec![vec![100]; 50], vec![vec![1000]; 50]];
            fill(&store, &units.concat(), &mut messages);
            let every: Vec<Lsn> = messages.keys().copied().collect();
            assert!(disk.flip_bit(path, (64 + 64 + damaged * record + byte) as u64, bit));
            messages.remove(&every[damaged]);
            let found = read(&store, &every);
            let lost = every.iter().filter(|lsn| !found.iter().any(|(found, _)| found == *lsn));
            let lost: Vec<usize> = lost.map(|lsn| every.binary_search(lsn).unwrap_or(0)).collect();
            assert!(found.into_iter().eq(messages), "{large}, {damaged}, {byte}: {lost:?}");
        }
    }
}

/// Whoever starts at a mark in the middle of a unit reads as far as the next mark: there the unit goes on, or the next
/// one begins, or the segment ends.
#[test]
fn a_damaged_length_hides_nothing_of_its_unit() {
    let (record, filling) = (16 + 16 + 1000, vec![vec![1000]; 250]);
    for (units, damaged) in [
        ([vec![vec![1000; 100]], vec![vec![100]; 50], filling.clone()].concat(), [0, 5, 50]),
        ([vec![vec![1000; 64]], filling].concat(), [0, 33, 62]),
        (vec![vec![1000; 80], vec![1000; 200]], [5, 50, 78]),
    ] {
        for (damaged, (byte, bit)) in
            damaged.into_iter().flat_map(|at| [(at, (8, 4)), (at, (13, 6))])
        {
            let disk = SimDisk::new(1);
            let store = open(&disk);
            let mut messages = BTreeMap::new();
            fill(&store, &units, &mut messages);
            let every: Vec<Lsn> = messages.keys().copied().collect();
            let path = Path::new("/data/journal/0000000000000001.seg");
            assert!(disk.flip_bit(path, (64 + 64 + damaged * record + byte) as u64, bit));
            messages.remove(&every[damaged]);
            let check = |store: &Store, when: &str| {
                let found = read(store, &every);
                let hidden =
                    messages.keys().find(|lsn| !found.iter().any(|(found, _)| found == *lsn));
                assert_eq!(hidden, None, "{when}: {} and {damaged}, {byte}", units.len());
                assert!(found.into_iter().eq(messages.clone()));
            };
            check(&store, "running");
            store.close();
            // The summary of the segment has it start.
            let store = open(&disk);
            check(&store, "started");
            store.close();
            drop(store);
            let lost = Lost::Records { first: every[damaged], last: every[damaged], count: 1 };
            let is_all = |damages: &[Damage]| damages.len() == 1 && damages[0].lost == lost;
            let dir = Path::new("/data");
            assert!(is_all(&offline::check(&disk, dir).expect("is checked").damages));
            let report = offline::repair(&disk, dir, Definitions::Optional).expect("is repaired");
            assert!(is_all(&report.damages));
            check(&open(&disk), "repaired");
        }
    }
}

/// Behind the last records of its unit and the header of the next one.
#[test]
fn a_length_that_leads_to_a_record_of_another_unit_is_not_believed() {
    let path = Path::new("/data/journal/0000000000000001.seg");
    let (count, record) = (1000, 16 + 16 + 32);
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let mut messages = BTreeMap::new();
    fill(&store, &[vec![vec![32; count]], vec![vec![100]; 5]].concat(), &mut messages);
    let every: Vec<Lsn> = messages.keys().copied().collect();
    let damaged = count - 2;
    // 128 more: the last record, and a header of a unit.
    assert!(disk.flip_bit(path, (64 + 64 + damaged * record + 8) as u64, 7));
    messages.remove(&every[damaged]);
    assert!(read(&store, &every).into_iter().eq(messages));
}

#[test]
fn what_the_disk_put_in_the_wrong_place_is_not_taken_for_what_was_there() {
    let unit = 64 + 16 + 16 + 1000;
    let path = Path::new("/data/journal/0000000000000001.seg");
    // A unit where a later one was, or an earlier one, or the first; and the records of one under the header of
    // another.
    for (from, to, skipped, costs_next) in [
        (3, 70, 0, true),
        (70, 3, 0, true),
        (70, 0, 0, true),
        (3, 70, 64, false),
        (70, 0, 64, false),
    ] {
        let disk = SimDisk::new(1);
        let store = open(&disk);
        let mut messages = BTreeMap::new();
        fill(&store, &vec![vec![1000]; 100], &mut messages);
        let every: Vec<Lsn> = messages.keys().copied().collect();
        let file = disk.open(path).expect("opens");
        let mut bytes = vec![0; unit - skipped];
        let place = |index: usize| (64 + index * unit + skipped) as u64;
        file.read_exact_at(&mut bytes, place(from)).expect("reads");
        file.write_all_at(&[&bytes], place(to)).expect("writes");
        let found = read(&store, &every);
        assert!(found.iter().all(|(lsn, payload)| messages[lsn] == *payload), "{from} at {to}");
        assert!(found.iter().all(|(lsn, _)| *lsn != every[to]));
        assert!(costs_next || found.len() == 99, "{} of the others", found.len());
        assert!(found.len() >= 65, "from the next mark on all is found");
    }
}

#[test]
fn an_unreadable_disk_is_an_error_that_names_the_file() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let mut messages = BTreeMap::new();
    fill(&store, &[vec![10]], &mut messages);
    let path = Path::new("/data/journal/0000000000000001.seg");
    assert!(disk.break_block(path, 64));
    let every: Vec<Lsn> = messages.keys().copied().collect();
    let error = store.read(&every).expect_err("refused");
    assert_eq!(error.to_string(), format!("cannot read {}: {}", path.display(), error.source));
    assert!(disk.mend_block(path, 64));
    // What fails once only is not noticed.
    disk.fail_after(Operation::Read, 0);
    assert_eq!(read(&store, &every).len(), 1);
    assert!(disk.has_failed());
}

#[test]
fn what_can_never_be_read_costs_no_other_for_good() {
    let path = Path::new("/data/journal/0000000000000001.seg");
    let unit = 64 + 16 + 16 + 1000;
    // In the body of a message far behind the first mark.
    let bad = 64 + 50 * unit + 500;
    let [patient, impatient] = [Duration::MAX, Duration::ZERO].map(|patience| {
        let disk = SimDisk::new(1);
        let store = open_with(&disk, patience);
        let mut messages = BTreeMap::new();
        fill(&store, &vec![vec![1000]; 200], &mut messages);
        assert!(disk.break_block(path, bad));
        (disk, store, messages)
    });
    let every: Vec<Lsn> = patient.2.keys().copied().collect();
    for _ in 0..3 {
        // All of it is waited for.
        assert!(patient.1.read(&every).is_err());
    }
    assert_eq!(read(&patient.1, &every[..50]).len(), 50);
    assert_eq!(read(&patient.1, &every[51..]).len(), 149);
    assert!(patient.0.mend_block(path, bad));
    assert_eq!(read(&patient.1, &every).len(), 200);

    let (disk, store, mut messages) = impatient;
    let lost = messages.remove(&every[50]).expect("filled");
    assert!(read(&store, &every).into_iter().eq(messages.clone()));
    // It is not given up for good.
    assert!(disk.mend_block(path, bad));
    messages.insert(every[50], lost);
    assert!(read(&store, &every).into_iter().eq(messages));
}

#[test]
fn what_is_no_message_and_what_has_gone_is_left_out() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let mut batch = Batch::new();
    let (key, value) = (b"k".to_vec(), b"v".to_vec());
    batch.define(&[Definition::Put { table: Table::Users, key, value }]);
    batch.message(&[1], &[b"kept"]);
    let appended = store.append(&mut batch);
    readable(&store, appended.last);
    assert_eq!(read(&store, &[appended.first, appended.last]).len(), 1);

    let mut messages = BTreeMap::new();
    fill(&store, &vec![vec![1000]; 1000], &mut messages);
    let every: Vec<Lsn> = messages.keys().copied().collect();
    batch.ack(1, &every);
    batch.ack(1, &[appended.last]);
    readable(&store, store.append(&mut batch).last);
    // Until the definition has reached its table the first segment is needed.
    while store.stats().segments > 1 {
        batch.drop_queue(7);
        block_on(store.durable(store.append(&mut batch).last));
    }
    assert_eq!(read(&store, &every[..1]), []);
}
