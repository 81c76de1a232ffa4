//! A disk that is full or behind: dead letters, which take space, wait for it.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::policy::{Policy, PolicyKind};
use leveret_broker::{
    Actor, Broker, DeadLetterCounts, DeleteIf, Settlement, UNWRITTEN_JOURNAL_MAX,
};
use leveret_codec::{Properties, Table, Value};
use leveret_engine::{DestinationName, Millis, Return};
use leveret_store::simulation::SimDisk;
use leveret_store::{Batch, Pen};

use crate::world::{START, World, table};

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

/// The pen: nobody else writes until it is dropped.
fn take_pen(broker: &Broker) -> Pen<'_> {
    let store = broker.store();
    loop {
        // Alone: behind a crowd the pen is not lent, nor behind a slow sync.
        let mut alone = Batch::new();
        alone.nothing();
        alone.set_durable();
        let last = store.append(&mut alone).last;
        while store.readable_lsn() < last {
            std::thread::sleep(Duration::from_micros(50));
        }
        // The writer is not quite done then.
        std::thread::sleep(Duration::from_micros(50));
        if let Some(pen) = store.pen() {
            return pen;
        }
    }
}

/// Has more wait to be written than may, until the pen is dropped.
fn keep_behind(broker: &Broker) -> Pen<'_> {
    let pen = take_pen(broker);
    let mut large = Batch::new();
    large.message(&[], &[&vec![0; 17 << 20]]);
    broker.store().append(&mut large);
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

/// And that frees space.
#[test]
fn what_would_get_nowhere_does_not_wait_for_space() {
    let disk = SimDisk::new(1);
    let (mut world, _) = world_on(&disk, 0);
    world.declare_exchange("unbound", "fanout");
    let aims = [("nowhere", "dead"), ("unbound", "dead"), ("", "nobody"), ("", "dead")];
    for (number, (exchange, key)) in aims.into_iter().enumerate() {
        let arguments = [
            ("x-dead-letter-exchange", Value::text(exchange)),
            ("x-dead-letter-routing-key", Value::text(key)),
            ("x-message-ttl", Value::I32(TTL)),
        ];
        world.declare(&number.to_string(), &arguments);
    }
    // From here on the journal is not needed for what was declared.
    let mut world = world.restart();
    for _ in 0..600 {
        for queue in ["0", "1", "2"] {
            let _ = world.publish("", queue, &"x".repeat(200));
        }
    }
    let _ = world.publish("", "3", "gets there");
    world.await_readable();
    fill(&mut world, &disk);
    let broker = Arc::clone(&world.broker);
    // What is settled frees nothing before that is looked at.
    let pen = take_pen(&broker);
    world.now += 2 * u64::from(TTL.unsigned_abs());
    while (0..4).any(|queue| world.ready(&queue.to_string()) > 0) {
        let _ = world.tick();
    }
    let counts = broker.dead_letter_counts();
    assert_eq!((counts.unroutable, counts.dead_lettered.expired), (1800, 1800));
    assert_eq!(world.ready("dead"), 0);
    drop(pen);

    // The disk is no larger than before.
    while broker.store().is_full() {
        std::thread::sleep(Duration::from_micros(50));
    }
    world.pass(0);
    assert_eq!(world.drain("dead"), ["gets there"]);
    let counts = broker.dead_letter_counts();
    assert_eq!((counts.unroutable, counts.dead_lettered.expired), (1800, 1801));
}

#[test]
fn what_waits_for_space_waits_no_more_once_it_would_get_nowhere() {
    let disk = SimDisk::new(1);
    let (mut world, _) = world_on(&disk, 0);
    world.declare_exchange("x", "fanout");
    world.bind("dead", "x", "");
    world.declare("dying", &[("x-dead-letter-exchange", Value::text("x"))]);
    let bodies = ["0", "1", "2", "3", "4"];
    for body in bodies {
        let _ = world.publish("", "dying", body);
    }
    world.await_readable();
    fill(&mut world, &disk);
    let kill = |world: &mut World, count: usize| {
        for _ in 0..count {
            let got = world.get("dying").unwrap();
            world.reject(got);
        }
        let _ = world.tick();
        let counts = world.broker.dead_letter_counts();
        (counts.unroutable, counts.dead_lettered.rejected)
    };
    assert_eq!(kill(&mut world, 2), (0, 0));
    let dead = DestinationName::Queue("dead");
    world.session.unbind("x", dead, "", Table::EMPTY).unwrap();
    world.session.finish();
    assert_eq!(kill(&mut world, 0), (2, 2));
    assert_eq!(kill(&mut world, 1), (3, 3));
    world.bind("dead", "x", "");
    assert_eq!(kill(&mut world, 2), (3, 3));
    assert_eq!(world.ready("dead"), 0);
    make_room(&world, &disk);
    world.pass(0);
    assert_eq!(world.drain("dead"), bodies[3..]);
}

