//! Dead letters that nobody takes stay with their queues.

use leveret_broker::{DeleteIf, Outcome};
use leveret_codec::Value;

use crate::world::World;

const DLX: &str = "x-dead-letter-exchange";
const MAX_LENGTH: &str = "x-max-length";
const REJECT: (&str, Value<'_>) = ("x-overflow", Value::LongStr(b"reject-publish"));

/// Declares a quorum queue that dead-letters to an exchange at least once.
fn declare_careful(world: &mut World, name: &str, exchange: &str, more: &[(&str, Value<'_>)]) {
    let mut arguments = vec![
        ("x-queue-type", Value::text("quorum")),
        ("x-dead-letter-strategy", Value::text("at-least-once")),
        (DLX, Value::text(exchange)),
        REJECT,
    ];
    arguments.extend_from_slice(more);
    world.declare(name, &arguments);
}

/// Publishes to a queue and rejects what comes out of it.
fn kill(world: &mut World, queue: &str, bodies: &[&str]) {
    for body in bodies {
        world.publish("", queue, body);
        let got = world.get(queue).unwrap();
        world.reject(got);
    }
}

fn kept(world: &World, queue: &str) -> u64 {
    world.session.vhost().queue(queue).unwrap().counts().dead_letters
}

#[test]
fn without_an_exchange_they_wait_for_one() {
    let mut world = World::new();
    declare_careful(&mut world, "q", "dlx", &[]);
    kill(&mut world, "q", &["1", "2"]);
    assert_eq!((kept(&world, "q"), world.ready("q")), (2, 0));
    world.declare_exchange("dlx", "fanout");
    world.pass(10_000);
    assert_eq!(kept(&world, "q"), 2, "there is the exchange and nothing behind it");
    world.declare("dead", &[]);
    world.bind("dead", "dlx", "");
    kill(&mut world, "q", &["3"]);
    // The third found its way at once; the first two are tried again from time to time.
    world.pass(1_000);
    assert_eq!(kept(&world, "q"), 0);
    let got = world.get("dead").unwrap();
    assert_eq!((got.body.as_str(), got.deaths()), ("3", vec!["q rejected 1".to_owned()]));
    world.ack(got);
    assert_eq!(world.drain("dead"), ["1", "2"]);
    let counts = world.broker.dead_letter_counts();
    assert_eq!((counts.dead_lettered.rejected, counts.kept, counts.unroutable), (3, 2, 0));
}

/// Those behind a refused one wait with it, so that they arrive in order.
#[test]
fn what_is_refused_waits_for_room() {
    let mut world = World::new();
    world.declare("dead", &[(MAX_LENGTH, Value::I32(2)), REJECT]);
    declare_careful(&mut world, "q", "amq.fanout", &[]);
    world.bind("dead", "amq.fanout", "");
    kill(&mut world, "q", &["1", "2", "3", "4"]);
    assert_eq!((world.ready("dead"), kept(&world, "q")), (2, 2));
    assert_eq!(world.get("dead").map(|got| got.body).as_deref(), Some("1"));
    kill(&mut world, "q", &["5"]);
    assert_eq!((world.ready("dead"), kept(&world, "q")), (1, 3));
    world.pass(1_000);
    assert_eq!((world.ready("dead"), kept(&world, "q")), (2, 2));
    assert_eq!(world.drain("dead"), ["2", "3"]);
    world.pass(1_000);
    assert_eq!(world.drain("dead"), ["4", "5"]);
    assert_eq!(kept(&world, "q"), 0);
}

/// It is tried again only where it is missing.
#[test]
fn a_queue_that_took_it_gets_no_second_copy() {
    let mut world = World::new();
    world.declare("full", &[(MAX_LENGTH, Value::I32(0)), REJECT]);
    world.declare("free", &[]);
    declare_careful(&mut world, "q", "amq.fanout", &[]);
    for queue in ["full", "free"] {
        world.bind(queue, "amq.fanout", "");
    }
    kill(&mut world, "q", &["1"]);
    assert_eq!((world.ready("free"), kept(&world, "q")), (1, 1));
    world.pass(5_000);
    assert_eq!((world.ready("free"), kept(&world, "q")), (1, 1));
    // Where it is missing goes: it has been taken by all there are.
    world.session.delete_queue("full", DeleteIf::default()).unwrap();
    world.session.finish();
    world.pass(1_000);
    assert_eq!((world.ready("free"), kept(&world, "q")), (1, 0));
}

/// Nobody gets them again who got them before they died.
#[test]
fn they_outlive_the_broker() {
    let mut world = World::new();
    declare_careful(&mut world, "q", "dlx", &[("x-delivery-limit", Value::I32(0))]);
    kill(&mut world, "q", &["rejected"]);
    world.publish("", "q", "returned");
    let got = world.get("q").unwrap();
    world.requeue(got);
    world.publish("", "q", "alive");
    assert_eq!((world.ready("q"), kept(&world, "q")), (1, 2));
    let mut world = world.restart();
    assert_eq!((world.ready("q"), kept(&world, "q")), (1, 2));
    world.declare_exchange("dlx", "fanout");
    world.declare("dead", &[]);
    world.bind("dead", "dlx", "");
    world.pass(1_000);
    let deaths: Vec<_> = (0..2)
        .map(|_| {
            let got = world.get("dead").unwrap();
            let told = (got.body.clone(), got.deaths());
            world.ack(got);
            told
        })
        .collect();
    let death = |body: &str, death: &str| (body.to_owned(), vec![death.to_owned()]);
    assert_eq!(
        deaths,
        [death("rejected", "q rejected 1"), death("returned", "q delivery_limit 1")]
    );
    let mut world = world.restart();
    assert_eq!(world.drain("q"), ["alive"]);
    assert_eq!((world.ready("dead"), kept(&world, "q")), (0, 0));
}

#[test]
fn they_take_room_in_their_queue() {
    let mut world = World::new();
    declare_careful(&mut world, "q", "dlx", &[(MAX_LENGTH, Value::I32(2))]);
    kill(&mut world, "q", &["1", "2"]);
    assert_eq!(world.publish("", "q", "3"), Outcome::Refused);
    world.declare_exchange("dlx", "fanout");
    world.declare("dead", &[]);
    world.bind("dead", "dlx", "");
    world.pass(1_000);
    assert_ne!(world.publish("", "q", "4"), Outcome::Refused);
    assert_eq!(
        (world.drain("dead"), world.drain("q")),
        (vec!["1".into(), "2".into()], vec!["4".into()])
    );
}

/// As RabbitMQ falls back.
#[test]
fn where_the_oldest_give_way_they_are_lost() {
    let mut world = World::new();
    let arguments = [
        ("x-queue-type", Value::text("quorum")),
        ("x-dead-letter-strategy", Value::text("at-least-once")),
        (DLX, Value::text("dlx")),
    ];
    world.declare("q", &arguments);
    kill(&mut world, "q", &["1"]);
    assert_eq!(kept(&world, "q"), 0);
    assert_eq!(world.broker.dead_letter_counts().unroutable, 1);
}

/// More than are tried at a time, in their order; those in front that find no way hold them up no
/// longer than a try takes.
#[test]
fn a_crowd_goes_on_in_portions() {
    let mut world = World::new();
    declare_careful(&mut world, "q", "dlx", &[]);
    let bodies: Vec<String> = (0..3_000).map(|number| number.to_string()).collect();
    for body in &bodies {
        world.stage("", "q", leveret_codec::Properties::default(), body);
    }
    world.session.flush(&mut Vec::new());
    let got: Vec<_> = bodies.iter().map(|_| world.get("q").unwrap()).collect();
    world.settle(leveret_broker::Settlement::Discard, got);
    assert_eq!(kept(&world, "q"), 3_000);
    world.declare_exchange("dlx", "fanout");
    world.declare("dead", &[]);
    world.bind("dead", "dlx", "");
    world.pass(1_000);
    assert_eq!(kept(&world, "q"), 0);
    assert_eq!(world.drain("dead"), bodies);
}

/// As RabbitMQ's quorum queues purge.
#[test]
fn purging_takes_them_too() {
    let mut world = World::new();
    declare_careful(&mut world, "q", "dlx", &[]);
    kill(&mut world, "q", &["1", "2"]);
    world.publish("", "q", "alive");
    assert_eq!(world.session.purge_queue("q").unwrap(), 3);
    world.session.finish();
    assert_eq!((kept(&world, "q"), world.ready("q")), (0, 0));
    let world = world.restart();
    assert_eq!((kept(&world, "q"), world.ready("q")), (0, 0));
}

#[test]
fn they_go_with_their_queue() {
    let mut world = World::new();
    declare_careful(&mut world, "q", "dlx", &[]);
    kill(&mut world, "q", &["1"]);
    world.session.delete_queue("q", DeleteIf::default()).unwrap();
    world.session.finish();
    declare_careful(&mut world, "q", "amq.fanout", &[]);
    world.declare("dead", &[]);
    world.bind("dead", "amq.fanout", "");
    let mut world = world.restart();
    world.pass(5_000);
    assert_eq!((kept(&world, "q"), world.ready("dead")), (0, 0));
}
