//! Disk use stays within twice the live messages and an allowance, whatever keeps segments.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use leveret_store::{
    Backlog, Batch, Disk, DiskFile, Lsn, MemDisk, Recovered, Store, StoreOptions,
    offline::{self, Definitions, DumpedRecord},
    simulation::{Operation, SimDisk},
};

use crate::support::{block_on::block_on, messages::messages};

const SEGMENT: u64 = 64 << 10;
/// The segment being written, the next one, the one being emptied, and one of slack.
const ALLOWANCE: u64 = 4 * SEGMENT;

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: SEGMENT,
        first_segment_bytes: SEGMENT,
        lazy_sync: Duration::from_millis(1),
        ..StoreOptions::default()
    }
}

fn dir() -> &'static Path {
    Path::new("/data")
}

fn first_segment() -> PathBuf {
    dir().join("journal/0000000000000001.seg")
}

fn content(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(SEGMENT).expect("small")];
    file.read_exact_at(&mut bytes, 0).expect("reads");
    bytes
}

fn open(disk: &MemDisk) -> (Store, Recovered) {
    open_with(disk, options())
}

fn open_with(disk: &MemDisk, options: StoreOptions) -> (Store, Recovered) {
    Store::open(Arc::new(disk.clone()), dir(), options).expect("opens")
}

/// A store, and what is waiting in it.
struct World {
    disk: MemDisk,
    store: Store,
    batch: Batch,
    waiting: BTreeMap<Lsn, (u64, Vec<u8>)>,
    number: u64,
}

impl World {
    fn new() -> Self {
        Self::with(options())
    }

    fn with(options: StoreOptions) -> Self {
        let disk = MemDisk::new();
        let (store, _) = open_with(&disk, options);
        Self { disk, store, batch: Batch::new(), waiting: BTreeMap::new(), number: 0 }
    }

    fn publish(&mut self, queue: u64, size: usize) -> Lsn {
        self.number += 1;
        let mut payload = self.number.to_le_bytes().to_vec();
        payload.resize(size.max(8), 7);
        self.batch.message(&[queue], &[&payload]);
        let lsn = self.store.append(&mut self.batch).last;
        self.waiting.insert(lsn, (queue, payload));
        if self.number.is_multiple_of(20) {
            block_on(self.store.durable(lsn));
            self.check();
        }
        lsn
    }

    fn ack(&mut self, lsn: Lsn) {
        let (queue, _) = self.waiting.remove(&lsn).expect("waits");
        self.batch.ack(queue, &[lsn]);
        self.store.append(&mut self.batch);
    }

    fn live(&self) -> u64 {
        // Records and units have headers.
        self.waiting.values().map(|(_, payload)| payload.len() as u64 + 64).sum()
    }

    fn used(&self) -> u64 {
        let journal = dir().join("journal");
        let mut names = self.disk.list(&journal).expect("lists");
        // What was damaged is the operator's to remove.
        names.retain(|name| !name.contains(".damaged"));
        let length = |name: &String| {
            // Files come and go meanwhile.
            self.disk.open(&journal.join(name)).and_then(|file| file.len()).unwrap_or_default()
        };
        names.iter().map(length).sum()
    }