/// Alternates that lead nowhere themselves change nothing, whether they are missing, unbound, or each other's.
#[test]
fn what_only_alternates_would_get_does_not_wait_for_space_where_they_lead_nowhere() {
    let disk = SimDisk::new(1);
    let (mut world, _) = world_on(&disk, 0);
    world.declare_exchange("unbound", "fanout");
    let mut ways = vec![
        ("missing".to_owned(), "not there".to_owned()),
        ("to unbound".to_owned(), "unbound".to_owned()),
        ("to default".to_owned(), String::new()),
        ("there".to_owned(), "back".to_owned()),
        ("back".to_owned(), "there".to_owned()),
    ];
    let nowhere = ways.len() as u64;
    // Too many to look at them for each portion.
    ways.extend((0..20).rev().map(|number| (number.to_string(), (number + 1).to_string())));
    for (exchange, alternate) in &ways {
        let alternate = [("alternate-exchange", Value::text(alternate))];
        world.declare_exchange_with(exchange, "fanout", &alternate);
    }
    let queues: Vec<&str> = ways.iter().map(|(exchange, _)| &**exchange).collect();
    let queues = [&queues[..ways.len() - 20], &["0"]].concat();
    for queue in &queues {
        let arguments = [
            ("x-dead-letter-exchange", Value::text(queue)),
            ("x-dead-letter-routing-key", Value::text("no queue")),
        ];
        world.declare(queue, &arguments);
        world.publish("", queue, queue);
    }
    world.await_readable();
    fill(&mut world, &disk);
    for queue in &queues {
        let got = world.get(queue).unwrap();
        world.reject(got);
    }
    let _ = world.tick();
    let unroutable = |world: &World| world.broker.dead_letter_counts().unroutable;
    assert_eq!(unroutable(&world), nowhere);
    make_room(&world, &disk);
    world.pass(0);
    assert_eq!(unroutable(&world), nowhere + 1);
}

#[test]
fn what_would_get_nowhere_takes_nothing_along_that_would() {
    let disk = SimDisk::new(1);
    let (mut world, _) = world_on(&disk, 0);
    let to = |world: &World, exchange: &str| {
        let definition = format!(r#"{{"dead-letter-exchange": "{exchange}"}}"#);
        let policy = Policy::parse("^dying$", &definition).unwrap();
        let actor = Actor::program();
        let administration = world.broker.administration(&actor);
        let now = Millis(world.now);
        administration.put_policy("/", PolicyKind::User, "to", policy, now).unwrap();
    };
    world.declare("dying", &[]);
    for exchange in ["first", "second"] {
        world.declare_exchange(exchange, "fanout");
        world.bind("dead", exchange, "");
        let _ = world.publish("", "dying", exchange);
    }
    world.await_readable();
    fill(&mut world, &disk);
    for exchange in ["first", "second"] {
        to(&world, exchange);
        let got = world.get("dying").unwrap();
        world.reject(got);
    }
    let _ = world.tick();
    let dead = DestinationName::Queue("dead");
    world.session.unbind("first", dead, "", Table::EMPTY).unwrap();
    world.session.finish();
    let _ = world.tick();
    assert_eq!((world.broker.dead_letter_counts().unroutable, world.ready("dead")), (1, 0));
    make_room(&world, &disk);
    world.pass(0);
    assert_eq!(world.drain("dead"), ["second"]);
}

/// Nobody knows yet whether somebody will get it, or all know that its queue would keep it.
#[test]
fn what_may_get_somewhere_waits_for_space() {
    let disk = SimDisk::new(1);
    let (mut world, _) = world_on(&disk, 0);
    world.declare_exchange("bound", "fanout");
    world.bind("dead", "bound", "");
    let alternate = [("alternate-exchange", Value::text("bound"))];
    world.declare_exchange_with("with alternate", "fanout", &alternate);
    world.declare_exchange("bound to exchange", "fanout");
    let bound = DestinationName::Exchange("bound");
    world.session.bind("bound to exchange", bound, "", Table::EMPTY).unwrap();
    world.declare_exchange("history", "x-recent-history");
    let direct = [("x-delayed-type", Value::text("direct"))];
    world.declare_exchange_with("delayed", "x-delayed-message", &direct);
    let alternate = [("alternate-exchange", Value::text("with alternate"))];
    world.declare_exchange_with("with alternates", "fanout", &alternate);
    let dead_lettering = |exchange| ("x-dead-letter-exchange", Value::text(exchange));
    let exchanges =
        ["with alternate", "with alternates", "bound to exchange", "history", "delayed"];
    for exchange in exchanges {
        world.declare(exchange, &[dead_lettering(exchange)]);
    }
    let careful = [
        dead_lettering("nowhere"),
        ("x-queue-type", Value::text("quorum")),
        ("x-dead-letter-strategy", Value::text("at-least-once")),
        ("x-overflow", Value::text("reject-publish")),
    ];
    world.declare("careful", &careful);
    // Its key is its message's.
    world.declare("by own key", &[dead_lettering("")]);
    let queues = [&exchanges[..], &["careful", "by own key"]].concat();
    let headers = table(&[("x-delay", Value::I32(TTL))]);
    let delayed = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    for queue in &queues {
        world.publish_with("", queue, delayed, queue);
    }
    world.await_readable();
    fill(&mut world, &disk);
    for queue in &queues {
        let got = world.get(queue).unwrap();
        world.reject(got);
    }
    let _ = world.tick();
    assert_eq!(world.broker.dead_letter_counts(), DeadLetterCounts::default());

    make_room(&world, &disk);
    world.pass(0);
    world.declare_exchange("nowhere", "fanout");
    for exchange in ["history", "nowhere"] {
        world.bind("dead", exchange, "");
    }
    world.bind("dead", "delayed", "delayed");
    world.session.repeat_all_history(|| true);
    world.session.finish();
    world.pass(10 * u64::from(TTL.unsigned_abs()));
    let mut dead = world.drain("dead");
    dead.sort_unstable();
    let expected =
        ["bound to exchange", "careful", "delayed", "history", "with alternate", "with alternates"];
    assert_eq!(dead, expected);
    assert_eq!(world.drain("by own key"), ["by own key"]);
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
    // Segments may have to be emptied as well.
    while broker.store().buffered_bytes() > UNWRITTEN_JOURNAL_MAX {
        std::thread::sleep(Duration::from_micros(50));
    }
    world.session.begin(Millis(world.now));
    world.pass(0);
    assert_eq!(world.drain("dead"), bodies);
}
