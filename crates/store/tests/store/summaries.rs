//! Segments taken by their summaries are what they are when they are read; a summary that is damaged,
//! torn or of another time is not believed; and damage hidden behind one costs what was damaged.

use std::{
    collections::BTreeSet,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use leveret_store::{
    Batch, Disk, Lsn, MemDisk, Recovered, Store, StoreOptions,
    offline::{self, Definitions, Lost},
};

use crate::support::{
    block_on::block_on,
    lives::{self, Trouble, check_reads, dir, each_seed, live_through},
    messages,
    model::State,
};

fn options() -> StoreOptions {
    lives::options(&Arc::new(AtomicBool::new(false)))
}

#[test]
fn lives_are_recovered_by_summaries_others_left() {
    let (summaries, lives) = (AtomicUsize::new(0), AtomicUsize::new(0));
    each_seed(5_000_000..5_000_200, |seed| {
        let trouble = [Trouble::Crashes, Trouble::FullDisks][usize::from(seed % 2 == 0)];
        live_through(seed, trouble, |store, recovered, disk| {
            summaries.fetch_add(recovered.report.summaries, Ordering::Relaxed);
            lives.fetch_add(1, Ordering::Relaxed);
            check_reads(store, recovered, disk);
        });
    });
    let (summaries, lives) = (summaries.into_inner(), lives.into_inner());
    assert!(summaries > lives / 2 || lives < 100, "{summaries} believed in {lives} lives");
}

/// A journal of 20 messages in several segments, closed, some of them settled or returned.
fn written(disk: &MemDisk, options: StoreOptions) -> Vec<Lsn> {
    let (store, _) = Store::open(Arc::new(disk.clone()), dir(), options).expect("opens");
    let mut batch = Batch::new();
    let mut lsns = Vec::new();
    for round in 0..20_u8 {
        batch.message(&[1, 2 + u64::from(round % 3)], &[&[round; 700]]);
        let lsn = store.append(&mut batch).last;
        lsns.push(lsn);
        if round % 4 == 1 {
            batch.ack(1, &[lsn]);
            batch.returned(2 + u64::from(round % 3), &[(lsn, 5)]);
            store.append(&mut batch);
        }
        block_on(store.durable(lsn));
    }
    store.close();
    lsns
}

fn open(disk: &MemDisk) -> (Store, Recovered) {
    Store::open(Arc::new(disk.clone()), dir(), options()).expect("opens")
}

fn segments(disk: &MemDisk) -> Vec<PathBuf> {
    let journal = dir().join("journal");
    let mut names = disk.list(&journal).expect("lists");
    names.sort();
    names.iter().map(|name| journal.join(name)).collect()
}

fn copy(disk: &MemDisk) -> MemDisk {
    let copy = MemDisk::new();
    copy.create_dir_all(&dir().join("journal")).expect("makes");
    for path in segments(disk) {
        let bytes = contents(disk, &path);
        copy.create(&path).and_then(|file| file.write_all_at(&[&bytes], 0)).expect("copies");
    }
    copy
}

fn contents(disk: &MemDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).expect("is there");
    let length = file.len().expect("has a length");
    let mut bytes = vec![0; usize::try_from(length).expect("fits")];
    file.read_exact_at(&mut bytes, 0).expect("reads");
    bytes
}

/// Where the summary of a segment begins, and where it ends.
fn summary(disk: &MemDisk, path: &Path) -> Range<usize> {
    let bytes = contents(disk, path);
    let footer = &bytes[bytes.len() - 64..];
    assert!(footer.starts_with(b"LVTSUMRY"));
    let length = u64::from_le_bytes(footer[24..32].try_into().expect("8 bytes"));
    bytes.len() - 64 - usize::try_from(length).expect("fits")..bytes.len()
}

/// What a journal holds, and by how many summaries that is known.
fn state(disk: &MemDisk) -> (State, usize) {
    let (store, recovered) = open(disk);
    let state = State::recovered(&store, &recovered).expect("reads");
    (state, recovered.report.summaries)
}

#[test]
fn a_segment_is_the_same_by_its_summary_and_read() {
    let disk = MemDisk::new();
    written(&disk, options());
    let (by_summary, summaries) = state(&copy(&disk));
    assert!(summaries >= 3, "{summaries}");
    for path in segments(&disk) {
        // Nothing is believed without its checksums.
        let file = disk.open(&path).expect("is there");
        let at = file.len().expect("has a length") - 40;
        file.write_all_at(&[&[0xee; 8]], at).expect("writes");
    }
    assert!(state(&disk) == (by_summary.clone(), 0));
    assert!(state(&disk) == (by_summary, summaries), "they were written again");
}

#[test]
fn no_bit_of_a_summary_can_be_flipped_unnoticed() {
    let disk = MemDisk::new();
    written(&disk, options());
    let (whole, summaries) = state(&copy(&disk));
    let path = &segments(&disk)[1];
    for at in summary(&disk, path) {
        let damaged = copy(&disk);
        let byte = contents(&disk, path)[at] ^ 1 << (at % 8);
        damaged
            .open(path)
            .and_then(|file| file.write_all_at(&[&[byte]], at as u64))
            .expect("writes");
        assert!(state(&damaged) == (whole.clone(), summaries - 1), "byte {at}");
        let report = offline::check(&damaged, dir()).expect("can be checked");
        assert!(report.damages.is_empty(), "nothing is lost with it: {:?}", report.damages);
    }
}

