//! What is dying in a queue that is deleted goes on all the same.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{DeleteIf, Progress, Settlement};
use leveret_codec::{Properties, Value};
use leveret_engine::{Millis, Return};
use leveret_store::offline::{self, DumpedRecord};
use leveret_store::simulation::SimDisk;
use leveret_store::{Backlog, Store, StoreOptions, Table};

use crate::world::{START, World};

const DLX: &str = "x-dead-letter-exchange";
const DLRK: &str = "x-dead-letter-routing-key";

/// Arguments that send what dies to a queue.
fn to(queue: &str) -> [(&'static str, Value<'_>); 2] {
    [(DLX, Value::text("")), (DLRK, Value::text(queue))]
}

/// More than one turn and one unit of the journal take.
const MESSAGES: u64 = 12_000;

/// Publishes so many messages to `q` and rejects all of them, which have left memory, and one more turn
/// than takes them. Answers their bodies.
fn reject_a_crowd(world: &mut World) -> Vec<String> {
    reject_a_crowd_in(world, &to("dead"))
}

/// The same in a queue with these arguments.
fn reject_a_crowd_in(world: &mut World, arguments: &[(&'static str, Value<'_>)]) -> Vec<String> {
    world.declare("dead", &[]);
    world.declare("q", arguments);
    let bodies: Vec<String> = (0..MESSAGES).map(|number| format!("{number:0100}")).collect();
    for body in &bodies {
        world.stage("", "q", Properties::default(), body);
    }
    world.session.flush(&mut Vec::new());
    world.session.finish();
    world.await_readable();
    let got: Vec<_> = bodies.iter().map(|_| world.get("q").unwrap().paged_out()).collect();
    world.settle(Settlement::Discard, got);
    assert!(world.ready("dead") < MESSAGES);
    bodies
}

