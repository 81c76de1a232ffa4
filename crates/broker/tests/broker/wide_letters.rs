//! Dead letters that go to many queues each, or whose queues take much to find: few of them make a turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leveret_broker::{DeleteIf, Progress, Settlement};
use leveret_codec::{ArrayBuilder, Properties, Value};
use leveret_engine::Millis;
use leveret_store::MemDisk;

use crate::world::{START, World, table};

/// The queues that a letter goes to, `dead-0` and so on.
const WIDTH: usize = 1000;
/// What dies, which is a portion as long as each goes to one queue.
const LETTERS: usize = 500;
/// What messages may take in memory, in bytes, where that is little.
const BUDGET: u64 = 64 << 10;
/// Places that a turn's letters take, and one letter more.
const TURN_PLACES: usize = 8 * 4096;

fn arguments() -> [(&'static str, Value<'static>); 2] {
    [("x-dead-letter-exchange", Value::text("wide")), ("x-max-length", Value::I32(1000))]
}

/// A world in which `wide` leads to all of them, or with so many bindings to one.
fn world(is_one_queue: bool) -> World {
    let mut world = World::new();
    world.declare_exchange("wide", "fanout");
    if is_one_queue {
        lead_to_one(&mut world);
    } else {
        (0..WIDTH).for_each(|number| world.bind_or_declare(&format!("dead-{number}"), ""));
    }
    world
}

/// Each letter looks at all of these.
fn lead_to_one(world: &mut World) {
    for key in 0..8 * WIDTH {
        world.bind_or_declare("dead-0", &key.to_string());
    }
}

/// They would be ready again where they died, as what nobody has had.
#[test]
fn what_waits_when_the_broker_stops_goes_on_at_the_next_start() {
    let mut world = world(true);
    world.declare("q", &arguments());
    let bodies = world.reject_crowd("q", LETTERS);
    world.session.finish();
    let gone = world.ready("dead-0");
    assert!((1..bodies.len() as u64).contains(&gone), "{gone}");
    let mut world = world.restart();
    assert_eq!((world.ready("q"), world.ready("dead-0")), (0, gone));
    while world.tick() == Progress::More {}
    assert_eq!(world.drain("dead-0"), bodies);
    assert_eq!(world.ready("q"), 0);
}

impl World {
    fn bind_or_declare(&mut self, queue: &str, key: &str) {
        if !self.exists(queue) {
            self.declare(queue, &[]);
        }
        self.bind(queue, "wide", key);
    }

    /// Publishes so many to a queue and rejects them, in one turn.
    fn reject_crowd(&mut self, queue: &str, count: usize) -> Vec<String> {
        let bodies: Vec<String> = (0..count).map(|number| format!("{queue}-{number}")).collect();
        for body in &bodies {
            self.stage("", queue, Properties::default(), body);
        }
        self.session.flush(&mut Vec::new());
        let got: Vec<_> = bodies.iter().map(|_| self.get_unfinished(queue).unwrap()).collect();
        self.settle_unfinished(Settlement::Discard, got);
        bodies
    }
}

fn fits(letters: u64, places: usize) -> bool {
    let letters = usize::try_from(letters).unwrap();
    letters > 0 && letters * places <= TURN_PLACES + 8 * places
}

#[test]
fn letters_to_many_queues_are_spread_over_ticks() {
    let mut world = world(false);
    world.declare("q", &arguments());
    let bodies = world.reject_crowd("q", LETTERS);
    world.session.finish();
    let mut before = world.ready("dead-7");
    assert!(fits(before, WIDTH), "{before}");
    let mut ticks = 0;
    while world.tick() == Progress::More {
        let arrived = world.ready("dead-7") - before;
        assert!(arrived == 0 || fits(arrived, WIDTH), "{arrived}");
        before += arrived;
        ticks += 1;
    }
    assert!(ticks >= LETTERS * WIDTH / TURN_PLACES - 2, "{ticks}");
    for queue in ["dead-0", "dead-999"] {
        assert_eq!(world.drain(queue), bodies);
    }
}

/// Eight bindings are looked at in the time of one place.
#[test]
fn letters_whose_queues_take_long_to_find_are_spread_over_ticks() {
    let mut world = world(true);
    world.declare("q", &arguments());
    let bodies = world.reject_crowd("q", LETTERS);
    world.session.finish();
    let arrived = world.ready("dead-0");
    assert!(fits(arrived, WIDTH), "{arrived}");
    while world.tick() == Progress::More {}
    assert_eq!(world.drain("dead-0"), bodies);
}

