//! A dead letter is in one queue or the other, and a transaction is there or not, whenever the power
//! goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{Outcome, Settlement};
use leveret_codec::{Properties, Value};
use leveret_engine::Return;
use leveret_store::Lsn;
use leveret_store::simulation::SimDisk;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::world::{Got, START, World, histories, table};

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
    const SETTLEMENTS: [Settlement; 6] = [
        Settlement::Acknowledge,
        Settlement::Discard,
        Settlement::Discard,
        Settlement::Discard,
        Settlement::Requeue(Return::Failed),
        Settlement::Requeue(Return::Released),
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

/// How long what is given back to a quorum queue waits.
const DELAY: u8 = 10;

/// Declares the queues, those that are to be as quorum queues.
fn declare(world: &mut World, quorum: [bool; 3]) {
    let number = Value::I32;
    let own = [vec![("x-message-ttl", number(20))], vec![("x-max-length", number(2))], vec![]];
    for (index, is_quorum) in quorum.into_iter().enumerate() {
        let next = QUEUES[(index + 1) % QUEUES.len()];
        let mut arguments = vec![
            ("x-dead-letter-exchange", Value::text("")),
            ("x-dead-letter-routing-key", Value::text(next)),
        ];
        arguments.extend(&own[index]);
        if is_quorum {
            arguments.push(("x-queue-type", Value::text("quorum")));
            arguments.push(("x-delayed-retry-type", Value::text("returned")));
            arguments.push(("x-delayed-retry-min", number(DELAY.into())));
        }
        world.declare(QUEUES[index], &arguments);
    }
}

/// How often each message is in the queues, when nothing is delayed any more.
fn contents(world: &mut World) -> BTreeMap<String, u32> {
    world.pass(DELAY.into());
    let mut contents = BTreeMap::new();
    for body in QUEUES.iter().flat_map(|queue| world.drain(queue)) {
        *contents.entry(body).or_default() += 1;
    }
    contents
}

/// What a transaction did.
struct Commit {
    acknowledged: Vec<String>,
    published: [String; 2],
}

/// What came of the steps.
struct Lived {
    /// Got and not settled.
    held: Vec<Got>,
    /// Each message with what its confirm waits for.
    confirms: BTreeMap<String, Lsn>,
    /// The transactions that acknowledged what they settled.
    commits: Vec<Commit>,
}

fn live_through(world: &mut World, steps: &[Step]) -> Lived {
    let (mut held, mut confirms) = (Vec::<Got>::new(), BTreeMap::new());
    let mut commits = Vec::new();
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
                let acknowledged = held.iter().map(|got| got.body.clone()).collect();
                let settlements = held.drain(..).map(|got| (settlement, got));
                let other = format!("{body} too");
                let commit = world.commit(settlements, &[("c", &body), ("a", &other)]);
                let commit = commit.unwrap();
                confirms.extend([(body.clone(), commit), (other.clone(), commit)]);
                if let Settlement::Acknowledge = settlement {
                    commits.push(Commit { acknowledged, published: [body, other] });
                }
            }
            Step::Pass(ms) => world.pass(ms),
        }
    }
    Lived { held, confirms, commits }
}

/// What was in the queues or held when the power went, and how often each message is there afterwards.
fn lose_power(
    mut world: World,
    held: Vec<Got>,
    disk: &SimDisk,
) -> (BTreeSet<String>, BTreeMap<String, u32>) {
    let disk = disk.reboot();
    // The old broker goes on without a disk and tells what is where.
    let mut alive: BTreeSet<String> = contents(&mut world).into_keys().collect();
    alive.extend(held.into_iter().map(|got| got.body));
    let now = world.now;
    drop(world);
    let found = contents(&mut World::open(Arc::new(disk), now));
    (alive, found)
}

