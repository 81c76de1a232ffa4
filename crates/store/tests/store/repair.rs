//! Repairs that are cut off, that are made again, and of a journal that lacks its end or
//! has files of other numbers.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use leveret_store::{
    Batch, Definition, Disk, DiskFile, Lsn, MemDisk, OpenError, Recovered, Store, StoreOptions,
    Table,
    offline::{self, Definitions, SetAside},
    simulation::SimDisk,
};

use crate::support::{block_on::block_on, messages};

fn dir() -> &'static Path {
    Path::new("/data")
}

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 4 << 10,
        first_segment_bytes: 4 << 10,
        lazy_sync: Duration::from_millis(1),
        // What is read is what is damaged.
        summary_from_bytes: u64::MAX,
        ..StoreOptions::default()
    }
}

fn open(disk: &(impl Disk + Clone)) -> Result<(Store, Recovered), OpenError> {
    Store::open(Arc::new(disk.clone()), dir(), options())
}

/// Numbers and payloads.
type Messages = Vec<(Lsn, Vec<u8>)>;

fn messages(store: &Store, recovered: &Recovered) -> Messages {
    let found = messages::messages(store, recovered).expect("reads");
    found.into_iter().map(|message| (message.lsn, message.payload)).collect()
}

fn repair(disk: &impl Disk) -> offline::RepairReport {
    offline::repair(disk, dir(), Definitions::Optional).expect("can be repaired")
}

/// What is there after the disk was repaired for good.
fn opened(disk: &(impl Disk + Clone)) -> Messages {
    let (store, recovered) = open(disk).expect("opens");
    messages(&store, &recovered)
}

/// A journal of several segments, the messages in which wait in queue 1.
fn written(disk: &MemDisk) {
    let (store, _) = open(disk).expect("opens");
    let mut batch = Batch::new();
    for number in 0..60_u8 {
        batch.message(&[1], &[&[number; 200]]);
        block_on(store.durable(store.append(&mut batch).last));
    }
    store.close();
}

fn segments(disk: &impl Disk) -> Vec<PathBuf> {
    let journal = dir().join("journal");
    let mut names = disk.list(&journal).expect("lists");
    names.retain(|name| name.ends_with(".seg"));
    names.sort();
    names.iter().map(|name| journal.join(name)).collect()
}

fn file(disk: &impl Disk, path: &Path) -> Arc<dyn DiskFile> {
    disk.open(path).expect("is there")
}

/// Damages a record in the middle of a segment.
fn damage(disk: &impl Disk, path: &Path) {
    file(disk, path).write_all_at(&[&[0xee; 30]], 1500).expect("writes");
}

/// All files of a disk on another, durably.
fn copy(of: &impl Disk, to: &impl Disk) {
    for folder in [dir().to_owned(), dir().join("journal")] {
        for name in of.list(&folder).expect("lists") {
            let path = folder.join(name);
            let from = file(of, &path);
            let mut bytes = vec![0; usize::try_from(from.len().expect("has one")).expect("small")];
            from.read_exact_at(&mut bytes, 0).expect("reads");
            let copy = to.create(&path).expect("is made");
            copy.write_all_at(&[&bytes], 0).expect("writes");
            copy.sync_data().expect("syncs");
        }
        to.sync_dir(&folder).expect("syncs");
    }
}

#[test]
fn what_an_earlier_repair_set_aside_stays_where_it_is() {
    for times in [1, 2] {
        let disk = MemDisk::new();
        written(&disk);
        let second = segments(&disk)[1].clone();
        for _ in 0..times {
            damage(&disk, &second);
            assert!(!repair(&disk).files.is_empty());
        }
        // All of that is acknowledged, and its segment goes.
        let (store, recovered) = open(&disk).expect("opens");
        let mut batch = Batch::new();
        for (lsn, _) in messages(&store, &recovered) {
            batch.ack(1, &[lsn]);
        }
        store.append(&mut batch);
        while segments(&disk).iter().any(|path| *path <= second) {
            batch.message(&[1], &[&[7; 300]]);
            let last = store.append(&mut batch).last;
            batch.ack(1, &[last]);
            block_on(store.durable(store.append(&mut batch).last));
        }
        batch.message(&[1], &[b"new"]);
        block_on(store.durable(store.append(&mut batch).last));
        store.close();
        drop(store);

        let before = segments(&disk);
        let report = repair(&disk);
        assert!(report.damages.is_empty() && report.files.is_empty(), "{report:?}");
        assert_eq!(segments(&disk), before, "a file is back");
        let payloads: Vec<_> = opened(&disk).into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(payloads, [b"new"]);
    }
}

