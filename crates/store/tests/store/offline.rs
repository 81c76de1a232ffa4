//! Damaged data directories: what a check says of them, and that a repair keeps all that is readable.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use leveret_store::{
    Batch, Definition, Disk, DiskFile, Lsn, MemDisk, OpenError, Recovered, Store, StoreOptions,
    Table,
    offline::{self, Definitions, Lost, OfflineError, Pin},
    simulation::{Operation, SimDisk},
};
use proptest::prelude::*;

use crate::support::{block_on::block_on, messages as found};

fn dir() -> &'static Path {
    Path::new("/data")
}

const SEGMENT: u64 = 4 << 10;

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: SEGMENT,
        first_segment_bytes: SEGMENT,
        lazy_sync: Duration::from_millis(1),
        ..StoreOptions::default()
    }
}

fn open(disk: &MemDisk) -> Result<(Store, Recovered), OpenError> {
    Store::open(Arc::new(disk.clone()), dir(), options())
}

/// What is expected of each message: its queues and payload.
type Messages = BTreeMap<Lsn, (BTreeSet<u64>, Vec<u8>)>;

fn messages(store: &Store, recovered: &Recovered) -> Messages {
    let found = found::messages(store, recovered).expect("reads");
    let message = |message: found::Message| {
        (message.lsn, (message.places.into_keys().collect(), message.payload))
    };
    found.into_iter().map(message).collect()
}

/// A journal of several segments with every kind of record, closed. Some units hold many records.
fn written(disk: &MemDisk) -> Messages {
    let (store, _) = open(disk).expect("opens");
    let mut batch = Batch::new();
    let mut last = Lsn::ZERO;
    for round in 0..60_u64 {
        if round % 10 == 0 {
            let key = round.to_le_bytes().to_vec();
            batch.define(&[Definition::Put { table: Table::Queues, key, value: vec![1; 20] }]);
        }
        let fill = u8::try_from(round).expect("small");
        for size in 0..round % 4 {
            batch.message(&[1 + size], &[&vec![fill; 90 * usize::try_from(size).expect("small")]]);
        }
        batch.message(&[1, 2], &[&[fill; 200]]);
        if round % 7 == 0 && last > Lsn::ZERO {
            batch.ack(1, &[last]);
            batch.returned(2, &[(last, 3)]);
        }
        if round % 5 == 0 {
            store.reserve(3);
        }
        last = store.append(&mut batch).last;
        if round % 3 == 0 {
            block_on(store.durable(last));
        }
    }
    store.close();
    drop(store);
    let (store, recovered) = open(disk).expect("opens");
    messages(&store, &recovered)
}

/// The same once more, on a disk of its own.
fn copy(of: &MemDisk) -> MemDisk {
    let copy = MemDisk::new();
    for folder in [dir().to_owned(), dir().join("journal")] {
        for name in of.list(&folder).expect("lists") {
            let path = folder.join(name);
            let from = file(of, &path);
            let length = from.len().expect("has one");
            let mut bytes = vec![0; usize::try_from(length).expect("small")];
            from.read_exact_at(&mut bytes, 0).expect("reads");
            copy.create(&path).and_then(|to| to.write_all_at(&[&bytes], 0)).expect("writes");
        }
    }
    copy
}

fn segments(disk: &MemDisk) -> Vec<PathBuf> {
    let journal = dir().join("journal");
    let mut names = disk.list(&journal).expect("lists");
    names.retain(|name| name.ends_with(".seg"));
    names.sort();
    names.iter().map(|name| journal.join(name)).collect()
}

/// Whether a unit of the segment's present use is in it: the salt tells.
fn has_units(disk: &MemDisk, path: &Path) -> bool {
    let mut bytes = [0; 128];
    file(disk, path).read_exact_at(&mut bytes, 0).expect("reads");
    bytes[64..68] == *b"LVTU" && bytes[24..32] == bytes[80..88]
}

fn file(disk: &MemDisk, path: &Path) -> Arc<dyn DiskFile> {
    disk.open(path).expect("is there")
}