/// Waits until the journal has so many places that are not settled.
fn await_live_places(world: &World, places: u64) {
    while world.broker.store().stats().live_places != places {
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Its settled places would free the segments before they are read.
#[test]
fn what_waits_for_the_ticker_outlives_its_queue() {
    let mut world = World::new();
    let bodies = reject_a_crowd(&mut world);
    let got = world.session.delete_queue("q", DeleteIf::default()).unwrap();
    world.session.finish();
    // Until the journal has had a chance to give back what nobody needs.
    world.wait(got.commit.unwrap());
    for number in 0..2_000 {
        let _ = world.publish("", "dead", &number.to_string());
    }
    world.await_readable();
    while world.tick() == Progress::More {}
    let mut dead = world.drain("dead");
    dead.retain(|body| body.len() == 100);
    assert!(dead == bodies, "{} in this order", dead.len());
    let _ = world.tick();
    // Its places have gone then.
    await_live_places(&world, 0);
}

#[test]
fn what_waits_for_the_ticker_outlives_its_queue_and_a_restart() {
    let mut world = World::new();
    let bodies = reject_a_crowd(&mut world);
    world.session.delete_queue("q", DeleteIf::default()).unwrap();
    world.session.finish();
    let dead = world.restart().drain("dead");
    assert!(dead == bodies, "{} in this order", dead.len());
}

/// The power goes before the ticker has come to it, or at any time while it is at work.
#[test]
fn what_waits_for_the_ticker_outlives_its_queue_and_a_crash() {
    for operations in [0, 1, 3, 8] {
        let disk = SimDisk::new(operations);
        let mut world = World::open(Arc::new(disk.clone()), START);
        let bodies = reject_a_crowd(&mut world);
        let _ = world.publish("", "q", "goes with its queue");
        let got = world.session.delete_queue("q", DeleteIf::default()).unwrap();
        world.wait(got.commit.unwrap());
        disk.crash_after(operations);
        world.session.finish();
        while world.tick() == Progress::More {}
        let disk = disk.reboot();
        drop(world);

        let mut world = World::open(Arc::new(disk.clone()), START);
        assert!(!world.exists("q"));
        world.pass(0);
        let dead = world.drain("dead");
        assert!(dead == bodies, "{} in this order", dead.len());
        world.pass(0);
        await_live_places(&world, 0);
        // Nothing is left of the queue, after a crash or without one.
        drop(world.restart());
        let (_store, recovered) =
            Store::open(Arc::new(disk), Path::new("/data"), StoreOptions::default()).unwrap();
        let is_departed = |table: &Table| *table == Table::DepartedQueues;
        assert!(!recovered.definitions.iter().any(|(table, ..)| is_departed(table)));
        assert_eq!(recovered.backlogs.iter().map(Backlog::len).sum::<u64>(), 0);
    }
}

/// What the journal has of a deleted queue in which messages are dying. Of units the segment and the offset.
#[derive(Default)]
struct Deletion {
    /// The units with marks of these.
    units: Vec<(u64, u64)>,
    marked: u64,
    /// The unit that deletes it.
    last: Option<(u64, u64)>,
}

fn deletion(disk: &SimDisk) -> Deletion {
    let mut found = Deletion::default();
    offline::dump(disk, Path::new("/data"), |segment, offset, _, record| {
        match record {
            // Dead letters are given back as well: whoever rejected them has seen them.
            DumpedRecord::Returned { returns, .. }
                if returns.iter().all(|(_, count)| *count > 1) =>
            {
                assert!(returns.len() <= 1024, "{}", returns.len());
                found.marked += returns.len() as u64;
                found.units.push((segment, offset));
            }
            DumpedRecord::Define { .. } if found.marked > 0 => found.last = Some((segment, offset)),
            _ => {}
        }
        Ok(())
    })
    .unwrap();
    found
}

/// A disk that failed while a queue was deleted.
struct Interrupted {
    disk: SimDisk,
    /// What had been in the queue, and how many of these were still dying there.
    bodies: Vec<String>,
    dying: u64,
    deletion: Deletion,
}

impl Interrupted {
    /// None if the deletion was not all written after so many operations.
    fn after(operations: u64, arguments: &[(&'static str, Value<'_>)]) -> Option<Self> {
        let disk = SimDisk::new(operations);
        let mut world = World::open(Arc::new(disk.clone()), START);
        let bodies = reject_a_crowd_in(&mut world, arguments);
        world.await_readable();
        let dying = MESSAGES - world.ready("dead");
        disk.crash_after(operations);
        let got = world.session.delete_queue("q", DeleteIf::default()).unwrap();
        while !disk.is_down() && world.broker.store().durable_lsn() < got.commit.unwrap() {
            std::thread::sleep(Duration::from_micros(50));
        }
        let disk = disk.reboot();
        drop(world);
        let deletion = deletion(&disk);
        deletion.last?;
        let (marked, units) = (deletion.marked, &deletion.units);
        assert!(marked == dying && units.len() > 3, "{marked} of {dying}: {units:?}");
        Some(Self { disk, bodies, dying, deletion })
    }

    /// Takes the unit away that deletes the queue. Answers how many are marked before it; none if it was vouched for
    /// already.
    fn cut(&self) -> Option<u64> {
        let (segment, offset) = self.deletion.last.unwrap();
        let path = format!("/data/journal/{segment:016x}.seg");
        assert!(self.disk.flip_bit(Path::new(&path), offset, 0));
        let report = offline::check(&self.disk, Path::new("/data")).unwrap();
        report.damages.is_empty().then(|| deletion(&self.disk).marked)
    }
}

/// The last piece of the marks comes with the deletion, and may be the one that is missing.
#[test]
fn a_crash_while_a_queue_is_deleted_loses_nothing_that_is_dying_there() {
    let (mut kept, mut gone) = (0, 0);
    let interrupted = |operations| Interrupted::after(operations, &to("dead"));
    for interrupted in (1..6).filter_map(interrupted) {
        let is_cut = kept == 0;
        let marked = if is_cut { interrupted.cut() } else { Some(interrupted.deletion.marked) };
        let Some(marked) = marked else { continue };
        let Interrupted { disk, bodies, dying, .. } = interrupted;
        let mut world = World::open(Arc::new(disk), START);
        assert_eq!(world.exists("q"), is_cut);
        world.pass(2_000);
        let mut left = world.drain("dead");
        if is_cut {
            kept += 1;
            assert!(marked > 0 && marked < dying, "{marked}");
            assert_eq!(world.ready("q") + marked, dying);
            left.extend(world.drain("q"));
        } else {
            gone += 1;
        }
        assert!(left == bodies, "{} in this order", left.len());
        if gone > 0 {
            break;
        }
    }
    assert!(kept > 0 && gone > 0, "{kept} {gone}");
}

/// Before anything goes on: what was dying is no letter that the queue keeps and that goes with it.
#[test]
fn what_was_dying_in_a_queue_that_a_crash_left_outlives_its_next_deletion() {
    let mut keeps = to("dead").to_vec();
    keeps.extend([
        ("x-queue-type", Value::text("quorum")),
        ("x-overflow", Value::text("reject-publish")),
        ("x-dead-letter-strategy", Value::text("at-least-once")),
    ]);
    for arguments in [&to("dead")[..], &keeps] {
        let interrupted = |operations| Interrupted::after(operations, arguments);
        let cut = (1..6).filter_map(interrupted).find_map(|one| Some((one.cut()?, one)));
        let (marked, Interrupted { disk, mut bodies, dying, .. }) = cut.unwrap();
        let mut world = World::open(Arc::new(disk), START);
        world.session.delete_queue("q", DeleteIf::default()).unwrap();
        world.session.finish();
        world.pass(2_000);
        let dead = world.drain("dead");
        // Those that are ready again go with it.
        bodies.truncate(usize::try_from(MESSAGES - dying + marked).unwrap());
        assert!(dead == bodies, "{} of {} in this order", dead.len(), bodies.len());
    }
}

/// More than go on together.
const RETURNED: usize = 1100;

/// Each with how it died, and dead letters that their queue kept go with it.
#[test]
fn what_died_just_before_its_queue_went_outlives_a_crash() {
    let disk = SimDisk::new(0);
    let mut world = World::open(Arc::new(disk.clone()), START);
    let mut arguments = to("later").to_vec();
    arguments.extend([
        ("x-queue-type", Value::text("quorum")),
        ("x-overflow", Value::text("reject-publish")),
        ("x-dead-letter-strategy", Value::text("at-least-once")),
        ("x-delivery-limit", Value::I32(0)),
    ]);
    world.declare("q", &arguments);
    let _ = world.publish("", "q", "kept");
    let kept = world.get("q").unwrap();
    world.reject(kept);
    world.declare("later", &[]);
    let mut bodies = vec!["returned too often"; RETURNED];
    bodies.insert(0, "rejected");
    bodies.extend(["expired", "ready", "delivered"]);
    for body in bodies {
        let expiration = (body == "expired").then_some(&b"5"[..]);
        let properties = Properties { expiration, ..Properties::default() };
        let _ = world.publish_with("", "q", properties, body);
    }
    let rejected = world.get("q").unwrap();
    let returned: Vec<_> = (0..RETURNED).map(|_| world.get("q").unwrap()).collect();
    world.settle_unfinished(Settlement::Discard, [rejected]);
    world.settle_unfinished(Settlement::Requeue(Return::Failed), returned);
    world.now += 10;
    world.session.begin(Millis(world.now));
    let delivered = world.get_unfinished("q").unwrap();
    let got = world.session.delete_queue("q", DeleteIf::default()).unwrap();
    world.wait(got.commit.unwrap());
    let disk = disk.reboot();
    drop((delivered, world));

    let mut world = World::open(Arc::new(disk), START + 10);
    world.pass(0);
    let mut deaths = Vec::new();
    while let Some(got) = world.get("later") {
        deaths.push((got.body.clone(), got.deaths()));
        world.ack(got);
    }
    let death = |body: &str, death: &str| (body.to_owned(), vec![death.to_owned()]);
    let mut expected = vec![death("returned too often", "q delivery_limit 1"); RETURNED];
    expected.insert(0, death("rejected", "q rejected 1"));
    expected.push(death("expired", "q expired 1"));
    assert!(deaths == expected, "{} of {}", deaths.len(), expected.len());
}

#[test]
fn a_queue_may_go_in_the_turn_in_which_its_messages_die() {
    let mut world = World::new();
    world.declare("dead", &[]);
    world.declare("q", &to("dead"));
    let _ = world.publish("", "q", "dies");
    let _ = world.publish("", "q", "goes");
    let dies = world.get("q").unwrap();
    world.settle_unfinished(Settlement::Discard, [dies]);
    world.session.delete_queue("q", DeleteIf::default()).unwrap();
    world.session.finish();
    await_live_places(&world, 1);
    assert_eq!(world.restart().drain("dead"), ["dies"]);
}
