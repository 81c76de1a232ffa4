//! What a confirm waits for.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{Consume, DeclareQueue, Outcome, Subscriber, Wake};
use leveret_codec::{Properties, Table};
use leveret_engine::{Admission, Entry};

use crate::world::World;

/// A client that takes whatever comes.
struct Hungry;

impl Subscriber for Hungry {
    fn admit(&self, _: usize) -> Admission {
        Admission::Ready
    }

    fn deliver(&self, entries: &mut Vec<Entry>) -> Wake {
        entries.clear();
        Wake::NotNeeded
    }

    fn wake(&self) {}

    fn cancelled(&self) {}
}

pub(crate) fn consume(world: &mut World, queue: &str, no_ack: bool) {
    let request = Consume {
        tag: &Arc::from("c"),
        is_tag_chosen: true,
        channel: 1,
        queue,
        no_ack,
        exclusive: false,
        prefetch: 0,
        shared_limit: 0,
        arguments: Table::EMPTY,
    };
    world.session.consume(request, |_| Arc::new(Hungry)).unwrap();
}

#[test]
fn what_was_consumed_at_once_is_confirmed_without_the_disk() {
    let mut world = World::new();
    world.declare("consumed", &[]);
    consume(&mut world, "consumed", true);
    assert_eq!(world.publish("", "consumed", "x"), Outcome::Taken);
    // Also after the journal has been appended to by others.
    world.declare("kept", &[]);
    assert!(matches!(world.publish("", "kept", "x"), Outcome::DurableAt(_)));
    assert_eq!(world.publish("", "consumed", "x"), Outcome::Taken);
}

#[test]
fn what_waits_for_an_acknowledgement_waits_for_the_disk() {
    let mut world = World::new();
    world.declare("unacknowledged", &[]);
    consume(&mut world, "unacknowledged", false);
    assert!(matches!(world.publish("", "unacknowledged", "x"), Outcome::DurableAt(_)));
}

#[test]
fn what_one_of_its_queues_keeps_waits_for_the_disk() {
    let mut world = World::new();
    world.declare_exchange("x", "fanout");
    for queue in ["first", "kept", "last"] {
        world.declare(queue, &[]);
        world.bind(queue, "x", "");
    }
    consume(&mut world, "first", true);
    consume(&mut world, "last", true);
    assert!(matches!(world.publish("x", "", "a"), Outcome::DurableAt(_)));
    consume(&mut world, "kept", true);
    assert_eq!(world.publish("x", "", "b"), Outcome::Taken);
}

/// In a batch each publish waits for itself.
#[test]
fn in_a_batch_only_what_is_kept_waits() {
    let mut world = World::new();
    world.declare("consumed", &[]);
    world.declare("kept", &[]);
    consume(&mut world, "consumed", true);
    for queue in ["consumed", "kept", "consumed", "kept", "kept", "consumed"] {
        world.stage("", queue, Properties::default(), "x");
    }
    let mut confirmations = Vec::new();
    world.session.flush(&mut confirmations);
    world.session.finish();
    let waits: Vec<bool> = confirmations
        .iter()
        .map(|confirmation| matches!(confirmation.outcome, Outcome::DurableAt(_)))
        .collect();
    assert_eq!(waits, [false, true, false, true, true, false]);
}

/// Transient messages, and persistent ones in a queue that is not durable.
#[test]
fn what_is_not_kept_leaves_nothing_in_the_journal() {
    let mut world = World::new();
    world.declare("durable", &[]);
    let first = world.broker.store().stats().records;
    world.declare("beside", &[]);
    let of_a_queue = world.broker.store().stats().records - first;
    let arguments = Table::EMPTY;
    let (durable, exclusive, auto_delete) = (false, false, false);
    world.declare_as(DeclareQueue { name: "own", durable, exclusive, auto_delete, arguments });
    let transient = Properties { delivery_mode: Some(1), ..Properties::default() };
    for (queue, properties) in [("durable", transient), ("own", Properties::default())] {
        for _ in 0..100 {
            world.publish_with("", queue, properties, "x");
        }
        let [one, other] = [(); 2].map(|()| world.get(queue).unwrap());
        world.requeue(one);
        world.reject(other);
        assert_eq!(world.drain(queue).len(), 99);
    }
    // The journal is in order: whatever came before it is there as well.
    world.declare("last", &[]);
    let stats = || world.broker.store().stats();
    while stats().records < first + 2 * of_a_queue {
        std::thread::sleep(Duration::from_micros(50));
    }
    assert_eq!(stats().records, first + 2 * of_a_queue);
}

#[test]
fn what_goes_to_many_queues_is_stored_once() {
    let mut world = World::new();
    let queues: Vec<String> = (0..10).map(|number| format!("q{number}")).collect();
    for queue in &queues {
        world.declare(queue, &[]);
        world.bind(queue, "amq.fanout", "");
    }
    let body = "x".repeat(1000);
    world.await_readable();
    let before = world.broker.store().stats();
    let Outcome::DurableAt(lsn) = world.publish("amq.fanout", "", &body) else { panic!("stored") };
    world.wait(lsn);
    while world.broker.store().readable_lsn() < lsn {
        std::thread::yield_now();
    }
    let after = world.broker.store().stats();
    assert_eq!(after.records, before.records + 1);
    assert!(after.bytes - before.bytes < 2 * body.len() as u64, "{before:?} {after:?}");
    for queue in &queues {
        assert_eq!(world.drain(queue), [body.as_str()]);
    }
}