#[test]
fn the_dead_are_neither_lost_nor_doubled() {
    let crash = (any::<u64>(), option::of(0..200_u64));
    let history = (any::<[bool; 3]>(), vec(step(), 1..60), crash);
    histories(300, history, |(quorum, steps, (seed, crash_after))| {
        let disk = SimDisk::new(seed);
        let mut world = World::open(Arc::new(disk.clone()), START);
        declare(&mut world, quorum);
        if let Some(operations) = crash_after {
            disk.crash_after(operations);
        }
        let Lived { held, confirms, .. } = live_through(&mut world, &steps);
        if crash_after.is_none()
            && let Some(lsn) = confirms.values().max()
        {
            world.wait(*lsn);
        }
        let durable = world.broker.store().durable_lsn();
        let (alive, found) = lose_power(world, held, &disk);
        for (body, count) in &found {
            prop_assert_eq!(*count, 1, "{} is there {} times", body, count);
        }
        for (body, lsn) in &confirms {
            if *lsn <= durable && alive.contains(body) {
                prop_assert!(found.contains_key(body), "{} was confirmed and is lost", body);
            }
        }
        Ok(())
    });
}

fn transactions() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize).prop_map(Step::Publish),
        4 => (0..3_usize).prop_map(Step::Get),
        2 => Just(Step::Commit(Settlement::Acknowledge)),
    ]
}

#[test]
fn of_a_transaction_all_is_there_or_nothing() {
    let history = (vec(transactions(), 1..60), any::<u64>(), 0..60_u64);
    histories(300, history, |(steps, seed, crash_after)| {
        let disk = SimDisk::new(seed);
        let mut world = World::open(Arc::new(disk.clone()), START);
        declare(&mut world, [false; 3]);
        disk.crash_after(crash_after);
        let Lived { held, confirms, commits } = live_through(&mut world, &steps);
        let durable = world.broker.store().durable_lsn();
        let (alive, found) = lose_power(world, held, &disk);
        for Commit { acknowledged, published } in &commits {
            let there = published.iter().filter(|body| found.contains_key(*body)).count();
            // What was published may have been acknowledged since.
            let is_whole = published.iter().all(|body| alive.contains(body));
            prop_assert!(there == 0 || there == 2 || !is_whole, "{:?} in part", published);
            for body in acknowledged {
                let is_there = found.contains_key(body);
                prop_assert!(there == 0 || !is_there, "{} acknowledged by {:?}", body, published);
                let is_undone = there == 0 && is_whole;
                let is_kept = is_there || confirms[body] > durable;
                prop_assert!(
                    !is_undone || is_kept,
                    "{} acknowledged without {:?}",
                    body,
                    published
                );
            }
        }
        Ok(())
    });
}

/// The deletion of an exchange with all its bindings is written to the disk, in part.
#[test]
fn delayed_messages_are_there_as_long_as_their_exchange() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..24 {
        let disk = SimDisk::new(seed);
        let mut world = World::open(Arc::new(disk.clone()), START);
        let kind = [("x-delayed-type", Value::text("direct"))];
        world.declare_exchange_with("later", "x-delayed-message", &kind);
        world.declare("q", &[]);
        for number in 0..40 {
            world.bind("q", "later", &format!("{number:0100}"));
        }
        let headers = table(&[("x-delay", Value::I32(1000))]);
        let headers = Some(headers.as_table());
        let properties = Properties { headers, ..Properties::default() };
        let key = format!("{:0100}", 0);
        let _ = world.offer("later", &key, properties, "body");
        let Outcome::DurableAt(lsn) = world.confirmation() else {
            panic!("it waits in the journal")
        };
        world.wait(lsn);
        disk.crash_after(1);
        let commit = world.session.delete_exchange("later", false).unwrap().unwrap();
        while !disk.is_down() && world.broker.store().durable_lsn() < commit {
            std::thread::sleep(Duration::from_micros(50));
        }
        let disk = disk.reboot();
        drop(world);

        let mut world = World::open(Arc::new(disk), START + 2000);
        world.pass(0);
        let is_there = world.session.vhost().topology(|all| all.exchange("later").is_some());
        assert_eq!(world.drain("q").len(), usize::from(is_there), "seed {seed}");
        outcomes.insert(is_there);
    }
    assert!(outcomes.contains(&true), "the power went before it was on disk");
}