/// Their headers are rewritten and written to the journal, which bytes of bodies do not say.
#[test]
fn letters_with_large_headers_are_spread_over_ticks() {
    let mut world = World::new();
    world.declare("dead", &[]);
    let [_, max_length] = arguments();
    let to_dead = ("x-dead-letter-routing-key", Value::text("dead"));
    world.declare("q", &[("x-dead-letter-exchange", Value::text("")), to_dead, max_length]);
    let large = "x".repeat(100_000);
    let headers = table(&[("large", Value::text(&large))]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    for number in 0..300 {
        world.stage("", "q", properties, &number.to_string());
    }
    world.session.flush(&mut Vec::new());
    world.await_readable();
    let got: Vec<_> = (0..300).map(|_| world.get("q").unwrap()).collect();
    world.settle(Settlement::Discard, got);
    // 8 MiB, and a letter more for each.
    let arrived = world.ready("dead");
    assert!((80..=92).contains(&arrived), "{arrived}");
    while world.ready("dead") < 300 {
        world.await_readable();
        let _ = world.tick();
    }
}

/// A part of them, which would make the transaction's unit a large one, goes on behind it.
#[test]
fn a_transaction_dead_letters_no_more_at_once() {
    let mut world = world(false);
    world.declare("q", &arguments());
    let bodies: Vec<String> = (0..LETTERS).map(|number| number.to_string()).collect();
    for body in &bodies {
        world.stage("", "q", Properties::default(), body);
    }
    world.session.flush(&mut Vec::new());
    let got: Vec<_> = bodies.iter().map(|_| world.get("q").unwrap()).collect();
    world.commit(got.into_iter().map(|got| (Settlement::Discard, got)), &[]);
    let arrived = world.ready("dead-0");
    assert!(fits(arrived, WIDTH), "{arrived}");
    world.pass(0);
    let mut world = world.restart();
    assert_eq!(world.ready("q"), 0);
    for queue in ["dead-0", "dead-999"] {
        assert_eq!(world.drain(queue), bodies);
    }
}

#[test]
fn nobody_waits_for_all_of_a_long_line() {
    const OTHERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let mut world = world(false);
    world.declare("q", &arguments());
    world.reject_crowd("q", LETTERS);
    for queue in OTHERS {
        let key = ("x-dead-letter-routing-key", Value::text("dead-0"));
        world.declare(queue, &[("x-dead-letter-exchange", Value::text("")), key]);
        world.reject_crowd(queue, 1);
    }
    world.session.finish();
    // They died in one turn, whose end they are behind.
    let arrived = world.ready("dead-1");
    assert_eq!(world.ready("dead-0"), arrived);
    assert_eq!(world.tick(), Progress::More);
    let others = world.ready("dead-0") - world.ready("dead-1");
    assert_eq!(usize::try_from(others).unwrap(), OTHERS.len());
    assert!(world.ready("dead-1") < LETTERS as u64);
}

/// What expires where more waits than can go on would but wait as well.
#[test]
fn what_waits_holds_up_the_time_of_its_own_queue_only() {
    const TTL: (&str, Value<'_>) = ("x-message-ttl", Value::I32(10));
    let mut world = world(false);
    let [dlx, max_length] = arguments();
    world.declare("q", &[dlx, max_length, TTL]);
    world.declare("other", &[TTL]);
    world.reject_crowd("q", LETTERS);
    world.publish("", "q", "expires");
    world.publish("", "other", "expires");
    let mut ticks = 0;
    world.now += 10;
    while world.ready("other") > 0 {
        assert_eq!(world.tick(), Progress::More);
        ticks += 1;
    }
    assert!(ticks <= 2, "{ticks}");
    assert_eq!(world.ready("q"), 1);
    assert!(world.ready("dead-0") < LETTERS as u64);
    while world.tick() == Progress::More {}
    assert_eq!((world.ready("q"), world.ready("dead-0")), (0, 1 + LETTERS as u64));
}

/// Or ever more would wait, all of it in memory.
#[test]
fn publishers_wait_until_what_they_push_out_has_gone_on() {
    let mut world = world(false);
    world.declare("q", &[("x-max-length", Value::I32(1)), arguments()[0]]);
    world.declare(
        "narrow",
        &[("x-max-length", Value::I32(1)), ("x-dead-letter-exchange", Value::text("amq.topic"))],
    );
    let told = Arc::new(AtomicUsize::new(0));
    let listener = Arc::clone(&told);
    world.broker.listen_to_relief(Arc::new(move || {
        listener.fetch_add(1, Ordering::Relaxed);
    }));
    let publish = |world: &mut World, queue: &str, count: usize| {
        world.session.begin(Millis(world.now));
        for _ in 0..count {
            world.stage("", queue, Properties::default(), "");
        }
        world.session.flush(&mut Vec::new());
        world.session.finish();
        world.session.outruns_dead_letters()
    };
    assert!(!publish(&mut world, "narrow", 5000));
    assert!(!publish(&mut world, "q", 10));
    assert!(publish(&mut world, "q", LETTERS));
    // Others have nothing to do with it.
    assert!(!publish(&mut world, "narrow", 10));
    assert!(publish(&mut world, "q", 1));
    assert_eq!(told.load(Ordering::Relaxed), 0);
    let mut ticks = 0;
    while world.session.outruns_dead_letters() {
        let _ = world.tick();
        ticks += 1;
    }
    assert!(told.load(Ordering::Relaxed) >= ticks / 2, "{ticks}");
    assert!(!publish(&mut world, "q", 1));
}

/// Whoever had them die may be gone, and come again, as often as they like.
#[test]
fn letters_that_wait_leave_memory_as_backlogs_do() {
    let mut world = World::open_with(Arc::new(MemDisk::new()), START, BUDGET);
    world.declare_exchange("wide", "fanout");
    lead_to_one(&mut world);
    world.declare("q", &arguments());
    let transient = Properties { delivery_mode: Some(1), ..Properties::default() };
    let bodies: Vec<_> =
        (0..LETTERS).map(|number| format!("{number}{}", "x".repeat(2000))).collect();
    for body in &bodies {
        world.stage("", "q", transient, body);
    }
    world.session.flush(&mut Vec::new());
    let got: Vec<_> = bodies.iter().map(|_| world.get("q").unwrap()).collect();
    assert!(world.broker.message_memory() < BUDGET);
    world.settle(Settlement::Discard, got);
    assert!(world.ready("dead-0") < LETTERS as u64 / 4);
    assert!(world.broker.message_memory() > 3 * LETTERS as u64 / 4 * 2000);
    world.page();
    // What the journal does not have may take four times the budget.
    assert!(world.broker.message_memory() <= 4 * BUDGET, "{}", world.broker.message_memory());
    while world.tick() == Progress::More {}
    assert_eq!(world.drain("dead-0"), bodies);
    assert_eq!(world.broker.message_memory(), 0);
}

/// The keys of a message route it once each, so that their number does not multiply what a letter takes.
#[test]
fn a_letter_with_many_keys_takes_no_more_than_one_with_one() {
    let mut world = World::new();
    world.declare_exchange("wide", "direct");
    world.declare("dead", &[]);
    for number in 0..8000 {
        let arguments = table(&[("number", Value::I32(number))]);
        let queue = leveret_engine::DestinationName::Queue("dead");
        world.session.bind("wide", queue, "k", arguments.as_table()).unwrap();
    }
    world.declare("q", &arguments());
    let keys = (0..1000).fold(ArrayBuilder::new(), |keys, _| keys.push("k")).build();
    let headers = table(&[("CC", keys.as_array().into())]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    for number in 0..40 {
        world.stage("", "q", properties, &number.to_string());
    }
    world.session.flush(&mut Vec::new());
    let got: Vec<_> = (0..40).map(|_| world.get("q").unwrap()).collect();
    world.settle(Settlement::Discard, got);
    assert!((26..=40).contains(&world.ready("dead")), "{}", world.ready("dead"));
}

/// Of a deleted queue, though a stop carries out what no queue has any more.
#[test]
fn letters_that_take_long_do_not_hold_up_a_stop() {
    let mut world = world(true);
    world.declare("q", &arguments());
    let bodies = world.reject_crowd("q", 2 * LETTERS);
    world.session.finish();
    world.session.delete_queue("q", DeleteIf::default()).unwrap();
    world.session.finish();
    let before = world.ready("dead-0");
    let mut world = world.restart();
    let arrived = world.ready("dead-0");
    assert!(arrived > before && arrived < bodies.len() as u64, "{before} {arrived}");
    world.pass(0);
    assert_eq!(world.drain("dead-0"), bodies);
}