#[test]
fn a_torn_summary_is_not_believed() {
    let disk = MemDisk::new();
    let options =
        StoreOptions { segment_bytes: 64 << 10, first_segment_bytes: 64 << 10, ..options() };
    let (store, _) = Store::open(Arc::new(disk.clone()), dir(), options).expect("opens");
    let mut batch = Batch::new();
    for round in 0..200_u64 {
        for message in 0..10 {
            batch.message(&[1, 2 + message], &[&[0; 40], &round.to_le_bytes()]);
        }
        block_on(store.durable(store.append(&mut batch).last));
    }
    store.close();
    drop(store);
    let (whole, summaries) = state(&copy(&disk));
    let path = &segments(&disk)[0];
    let range = summary(&disk, path);
    let blocks: Vec<usize> = (range.start / BLOCK..range.end / BLOCK).collect();
    assert!(summaries >= 2 && blocks.len() > 3, "{summaries} with {} blocks", blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        // Alone, and with all before it, as what was there before.
        for first in [*block, blocks[0]] {
            let torn = copy(&disk);
            let from = range.start.max(first * BLOCK);
            let old = vec![0; (block + 1) * BLOCK - from];
            torn.open(path)
                .and_then(|file| file.write_all_at(&[&old], from as u64))
                .expect("writes");
            assert!(state(&torn) == (whole.clone(), summaries - 1), "block {index}");
        }
    }
}

#[test]
fn a_journal_without_summaries_is_read() {
    let disk = MemDisk::new();
    let none = StoreOptions { summary_from_bytes: u64::MAX, ..options() };
    let lsns = written(&disk, none);
    let (store, recovered) = open(&disk);
    assert_eq!(recovered.report.summaries, 0);
    assert_eq!(messages::messages(&store, &recovered).expect("reads").len(), lsns.len());
}

#[test]
fn damage_in_a_segment_taken_by_its_summary_costs_only_its_message_and_is_found_by_a_check() {
    let disk = MemDisk::new();
    let lsns = written(&disk, options());
    let path = &segments(&disk)[1];
    // In the body of the segment's first message, behind the headers and the places.
    disk.open(path).and_then(|file| file.write_all_at(&[&[0xee; 4]], 400)).expect("writes");
    let (store, recovered) = open(&disk);
    assert!(recovered.report.summaries >= 3);
    let read = store.read(&lsns).expect("reads");
    assert_eq!(read.len(), lsns.len() - 1);
    store.close();
    drop(store);
    let report = offline::check(&disk, dir()).expect("can be checked");
    let [damage] = report.damages.as_slice() else { panic!("{:?}", report.damages) };
    assert_eq!(&damage.path, path);
    let Lost::Records { first, last, count: 1 } = damage.lost else { panic!("{damage}") };
    assert!(first == last && read.iter().all(|(lsn, _)| *lsn != first));
    offline::repair(&disk, dir(), Definitions::Optional).expect("can be repaired");
    let (store, recovered) = open(&disk);
    assert_eq!(messages::messages(&store, &recovered).expect("reads").len(), lsns.len() - 1);
}

/// The place of a message there is its number for those who read it, and so are those of all behind it.
#[test]
fn a_repair_keeps_the_places_of_what_streams_lose() {
    let sound = MemDisk::new();
    written(&sound, options());
    let waiting = |disk: &MemDisk, queue: u64| -> Vec<Lsn> {
        let (_store, recovered) = open(disk);
        let of_queue = recovered.backlogs.iter().filter(|backlog| backlog.queue() == queue);
        of_queue.flat_map(|backlog| backlog.messages().map(|message| message.lsn)).collect()
    };
    let before = waiting(&copy(&sound), 1);
    // The first unit, a few, all of a segment, of the first one and of another.
    for (index, from, length) in
        [(0, 64, 40), (0, 64, 800), (1, 64, 900), (1, 900, 1500), (1, 64, 2900), (2, 1000, 4)]
    {
        let disk = copy(&sound);
        let path = &segments(&disk)[index];
        let noise = vec![0xee; length];
        disk.open(path).and_then(|file| file.write_all_at(&[&noise], from)).expect("writes");
        let streams = |_: &[_]| BTreeSet::from([1]);
        let wanted = Definitions::Optional;
        let report = offline::repair_with_streams(&disk, dir(), wanted, streams).expect("repairs");
        assert!(!report.damages.is_empty(), "{index} {from}");
        assert_eq!(waiting(&copy(&disk), 1), before, "{index} {from} {:?}", report.damages);
        let (store, recovered) = open(&disk);
        let read = store.read(&before).expect("reads");
        assert!(read.iter().map(|(lsn, _)| lsn).eq(&before));
        let lost = read.iter().filter(|(_, payload)| payload.is_empty()).count();
        let others = recovered.backlogs.iter().filter(|backlog| backlog.queue() != 1);
        assert!(others.map(|backlog| backlog.len()).sum::<u64>() <= 20 - lost as u64, "{lost}");
    }
}

#[test]
fn a_damaged_settlement_in_a_segment_taken_by_its_summary_still_holds() {
    let disk = MemDisk::new();
    written(&disk, options());
    let (whole, summaries) = state(&copy(&disk));
    let path = &segments(&disk)[1];
    let bytes = contents(&disk, path);
    // The kind of a record that settles, in a unit that begins with it.
    let is_unit = |at: &usize| bytes[*at..].starts_with(b"LVTU") && bytes[at + 64 + 4] == ACK;
    let at = (64..bytes.len() - 128).step_by(8).find(is_unit).expect("is there");
    disk.open(path).and_then(|file| file.write_all_at(&[&[0xee]], at as u64 + 90)).expect("writes");
    assert!(state(&copy(&disk)) == (whole, summaries));
    let report = offline::check(&disk, dir()).expect("can be checked");
    assert_eq!(report.damages.iter().map(|damage| &damage.path).collect::<Vec<_>>(), [path]);
}

/// What a disk writes as a whole or not at all.
const BLOCK: usize = 512;
const ACK: u8 = 2;