    /// Compaction is behind by what was written since it last looked.
    fn check(&self) {
        let bound = || 2 * self.live() + ALLOWANCE;
        let begun = Instant::now();
        while self.used() > bound() {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{} bytes for {} live, {:?}",
                self.used(),
                self.live(),
                self.store.stats()
            );
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Everything waiting is there: now, in the files, and after a restart.
    fn finish(self) {
        let Self { disk, store, waiting, .. } = self;
        let lsns: Vec<Lsn> = waiting.keys().copied().collect();
        let last = *lsns.last().expect("something waits");
        block_on(store.durable(last));
        while store.readable_lsn() < last {
            thread::yield_now();
        }
        let read = store.read(&lsns).expect("reads");
        let payloads: Vec<(Lsn, &[u8])> =
            waiting.iter().map(|(lsn, (_, payload))| (*lsn, payload.as_slice())).collect();
        assert!(read.iter().map(|(lsn, payload)| (*lsn, &payload[..])).eq(payloads.clone()));
        assert!(store.stats().moved_bytes > 0);
        store.close();
        assert_eq!(store.stats().live_places, waiting.len() as u64);
        drop(store);
        let report = offline::check(&disk, dir()).expect("can be checked");
        assert_eq!(report.damages, []);
        let usage = offline::usage(&disk, dir()).expect("can be read");
        let live: u64 = usage.queues.values().map(|queue| queue.live_messages).sum();
        assert_eq!(live, waiting.len() as u64);
        let (store, recovered) = open(&disk);
        let found = messages(&store, &recovered).expect("reads");
        let messages = found.iter().map(|message| (message.lsn, &message.payload[..]));
        assert!(messages.eq(payloads.clone()));
        let queues = found.iter().map(|message| message.places.keys().copied());
        assert!(queues.flatten().eq(waiting.values().map(|(queue, _)| *queue)));
        let read = store.read(&lsns).expect("reads");
        assert!(read.iter().map(|(lsn, payload)| (*lsn, &payload[..])).eq(payloads));
    }
}

#[test]
fn one_old_message_does_not_keep_what_comes_after() {
    let mut world = World::new();
    world.publish(1, 1000);
    for _ in 0..4000 {
        let lsn = world.publish(2, 500);
        world.ack(lsn);
    }
    world.finish();
}

#[test]
fn what_is_damaged_costs_itself_and_keeps_nothing_else() {
    give_up_damaged(false);
}

/// Its number is its place there.
#[test]
fn what_is_damaged_of_a_stream_keeps_its_place() {
    give_up_damaged(true);
}

fn give_up_damaged(is_stream: bool) {
    let patience = Duration::from_millis(1);
    let mut world = World::with(StoreOptions { read_patience: patience, ..options() });
    world.store.keep_places(1, is_stream);
    let old: Vec<Lsn> = (0..20).map(|_| world.publish(1, 1000)).collect();
    let file = world.disk.open(&first_segment()).expect("opens");
    let bytes = content(&*file);
    // The body of the tenth, and the header of the sixteenth's unit with that of its record.
    let body = |lsn: &Lsn| {
        let (_, body) = &world.waiting[lsn];
        bytes.windows(body.len()).position(|window| window == body).expect("is there") as u64
    };
    file.write_all_at(&[&[0xff; 4]], body(&old[9]) + 500).expect("writes");
    file.write_all_at(&[&[0; 90]], body(&old[15]) - 90).expect("writes");
    for lost in [old[9], old[15]] {
        world.waiting.remove(&lost);
        if is_stream {
            world.waiting.insert(lost, (1, Vec::new()));
        }
    }
    for _ in 0..1000 {
        let lsn = world.publish(2, 1000);
        world.ack(lsn);
    }
    let names = world.disk.list(&dir().join("journal")).expect("lists");
    assert!(names.contains(&"0000000000000001.seg.damaged".to_owned()), "{names:?}");
    world.finish();
}

/// The disk of a process that ended while it was emptying the first segment, and what is waiting there.
struct HalfEmptied {
    disk: MemDisk,
    waiting: BTreeMap<Lsn, (u64, Vec<u8>)>,
    number: u64,
    /// The messages of the first segment.
    old: Vec<Lsn>,
}

fn options_of_half_emptied() -> StoreOptions {
    StoreOptions {
        read_patience: Duration::from_millis(1),
        compaction_bytes_per_second: 1,
        summary_from_bytes: 0,
        ..options()
    }
}

impl HalfEmptied {
    /// Only the messages are kept of which that is said.
    fn new(is_kept: impl Fn(usize) -> bool) -> Self {
        Self::with(is_kept, 0, 0)
    }

    /// With others waiting behind them, and so many written after some have been moved.
    fn with(is_kept: impl Fn(usize) -> bool, others: usize, after: usize) -> Self {
        // The first stretch of the segment is moved, which is a quarter of that, and hardly ever all of it.
        loop {
            let mut world = World::with(options_of_half_emptied());
            let old: Vec<Lsn> = (0..50).map(|_| world.publish(1, 1000)).collect();
            for _ in 0..others {
                world.publish(3, 1000);
            }
            for (_, lsn) in old.iter().enumerate().filter(|(index, _)| !is_kept(*index)) {
                world.ack(*lsn);
            }
            while world.store.stats().moved_bytes == 0 {
                let lsn = world.publish(2, 1000);
                world.ack(lsn);
            }
            for _ in 0..after {
                let lsn = world.publish(2, 1000);
                world.ack(lsn);
            }
            world.store.close();
            let World { disk, waiting, number, .. } = world;
            if disk.open(&first_segment()).is_ok() {
                break Self { disk, waiting, number, old };
            }
        }
    }

