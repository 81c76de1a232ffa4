//! A disk that is full or behind: dead letters, which take space, wait for it.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{Broker, DeleteIf, Settlement};
use leveret_codec::Value;
use leveret_engine::{Millis, Return};
use leveret_store::simulation::SimDisk;
use leveret_store::{Batch, Pen};

use crate::world::{START, World};

/// How long messages live in `q`, from where they go to `dead`.
const TTL: i32 = 1000;

/// A world with `dead`, and `q` with so many messages.
fn world_on(disk: &SimDisk, messages: usize) -> (World, Vec<String>) {
    let mut world = World::open(Arc::new(disk.clone()), START);
    let arguments = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
        ("x-message-ttl", Value::I32(TTL)),
    ];
    world.declare("dead", &[]);
    world.declare("q", &arguments);
    world.declare("work", &[]);
    let bodies: Vec<String> = (0..messages).map(|number| format!("{number:0200}")).collect();
    for body in &bodies {
        let _ = world.publish("", "q", body);
    }
    world.await_readable();
    (world, bodies)
}

/// Has the journal fill the disk, and a little of the segment that is left for settlements.
fn fill(world: &mut World, disk: &SimDisk) {
    disk.set_capacity(Some(disk.used()));
    let body = "x".repeat(1000);
    while !world.broker.store().is_full() {
        let _ = world.publish("", "work", &body);
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Gives the disk space, and waits until the journal has noticed.
fn make_room(world: &World, disk: &SimDisk) {
    disk.set_capacity(None);
    while world.broker.store().is_full() {
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Has more wait to be written than may, until the pen is dropped: nobody else writes meanwhile.
fn keep_behind(broker: &Broker) -> Pen<'_> {
    let store = broker.store();
    let mut all = Batch::new();
    all.nothing();
    all.set_durable();
    let last = store.append(&mut all).last;
    let pen = loop {
        if store.readable_lsn() >= last
            && let Some(pen) = store.pen()
        {
            break pen;
        }
        std::thread::sleep(Duration::from_micros(50));
    };
    let mut large = Batch::new();
    large.message(&[], &[&vec![0; 17 << 20]]);
    store.append(&mut large);
    pen
}

/// The number that the next record gets.
fn next_record(world: &World) -> u64 {
    world.broker.store().append(&mut Batch::new()).first.0
}

#[test]
fn what_dies_on_a_full_disk_goes_on_in_order_when_there_is_space() {
    let disk = SimDisk::new(1);
    let (mut world, bodies) = world_on(&disk, 3_000);
    world.declare("soon over", &[("x-message-ttl", Value::I32(TTL))]);
    let _ = world.publish("", "soon over", "body");
    let before = [world.get("q").unwrap(), world.get("q").unwrap()];
    let rejected = [world.get("q").unwrap(), world.get("q").unwrap()];
    let in_transaction = world.get("q").unwrap();
    world.settle(Settlement::Discard, before);
    assert_eq!(world.drain("dead"), bodies[..2]);
    fill(&mut world, &disk);

    let next = next_record(&world);
    world.settle(Settlement::Discard, rejected);
    world.commit([(Settlement::Discard, in_transaction)], &[]);
    world.now += 10 * u64::from(TTL.unsigned_abs());
    while world.ready("q") > 0 {
        let _ = world.tick();
    }
    // Time goes on for all others.
    while world.ready("soon over") > 0 {
        let _ = world.tick();
    }
    assert_eq!(world.ready("dead"), 0);
    // Nothing but what the last two queues' settlements take.
    assert!(next_record(&world) <= next + 2);

    make_room(&world, &disk);
    world.pass(0);
    let dead = world.drain("dead");
    assert!(dead == bodies[2..], "{} in this order", dead.len());
}

/// They would fill what is left for acknowledgements, with consumers that give messages back for ever.
#[test]
fn what_is_given_back_takes_no_space_of_a_full_disk() {
    let disk = SimDisk::new(1);
    let (mut world, bodies) = world_on(&disk, 1);
    let give_back = |world: &mut World| {
        world.session.begin(Millis(world.now));
        let next = next_record(world);
        for _ in 0..20 {
            let got = world.get("q").unwrap();
            world.requeue(got);
        }
        next_record(world) - next
    };
    assert_eq!(give_back(&mut world), 20);
    fill(&mut world, &disk);
    assert_eq!(give_back(&mut world), 0);
    let got = world.get("q").unwrap();
    assert!(got.redelivered);
    world.requeue(got);
    make_room(&world, &disk);
    assert_eq!(give_back(&mut world), 20);
    let mut world = world.restart();
    let got = world.get("q").unwrap();
    assert!(got.redelivered);
    assert_eq!(got.body, bodies[0]);
}

#[test]
fn what_waits_for_space_outlives_a_crash() {
    let disk = SimDisk::new(1);
    let (mut world, bodies) = world_on(&disk, 20);
    fill(&mut world, &disk);
    world.pass(TTL.unsigned_abs().into());
    assert_eq!((world.ready("q"), world.ready("dead")), (0, 0));
    disk.set_capacity(None);
    let disk = disk.reboot();
    drop(world);

    let mut world = World::open(Arc::new(disk), START + 2 * u64::from(TTL.unsigned_abs()));
    world.pass(0);
    assert_eq!(world.drain("dead"), bodies);
}

/// Commit-ok says that they are rejected, also those that came back in the same turn.
#[test]
fn what_a_transaction_rejects_on_a_full_disk_stays_rejected_after_a_crash() {
    let disk = SimDisk::new(1);
    let (mut world, bodies) = world_on(&disk, 4);
    let first = world.get("q").unwrap();
    fill(&mut world, &disk);
    let second = world.get_unfinished("q").unwrap();
    world.settle_unfinished(Settlement::Requeue(Return::Failed), [second]);
    let second = world.get_unfinished("q").unwrap();
    let rejected = [first, second].map(|got| (Settlement::Discard, got));
    let commit = world.commit(rejected, &[]);
    world.wait(commit.expect("commit-ok waits for the disk"));
    let held = world.get("q").unwrap();
    disk.set_capacity(None);
    let disk = disk.reboot();
    drop((held, world));

    let mut world = World::open(Arc::new(disk), START);
    world.pass(0);
    assert_eq!((world.drain("dead"), world.drain("q")), (bodies[..2].into(), bodies[2..].into()));
}

#[test]
fn a_transaction_is_there_as_a_whole_when_the_disk_was_behind() {
    let disk = SimDisk::new(1);
    let (mut world, bodies) = world_on(&disk, 2);
    let rejected = world.get("q").unwrap();
    let broker = Arc::clone(&world.broker);
    let pen = keep_behind(&broker);
    let commit = world.commit([(Settlement::Discard, rejected)], &[("work", "published")]);
    drop(pen);
    world.wait(commit.unwrap());
    let disk = disk.reboot();
    drop(world);

    let mut world = World::open(Arc::new(disk), START);
    world.pass(0);
    assert_eq!(world.drain("work"), ["published"]);
    assert_eq!((world.drain("dead"), world.drain("q")), (bodies[..1].into(), bodies[1..].into()));
}

#[test]
fn what_waits_for_space_outlives_its_queue() {
    let disk = SimDisk::new(1);
    let (mut world, bodies) = world_on(&disk, 20);
    fill(&mut world, &disk);
    world.pass(TTL.unsigned_abs().into());
    world.session.delete_queue("q", DeleteIf::default()).unwrap();
    world.session.finish();
    world.pass(0);
    assert_eq!(world.ready("dead"), 0);
    make_room(&world, &disk);
    world.pass(0);
    assert_eq!(world.drain("dead"), bodies);
}

#[test]
fn what_dies_while_the_disk_is_behind_goes_on_when_it_has_caught_up() {
    let disk = SimDisk::new(1);
    let (mut world, bodies) = world_on(&disk, 20);
    let broker = Arc::clone(&world.broker);
    let pen = keep_behind(&broker);
    let got: Vec<_> = bodies.iter().map(|_| world.get("q").unwrap()).collect();
    let next = next_record(&world);
    world.settle(Settlement::Discard, got);
    let _ = world.tick();
    assert_eq!((world.ready("dead"), next_record(&world)), (0, next));
    drop(pen);
    world.await_readable();
    world.session.begin(Millis(world.now));
    world.pass(0);
    assert_eq!(world.drain("dead"), bodies);
}