/// At each change or sync of a repair the power goes, or the process ends. A start without another repair
/// finds what this one would have left, or says why there is none.
fn cut_off_everywhere(damaged: &MemDisk, definitions: Definitions) {
    let whole = MemDisk::new();
    copy(damaged, &whole);
    offline::repair(&whole, dir(), definitions).expect("can be repaired");
    let expected = opened(&whole);
    let mut refusals = 0;
    for count in 0.. {
        let mut is_whole = false;
        for is_power_lost in [true, false] {
            let disk = SimDisk::new(count);
            copy(damaged, &disk);
            disk.crash_after(count);
            is_whole = offline::repair(&disk, dir(), definitions).is_ok();
            assert_ne!(is_whole, disk.is_down());
            let disk = if is_power_lost { disk.reboot() } else { disk.restart() };
            match open(&disk) {
                Ok((store, recovered)) => {
                    let found = messages(&store, &recovered);
                    assert!(found == expected, "a start after {count} changes found others");
                }
                Err(OpenError::UnfinishedRepair { .. }) => {
                    refusals += 1;
                    let refused = offline::check(&disk, dir()).expect_err("neither old nor new");
                    assert!(refused.to_string().contains("run `leveret store repair` again"));
                }
                // Nothing has been replaced yet.
                Err(error) => {
                    let is_damaged = matches!(
                        error,
                        OpenError::Damaged { .. }
                            | OpenError::MissingSegment { .. }
                            | OpenError::BadSegment { .. }
                            | OpenError::Definitions { .. }
                    );
                    assert!(is_damaged && !is_whole, "{error}");
                }
            }
            offline::repair(&disk, dir(), definitions).expect("can be repaired");
            assert!(opened(&disk) == expected, "cut off after {count} changes");
        }
        if is_whole {
            break;
        }
    }
    assert!(refusals > 0);
}

#[test]
fn a_repair_that_is_cut_off_loses_nothing_and_is_made_again() {
    let sound = MemDisk::new();
    written(&sound);
    let count = segments(&sound).len();
    assert!(count > 5);
    // The first, a few, the last two that have units.
    for hit in [vec![0], vec![1, 2, 4], vec![count - 4, count - 3]] {
        let disk = MemDisk::new();
        copy(&sound, &disk);
        for index in &hit {
            damage(&disk, &segments(&sound)[*index]);
        }
        cut_off_everywhere(&disk, Definitions::Optional);
        // Where a segment was repaired before, what was set aside then is not what is put back.
        repair(&disk);
        for index in &hit {
            damage(&disk, &segments(&sound)[*index]);
        }
        disk.remove(&segments(&sound)[3]).expect("removes");
        cut_off_everywhere(&disk, Definitions::Optional);
    }
}

/// What the one before had replaced is damaged no more, and still nobody may be told that nothing was changed.
#[test]
fn a_repair_made_again_says_what_the_one_before_replaced() {
    let damaged = MemDisk::new();
    written(&damaged);
    let hit = [1, 4].map(|index| segments(&damaged)[index].clone());
    hit.iter().for_each(|path| damage(&damaged, path));
    let mut replaced = [0; 3];
    for count in 0.. {
        let disk = SimDisk::new(count);
        copy(&damaged, &disk);
        disk.crash_after(count);
        if offline::repair(&disk, dir(), Definitions::Optional).is_ok() {
            break;
        }
        let disk = disk.restart();
        let has_begun = disk.open(&dir().join("repair.unfinished")).is_ok();
        let expected: Vec<SetAside> = hit
            .iter()
            .map(|path| SetAside { path: path.clone(), aside: path.with_extension("seg.damaged") })
            .filter(|one| [&one.path, &one.aside].iter().all(|path| disk.open(path).is_ok()))
            .collect();
        let report = repair(&disk);
        if !has_begun && expected.len() == hit.len() {
            // All was done, but for saying so.
            assert!(report.damages.is_empty() && report.files.is_empty() && !report.was_cut_off);
            continue;
        }
        assert_eq!((report.was_cut_off, &report.replaced_before), (has_begun, &expected));
        let again = report.files.iter().map(|file| &file.path);
        assert!(expected.iter().map(|one| &one.path).chain(again).eq(&hit), "{report:?}");
        replaced[expected.len()] += 1;
    }
    assert!(replaced.iter().all(|times| *times > 0), "{replaced:?}");
}

