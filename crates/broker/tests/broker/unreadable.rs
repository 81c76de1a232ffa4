//! A disk that cannot be read, somewhere or for a while.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::Settlement;
use leveret_codec::Value;
use leveret_store::Disk;
use leveret_store::simulation::SimDisk;

use crate::world::{START, World};

const BUDGET: u64 = 64 << 10;
/// One that has a summary: the first is so small that a start reads it.
const SEGMENT: &str = "/data/journal/0000000000000002.seg";
const COUNT: usize = 200;
/// The message that is where the disk breaks.
const BROKEN: usize = 60;
/// One that is not read together with the first.
const BROKEN_LATER: usize = 150;

fn world(disk: &SimDisk, patience: Duration) -> World {
    World::open_patient(Arc::new(disk.clone()), START, BUDGET, patience)
}

fn body(number: usize) -> String {
    format!("{number:02000}")
}

/// Publishes messages, has them leave memory, and breaks the disk where one of them is. Answers where that is.
fn fill(world: &mut World, queue: &str, disk: &SimDisk) -> u64 {
    for number in 0..COUNT {
        let _ = world.publish("", queue, &body(number));
        if number % 100 == 99 {
            world.page();
        }
    }
    world.page();
    break_disk(disk, BROKEN)
}

/// Breaks the disk where one of the messages is. Answers where that is.
fn break_disk(disk: &SimDisk, broken: usize) -> u64 {
    let file = disk.open(Path::new(SEGMENT)).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let body = body(broken);
    let at = bytes.windows(body.len()).position(|window| window == body.as_bytes()).unwrap();
    let at = at as u64 + 1000;
    assert!(disk.break_block(Path::new(SEGMENT), at));
    at
}

/// All but that one, in their order.
fn assert_others(bodies: &[String]) {
    let numbers: Vec<usize> = bodies.iter().map(|body| body.parse().unwrap()).collect();
    let others: Vec<usize> = (0..COUNT).filter(|number| *number != BROKEN).collect();
    assert_eq!(numbers, others);
}

#[test]
fn a_message_that_can_never_be_read_holds_up_no_other() {
    let disk = SimDisk::new(1);
    let mut world = world(&disk, Duration::ZERO);
    world.declare("q", &[]);
    fill(&mut world, "q", &disk);
    let bodies = world.drain("q");
    assert_others(&bodies);
    assert_eq!(world.ready("q"), 0);
}

#[test]
fn a_dead_letter_that_can_never_be_read_holds_up_no_other() {
    let disk = SimDisk::new(1);
    let mut world = world(&disk, Duration::ZERO);
    world.declare("dead", &[]);
    let arguments = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
        ("x-message-ttl", Value::I32(1000)),
    ];
    world.declare("q", &arguments);
    fill(&mut world, "q", &disk);
    world.pass(2000);
    let bodies = world.drain("dead");
    assert_others(&bodies);
}