/// Checks, repairs, and opens. Gives what was damaged and what is left.
fn repaired(disk: &MemDisk) -> (Vec<offline::Damage>, Messages) {
    let found = offline::check(disk, dir()).expect("can be checked").damages;
    let report = offline::repair(disk, dir(), Definitions::Optional).expect("can be repaired");
    assert_eq!(report.damages, found);
    let after = offline::check(disk, dir()).expect("can be checked");
    assert_eq!(after.damages, [], "{found:?}");
    let (store, recovered) = open(disk).expect("opens after the repair");
    assert!(found.is_empty() || !recovered.report.clean_stop);
    let kept = messages(&store, &recovered);
    // Numbers are never given twice, also not those that are lost.
    let lost = found.iter().filter_map(|damage| match &damage.lost {
        Lost::Records { last, .. } => Some(*last),
        _ => None,
    });
    let mut batch = Batch::new();
    batch.message(&[9], &[b"new"]);
    let new = store.append(&mut batch).last;
    assert!(lost.max() < Some(new), "{new} {found:?}");
    block_on(store.durable(new));
    drop(store);
    let (reopened, again) = open(disk).expect("opens again");
    let mut left = messages(&reopened, &again);
    assert!(left.remove(&new).is_some());
    assert_eq!(left, kept);
    (found, left)
}

fn lost(damages: &[offline::Damage], lsn: Lsn) -> bool {
    damages.iter().any(|damage| match damage.lost {
        Lost::Records { first, last, .. } => first <= lsn && lsn <= last,
        Lost::Unknown { .. } => true,
        _ => false,
    })
}

/// Nothing is lost but what the damages name, and nothing is there that was not.
fn compare(before: &Messages, damages: &[offline::Damage], after: &Messages) {
    for (lsn, (queues, payload)) in before {
        match after.get(lsn) {
            Some((found, bytes)) => {
                assert_eq!(bytes, payload, "{lsn}");
                assert!(found.is_superset(queues), "{lsn} left {queues:?}");
            }
            None => assert!(lost(damages, *lsn), "{lsn} is lost, and not in {damages:?}"),
        }
    }
    for (lsn, (queues, _)) in after {
        let settled = queues.iter().all(|queue| [1, 2, 3, 4].contains(queue));
        // A settlement may be lost, and then its message is back; nothing else can appear.
        let known = before.contains_key(lsn)
            || damages.iter().any(|damage| !matches!(damage.lost, Lost::Nothing { .. }));
        assert!(known && settled, "{lsn} appeared");
    }
}

#[test]
fn a_sound_journal_is_called_so_and_left_alone() {
    let disk = MemDisk::new();
    let before = written(&disk);
    let report = offline::check(&disk, dir()).expect("can be checked");
    assert_eq!(report.damages, []);
    assert!(report.clean_stop && report.torn_bytes == 0);
    assert!(report.segments >= 4 && report.records > 100 && report.definitions == 6, "{report:?}");
    let report = offline::repair(&disk, dir(), Definitions::Optional).expect("nothing to do");
    assert!(report.damages.is_empty() && report.files.is_empty());
    let (store, recovered) = open(&disk).expect("opens");
    assert!(recovered.report.clean_stop);
    assert_eq!(messages(&store, &recovered), before);
    let error = offline::check(&disk, dir()).expect_err("in use");
    assert!(error.to_string().contains("in use"), "{error}");
    drop(store);
}

#[test]
fn there_must_be_something_to_work_on() {
    let disk = MemDisk::new();
    let error = offline::check(&disk, dir()).expect_err("nothing there");
    assert_eq!(error.to_string(), "/data holds no data of a broker");
    assert!(disk.list(dir()).expect("lists").is_empty(), "it left something behind");
}

#[test]
fn a_flipped_bit_costs_one_record_at_most() {
    let original = MemDisk::new();
    let before = written(&original);
    let paths = segments(&original);
    let mut damaged = 0;
    let mut one = 0;
    for (index, path) in paths.iter().enumerate() {
        for offset in (0..4096).step_by(307) {
            let disk = copy(&original);
            let mut byte = [0];
            let segment = file(&disk, path);
            segment.read_exact_at(&mut byte, offset).expect("inside");
            byte[0] ^= 1 << (offset % 8);
            segment.write_all_at(&[&byte], offset).expect("writes");
            let (damages, after) = repaired(&disk);
            compare(&before, &damages, &after);
            damaged += usize::from(!damages.is_empty());
            let lost = before.keys().filter(|lsn| !after.contains_key(lsn)).count();
            assert!(lost <= 1, "file {index}, byte {offset}: {damages:?}");
            one += lost;
        }
    }
    assert!(damaged > 30 && one > 8, "{damaged} damaged, {one} lost");
}