    /// Damages the first record of a message.
    fn damage(&self, lsn: Lsn) {
        let file = self.disk.open(&first_segment()).expect("opens");
        let bytes = content(&*file);
        let (_, body) = &self.waiting[&lsn];
        let at = bytes.windows(body.len()).position(|window| window == body).expect("is there");
        file.write_all_at(&[&[0xff; 4]], at as u64 + 500).expect("writes");
    }

    fn open(self, is_kept: impl Fn(Lsn) -> bool) -> World {
        self.open_with(is_kept, options_of_half_emptied())
    }

    /// Opens it, and acknowledges what is not kept any more.
    fn open_with(self, is_kept: impl Fn(Lsn) -> bool, options: StoreOptions) -> World {
        let Self { disk, mut waiting, number, old } = self;
        let (store, _) = open_with(&disk, options);
        let mut batch = Batch::new();
        for lsn in old {
            if !is_kept(lsn) && waiting.remove(&lsn).is_some() {
                batch.ack(1, &[lsn]);
            }
        }
        store.append(&mut batch);
        World { disk, store, batch, waiting, number }
    }

    fn repair(&self) {
        self.repair_with_streams(&[]);
    }

    fn repair_with_streams(&self, streams: &[u64]) {
        let streams = |_: &[_]| streams.iter().copied().collect();
        let wanted = Definitions::Optional;
        let report = offline::repair_with_streams(&self.disk, dir(), wanted, streams);
        assert_eq!(report.expect("is repaired").damages.len(), 1);
    }
}

/// Where moved messages are: their segments and LSNs. No unit has any with something else.
fn moved(disk: &MemDisk) -> Vec<(u64, Lsn)> {
    let mut moved = Vec::new();
    let mut units: BTreeMap<(u64, u64), bool> = BTreeMap::new();
    offline::dump(disk, dir(), |segment, offset, _, record| {
        let message = match record {
            DumpedRecord::Moved { message, .. } => Some(message),
            _ => None,
        };
        moved.extend(message.map(|message| (segment, message)));
        let is_moved = message.is_some();
        assert_eq!(*units.entry((segment, offset)).or_insert(is_moved), is_moved);
        Ok(())
    })
    .expect("is read");
    moved
}

/// Writes over all units of a segment if it is full. Its header and its summary stay.
fn lose_all(disk: &MemDisk, number: u64) -> bool {
    let path = dir().join(format!("journal/{number:016x}.seg"));
    let file = disk.open(&path).expect("opens");
    let bytes = content(&*file);
    let footer = &bytes[bytes.len() - 64..];
    if !footer.starts_with(b"LVTSUMRY") {
        return false;
    }
    let used = u64::from_le_bytes(footer[32..40].try_into().expect("8 bytes"));
    let noise = vec![0xee; usize::try_from(used - 64).expect("small")];
    file.write_all_at(&[&noise], 64).expect("writes");
    true
}

/// Changes a byte in all records of a message, so far before its body. Answers in how many files.
fn damage(disk: &MemDisk, body: &[u8], back: usize) -> usize {
    let journal = dir().join("journal");
    let mut damaged = 0;
    for name in disk.list(&journal).expect("lists") {
        // Files come and go meanwhile.
        let Ok(file) = disk.open(&journal.join(name)) else { continue };
        let bytes = content(&*file);
        if let Some(at) = bytes.windows(body.len()).position(|window| window == body) {
            let at = at - back;
            file.write_all_at(&[&[!bytes[at]]], at as u64).expect("writes");
            damaged += 1;
        }
    }
    damaged
}

/// Writes until the first segment has gone, and some that come after it.
fn finish_emptied(mut world: World) {
    for _ in 0..1000 {
        let lsn = world.publish(2, 1000);
        world.ack(lsn);
    }
    assert!(world.disk.open(&first_segment()).is_err(), "the segment goes");
    world.finish();
}

/// A process ended that was emptying the segment: what is damaged there lies elsewhere as well.
#[test]
fn a_damaged_message_that_was_moved_before_is_moved_from_there() {
    for (is_repaired, is_last) in [(false, false), (true, false), (false, true), (true, true)] {
        let half_emptied = HalfEmptied::new(|_| true);
        let damaged = half_emptied.old[3];
        half_emptied.damage(damaged);
        if is_repaired {
            half_emptied.repair();
        }
        finish_emptied(half_emptied.open(|lsn| !is_last || lsn <= damaged));
    }
}

/// All of the segment with the copies is lost.
#[test]
fn what_takes_the_places_of_moved_messages_hides_none_that_can_be_read() {
    let half_emptied = HalfEmptied::with(|_| true, 0, 70);
    let (lost, _) = moved(&half_emptied.disk)[0];
    assert!(lose_all(&half_emptied.disk, lost));
    half_emptied.repair_with_streams(&[1, 2]);
    assert!(moved(&half_emptied.disk).iter().all(|(segment, _)| *segment != lost));
    finish_emptied(half_emptied.open(|_| true));
}

#[test]
fn what_takes_the_places_of_moved_messages_is_in_units_of_its_own() {
    let mut world = World::with(options_of_half_emptied());
    let old: Vec<Lsn> = (0..60).map(|_| world.publish(1, 200)).collect();
    let mut is_lost = false;
    while !is_lost {
        for _ in 0..70 {
            let lsn = world.publish(2, 1000);
            world.ack(lsn);
        }
        world.store.close();
        is_lost =
            moved(&world.disk).first().is_some_and(|(first, _)| lose_all(&world.disk, *first));
        if !is_lost {
            world.store = open_with(&world.disk, options_of_half_emptied()).0;
        }
    }
    let World { disk, store, .. } = world;
    drop(store);
    assert!(disk.open(&first_segment()).is_err(), "the segment has gone");
    let streams = |_: &[_]| BTreeSet::from([1, 2]);
    offline::repair_with_streams(&disk, dir(), Definitions::Optional, streams).expect("repairs");
    let there: BTreeSet<Lsn> = moved(&disk).into_iter().map(|(_, lsn)| lsn).collect();
    assert!(there.iter().eq(&old));
    let (_store, recovered) = open(&disk);
    let waiting = |backlog: &Backlog| backlog.messages().map(|message| message.lsn).collect();
    let waiting: Vec<Vec<Lsn>> = recovered.backlogs.iter().map(waiting).collect();
    assert_eq!(waiting, [old]);
}

/// What takes its place in a stream does not take that of the copy.
#[test]
fn a_damaged_message_of_a_stream_that_was_moved_before_is_moved_from_there() {
    let half_emptied = HalfEmptied::new(|_| true);
    half_emptied.damage(half_emptied.old[3]);
    half_emptied.repair_with_streams(&[1]);
    finish_emptied(half_emptied.open(|_| true));
}

/// Nor is it moved to where it lies, which would have it twice when that is emptied.
#[test]
fn the_only_moved_message_of_a_segment_is_moved_from_there() {
    let half_emptied = HalfEmptied::new(|index| index == 3 || index == 45);
    half_emptied.damage(half_emptied.old[3]);
    half_emptied.repair();
    // Before the segment that has the copy is full.
    let options =
        StoreOptions { compaction_bytes_per_second: u64::MAX, ..options_of_half_emptied() };
    let world = half_emptied.open_with(|_| true, options);
    while world.disk.open(&first_segment()).is_ok() {
        thread::yield_now();
    }
    finish_emptied(world);
}

#[test]
fn a_message_that_is_damaged_wherever_it_lies_keeps_nothing() {
    // The segment with the copy is full, too: a start reads neither.
    let mut half_emptied = HalfEmptied::with(|_| true, 300, 70);
    let damaged = half_emptied.old[3];
    let (_, body) = half_emptied.waiting.remove(&damaged).expect("waits");
    assert!(damage(&half_emptied.disk, &body, 0) >= 2);
    finish_emptied(half_emptied.open(|_| true));
}

/// One record is damaged in its body, one in its length, others in between.
#[test]
fn what_is_damaged_of_moved_messages_costs_itself_only() {
    let mut world = World::new();
    let old: Vec<Lsn> = (0..60).map(|_| world.publish(1, 200)).collect();
    while world.disk.open(&first_segment()).is_ok() {
        let lsn = world.publish(2, 1000);
        world.ack(lsn);
    }
    let lost = [old[0], old[20], old[40], old[59]];
    let hit = |lsn: &Lsn, back| damage(&world.disk, &world.waiting[lsn].1, back);
    let damages = lost.iter().zip([0, 8, 56, 1]);
    assert!(damages.clone().all(|(lsn, back)| hit(lsn, back) > 0));
    // Some may have been moved just then, as they were.
    let read = loop {
        let read = world.store.read(&old).expect("the disk is well");
        let is_there = |lsn| read.iter().any(|(found, _)| found == lsn);
        let missed: Vec<_> = damages.clone().filter(|(lsn, _)| is_there(*lsn)).collect();
        if missed.is_empty() {
            break read;
        }
        for (lsn, back) in missed {
            hit(lsn, back);
        }
    };
    let found: Vec<Lsn> = read.iter().map(|(lsn, _)| *lsn).collect();
    let others: Vec<Lsn> = old.iter().copied().filter(|lsn| !lost.contains(lsn)).collect();
    assert_eq!(found, others);
    assert!(read.iter().all(|(lsn, payload)| world.waiting[lsn].1 == payload[..]));
}

#[test]
fn what_the_disk_put_in_the_wrong_place_is_not_moved_for_what_was_there() {
    let patience = Duration::from_millis(1);
    // Units of later messages, of earlier ones, and of another time.
    for (from, salt) in [(15, 0), (1, 0), (15, 1)] {
        let mut world = World::with(StoreOptions { read_patience: patience, ..options() });
        let old: Vec<Lsn> = (0..20).map(|_| world.publish(1, 1000)).collect();
        let file = world.disk.open(&first_segment()).expect("opens");
        let bytes = content(&*file);
        let unit = |lsn: &Lsn| {
            let (_, body) = &world.waiting[lsn];
            let body = bytes.windows(body.len()).position(|window| window == body);
            let unit = &bytes[..body.expect("is there")];
            unit.windows(4).rposition(|window| window == b"LVTU").expect("is there")
        };
        let [from, to, end] = [from, 9, 10].map(|index| unit(&old[index]));
        let mut misplaced = bytes[from..from + (end - to)].to_vec();
        misplaced[16] ^= salt;
        let crc = crc32fast::hash(&misplaced[8..64]);
        misplaced[4..8].copy_from_slice(&crc.to_le_bytes());
        file.write_all_at(&[&misplaced], to as u64).expect("writes");
        assert_eq!(world.store.read(&[old[9]]).expect("the disk is well"), []);
        world.waiting.remove(&old[9]);
        for _ in 0..1000 {
            let lsn = world.publish(2, 1000);
            world.ack(lsn);
        }
        world.finish();
    }
}

#[test]
fn the_rate_is_no_reason_to_take_twice_the_space() {
    // At this rate a stretch would wait for hours.
    let mut world = World::with(StoreOptions { compaction_bytes_per_second: 1, ..options() });
    world.publish(1, 1000);
    for _ in 0..1000 {
        let lsn = world.publish(2, 500);
        world.ack(lsn);
    }
    world.finish();
}

#[test]
fn a_queue_that_keeps_its_small_messages_only_keeps_their_space_only() {
    let mut world = World::new();
    for _ in 0..500 {
        let large = world.publish(1, 6000);
        for _ in 0..9 {
            world.publish(1, 10);
        }
        world.ack(large);
    }
    assert!(world.waiting.len() == 4500 && world.live() < 400_000);
    world.finish();
}

#[test]
fn a_slow_queue_among_fast_ones_keeps_its_messages_only() {
    let mut world = World::new();
    let mut slow = VecDeque::new();
    for round in 0..6000 {
        if round % 20 == 0 {
            slow.push_back(world.publish(1, 700));
        }
        if round % 40 == 0
            && let Some(lsn) = slow.pop_front()
        {
            world.ack(lsn);
        }
        let lsn = world.publish(2 + round % 3, 400);
        world.ack(lsn);
    }
    assert!(world.waiting.len() == 150);
    world.finish();
}

#[test]
fn queues_that_come_and_go_leave_nothing_behind() {
    let mut world = World::new();
    world.publish(1, 100);
    let mut queues = VecDeque::new();
    for queue in 2..400 {
        for _ in 0..10 {
            world.publish(queue, 300);
        }
        queues.push_back(queue);
        if queues.len() > 5
            && let Some(old) = queues.pop_front()
        {
            world.batch.drop_queue(old);
            world.store.append(&mut world.batch);
            world.waiting.retain(|_, (queue, _)| *queue != old);
        }
    }
    world.finish();
}

#[test]
fn a_backlog_that_goes_gives_its_space_back() {
    let mut world = World::new();
    let first = world.publish(1, 100);
    let backlog: Vec<Lsn> = (0..3000).map(|_| world.publish(2, 1000)).collect();
    assert!(world.used() > 40 * SEGMENT);
    world.batch.ack(2, &backlog);
    world.store.append(&mut world.batch);
    world.waiting.retain(|lsn, _| *lsn == first);
    world.check();
    assert!(world.used() <= ALLOWANCE + 1000);
    for _ in 0..100 {
        let lsn = world.publish(3, 2000);
        world.ack(lsn);
    }
    world.finish();
}

#[test]
fn moved_messages_keep_what_their_places_have_seen() {
    let mut world = World::new();
    let mut batch = Batch::new();
    batch.message(&[1, 2, 3], &[b"kept"]);
    let kept = world.store.append(&mut batch).last;
    batch.returned(1, &[(kept, 4)]);
    batch.returned(2, &[(kept, 0)]);
    batch.delayed(1, &[(kept, 77)]);
    batch.ack(3, &[kept]);
    world.store.append(&mut batch);
    let mut generations = 0;
    let mut before = 0;
    // It is moved again and again, and across restarts.
    while generations < 6 {
        for _ in 0..200 {
            let lsn = world.publish(9, 900);
            world.ack(lsn);
            block_on(world.store.durable(lsn));
        }
        let moved = world.store.stats().moved_bytes;
        if moved > before {
            generations += 1;
            before = moved;
        }
        if generations == 3 {
            world.store.close();
            world.store = open(&world.disk).0;
            (before, generations) = (0, 4);
        }
    }
    world.store.close();
    let (store, recovered) = open(&world.disk);
    let found = messages(&store, &recovered).expect("reads");
    let message = &found[0];
    assert_eq!((message.lsn, &message.payload[..]), (kept, &b"kept"[..]));
    let places: Vec<_> = message
        .places
        .iter()
        .map(|(queue, place)| (*queue, place.deliveries, place.redelivered, place.delayed_until))
        .collect();
    assert_eq!(places, [(1, 4, true, 77), (2, 0, true, 0)]);
    assert_eq!(found.len(), 1);
}

/// Who writes waits for what is emptied, as for the disk.
#[test]
fn what_is_written_without_end_is_no_reason_either() {
    const OLD: u64 = 2000;
    const LIMIT: usize = 16 << 10;
    let options = StoreOptions { compaction_bytes_per_second: 1, ..options() };
    let (store, _) = open_with(&MemDisk::new(), options);
    let mut batch = Batch::new();
    for _ in 0..OLD {
        batch.message(&[1], &[&[1; 1000]]);
        block_on(store.durable(store.append(&mut batch).last));
    }
    let live = OLD * 1096;
    let mut most = 0;
    for _ in 0..6000 {
        batch.message(&[2], &[&[2; 2000]]);
        block_on(store.writable(LIMIT));
        let last = store.append(&mut batch).last;
        block_on(store.durable(last));
        batch.ack(2, &[last]);
        store.append(&mut batch);
        most = most.max(store.stats().segment_bytes);
    }
    assert!(most <= 2 * live + ALLOWANCE, "{most} for {live}, {} moved", store.stats().moved_bytes);
    assert!(store.stats().moved_bytes > live, "it was moved once at least");
}

/// Its acknowledgements are on disk, and nobody may write anything for long.
#[test]
fn what_a_process_did_not_get_to_give_back_goes_at_the_next_start() {
    let options = || StoreOptions { on_fatal: Arc::new(|_| {}), ..options() };
    let disk = SimDisk::new(1);
    let (store, _) = Store::open(Arc::new(disk.clone()), dir(), options()).expect("opens");
    let mut batch = Batch::new();
    for _ in 0..600 {
        batch.message(&[1], &[&[1; 1000]]);
        block_on(store.durable(store.append(&mut batch).last));
    }
    let before = store.stats().segments;
    assert!(before > 8, "{before}");
    // The first file that is to go stays, and ends the process.
    disk.fail_after(Operation::Name, 0);
    batch.drop_queue(1);
    block_on(store.durable(store.append(&mut batch).last));
    store.close();
    assert!(disk.has_failed());
    let (store, recovered) =
        Store::open(Arc::new(disk.restart()), dir(), options()).expect("opens");
    assert!(!recovered.report.clean_stop);
    let begun = Instant::now();
    while store.stats().segments > 2 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", store.stats());
        thread::sleep(Duration::from_millis(1));
    }
}