/// Nor what dies later in its queue, once the disk can be read again.
#[test]
fn dead_letters_wait_for_the_disk_but_not_for_those_of_other_queues() {
    let disk = SimDisk::new(1);
    let mut world = world(&disk, Duration::MAX);
    for (queue, dead) in [("q", "dead"), ("other", "other dead")] {
        world.declare(dead, &[]);
        let arguments = [
            ("x-dead-letter-exchange", Value::text("")),
            ("x-dead-letter-routing-key", Value::text(dead)),
        ];
        world.declare(queue, &arguments);
    }
    for number in 0..=COUNT {
        let _ = world.publish("", "q", &body(number));
    }
    world.await_readable();
    let mut rejected: Vec<_> = (0..COUNT).map(|_| world.get("q").unwrap().paged_out()).collect();
    let bad = break_disk(&disk, BROKEN);
    for later in [false, true] {
        let _ = world.publish("", "other", "body");
        let other = world.get("other").unwrap();
        if later {
            let last = world.get("q").unwrap();
            world.settle_unfinished(Settlement::Discard, [last]);
        } else {
            world.settle_unfinished(Settlement::Discard, std::mem::take(&mut rejected));
        }
        world.settle_unfinished(Settlement::Discard, [other]);
        world.session.finish();
        world.pass(2000);
        assert_eq!((world.ready("dead"), world.drain("other dead").len()), (0, 1));
    }
    assert!(disk.mend_block(Path::new(SEGMENT), bad));
    while world.ready("dead") == 0 {
        world.pass(1000);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(world.drain("dead").into_iter().eq((0..=COUNT).map(body)), "in their order");
}

#[test]
fn dead_letters_go_on_as_far_as_the_disk_can_be_read() {
    let disk = SimDisk::new(1);
    let mut world = world(&disk, Duration::MAX);
    world.declare("dead", &[]);
    let arguments = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ];
    world.declare("q", &arguments);
    for number in 0..COUNT {
        let _ = world.publish("", "q", &body(number));
    }
    world.await_readable();
    let rejected: Vec<_> = (0..COUNT).map(|_| world.get("q").unwrap().paged_out()).collect();
    let bad = break_disk(&disk, BROKEN_LATER);
    world.settle(Settlement::Discard, rejected);
    world.pass(2000);
    let before = world.drain("dead");
    assert!(!before.is_empty() && before.len() <= BROKEN_LATER, "{}", before.len());
    assert!(disk.mend_block(Path::new(SEGMENT), bad));
    while world.ready("dead") == 0 {
        world.pass(1000);
        std::thread::sleep(Duration::from_millis(1));
    }
    let all = [before, world.drain("dead")].concat();
    assert!(all.into_iter().eq((0..COUNT).map(body)), "in their order");
}

/// Those that their queue keeps, too, which are tried together.
#[test]
fn a_kept_dead_letter_that_can_never_be_read_holds_up_no_other() {
    let disk = SimDisk::new(1);
    let mut world = world(&disk, Duration::ZERO);
    let careful = [
        ("x-queue-type", Value::text("quorum")),
        ("x-dead-letter-strategy", Value::text("at-least-once")),
        ("x-dead-letter-exchange", Value::text("dlx")),
        ("x-overflow", Value::text("reject-publish")),
        ("x-message-ttl", Value::I32(1000)),
    ];
    world.declare("q", &careful);
    let kept = |world: &World| world.session.vhost().queue("q").unwrap().counts().dead_letters;
    for number in 0..COUNT {
        let _ = world.publish("", "q", &body(number));
    }
    world.pass(2000);
    assert_eq!(kept(&world), COUNT as u64);
    world.page();
    break_disk(&disk, BROKEN);
    world.declare_exchange("dlx", "fanout");
    world.declare("dead", &[]);
    world.bind("dead", "dlx", "");
    world.pass(1000);
    assert_others(&world.drain("dead"));
    assert_eq!(kept(&world), 0);
    let _ = world.publish("", "q", "another");
    world.pass(2000);
    assert_eq!(world.drain("dead"), ["another"]);
}

#[test]
fn messages_are_waited_for_as_long_as_the_disk_may_come_back() {
    let disk = SimDisk::new(1);
    let mut world = world(&disk, Duration::MAX);
    world.declare("q", &[]);
    let bad = fill(&mut world, "q", &disk);
    crate::confirms::consume(&mut world, "q", true);
    for waiting in 1..3 {
        // All behind it waits.
        let _ = world.publish("", "q", "x");
        world.page();
        assert_eq!(world.ready("q"), (COUNT + waiting) as u64);
    }
    assert!(disk.mend_block(Path::new(SEGMENT), bad));
    while world.ready("q") > 0 {
        world.page();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_start_goes_on_without_what_can_never_be_read() {
    let disk = SimDisk::new(1);
    let mut world = world(&disk, Duration::ZERO);
    world.declare("q", &[]);
    fill(&mut world, "q", &disk);
    // It is not the last, which a start reads.
    assert!(world.broker.store().stats().segments > 2);
    let mut world = world.restart();
    let bodies = world.drain("q");
    assert_others(&bodies);
}