#[test]
fn a_damaged_record_is_named_and_set_aside() {
    let disk = MemDisk::new();
    let before = written(&disk);
    let path = &segments(&disk)[1];
    let segment = file(&disk, path);
    segment.write_all_at(&[&[0xee; 4]], 200).expect("writes");
    let error = open(&disk).err().expect("refused").to_string();
    for part in [&path.display().to_string(), "damaged at byte", "leveret store check", "repair"] {
        assert!(error.contains(part), "{error}");
    }
    let (damages, after) = repaired(&disk);
    let [damage] = damages.as_slice() else { panic!("{damages:?}") };
    assert_eq!(&damage.path, path);
    assert!(damage.offset <= 200 && damage.offset >= 64);
    let Lost::Records { first, last, count: 1 } = damage.lost else { panic!("{damage}") };
    assert_eq!(first, last);
    assert!(damage.to_string().ends_with(&format!("the record with LSN {first} is lost")));
    assert_eq!(before.len() - after.len(), usize::from(before.contains_key(&first)));
    let aside = path.with_extension("seg.damaged");
    let mut bytes = [0; 4];
    file(&disk, &aside).read_exact_at(&mut bytes, 200).expect("kept as it was");
    assert_eq!(bytes, [0xee; 4]);
}

#[test]
fn a_missing_segment_costs_what_it_held() {
    let sound = MemDisk::new();
    let before = written(&sound);
    let count = segments(&sound).len();
    for missing in 1..count - 1 {
        let disk = copy(&sound);
        disk.remove(&segments(&disk)[missing]).expect("removes");
        assert!(matches!(open(&disk), Err(OpenError::MissingSegment { .. })));
        let (damages, after) = repaired(&disk);
        assert!(damages.iter().any(|damage| damage.to_string().contains("000")), "{damages:?}");
        compare(&before, &damages, &after);
    }
}

#[test]
fn a_cut_or_emptied_file_costs_what_it_held() {
    let sound = MemDisk::new();
    let before = written(&sound);
    let last = segments(&sound).iter().rposition(|path| has_units(&sound, path));
    for length in [0, 10, 64, 700, 2000] {
        for at in 0..segments(&sound).len() {
            let disk = copy(&sound);
            file(&disk, &segments(&disk)[at]).set_len(length).expect("cuts");
            let (damages, after) = repaired(&disk);
            // Nothing says how long the last one was; behind it are spare ones.
            if Some(at) < last {
                compare(&before, &damages, &after);
            }
        }
    }
}

#[test]
fn a_block_that_gives_an_error_is_damage() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (store, _) = Store::open(Arc::clone(&shared), dir(), options()).expect("opens");
    let mut batch = Batch::new();
    for _ in 0..10 {
        batch.message(&[1], &[&[1; 200]]);
        block_on(store.durable(store.append(&mut batch).last));
    }
    store.close();
    drop(store);
    // The first read of a piece fails, and then those of two of its blocks.
    for _ in 0..3 {
        disk.fail_after(Operation::Read, 3);
    }
    let report = offline::check(&disk, dir()).expect("can be checked");
    assert_eq!(report.records, 10, "a passing error is tried again by blocks");
}

#[test]
fn unreadable_definitions_are_dropped_only_if_told() {
    let disk = MemDisk::new();
    let before = written(&disk);
    let path = dir().join("definitions.redb");
    let length = file(&disk, &path).len().expect("has one");
    for offset in (0..length).step_by(512) {
        file(&disk, &path).write_all_at(&[&[0x5a; 64]], offset).expect("writes");
    }
    let report = offline::check(&disk, dir()).expect("can be checked");
    let [damage] = report.damages.as_slice() else { panic!("{report:?}") };
    assert!(damage.to_string().contains("definitions.redb: the definitions cannot be read"));
    let error =
        offline::repair(&disk, dir(), Definitions::Optional).expect_err("not without being told");
    assert!(matches!(error, OfflineError::Definitions { .. }));
    let report = offline::repair(&disk, dir(), Definitions::Dropped).expect("told");
    assert_eq!(report.files[0].set_aside, Some(dir().join("definitions.redb.damaged")));
    let (store, recovered) = open(&disk).expect("opens");
    assert_eq!(messages(&store, &recovered), before);
}

