//! What is in one place or the other, or there as a whole, whenever the power goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leveret_broker::{Outcome, Settlement};
use leveret_codec::Value;
use leveret_engine::Return;
use leveret_store::Lsn;
use leveret_store::simulation::SimDisk;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{Got, START, World};

/// In a circle: what expires in `a`, has no room in `b` or is rejected in `c` goes on to the next.
const QUEUES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// To a queue, by number.
    Publish(usize),
    /// Takes a message from a queue and keeps it.
    Get(usize),
    /// Settles the oldest that is kept.
    Settle(Settlement),
    /// Settles all that is kept, in one transaction with a publish.
    Commit(Settlement),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    const SETTLEMENTS: [Settlement; 4] = [
        Settlement::Acknowledge,
        Settlement::Discard,
        Settlement::Discard,
        Settlement::Requeue(Return::Failed),
    ];
    let settlement = || prop::sample::select(&SETTLEMENTS[..]);
    prop_oneof![
        4 => (0..3_usize).prop_map(Step::Publish),
        4 => (0..3_usize).prop_map(Step::Get),
        3 => settlement().prop_map(Step::Settle),
        1 => settlement().prop_map(Step::Commit),
        3 => (1..30_u64).prop_map(Step::Pass),
    ]
}

fn declare(world: &mut World) {
    let dlx = ("x-dead-letter-exchange", Value::text(""));
    let to = |queue| ("x-dead-letter-routing-key", Value::text(queue));
    world.declare("a", &[dlx, to("b"), ("x-message-ttl", Value::I32(20))]);
    world.declare("b", &[dlx, to("c"), ("x-max-length", Value::I32(2))]);
    world.declare("c", &[dlx, to("a")]);
}

/// How often each message is in the queues.
fn contents(world: &mut World) -> BTreeMap<String, u32> {
    let mut contents = BTreeMap::new();
    for body in QUEUES.iter().flat_map(|queue| world.drain(queue)) {
        *contents.entry(body).or_default() += 1;
    }
    contents
}

/// Takes the steps. Returns what is still held, and each message with what its confirm waits for.
fn live_through(world: &mut World, steps: &[Step]) -> (Vec<Got>, BTreeMap<String, Lsn>) {
    let (mut held, mut confirms) = (Vec::<Got>::new(), BTreeMap::new());
    for (number, step) in steps.iter().enumerate() {
        let body = format!("m{number}");
        match *step {
            Step::Publish(queue) => {
                let Outcome::DurableAt(lsn) = world.publish("", QUEUES[queue], &body) else {
                    panic!("nothing refuses here")
                };
                confirms.insert(body, lsn);
            }
            Step::Get(queue) => held.extend(world.get(QUEUES[queue])),
            Step::Settle(settlement) if !held.is_empty() => {
                let oldest = held.remove(0);
                world.settle(settlement, [oldest]);
            }
            Step::Settle(_) => {}
            Step::Commit(settlement) => {
                let settlements = held.drain(..).map(|got| (settlement, got));
                let commit = world.commit(settlements, &[("c", &body)]);
                confirms.insert(body, commit.unwrap());
            }
            Step::Pass(ms) => world.pass(ms),
        }
    }
    (held, confirms)
}

/// The default user can always come in, wherever the first start was cut short.
#[test]
fn a_first_start_is_made_up_for() {
    for seed in 0..3 {
        let mut crash_after = 0;
        loop {
            let disk = SimDisk::new(seed);
            disk.crash_after(crash_after);
            if let Ok(broker) = World::open_broker(Arc::new(disk.clone())) {
                // The journal's thread writes what the start left to it.
                broker.close();
            }
            let is_complete = !disk.is_down();
            World::open(Arc::new(disk.reboot()), START);
            if is_complete {
                break;
            }
            crash_after += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_dead_are_neither_lost_nor_doubled(
        seed: u64,
        steps in vec(step(), 1..60),
        wait: bool,
        crash_after in 0..200_u64,
    ) {
        let disk = SimDisk::new(seed);
        let mut world = World::open(Arc::new(disk.clone()), START);
        declare(&mut world);
        if !wait {
            disk.crash_after(crash_after);
        }
        let (held, confirms) = live_through(&mut world, &steps);
        if wait && let Some(lsn) = confirms.values().max() {
            world.wait(*lsn);
        }
        let durable = world.broker.store().durable_lsn();
        let disk = disk.reboot();

        // The old broker goes on without a disk and tells what is where.
        let held: BTreeSet<String> = held.into_iter().map(|got| got.body).collect();
        let mut alive: BTreeSet<String> = contents(&mut world).into_keys().collect();
        alive.extend(held);
        let now = world.now;
        drop(world);

        let mut world = World::open(Arc::new(disk), now);
        let found = contents(&mut world);
        for (body, count) in &found {
            prop_assert_eq!(*count, 1, "{} is there {} times", body, count);
        }
        for (body, lsn) in &confirms {
            if *lsn <= durable && alive.contains(body) {
                prop_assert!(found.contains_key(body), "{} was confirmed and is lost", body);
            }
        }
    }
}
