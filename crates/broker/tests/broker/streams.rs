//! Streams: what is read, and what a restart and a crash leave of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{
    Broker, BrokerOptions, Confirmation, Consume, DeleteIf, Outcome, Progress, Session,
    SettleGroup, Settlement, SharedQueue, Subscriber, Turn, Wake,
};
use leveret_codec::{Properties, Value};
use leveret_engine::{Admission, AnyEntry, ConsumerId, Entry, Millis, Return};
use leveret_store::simulation::SimDisk;
use leveret_store::{Disk, Lsn, MemDisk, Store, StoreOptions, Table, offline};
use parking_lot::Mutex;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{START, World, table};

/// A client that keeps what comes.
#[derive(Default)]
struct Keeper(Mutex<Vec<Entry>>);

impl Subscriber for Keeper {
    fn admit(&self, _: usize) -> Admission {
        Admission::Ready
    }

    fn deliver(&self, entries: &mut Vec<Entry>) -> Wake {
        self.0.lock().append(entries);
        Wake::NotNeeded
    }

    fn wake(&self) {}

    fn cancelled(&self) {}
}

/// A reader and what it holds.
struct Reader {
    keeper: Arc<Keeper>,
    queue: Arc<SharedQueue>,
    id: ConsumerId,
}

const STREAM: (&str, Value<'_>) = ("x-queue-type", Value::LongStr(b"stream"));

impl World {
    fn declare_stream(&mut self, arguments: &[(&str, Value<'_>)]) {
        let arguments: Vec<_> = [STREAM].into_iter().chain(arguments.iter().copied()).collect();
        self.declare("s", &arguments);
    }

    fn read(&mut self, tag: &str, arguments: &[(&str, Value<'_>)]) -> Reader {
        let arguments = table(arguments);
        let request = Consume {
            tag: &Arc::from(tag),
            is_tag_chosen: true,
            channel: 1,
            queue: "s",
            no_ack: false,
            exclusive: false,
            prefetch: u16::MAX,
            shared_limit: 0,
            arguments: arguments.as_table(),
        };
        let keeper = Arc::new(Keeper::default());
        let subscriber = Arc::clone(&keeper);
        let (queue, id) = self.session.consume(request, |_| subscriber).unwrap();
        self.session.unblock(&queue, id);
        self.session.finish();
        let _ = self.broker.page_all(Millis(self.now), &mut Turn::new());
        Reader { keeper, queue, id }
    }

    fn read_all(&mut self) -> Reader {
        self.read("", &[("x-stream-offset", Value::text("first"))])
    }

    /// Publishes messages in one batch; what each confirm waits for.
    fn publish_all(&mut self, bodies: &[String]) -> Vec<Lsn> {
        for body in bodies {
            self.stage("", "s", Properties::default(), body);
        }
        let mut confirmations: Vec<Confirmation> = Vec::new();
        self.session.flush(&mut confirmations);
        self.session.finish();
        let lsn = |confirmation: Confirmation| match confirmation.outcome {
            Outcome::DurableAt(lsn) => lsn,
            other => panic!("{other:?}"),
        };
        confirmations.into_iter().map(lsn).collect()
    }

    fn publish_and_wait(&mut self, bodies: &[&str]) {
        let bodies: Vec<String> = bodies.iter().map(|body| (*body).to_owned()).collect();
        let last = self.publish_all(&bodies).pop().unwrap();
        self.wait(last);
        self.serve();
    }

    /// Readers get what has reached the disk.
    fn serve(&mut self) {
        serve(&self.broker, self.now);
    }

    fn settle_reads(&mut self, reader: &Reader, settlement: Settlement, count: usize) {
        let entries = reader.keeper.0.lock().drain(..count).map(AnyEntry::from).collect();
        let (queue, consumer) = (Arc::clone(&reader.queue), Some(reader.id));
        self.session.settle(settlement, &mut SettleGroup { queue, consumer, entries });
        self.session.finish();
    }

    fn cancel(&mut self, reader: &Reader) {
        self.session.cancel(&reader.queue, reader.id);
        self.session.finish();
    }
}

fn serve(broker: &Broker, now: u64) {
    let mut turn = Turn::new();
    loop {
        while broker.serve_streams(Millis(now), &mut turn) == Progress::More {}
        if !broker.page_all(Millis(now), &mut turn) {
            return;
        }
    }
}

impl Reader {
    /// Offsets and bodies of what it holds.
    fn held(&self) -> Vec<(u64, String)> {
        let held = self.keeper.0.lock();
        let one = |entry: &Entry| {
            assert!(!entry.redelivered);
            (entry.lsn.0, String::from_utf8(entry.message.body().to_vec()).unwrap())
        };
        held.iter().map(one).collect()
    }

    fn offsets(&self) -> Vec<u64> {
        self.held().into_iter().map(|(offset, _)| offset).collect()
    }
}

/// The segment it was in goes, and a start finds the others where they were.
#[test]
fn a_message_that_is_given_up_leaves_the_others_their_offsets() {
    let disk = Arc::new(MemDisk::new());
    let (memory, patience) = (BrokerOptions::default().message_memory, Duration::from_millis(1));
    let mut world =
        World::open_patient(Arc::clone(&disk) as Arc<dyn Disk>, START, memory, patience);
    world.declare_stream(&[]);
    world.declare("q", &[]);
    let bodies: Vec<String> = (0..20).map(|number| format!("{number:01000}")).collect();
    let last = world.publish_all(&bodies).pop().unwrap();
    world.wait(last);
    let first = Path::new("/data/journal/0000000000000001.seg");
    let file = disk.open(first).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let body = bodies[7].as_bytes();
    let at = bytes.windows(body.len()).position(|window| window == body).unwrap();
    file.write_all_at(&[&[0xff; 4]], at as u64 + 500).unwrap();
    while disk.open(first).is_ok() {
        let _ = world.publish("", "q", &"x".repeat(1000));
        world.drain("q");
    }
    let mut world = world.restart();
    let reader = world.read_all();
    world.serve();
    let others = (0..).zip(bodies).filter(|(offset, _)| *offset != 7);
    assert_eq!(reader.held(), others.collect::<Vec<(u64, String)>>());
}

/// It would take the offsets of those behind it, which readers remember.
#[test]
fn what_retention_dropped_stays_away_though_a_repair_loses_that() {
    let disk = Arc::new(MemDisk::new());
    let mut world = World::open(Arc::clone(&disk) as Arc<dyn Disk>, START);
    world.declare_stream(&[
        ("x-stream-max-segment-size-bytes", Value::I32(1)),
        ("x-max-age", Value::text("2s")),
    ]);
    world.publish_and_wait(&["m0", "m1"]);
    world.pass(1000);
    world.publish_and_wait(&["m2"]);
    world.pass(1000);
    assert_eq!(world.read_all().held(), numbered(2..3));
    world.session.close(usize::MAX);
    world.broker.close(Millis(world.now));
    drop(world);

    let file = disk.open(Path::new("/data/journal/0000000000000001.seg")).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    // The settlement stands before the offset, first in its unit.
    let begins_unit = &bytes[64..68];
    let offset = bytes.windows(6).rposition(|window| window == b"offset").unwrap();
    let unit = bytes[..offset].windows(4).rposition(|window| window == begins_unit).unwrap();
    file.write_all_at(&[&[0xff; 8]], unit as u64 + 64 + 16).unwrap();
    let repaired =
        offline::repair(&*disk, Path::new("/data"), offline::Definitions::Optional).unwrap();
    assert_eq!(repaired.damages.len(), 1);

    let mut world = World::open(disk, START + 2000);
    assert_eq!(world.read_all().held(), numbered(2..3));
    let mut world = world.restart();
    assert_eq!(world.broker.store().stats().live_places, 1);
    world.publish_and_wait(&["m3"]);
    assert_eq!(world.read_all().held(), numbered(2..4));
}

fn numbered(offsets: std::ops::Range<u64>) -> Vec<(u64, String)> {
    offsets.map(|offset| (offset, format!("m{offset}"))).collect()
}

fn bodies(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| format!("m{number}")).collect()
}

#[test]
fn nothing_is_read_before_it_is_on_disk() {
    let disk = SimDisk::new(1);
    let mut world = World::open(Arc::new(disk.clone()), START);
    world.declare_stream(&[]);
    let reader = world.read_all();
    world.publish_and_wait(&["m0", "m1"]);
    assert_eq!(reader.held(), numbered(0..2));
    // From here on nothing reaches it.
    disk.crash_after(0);
    world.publish_all(&bodies(2..4));
    world.serve();
    assert_eq!(reader.held(), numbered(0..2));
    let late = world.read_all();
    assert_eq!(late.held(), numbered(0..2));
}

#[test]
fn offsets_outlive_a_restart() {
    let mut world = World::new();
    world.declare_stream(&[]);
    for batch in [0..3, 3..4, 4..100] {
        world.publish_all(&bodies(batch));
    }
    let mut world = world.restart();
    world.publish_and_wait(&["m100"]);
    assert_eq!(world.read_all().held(), numbered(0..101));
    assert_eq!(world.ready("s"), 101);
}

#[test]
fn offsets_outlive_retention_and_a_restart() {
    let mut world = World::new();
    world.declare_stream(&[
        ("x-stream-max-segment-size-bytes", Value::I32(400)),
        ("x-max-length-bytes", Value::I32(1000)),
    ]);
    for number in 0..100 {
        let last = world.publish_all(&bodies(number..number + 1));
        world.wait(last[0]);
        world.serve();
    }
    // What was committed last is looked at with the next message, or with the next tick.
    world.pass(0);
    let first = world.read_all().offsets()[0];
    assert!((60..95).contains(&first), "{first}");
    assert_eq!(world.read_all().held(), numbered(first..100));
    for _ in 0..3 {
        world = world.restart();
        assert_eq!(world.read_all().held(), numbered(first..100));
    }
    world.publish_and_wait(&["m100"]);
    let held = world.read_all().held();
    assert_eq!(held.last().unwrap(), &(100, "m100".to_owned()));
}

#[test]
fn messages_leave_when_they_are_too_old() {
    let mut world = World::new();
    world.declare_stream(&[
        ("x-stream-max-segment-size-bytes", Value::I32(1)),
        ("x-max-age", Value::text("2s")),
    ]);
    world.publish_and_wait(&["m0", "m1"]);
    world.pass(1000);
    world.publish_and_wait(&["m2"]);
    world.pass(999);
    assert_eq!(world.ready("s"), 3);
    world.pass(1);
    assert_eq!(world.read_all().held(), numbered(2..3));
    world.pass(100_000);
    assert_eq!(world.read_all().held(), numbered(2..3), "the last segment stays");
}

#[test]
fn a_time_between_messages_is_found() {
    let mut world = World::new();
    world.declare_stream(&[]);
    world.publish_and_wait(&["m0", "m1"]);
    world.pass(1500);
    world.publish_and_wait(&["m2"]);
    world.pass(1500);
    let at = |seconds: u64| Value::Timestamp((START / 1000) + seconds);
    let cases = [
        (at(0), 0..3),
        (at(1), 2..3),
        (at(2), 3..3),
        (Value::text("4s"), 0..3),
        (Value::text("2s"), 2..3),
        (Value::text("1s"), 3..3),
    ];
    for (start, expected) in cases {
        let reader = world.read("", &[("x-stream-offset", start)]);
        assert_eq!(reader.held(), numbered(expected), "{start:?}");
    }
}

#[test]
fn a_segment_of_many_messages_leaves_as_a_whole() {
    let mut world = World::new();
    let segment = ("x-stream-max-segment-size-bytes", Value::I32(400_000));
    world.declare_stream(&[segment, ("x-max-age", Value::text("1s"))]);
    for batch in 0..20 {
        world.publish_all(&bodies(batch * 1000..(batch + 1) * 1000));
    }
    let last = world.publish_all(&bodies(20_000..20_001));
    world.wait(last[0]);
    world.serve();
    world.pass(5000);
    let first = world.read_all().offsets()[0];
    assert!(first > 10_000, "{first}");
    let mut world = world.restart();
    assert_eq!(world.read_all().offsets()[0], first);
}

#[test]
fn readers_far_behind_get_it_over_several_turns() {
    let mut world = World::new();
    world.declare_stream(&[]);
    let last = world.publish_all(&bodies(0..10_000)).pop().unwrap();
    world.wait(last);
    world.serve();
    let reader = world.read_all();
    let once = reader.held().len();
    assert!(once < 10_000, "one turn gave {once}");
    let mut turns = 1;
    let mut turn = Turn::new();
    loop {
        turns += 1;
        if world.broker.serve_streams(Millis(START), &mut turn) == Progress::Done {
            break;
        }
    }
    assert!(reader.held() == numbered(0..10_000));
    assert_eq!(turns, 3);
}

#[test]
fn a_dead_letter_is_appended_with_an_offset() {
    let mut world = World::new();
    world.declare_stream(&[]);
    let to_stream = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("s")),
    ];
    world.declare("q", &to_stream);
    world.publish("", "q", "m1");
    world.publish_and_wait(&["m0"]);
    let got = world.get("q").unwrap();
    world.reject(got);
    let mut world = world.restart();
    assert_eq!(world.read_all().held(), numbered(0..2));
}

#[test]
fn a_transaction_is_appended_as_one() {
    let mut world = World::new();
    world.declare_stream(&[]);
    world.declare("q", &[]);
    world.publish("", "q", "x");
    let got = world.get("q").unwrap();
    let commit = world.commit([(Settlement::Acknowledge, got)], &[("s", "m0"), ("s", "m1")]);
    world.wait(commit.unwrap());
    world.serve();
    assert_eq!(world.read_all().held(), numbered(0..2));
    let mut world = world.restart();
    assert_eq!(world.read_all().held(), numbered(0..2));
    assert_eq!(world.ready("q"), 0);
}

const TRACKED: (&str, Value<'_>) = ("x-stream-automatic-offset-tracking", Value::Bool(true));
const FIRST: (&str, Value<'_>) = ("x-stream-offset", Value::LongStr(b"first"));

#[test]
fn a_named_reader_goes_on_after_a_restart() {
    let mut world = World::new();
    world.declare_stream(&[]);
    world.publish_and_wait(&["m0", "m1", "m2", "m3"]);
    let reader = world.read("worker", &[TRACKED, FIRST]);
    assert_eq!(reader.offsets(), [0, 1, 2, 3]);
    world.settle_reads(&reader, Settlement::Acknowledge, 2);
    world.settle_reads(&reader, Settlement::Requeue(Return::Released), 1);
    world.settle_reads(&reader, Settlement::Acknowledge, 1);
    world.cancel(&reader);
    let mut world = world.restart();
    let reader = world.read("worker", &[TRACKED]);
    assert_eq!(reader.offsets(), [2, 3]);
    world.settle_reads(&reader, Settlement::Discard, 2);
    world.cancel(&reader);
    let mut world = world.restart();
    world.publish_and_wait(&["m4"]);
    assert_eq!(world.read("worker", &[TRACKED, FIRST]).offsets(), [4]);
    assert_eq!(world.read("other", &[TRACKED, FIRST]).offsets(), [0, 1, 2, 3, 4]);
    assert_eq!(world.read("worker", &[FIRST]).offsets(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_position_is_recorded_before_long() {
    let disk = MemDisk::new();
    let mut world = World::open(Arc::new(disk.clone()), START);
    world.declare_stream(&[]);
    world.publish_and_wait(&["m0", "m1", "m2"]);
    let reader = world.read("worker", &[TRACKED, FIRST]);
    world.settle_reads(&reader, Settlement::Acknowledge, 2);
    world.pass(100);
    // Whatever comes later waits for it.
    world.publish_and_wait(&["m3"]);
    drop(world);
    let mut world = World::open(Arc::new(disk), START);
    assert_eq!(world.read("worker", &[TRACKED]).offsets(), [2, 3]);
}

#[test]
fn offsets_go_with_their_stream() {
    let disk = MemDisk::new();
    let mut world = World::open(Arc::new(disk.clone()), START);
    for restart in [false, true] {
        world.declare_stream(&[
            ("x-stream-max-segment-size-bytes", Value::I32(1)),
            ("x-max-length-bytes", Value::I32(1)),
        ]);
        world.publish_and_wait(&["m0", "m1", "m2"]);
        world.pass(100);
        let reader = world.read("worker", &[TRACKED, FIRST]);
        assert_eq!(reader.offsets(), [2]);
        world.pass(100);
        if restart {
            world = world.restart();
        }
        world.session.delete_queue("s", DeleteIf::default()).unwrap();
        world.session.finish();
    }
    world.declare_stream(&[]);
    world.publish_and_wait(&["m0"]);
    assert_eq!(world.read("worker", &[TRACKED, FIRST]).offsets(), [0]);
    world.session.delete_queue("s", DeleteIf::default()).unwrap();
    world.session.close(usize::MAX);
    world.broker.close(Millis(world.now));
    drop(world);
    let options = StoreOptions::default();
    let (_store, recovered) = Store::open(Arc::new(disk), Path::new("/data"), options).unwrap();
    let rows = recovered.definitions.iter().filter(|(table, ..)| *table == Table::Streams);
    assert_eq!(rows.count(), 0);
    assert!(recovered.backlogs.is_empty());
}

/// Many publish to two streams in batches; whatever order that gave is the order for ever.
#[test]
fn publishers_at_once_agree_on_offsets_with_the_journal() {
    let disk = MemDisk::new();
    let mut world = World::open(Arc::new(disk), START);
    for name in ["s", "t"] {
        world.declare(name, &[STREAM]);
        world.bind(name, "amq.fanout", "");
    }
    let broker = &world.broker;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || publish_batches(broker, thread));
        }
    });
    let last = world.publish_all(&["end".to_owned()]).pop().unwrap();
    world.wait(last);
    world.serve();
    let before = world.read_all().held();
    serve(&world.broker, START);
    assert_eq!(before.len(), 4 * 200 + 1);
    let mut world = world.restart();
    let after = world.read_all();
    serve(&world.broker, START);
    assert_eq!(after.held(), before);
    for thread in 0..4 {
        let own = before.iter().filter(|(_, body)| body.starts_with(&format!("{thread}-")));
        let expected: Vec<String> = (0..200).map(|number| format!("{thread}-{number}")).collect();
        assert!(own.map(|(_, body)| body).eq(&expected));
    }
}

fn publish_batches(broker: &Arc<Broker>, thread: u32) {
    let user = broker.access().user("guest").unwrap();
    let mut session = Session::open(broker, user, "/", "test".into(), None).unwrap();
    session.begin(Millis(START));
    let mut number = 0;
    while number < 200 {
        for _ in 0..1 + (number + thread) % 3 {
            if number == 200 {
                break;
            }
            let body = format!("{thread}-{number}");
            let publish = leveret_broker::Publish {
                channel: 1,
                exchange: "amq.fanout",
                routing_key: "",
                properties: &Properties::default(),
                raw_properties: &[0, 0],
                body: leveret_engine::Body::Copy(body.as_bytes()),
                replies_to: None,
            };
            let _ = session.publish(publish, None).unwrap();
            number += 1;
        }
        session.flush(&mut Vec::new());
        session.finish();
    }
    session.close(usize::MAX);
}

#[derive(Clone, Debug)]
enum Step {
    /// So many in one batch.
    Publish(u64),
    /// The reader gets what is on disk.
    Serve,
    /// It is done with so many.
    Settle(usize),
    Pass(u64),
    /// Until all that was published is on disk.
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6_u64).prop_map(Step::Publish),
        3 => Just(Step::Serve),
        2 => (0..8_usize).prop_map(Step::Settle),
        2 => (1..300_u64).prop_map(Step::Pass),
        1 => Just(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_crash_takes_nothing_back(
        seed: u64,
        steps in vec(step(), 1..60),
        crash_after in prop::option::of(0..300_u64),
    ) {
        let disk = SimDisk::new(seed);
        let mut world = World::open(Arc::new(disk.clone()), START);
        world.declare_stream(&[
            ("x-stream-max-segment-size-bytes", Value::I32(100)),
            ("x-max-length-bytes", Value::I32(600)),
            ("x-max-age", Value::text("1s")),
        ]);
        let reader = world.read("reader", &[TRACKED, FIRST]);
        if let Some(after) = crash_after {
            disk.crash_after(after);
        }
        let mut published = 0;
        // By number, what its confirm waits for.
        let mut confirms: Vec<Lsn> = Vec::new();
        let mut seen: BTreeMap<u64, String> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Publish(count) => {
                    let lsns = world.publish_all(&bodies(published..published + count));
                    confirms.extend(lsns);
                    published += count;
                }
                Step::Serve => {
                    world.serve();
                    seen.extend(reader.held());
                }
                Step::Settle(count) => {
                    let count = count.min(reader.held().len());
                    world.settle_reads(&reader, Settlement::Acknowledge, count);
                }
                Step::Pass(ms) => world.pass(ms),
                Step::Wait => {
                    if let Some(last) = confirms.last().filter(|_| crash_after.is_none()) {
                        world.wait(*last);
                    }
                }
            }
        }
        let settled = reader.offsets().first().copied().unwrap_or(u64::MAX);
        let kept_from = published - world.ready("s");
        let durable = world.broker.store().durable_lsn();
        let now = world.now;
        let disk = disk.reboot();
        drop(world);

        let mut world = World::open(Arc::new(disk), now);
        let all = world.read_all();
        serve(&world.broker, now);
        let found = all.held();
        let numbers: Vec<u64> = found.iter().map(|(offset, _)| *offset).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{:?}", numbers);
        for (offset, body) in &found {
            prop_assert_eq!(body, &format!("m{offset}"));
        }
        for (number, lsn) in (0_u64..).zip(&confirms) {
            if *lsn <= durable && number >= kept_from {
                prop_assert!(numbers.contains(&number), "{} was confirmed and is lost", number);
            }
        }
        // What was read is there, or was there and has left.
        let end = numbers.last().map_or(0, |last| last + 1);
        for (offset, body) in &seen {
            prop_assert_eq!(body, &format!("m{offset}"));
            prop_assert!(*offset < end || numbers.is_empty(), "{} was read and is lost", offset);
        }
        // The reader is given all that it was not done with.
        let again = world.read("reader", &[TRACKED, FIRST]);
        serve(&world.broker, now);
        let again = again.offsets();
        if let (Some(first), Some(begin)) = (again.first(), numbers.first()) {
            prop_assert!(*first <= settled.max(*begin), "{} after {}", first, settled);
        }
    }
}

/// What the messages of all queues may take in the test below.
const BUDGET: u64 = 64 << 10;

/// A body of this number, of which many do not fit into the budget.
fn long_body(number: u64) -> String {
    format!("m{number} {}", "x".repeat(usize::try_from(number % 700).unwrap()))
}

/// Publishes 50 more, and has what is too much of them go to disk.
fn publish_more_than_fits(world: &mut World, batch: u64) {
    let bodies: Vec<String> = (batch * 50..(batch + 1) * 50).map(long_body).collect();
    let last = world.publish_all(&bodies).pop().unwrap();
    world.wait(last);
    world.await_readable();
    world.serve();
    world.page();
}

#[test]
fn a_long_stream_is_read_by_all_and_takes_no_more_memory_than_it_may() {
    let mut world = World::open_with(Arc::new(MemDisk::new()), START, BUDGET);
    world.declare_stream(&[]);
    for batch in 0..40 {
        publish_more_than_fits(&mut world, batch);
        assert!(world.broker.message_memory() <= BUDGET, "{batch}");
    }
    let expected: Vec<(u64, String)> =
        (0..2000).map(|offset| (offset, long_body(offset))).collect();
    for restart in [false, true] {
        if restart {
            world = world.restart();
        }
        let first = world.read_all();
        let middle = world.read("", &[("x-stream-offset", Value::I32(1000))]);
        world.serve();
        world.page();
        assert!(first.held() == expected && middle.held() == expected[1000..]);
        assert!(world.broker.message_memory() <= BUDGET);
        let shown = world.session.browse("s", 990, 20, 1 << 20).unwrap();
        let bodies = shown.messages.iter().map(|(offset, entry)| {
            (*offset, String::from_utf8(entry.message.body().to_vec()).unwrap())
        });
        assert!(bodies.eq(expected[990..1010].iter().cloned()));
        assert_eq!((shown.first, shown.next, shown.end), (0, 1010, 2000));
    }
    world.session.delete_queue("s", DeleteIf::default()).unwrap();
    world.session.finish();
    assert_eq!(world.broker.message_memory(), 0);
}

/// The oldest messages go while they are on disk, and readers find the rest.
#[test]
fn what_is_on_disk_leaves_by_retention() {
    let mut world = World::open_with(Arc::new(MemDisk::new()), START, BUDGET);
    world.declare_stream(&[
        ("x-max-length-bytes", Value::I32(400 << 10)),
        ("x-stream-max-segment-size-bytes", Value::I32(50 << 10)),
    ]);
    for batch in 0..60 {
        publish_more_than_fits(&mut world, batch);
        world.pass(1000);
        assert!(world.broker.message_memory() <= BUDGET, "{batch}");
    }
    let reader = world.read_all();
    world.serve();
    let held = reader.held();
    let first = held[0].0;
    assert!(first > 1000, "{first}");
    assert!(held.into_iter().eq((first..3000).map(|offset| (offset, long_body(offset)))));
    let mut world = world.restart();
    let reader = world.read_all();
    world.serve();
    assert!(reader.held().into_iter().eq((first..3000).map(|offset| (offset, long_body(offset)))));
}