/// Without them whoever opens the store would take all queues for deleted.
#[test]
fn missing_definitions_are_missed_and_dropped_only_if_told() {
    let disk = MemDisk::new();
    let open = || {
        let options = StoreOptions { always_defines: true, ..options() };
        Store::open(Arc::new(disk.clone()), dir(), options)
    };
    let (store, _) = open().expect("a new one has none");
    let mut batch = Batch::new();
    let define = |key: &[u8], batch: &mut Batch| {
        let (key, value) = (key.to_owned(), vec![1; 20]);
        batch.define(&[Definition::Put { table: Table::Queues, key, value }]);
    };
    define(b"first", &mut batch);
    while segments(&disk).first().is_some_and(|path| path.ends_with("0000000000000001.seg")) {
        batch.message(&[1], &[&[7; 300]]);
        let appended = store.append(&mut batch);
        batch.ack(1, &[appended.last]);
        block_on(store.durable(store.append(&mut batch).last));
    }
    batch.message(&[1], &[b"stays"]);
    define(b"last", &mut batch);
    store.append(&mut batch);
    store.close();
    drop(store);
    assert!(!offline::check(&disk, dir()).expect("can be checked").lacks_tables);

    let path = dir().join("definitions.redb");
    disk.remove(&path).expect("is there");
    for _ in 0..2 {
        let refused = open().err().expect("not without its definitions");
        assert!(matches!(refused, OpenError::MissingDefinitions { .. }), "{refused}");
        assert!(refused.to_string().starts_with("/data/definitions.redb is missing: put it back"));
        assert!(offline::check(&disk, dir()).expect("can be checked").lacks_tables);
        let report =
            offline::repair(&disk, dir(), Definitions::Optional).expect("has nothing to do");
        assert!(report.files.is_empty() && report.damages.is_empty());
        let error = offline::repair(&disk, dir(), Definitions::Needed).expect_err("is not sound");
        assert_eq!(error.to_string(), refused.to_string());
    }
    let report = offline::repair(&disk, dir(), Definitions::Dropped).expect("told");
    let [made] = report.files.as_slice() else { panic!("{report:?}") };
    assert_eq!((&made.path, &made.set_aside), (&path, &None));
    let (store, recovered) = open().expect("opens");
    // What the journal still had of them.
    let keys: Vec<_> = recovered.definitions.iter().map(|(_, key, _)| key.as_slice()).collect();
    assert_eq!(keys, [b"last"]);
    let left = messages(&store, &recovered).into_values().map(|(_, payload)| payload);
    assert_eq!(left.collect::<Vec<_>>(), [b"stays"]);
}

#[test]
fn usage_says_what_takes_space_and_what_keeps_it() {
    let disk = MemDisk::new();
    let (store, _) = open(&disk).expect("opens");
    let mut batch = Batch::new();
    batch.message(&[7], &[b"stays"]);
    let stays = store.append(&mut batch).last;
    for _ in 0..20 {
        batch.message(&[8, 9], &[&[1; 500]]);
        let lsn = store.append(&mut batch).last;
        batch.ack(8, &[lsn]);
        store.append(&mut batch);
    }
    batch.drop_queue(9);
    store.append(&mut batch);
    store.close();
    drop(store);
    let usage = offline::usage(&disk, dir()).expect("can be read");
    let queue = usage.queues[&7];
    assert_eq!((queue.live_messages, queue.oldest), (1, Some(stays)));
    // The store may have been closed while it moved the message, and both copies are there.
    assert!(queue.dead_messages <= 1, "{queue:?}");
    for id in [8, 9] {
        let queue = usage.queues[&id];
        assert_eq!((queue.live_messages, queue.dead_messages), (0, 20));
        assert!(queue.live_bytes == 0 && queue.dead_bytes > 20 * 500 && queue.oldest.is_none());
    }
    let first = &usage.segments[0];
    assert_eq!(first.pin, Pin::Message { queue: 7, lsn: stays });
    assert_eq!((first.live_messages, first.live_bytes), (1, queue.live_bytes));
    assert_eq!(usage.segments[1].pin, Pin::Older(first.number));
    let written: Vec<_> = usage.segments.iter().filter(|s| s.pin != Pin::Spare).collect();
    assert_eq!(written.last().expect("some").pin, Pin::Tail);
}