/// Also if one of the files was damaged again meanwhile.
#[test]
fn a_repair_cut_off_twice_still_says_what_the_first_one_replaced() {
    let damaged = MemDisk::new();
    written(&damaged);
    let [first, other] = [1, 4].map(|index| segments(&damaged)[index].clone());
    damage(&damaged, &first);
    damage(&damaged, &other);
    let is_there = |disk: &SimDisk, path: &Path| disk.open(path).is_ok();
    let aside = first.with_extension("seg.damaged");
    let once = (0..).find_map(|count| {
        let disk = SimDisk::new(count);
        copy(&damaged, &disk);
        disk.crash_after(count);
        offline::repair(&disk, dir(), Definitions::Optional).expect_err("cut off");
        let disk = disk.restart();
        let is_half =
            is_there(&disk, &first) && is_there(&disk, &aside) && !is_there(&disk, &other);
        is_half.then_some(disk)
    });
    let once = once.expect("one file has been replaced");
    let replaced = SetAside { path: first.clone(), aside };
    for is_damaged_again in [false, true] {
        let mut cut_off = 0;
        for count in 0.. {
            let disk = SimDisk::new(count);
            copy(&once, &disk);
            if is_damaged_again {
                damage(&disk, &first);
            }
            disk.crash_after(count);
            if offline::repair(&disk, dir(), Definitions::Optional).is_ok() {
                break;
            }
            let disk = disk.restart();
            if !is_there(&disk, &dir().join("repair.unfinished")) {
                continue;
            }
            let report = repair(&disk);
            assert!(report.was_cut_off && report.replaced_before.contains(&replaced), "{report:?}");
            let before = report.replaced_before.iter().map(|one| &one.path);
            let after = report.files.iter().map(|file| &file.path);
            let named: BTreeSet<&PathBuf> = before.chain(after).collect();
            assert_eq!(named, BTreeSet::from([&first, &other]), "after {count} changes");
            cut_off += 1;
        }
        assert!(cut_off > 5, "{cut_off}");
    }
}

#[test]
fn so_is_one_that_drops_the_definitions() {
    let disk = MemDisk::new();
    let (store, _) = open(&disk).expect("opens");
    let mut batch = Batch::new();
    batch.define(&[Definition::Put { table: Table::Queues, key: vec![1], value: vec![1; 20] }]);
    store.append(&mut batch);
    store.close();
    drop(store);
    written(&disk);
    let path = dir().join("definitions.redb");
    let length = file(&disk, &path).len().expect("has one");
    for offset in (0..length).step_by(512) {
        file(&disk, &path).write_all_at(&[&[0x5a; 64]], offset).expect("writes");
    }
    damage(&disk, &segments(&disk)[0]);
    cut_off_everywhere(&disk, Definitions::Dropped);
}

/// Nothing in what is left of the journal says so, but the definitions reach their tables only once it is
/// synced as far.
#[test]
fn an_end_that_the_definitions_know_of_is_missed() {
    let sound = MemDisk::new();
    written(&sound);
    let (store, _) = open(&sound).expect("opens");
    let mut batch = Batch::new();
    batch.define(&[Definition::Put { table: Table::Queues, key: vec![1], value: vec![1; 20] }]);
    let applied = store.append(&mut batch).last;
    store.close();
    drop(store);
    let count = segments(&sound).len();
    // Files from one on, all of them at last.
    for left in (0..count - 2).rev() {
        let disk = MemDisk::new();
        copy(&sound, &disk);
        for path in segments(&sound).iter().skip(left) {
            disk.remove(path).expect("removes");
        }
        let error = open(&disk).map(drop).expect_err("its end is lost");
        match &error {
            OpenError::Damaged { after, durable, .. } => {
                assert!(*after < applied && *durable == applied, "{error}");
            }
            OpenError::MissingSegment { path } => {
                assert!(left == 0 && *path == segments(&sound)[0], "{error}");
            }
            other => panic!("{other}"),
        }
        let damages = offline::check(&disk, dir()).expect("can be checked").damages;
        let [damage] = damages.as_slice() else { panic!("{damages:?}") };
        let until = format!(" to {applied} are lost");
        assert!(damage.to_string().ends_with(&until), "{damage}");
        let report = repair(&disk);
        assert_eq!((report.damages, report.files.len()), (damages, 1));
        let (store, recovered) = open(&disk).expect("opens after the repair");
        assert_eq!(recovered.definitions.len(), 1);
        let found = messages(&store, &recovered);
        assert_eq!(found, opened(&sound)[..found.len()]);
        assert!((left > 0) == (found.len() > 5 * left));
        batch.message(&[1], &[b"new"]);
        assert!(store.append(&mut batch).first > applied, "a number is given twice");
    }
}

#[test]
fn a_name_with_a_wrong_bit_is_one_damage() {
    let sound = MemDisk::new();
    written(&sound);
    let names = segments(&sound);
    for (index, bit) in [(0, 63), (3, 63), (names.len() - 1, 63), (2, 20)] {
        let disk = MemDisk::new();
        copy(&sound, &disk);
        let number = (index as u64 + 1) | (1 << bit);
        let stray = names[index].with_file_name(format!("{number:016x}.seg"));
        disk.rename(&names[index], &stray).expect("renames");
        assert!(open(&disk).is_err());
        let damages = offline::check(&disk, dir()).expect("can be checked").damages;
        assert!(damages.iter().any(|damage| damage.path == stray), "{damages:?}");
        assert!(damages.len() <= 2, "{damages:?}");
        let report = repair(&disk);
        let aside = Some(stray.with_extension("seg.damaged"));
        assert!(report.files.iter().any(|file| file.path == stray && file.set_aside == aside));
        let found = opened(&disk);
        let lost: Vec<_> = opened(&sound).into_iter().filter(|one| !found.contains(one)).collect();
        assert!(lost.len() < 20, "more than a segment's are lost");
        assert!(index < names.len() - 1 || lost.is_empty());
    }
}