#[test]
fn every_record_is_shown() {
    let disk = MemDisk::new();
    written(&disk);
    let records = offline::check(&disk, dir()).expect("can be checked").records;
    let mut kinds = BTreeMap::new();
    let mut last = Lsn::ZERO;
    offline::dump(&disk, dir(), |segment, offset, lsn, record| {
        assert!(segment >= 1 && offset >= 64 && lsn > last);
        last = lsn;
        let text = format!("{record:?}");
        let kind = text.split(' ').next().expect("a name").to_owned();
        *kinds.entry(kind).or_insert(0) += 1;
        Ok(())
    })
    .expect("can be read");
    assert_eq!(kinds.values().sum::<u64>(), records);
    let names: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(names, ["Ack", "Define", "Message", "Returned"]);
}

/// A journal and what it holds, written once.
fn sound() -> &'static (MemDisk, Messages) {
    static SOUND: OnceLock<(MemDisk, Messages)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = MemDisk::new();
        let messages = written(&disk);
        (disk, messages)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 30, ..ProptestConfig::default() })]

    /// Whatever is written over the files, the repair answers, and the broker starts afterwards with
    /// no message that was not there.
    #[test]
    fn any_damage_is_repaired(
        damages in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0..4096_u64, proptest::collection::vec(any::<u8>(), 1..300)),
            1..6,
        ),
        missing in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (sound, before) = sound();
        let disk = copy(sound);
        let paths = segments(&disk);
        for (file_index, offset, bytes) in damages {
            let room = usize::try_from(4096 - offset).expect("small");
            let bytes = &bytes[..bytes.len().min(room)];
            let path: &PathBuf = file_index.get(&paths);
            file(&disk, path).write_all_at(&[bytes], offset).expect("writes");
        }
        if let Some(missing) = missing {
            let path: &PathBuf = missing.get(&paths);
            disk.remove(path).expect("removes");
        }
        let (damages, after) = repaired(&disk);
        for (lsn, (_, payload)) in &after {
            if let Some((_, was)) = before.get(lsn) {
                prop_assert_eq!(payload, was);
            }
        }
        let _ = damages;
    }
}

/// The mark that is written first behind a clean stop; what is behind it are confirmed messages.
#[test]
fn a_damaged_mark_hides_nothing_of_what_came_after_a_clean_stop() {
    // Room for all of it.
    const LARGE: u64 = 64 << 10;
    let disk = MemDisk::new();
    let options = || StoreOptions { first_segment_bytes: LARGE, segment_bytes: LARGE, ..options() };
    let open = |disk: &MemDisk| Store::open(Arc::new(disk.clone()), dir(), options());
    let publish_and_stop = |numbers: std::ops::Range<u8>| {
        let (store, _) = open(&disk).expect("opens");
        let mut batch = Batch::new();
        for number in numbers {
            batch.message(&[1], &[&[number]]);
            let last = store.append(&mut batch).last;
            block_on(store.durable(last));
        }
        store.close();
    };
    publish_and_stop(0..1);
    let segment = &segments(&disk)[0];
    let read = || {
        let mut bytes = vec![0; usize::try_from(LARGE).expect("small")];
        file(&disk, segment).read_exact_at(&mut bytes, 0).expect("reads");
        bytes
    };
    let stopped = read();
    publish_and_stop(1..100);
    let sound = read();
    let mark = stopped.iter().zip(&sound).position(|(old, new)| old != new).expect("is behind");
    // A byte of the mark, and all of the block it begins, with the units that follow.
    for damage in [vec![0xff], vec![0; 4096], vec![0xa5; 512]] {
        let at = if damage.len() == 1 { mark + 20 } else { mark };
        file(&disk, segment).write_all_at(&[&sound], 0).expect("writes");
        file(&disk, segment).write_all_at(&[&damage], at as u64).expect("writes");

        let refused = open(&disk).map(drop).expect_err("it is damaged");
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
        let copy = copy(&disk);
        let (damages, messages) = repaired(&copy);
        assert!(!damages.is_empty());
        let bodies: Vec<u8> = messages.into_values().map(|(_, body)| body[0]).collect();
        let readable = bodies[1];
        assert!(usize::from(readable) <= 1 + damage.len().div_ceil(100), "{readable}");
        let expected: Vec<u8> = [0].into_iter().chain(readable..100).collect();
        assert_eq!(bodies, expected);
    }
}
